//! Why a grant should not have been issued.

use serde::Serialize;
use std::fmt::{self, Display};

/// Why a grant should not have been issued as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The subject has no such attribute before the grant.
    #[error("the attribute was never recorded")]
    UnknownAttribute,
    /// The grant says another key or category than was recorded.
    #[error("the attribute was recorded under another key or category")]
    Described,
    /// It was removed before.
    #[error("the attribute had been removed")]
    Removed,
    /// It was corrected before (GDPR Art. 16).
    #[error("the attribute had been corrected")]
    Corrected,
    /// A later attribute with its key had replaced it.
    #[error("the attribute had been replaced")]
    Replaced,
    /// It is an inference about what the person had declared.
    #[error("an inference against what the person had declared")]
    DeclaredOtherwise,
    /// It had expired.
    #[error("the attribute had expired")]
    Expired,
    /// The person had contested it.
    #[error("the attribute had been contested")]
    Contested,
    /// Something that it was derived from could not be used.
    #[error("a source of the attribute could not be used")]
    SourceWithheld,
    /// Not among the categories or keys that were asked for.
    #[error("the attribute was not asked for")]
    NotAskedFor,
    /// GDPR Art. 18.
    #[error("the person had restricted use")]
    Restricted,
    /// GDPR Art. 21.
    #[error("the person had objected")]
    Objected,
    /// The person had paused personalisation.
    #[error("the person had paused personalisation")]
    Paused,
    /// No yes in force covers the case.
    #[error("no consent in force covers it")]
    NoConsent,
    /// A no stands against every yes that covers the case.
    #[error("a refusal or withdrawal stands against it")]
    Refused,
    /// The consent that the grant cites is not one that allows it.
    #[error("the consent cited does not allow it")]
    Citation,
    /// The purpose was not defined.
    #[error("the purpose was not defined")]
    UndefinedPurpose,
    /// The category was not defined.
    #[error("the category was not defined")]
    UndefinedCategory,
    /// It cites bounds that were not published before it.
    #[error("it cites bounds that were not published before it")]
    UnknownBounds,
    /// It does not cite exactly the bounds that were in force.
    #[error("it does not cite the bounds that were in force")]
    OtherBounds,
    /// The person's own bounds (never this, only these, declared only, forget) are against it.
    #[error("the person's own bounds are against it")]
    PersonalBounds,
    /// The person wants to be asked each time.
    #[error("no consent names the conversation, and the person wants to be asked each time")]
    NotAsked,
    /// Bounds without a signature by their writer that holds, after the log had begun.
    #[error("the bounds are not signed by whoever published them")]
    UnsignedBounds,
    /// The log had gone back to a backup, and nobody had confirmed that what people said since is in it again.
    #[error("use waited for a restore to be confirmed")]
    RestoreUnconfirmed,
}

/// One thing wrong with one grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Position of the grant.
    pub position: u64,
    /// Event id of the grant, in hex; empty where it is no grant.
    pub grant: String,
    /// Event id of the attribute that should not have been allowed, in hex; none where the grant as a whole is wrong.
    pub attribute: Option<String>,
    /// Why.
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
