//! Data whose erasure was refused: it is kept on a legal ground, and may be used only for what that ground
//! requires. This rule applies from edition 3 of the rules of decisions on.

use super::vocabulary::WordsInForce;
use crate::event::{ErasureRefused, ErasureScope, Ground};
use std::collections::BTreeMap;

/// The purposes that a legal ground may require.
const REQUIRED: [&str; 4] = ["legal-obligation", "public-health", "scientific-research", "legal-claims"];
/// No legal ground requires these purposes or those below them.
const NEVER_REQUIRED: [&str; 5] =
    ["personalization", "persuasion", "advertising", "direct-marketing", "data-sale"];

/// The scope of a refused erasure: its kind, and the key or category.
type Named = (ErasureScope, String);

/// What a refusal keeps of its scope, and for which uses: the kept categories and the required purposes.
type Effect = (Vec<String>, Vec<String>);

/// The refused erasures of one data subject that still stand.
#[derive(Default)]
pub(super) struct KeptData {
    by_request: BTreeMap<Vec<u8>, (Named, Effect)>,
    /// How many requests have each scope and effect.
    by_scope: BTreeMap<Named, BTreeMap<Effect, usize>>,
    /// The number of effects of all scopes.
    effects: usize,
}

impl KeptData {
    /// Notes a refusal, which replaces an earlier one of the same request.
    pub fn refuse(&mut self, refused: &ErasureRefused) {
        let is_legal_ground = matches!(
            refused.ground(),
            Ground::Expression
                | Ground::LegalObligation
                | Ground::PublicHealth
                | Ground::ArchivingResearch
                | Ground::LegalClaims
        );
        if refused.whole && is_legal_ground {
            self.withdraw(&refused.request);
            let name = match refused.scope() {
                ErasureScope::Category => refused.category.clone(),
                ErasureScope::Key => refused.key.clone(),
                _ => String::new(),
            };
            let named = (refused.scope(), name);
            let effect = (refused.categories.clone(), refused.purposes.clone());
            let count = self.by_scope.entry(named.clone()).or_default().entry(effect.clone()).or_default();
            self.effects = self.effects.saturating_add(usize::from(*count == 0));
            *count = count.saturating_add(1);
            self.by_request.insert(refused.request.clone(), (named, effect));
        }
    }

    /// Notes that a request was withdrawn.
    pub fn withdraw(&mut self, request: &[u8]) {
        let Some((named, effect)) = self.by_request.remove(request) else { return };
        let Some(effects) = self.by_scope.get_mut(&named) else { return };
        let Some(count) = effects.get_mut(&effect) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            effects.remove(&effect);
            self.effects = self.effects.saturating_sub(1);
        }
    }

    /// The number of refusals that stand, where those with the same scope and effect count as one.
    pub fn len(&self) -> usize {
        self.effects
    }

    /// Whether an attribute is kept from uses for a purpose.
    pub fn forbids(&self, key: &str, category: &str, purpose: &str, vocabulary: WordsInForce<'_>) -> bool {
        if self.by_request.is_empty() || vocabulary.edition() < 3 {
            return false;
        }
        let categories = vocabulary.category_ancestry(category);
        let purposes = vocabulary.purpose_ancestry(purpose);
        let may_be_required =
            REQUIRED.contains(&purpose) && !NEVER_REQUIRED.iter().any(|never| purposes.contains(never));
        let is_required =
            |named: &[String]| may_be_required && named.iter().any(|required| required == purpose);
        // A refusal to erase a text does not have the text, so it counts for every attribute.
        let whole = [ErasureScope::All, ErasureScope::Profile, ErasureScope::Content];
        let whole = whole.map(|scope| (scope, String::new()));
        let within = categories.iter().map(|&id| (ErasureScope::Category, id.to_owned()));
        let scopes = whole.into_iter().chain([(ErasureScope::Key, key.to_owned())]).chain(within);
        let effects = scopes.filter_map(|named| self.by_scope.get(&named)).flat_map(BTreeMap::keys);
        let mut covering = effects.filter(|(kept, _)| covers(kept, &categories)).peekable();
        covering.peek().is_some() && !covering.any(|(_, purposes)| is_required(purposes))
    }
}

/// Whether a refusal that keeps these categories, where none means all, keeps data with these ancestors of
/// its category.
fn covers(kept: &[String], categories: &[&str]) -> bool {
    kept.is_empty() || kept.iter().any(|named| categories.contains(&named.as_str()))
}
