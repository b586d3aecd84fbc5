//! The events of the log, as the domain uses them: ids have the types of [`crate::domain::ids`], and
//! enumerations are Rust enums.
//!
//! [`codec`] converts events to the messages of `events.proto` and back. No other code of the domain, or of
//! the modules that use the domain, reads an id or an enumeration from a message of the log.

mod actor;
pub mod codec;
mod kinds;
mod operations;
mod recipients;
mod recorded;
mod rights;
mod rules;
mod uses;

pub use actor::Actor;
pub use kinds::Event;
pub use operations::{BackupRestored, FiguresReported, RecordViewed, RestoreConfirmed};
pub use recipients::{
    KeptRecipient, PriorRecipient, RecipientAcknowledged, RecipientReminded, RecipientReported,
    RecipientsKept,
};
pub use recorded::{Draft, Recorded, RequestKey};
pub use rights::{
    AccessProvided, CopiesFound, ErasureCompleted, ErasureDetails, ErasureIntent, ErasureRefused,
    ErasureRequested, ErasureSummary, HoldLifted, HoldPlaced, KeptOnGround, RequestDecided, RequestExtended,
    RequestSubmitted, RequestWithdrawn,
};
pub use rules::{BoundsPublished, PurposeDefined, RecordingRefused, RetentionDefined, SubjectDescribed};
pub use uses::{
    ArtifactInvalidated, ArtifactRegistered, GrantGivenAgain, GrantIssued, GrantUsed, GrantedAttribute,
    Ranking, WithheldClass,
};

// The enumerations of the published schema.
pub use sayso_proof::event::{
    AgeBand, ArtifactKind, ErasedKind, ErasureOutcome, ErasureScope, EvidenceKind, Ground, Jurisdiction,
    LegalBasis, PackageKind, Provenance, RankingMethod, Reason, RequestKind, RequestOutcome, RetentionClass,
    Role, Rung, SignalKind, Tier,
};
// These messages consist of texts and numbers only. They have no ids and no enumerations, so they need no
// conversion.
pub use sayso_proof::event::{
    AuditExported, CategoryDefined, ClockAccepted, ConsentTerms, DecisionRulesAdopted, LogKeyRotated,
    LogOpened, NeverUse, NoticePublished, NoticeRef, NoticeRequired, PersonalBoundsSet, PositionRange,
    SubjectMapCommitted, WitnessAdded, WitnessRemoved,
};
