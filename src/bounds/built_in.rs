//! Denials that follow from the rules of the ledger itself. They apply whatever packs are in force.

use crate::bounds::error::Denial;
use crate::domain::attribute::Attribute;
use crate::domain::consent::NoConsent;
use crate::domain::event::{Reason, Tier, WithheldClass};
use crate::domain::stopped_purposes::{OPT_OUT, is_below};
use crate::domain::vocabulary::Vocabulary;

/// The first edition of the rules of decisions in which an opt-out counts everywhere.
const OPT_OUT_EDITION: u32 = 3;

/// The denial of a use for sale, sharing or advertising after an opt-out, wherever the person is. Packs of
/// law name their own articles first, where they apply. `ancestry` is the purpose with its ancestors.
pub(super) fn opted_out(has_opted_out: bool, ancestry: &[&str], vocabulary: &Vocabulary) -> Option<Denial> {
    let is_stopped = has_opted_out && vocabulary.edition() >= OPT_OUT_EDITION && is_below(&OPT_OUT, ancestry);
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
