//! Denials that are built into the ledger, such as those for data that is kept only because its erasure was
//! refused on a legal ground. They apply regardless of the packs in force.

use crate::bounds::error::Denial;
use crate::domain::attribute::Attribute;
use crate::domain::consent::NoConsent;
use crate::domain::event::{Reason, Tier, WithheldClass};
use crate::domain::ids::EventId;
use crate::domain::kept_only::{KeptOnly, KeptRefusals};
use crate::domain::request::article;
use crate::domain::stopped_purposes::{OPT_OUT, is_below};
use crate::domain::vocabulary::Vocabulary;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The first edition of the rules of decisions with opt-outs that count everywhere, and with refused erasures
/// that stop uses.
const EDITION: u32 = 3;

/// The refused erasures of a data subject, as they concern one purpose.
pub(super) struct KeptData<'a> {
    /// None under earlier rules, by which they stop nothing.
    refusals: Option<&'a KeptRefusals>,
    purpose: &'a str,
    ancestry: Vec<&'a str>,
    /// The denials by refusal.
    denials: BTreeMap<EventId, Arc<Denial>>,
}

impl<'a> KeptData<'a> {
    /// The refused erasures in `kept`, for uses for a purpose, which is given with its ancestors.
    pub fn new(
        kept: &'a KeptRefusals,
        purpose: &'a str,
        ancestry: Vec<&'a str>,
        vocabulary: &Vocabulary,
    ) -> Self {
        let is_empty = kept.is_empty() || vocabulary.edition() < EDITION;
        Self { refusals: (!is_empty).then_some(kept), purpose, ancestry, denials: BTreeMap::new() }
    }

    /// The earliest refusal that keeps an attribute from the use. `None` if no refusal covers the attribute,
    /// or if the legal ground of a refusal that covers it requires the use.
    pub fn against(&self, attribute: &Attribute, vocabulary: &Vocabulary) -> Option<&'a KeptOnly> {
        let above = vocabulary.category_ancestry(&attribute.category);
        let mut first: Option<(u64, &KeptOnly)> = None;
        for (place, kept) in self.refusals?.covering(&attribute.key, &above) {
            if kept.requires(self.purpose, &self.ancestry) {
                return None;
            }
            first = first.filter(|(earlier, _)| *earlier < place).or(Some((place, kept)));
        }
        first.map(|(_, kept)| kept)
    }

    /// The denial of a use that the refusal does not allow, always the same one.
    pub fn denial(&mut self, kept: &KeptOnly) -> Arc<Denial> {
        let denial = self.denials.entry(kept.event_id).or_insert_with(|| {
            Arc::new(Denial {
                tier: Tier::Public,
                policy: "built-in/kept-only".into(),
                article: article(kept.refused.ground).into(),
                reason: Some(Reason::KeptOnly),
            })
        });
        Arc::clone(denial)
    }
}

/// The denial of a use for sale, sharing or advertising after an opt-out, wherever the person is. If a pack
/// of law denies the use too, the decision names that pack and its article instead. `ancestry` is the purpose
/// with its ancestors.
pub(super) fn opted_out(has_opted_out: bool, ancestry: &[&str], vocabulary: &Vocabulary) -> Option<Denial> {
    let is_stopped = has_opted_out && vocabulary.edition() >= EDITION && is_below(&OPT_OUT, ancestry);
    is_stopped.then(|| Denial {
        tier: Tier::Public,
        policy: "built-in/opt-out".into(),
        article: "GDPR Art. 7(3), 21(5)".into(),
        reason: Some(Reason::OptedOut),
    })
}

/// The denial if no consent covers the case.
pub(super) fn no_legal_basis() -> Denial {
    Denial {
        tier: Tier::Public,
        policy: "built-in/consent".into(),
        article: "GDPR Art. 6(1)(a)".into(),
        reason: None,
    }
}

/// The reason that a missing consent gives.
pub(super) fn consent_reason(reason: NoConsent) -> Reason {
    match reason {
        NoConsent::Silence => Reason::NoConsent,
        NoConsent::Refused => Reason::ConsentRefused,
        NoConsent::Withdrawn => Reason::ConsentWithdrawn,
        NoConsent::Expired => Reason::ConsentExpired,
        NoConsent::WordsChanged => Reason::WordsChanged,
        NoConsent::NoticeOutdated => Reason::NoticeOutdated,
        NoConsent::NotExplicit => Reason::NotExplicit,
    }
}

/// The class of an attribute that is withheld because the consent to its use names a version of a notice that
/// no longer counts. A consent must be informed, so it covers what the provider's notice said then.
pub(super) fn outdated_notice(attribute: &Attribute) -> WithheldClass {
    WithheldClass {
        category: attribute.category.clone(),
        provenance: attribute.provenance,
        reason: Reason::NoticeOutdated,
        decided_by: Tier::Provider,
        policy: "built-in/notice".into(),
        article: "GDPR Art. 4(11)".into(),
        ..WithheldClass::default()
    }
}
