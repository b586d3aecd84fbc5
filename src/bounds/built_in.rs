//! Denials that follow from the rules of the ledger itself. They apply whatever packs are in force.

use crate::bounds::error::Denial;
use crate::domain::attribute::Attribute;
use crate::domain::consent::NoConsent;
use crate::domain::event::{Reason, Tier, WithheldClass};
use crate::domain::ids::EventId;
use crate::domain::kept_only::KeptOnly;
use crate::domain::request::article;
use crate::domain::stopped_purposes::{OPT_OUT, is_below};
use crate::domain::vocabulary::Vocabulary;
use std::sync::Arc;

/// The first edition of the rules of decisions with opt-outs that count everywhere, and with refused erasures
/// that stop uses.
const EDITION: u32 = 3;

/// The refused erasures of a data subject, as they concern one purpose.
pub(super) struct KeptData<'a> {
    /// Each with the denial of the use; no denial if the ground requires the use.
    refusals: Vec<(&'a KeptOnly, Option<Arc<Denial>>)>,
}

impl<'a> KeptData<'a> {
    /// The refused erasures in `kept`, for uses for a purpose, which is given with its ancestors.
    pub fn new(kept: &'a [KeptOnly], purpose: &str, ancestry: &[&str], vocabulary: &Vocabulary) -> Self {
        let in_force = kept.iter().filter(|_| vocabulary.edition() >= EDITION);
        let denial = |kept: &KeptOnly| Denial {
            tier: Tier::Public,
            policy: "built-in/kept-only".into(),
            article: article(kept.refused.ground).into(),
            reason: Some(Reason::KeptOnly),
        };
        let refusals = in_force
            .map(|kept| (kept, (!kept.requires(purpose, ancestry)).then(|| Arc::new(denial(kept)))))
            .collect();
        Self { refusals }
    }

    /// The refusal that keeps an attribute from the use, with the denial. `None` if no refusal covers the
    /// attribute, or if the ground of one that covers it requires the use.
    pub fn against(&self, attribute: &Attribute, vocabulary: &Vocabulary) -> Option<(EventId, &Arc<Denial>)> {
        if self.refusals.is_empty() {
            return None;
        }
        let ancestry = vocabulary.category_ancestry(&attribute.category);
        let covering = self.refusals.iter().filter(|(kept, _)| kept.covers(&attribute.key, &ancestry));
        let denials: Option<Vec<_>> =
            covering.map(|(kept, denial)| Some((kept.event_id, denial.as_ref()?))).collect();
        denials?.into_iter().next()
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
