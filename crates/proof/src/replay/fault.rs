//! The reasons why a grant should not have been issued.

use serde::Serialize;
use std::fmt::{self, Display};

/// Why a grant should not have been issued as it was, or why bounds should not have been published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The data subject had no such attribute before the grant.
    #[error("the attribute was never recorded")]
    UnknownAttribute,
    /// The grant names a key or category that differs from the recorded one.
    #[error("the attribute was recorded under another key or category")]
    Described,
    /// The attribute was removed before the grant.
    #[error("the attribute had been removed")]
    Removed,
    /// The attribute was corrected before the grant (GDPR Art. 16).
    #[error("the attribute had been corrected")]
    Corrected,
    /// Another attribute with the same key replaced it before the grant, or had been observed later.
    #[error("the attribute had been replaced")]
    Replaced,
    /// The attribute is inferred, and the data subject had declared another value under the same key.
    #[error("the attribute is an inference that conflicts with what the person declared")]
    DeclaredOtherwise,
    /// The attribute had expired.
    #[error("the attribute had expired")]
    Expired,
    /// The data subject had contested the attribute.
    #[error("the attribute had been contested")]
    Contested,
    /// The attribute was derived from another attribute that could not be used.
    #[error("the attribute was derived from one that could not be used")]
    SourceWithheld,
    /// The data subject had asked for the erasure of the attribute. It was refused on a legal ground, which
    /// does not require the use (GDPR Art. 17(3)).
    #[error("the attribute was only kept, after a refused request for its erasure")]
    KeptOnly,
    /// The attribute is not among the requested categories or keys.
    #[error("the attribute was not requested")]
    NotAskedFor,
    /// The data subject had restricted processing (GDPR Art. 18).
    #[error("the person had restricted use")]
    Restricted,
    /// The data subject had objected to the purpose (GDPR Art. 21).
    #[error("the person had objected to the purpose")]
    Objected,
    /// The data subject had paused personalization.
    #[error("the person had paused personalization")]
    Paused,
    /// The data subject had opted out of sale, sharing and advertising.
    #[error("the person had opted out of sale, sharing and advertising")]
    OptedOut,
    /// No consent in force covers the use.
    #[error("no consent in force covers the use")]
    NoConsent,
    /// A refusal or withdrawal overrides every consent that covers the use.
    #[error("a refusal or withdrawal overrides the consent")]
    Refused,
    /// Every consent that would allow the use names a version of a notice that no longer counts.
    #[error("the consent names a version of its notice that no longer counts")]
    NoticeOutdated,
    /// The cited consent is not one that allows the use.
    #[error("the cited consent does not allow the use")]
    Citation,
    /// The cited legal basis was not declared for the purpose, or it does not allow this use: it never
    /// replaces a consent, and it does not apply to special categories or minors.
    #[error("the cited legal basis does not allow the use")]
    LegalBasis,
    /// The purpose was not defined.
    #[error("the purpose was not defined")]
    UndefinedPurpose,
    /// The category was not defined.
    #[error("the category was not defined")]
    UndefinedCategory,
    /// The grant cites bounds that were not published before it.
    #[error("the grant cites bounds that were not published before it")]
    UnknownBounds,
    /// The grant does not cite exactly the bounds in force.
    #[error("the grant does not cite exactly the bounds that were in force")]
    OtherBounds,
    /// The data subject's own bounds forbid the use: `never`, `only_recipients`, `declared_only` or
    /// `forget_inferences_days`.
    #[error("the person's own bounds forbid the use")]
    PersonalBounds,
    /// The data subject wants to be asked each time, and no consent names the conversation.
    #[error("the person wants to be asked each time, and no consent names the conversation")]
    NotAsked,
    /// Bounds have no valid signature by their publisher. Bounds may be unsigned only if they were published
    /// before the first entry of a data subject.
    #[error("the bounds are not signed by their publisher")]
    UnsignedBounds,
    /// The entry was sealed more than two minutes before it was recorded: its `sealed_at_ms` is too far
    /// behind that of an earlier entry. One of the two times is wrong.
    #[error("sealed more than two minutes before it was recorded: one of the times up to here is wrong")]
    Misdated,
    /// The log was restored from a backup, and the restore was not yet confirmed.
    #[error("a restore from a backup had not been confirmed")]
    RestoreUnconfirmed,
}

/// One fault of one grant, or of one version of bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Position of the grant, of the version of bounds, or of the entry.
    pub position: u64,
    /// Event id of the grant, in hex; empty if the fault is not that of a grant.
    pub grant: String,
    /// Event id of the attribute that should not have been granted, in hex; none if the fault concerns the
    /// whole grant.
    pub attribute: Option<String>,
    /// The reason.
    pub fault: Fault,
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}", self.position)?;
        if !self.grant.is_empty() {
            write!(f, ", grant `{}`", self.grant)?;
        }
        f.write_str(": ")?;
        if let Some(attribute) = &self.attribute {
            write!(f, "attribute `{attribute}`: ")?;
        }
        self.fault.fmt(f)
    }
}
