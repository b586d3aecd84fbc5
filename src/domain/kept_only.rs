//! Data that is kept after a request for its erasure was refused on a legal ground of GDPR Art. 17(3). It is
//! kept on that ground alone, so it may be used only for what this ground requires.

use super::event::{ErasureRefused, ErasureScope};
use super::ids::EventId;
use super::request::Ground;
use super::stopped_purposes::is_below;
use std::collections::{BTreeMap, BTreeSet};

/// The purposes that a ground may require, each exactly as named and not the purposes below it. The steward
/// names those that the case needs, in the hold or in the refusal.
pub const REQUIRED_USES: [(Ground, &str); 4] = [
    (Ground::LegalObligation, "legal-obligation"),
    (Ground::PublicHealth, "public-health"),
    (Ground::ArchivingResearch, "scientific-research"),
    (Ground::LegalClaims, "legal-claims"),
];

/// No ground requires a use for one of these purposes or a purpose below.
const NEVER_REQUIRED: [&str; 5] =
    ["personalization", "persuasion", "advertising", "direct-marketing", "data-sale"];

/// Whether a ground may require a use for this purpose.
#[must_use]
pub fn may_require(ground: Ground, purpose: &str) -> bool {
    REQUIRED_USES.contains(&(ground, purpose))
}

/// A refused erasure. Until the person withdraws the request or the data is erased, what is in its scope is
/// used for nothing but what the legal ground of the refusal requires.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptOnly {
    /// The event of the refusal.
    pub event_id: EventId,
    /// The refusal.
    pub refused: ErasureRefused,
}

impl KeptOnly {
    /// Whether an attribute with this key, and with a category that has this ancestry, is in its scope.
    #[must_use]
    pub fn covers(&self, key: &str, category_ancestry: &[&str]) -> bool {
        let ErasureRefused { scope, category, key: named, categories, .. } = &self.refused;
        let in_scope = match scope {
            // The refusal does not have the text, so it may be in any attribute.
            ErasureScope::All | ErasureScope::Profile | ErasureScope::Content => true,
            ErasureScope::Category => category_ancestry.contains(&category.as_str()),
            ErasureScope::Key => named == key,
            ErasureScope::Retention | ErasureScope::Unspecified => false,
        };
        in_scope
            && (categories.is_empty() || categories.iter().any(|id| category_ancestry.contains(&id.as_str())))
    }

    /// Whether its ground requires uses for a purpose, which is given with its ancestors.
    #[must_use]
    pub fn requires(&self, purpose: &str, purpose_ancestry: &[&str]) -> bool {
        self.refused.purposes.iter().any(|named| named == purpose)
            && REQUIRED_USES.iter().any(|(_, listed)| *listed == purpose)
            && !is_below(&NEVER_REQUIRED, purpose_ancestry)
    }
}

/// The scope of a refused erasure: its kind, and the key or category.
type Named = (ErasureScope, String);

/// What a refused erasure keeps of its scope, and for which uses: the kept categories and the required
/// purposes. Two refusals of one scope that agree in this have the same effect.
type Effect = (Vec<String>, Vec<String>);

/// The refused erasures of a data subject whose requests still stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeptRefusals {
    /// By request, each with its place in the order of refusals.
    by_request: BTreeMap<EventId, (u64, KeptOnly)>,
    /// The requests by scope and effect, in the order refused.
    by_scope: BTreeMap<Named, BTreeMap<Effect, BTreeSet<(u64, EventId)>>>,
    /// The place of the next refusal.
    next: u64,
}

impl KeptRefusals {
    /// Adds a refusal. It replaces an earlier refusal of the same request.
    pub fn push(&mut self, kept: KeptOnly) {
        let request = kept.refused.request;
        self.remove(&request);
        let (named, effect) = (named(&kept.refused), effect(&kept.refused));
        self.by_scope.entry(named).or_default().entry(effect).or_default().insert((self.next, request));
        self.by_request.insert(request, (self.next, kept));
        self.next = self.next.saturating_add(1);
    }

    /// Removes the refusal of a request, if there is one.
    pub fn remove(&mut self, request: &EventId) {
        let Some((place, kept)) = self.by_request.remove(request) else { return };
        let (named, effect) = (named(&kept.refused), effect(&kept.refused));
        let Some(effects) = self.by_scope.get_mut(&named) else { return };
        if let Some(requests) = effects.get_mut(&effect) {
            requests.remove(&(place, *request));
            if requests.is_empty() {
                effects.remove(&effect);
            }
        }
        if effects.is_empty() {
            self.by_scope.remove(&named);
        }
    }

    /// Whether the refusal of this request still stands.
    #[must_use]
    pub fn contains(&self, request: &EventId) -> bool {
        self.by_request.contains_key(request)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_request.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_request.is_empty()
    }

    /// All of them, in the order of the requests' ids.
    pub fn iter(&self) -> impl Iterator<Item = &KeptOnly> {
        self.by_request.values().map(|(_, kept)| kept)
    }

    /// The refusals whose scope has an attribute with this key and this ancestry of its category: of those
    /// with the same effect, the earliest. In no particular order, each with its place in the order of
    /// refusals.
    pub fn covering<'a>(
        &'a self,
        key: &str,
        category_ancestry: &[&str],
    ) -> impl Iterator<Item = (u64, &'a KeptOnly)> {
        let whole = [ErasureScope::All, ErasureScope::Profile, ErasureScope::Content];
        let whole = whole.map(|scope| (scope, String::new()));
        let categories = category_ancestry.iter().map(|&id| (ErasureScope::Category, id.to_owned()));
        let scopes = whole.into_iter().chain([(ErasureScope::Key, key.to_owned())]).chain(categories);
        let effects = scopes.filter_map(|named| self.by_scope.get(&named)).flat_map(BTreeMap::values);
        let earliest = effects.filter_map(|requests| self.by_request.get(&requests.first()?.1));
        let covers = move |(_, kept): &&(u64, KeptOnly)| kept.covers(key, category_ancestry);
        earliest.filter(covers).map(|(place, kept)| (*place, kept))
    }
}

fn named(refused: &ErasureRefused) -> Named {
    let name = match refused.scope {
        ErasureScope::Category => refused.category.clone(),
        ErasureScope::Key => refused.key.clone(),
        _ => String::new(),
    };
    (refused.scope, name)
}

fn effect(refused: &ErasureRefused) -> Effect {
    (refused.categories.clone(), refused.purposes.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn refusal(request: u8, scope: ErasureScope, name: &str, purposes: &[&str]) -> KeptOnly {
        let mut refused =
            ErasureRefused { request: EventId([request; 16]), scope, ..ErasureRefused::default() };
        refused.purposes = purposes.iter().map(|&purpose| purpose.to_owned()).collect();
        (refused.category, refused.key) = (name.to_owned(), name.to_owned());
        KeptOnly { event_id: EventId([request; 16]), refused }
    }

    #[test]
    fn many_equal_refusals_count_as_one_and_the_earliest_is_named() {
        let mut kept = KeptRefusals::default();
        for request in 0..200 {
            kept.push(refusal(request, ErasureScope::Key, "job", &[]));
        }
        let first = |kept: &KeptRefusals| {
            let covering: Vec<u8> =
                kept.covering("job", &["work"]).map(|(_, one)| one.event_id.0[0]).collect();
            covering
        };
        assert_eq!(first(&kept), [0]);
        kept.remove(&EventId([0; 16]));
        assert_eq!((first(&kept), kept.len()), (vec![1], 199));
    }

    proptest! {
        #[test]
        fn it_finds_what_a_search_of_all_refusals_finds(
            steps in proptest::collection::vec((0..12_u8, 0..5_usize, 0..3_usize, any::<bool>(), any::<bool>()), 0..40),
        ) {
            let scopes = [ErasureScope::All, ErasureScope::Profile, ErasureScope::Key, ErasureScope::Category,
                ErasureScope::Unspecified];
            let (mut kept, mut plain) = (KeptRefusals::default(), Vec::<KeptOnly>::new());
            for (request, scope, name, is_required, is_removed) in steps {
                plain.retain(|one| one.refused.request != EventId([request; 16]));
                if is_removed {
                    kept.remove(&EventId([request; 16]));
                    continue;
                }
                let purposes: &[&str] = if is_required { &["legal-claims"] } else { &[] };
                let one = refusal(request, scopes[scope], ["job", "work", "person"][name], purposes);
                plain.push(one.clone());
                kept.push(one);
            }
            let ancestry = ["work", "person"];
            let mut found: Vec<(u64, &KeptOnly)> = kept.covering("job", &ancestry).collect();
            found.sort_by_key(|(place, _)| *place);
            let first = plain.iter().find(|one| one.covers("job", &ancestry));
            prop_assert_eq!(found.first().map(|(_, one)| *one), first);
            for purpose in ["legal-claims", "memory"] {
                let requires = |one: &KeptOnly| one.requires(purpose, &[purpose]);
                prop_assert_eq!(
                    found.iter().any(|(_, one)| requires(one)),
                    plain.iter().filter(|one| one.covers("job", &ancestry)).any(requires)
                );
            }
        }
    }
}
