//! What happened, as the domain sees it.
//!
//! Where a message of the log carries no more than its fields, it stands here as it is.

use super::attribute::Attribute;
use super::consent::{Decision, Terms};
use super::ids::EventId;

pub use sayso_proof::event::{
    AccessProvided, Actor, ArtifactInvalidated, ArtifactRegistered, AuditExported, BackupRestored,
    BoundsPublished, CategoryDefined, ClockAccepted, ErasureCompleted, ErasureRefused, ErasureRequested,
    FiguresReported, GrantGivenAgain, GrantIssued, GrantUsed, GrantedAttribute, HoldLifted, HoldPlaced,
    LogKeyRotated, LogOpened, NoticePublished, PersonalBoundsSet, PurposeDefined, Reason,
    RecipientAcknowledged, RecordViewed, RecordingRefused, RequestDecided, RequestExtended, RequestSubmitted,
    RestoreConfirmed, RetentionDefined, Role, SignalKind, SubjectDescribed, WithheldClass, WitnessAdded,
    WitnessRemoved,
};

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A fact.
    AttributeRecorded(Attribute),
    /// A fact that replaces a wrong one (GDPR Art. 16).
    AttributeCorrected {
        /// The event of the wrong one.
        corrects: EventId,
        /// The right one.
        attribute: Attribute,
    },
    /// The person says it is wrong.
    AttributeContested {
        /// The event that recorded it.
        attribute: EventId,
        /// Their words.
        reason: String,
    },
    /// The person says it is right.
    AttributeConfirmed {
        /// The event that recorded it.
        attribute: EventId,
    },
    /// No longer held.
    AttributeRemoved {
        /// The event that recorded it.
        attribute: EventId,
        /// Why.
        reason: String,
    },
    /// The person was asked.
    ConsentRequested(Terms),
    /// The person decided.
    Consent {
        /// What.
        decision: Decision,
        /// About what.
        terms: Terms,
    },
    /// The person said something else.
    Signal {
        /// What.
        kind: SignalKind,
        /// For which purposes; none: all.
        purposes: Vec<String>,
        /// Taken back.
        lifted: bool,
        /// Of a pause: the one conversation that it is for; empty: everywhere.
        interaction: String,
    },
    /// The person's own bounds, as a whole.
    PersonalBoundsSet(PersonalBoundsSet),
    /// What the bounds need to know of the person.
    SubjectDescribed(SubjectDescribed),
    /// A use was allowed.
    GrantIssued(GrantIssued),
    /// A use happened.
    GrantUsed(GrantUsed),
    /// A grant that stood answered the same request again.
    GrantGivenAgain(GrantGivenAgain),
    /// A use is not allowed any more.
    GrantRevoked {
        /// Event of the grant.
        grant: EventId,
        /// Why.
        reason: Reason,
        /// What caused it.
        cause: Option<EventId>,
        /// The grant's id, as its recipient knows it.
        grant_id: String,
        /// Who is told.
        recipient: String,
        /// Where something derived fell with it: the event of the source.
        source: Option<EventId>,
    },
    /// Revocations took effect with the decision before and are recorded in later entries.
    RevocationsPending {
        /// How many are still to be recorded; 0: all are.
        left: u32,
    },
    /// A write was refused by bounds.
    RecordingRefused(RecordingRefused),
    /// A recipient carried something out.
    RecipientAcknowledged(RecipientAcknowledged),
    /// The person asked to be forgotten.
    ErasureRequested(ErasureRequested),
    /// Somebody took a package about the person away.
    AccessProvided(AccessProvided),
    /// The time of an attribute has come.
    AttributeExpired {
        /// The event that recorded it.
        attribute: EventId,
        /// By a rule of retention, and not by its own end.
        by_retention: bool,
    },
    /// A consent reached its end.
    ConsentExpired {
        /// The event of the decision.
        consent: EventId,
    },
    /// A service built something from what is held.
    ArtifactRegistered(ArtifactRegistered),
    /// What a service built must not be used any more.
    ArtifactInvalidated(ArtifactInvalidated),
    /// The person asked for something that they have a right to.
    RequestSubmitted(RequestSubmitted),
    /// Somebody decided about it.
    RequestDecided(RequestDecided),
    /// There is more time to answer.
    RequestExtended(RequestExtended),
    /// A legal reason blocks erasure.
    HoldPlaced(HoldPlaced),
    /// No longer.
    HoldLifted(HoldLifted),
    /// An erasure was refused, whole or in part.
    ErasureRefused(ErasureRefused),
    /// How long a class of events is kept.
    RetentionDefined(RetentionDefined),
    /// Somebody was forgotten.
    ErasureCompleted(ErasureCompleted),
    /// Rules.
    BoundsPublished(BoundsPublished),
    /// A word of the vocabulary.
    PurposeDefined(PurposeDefined),
    /// A word of the vocabulary.
    CategoryDefined(CategoryDefined),
    /// What people are told.
    NoticePublished(NoticePublished),
    /// An export.
    AuditExported(AuditExported),
    /// Somebody looked.
    RecordViewed(RecordViewed),
    /// Figures over people left the ledger.
    FiguresReported(FiguresReported),
    /// The first entry.
    LogOpened(LogOpened),
    /// The log went back to a backup.
    BackupRestored(BackupRestored),
    /// What was said since the backup is in the log again.
    RestoreConfirmed(RestoreConfirmed),
    /// The machine's clock, accepted as it is.
    ClockAccepted(ClockAccepted),
    /// The log has another key.
    LogKeyRotated(LogKeyRotated),
    /// Somebody is asked to cosign.
    WitnessAdded(WitnessAdded),
    /// No longer.
    WitnessRemoved(WitnessRemoved),
}

impl Event {
    /// Whether it can only narrow what may be used: it never makes a grant stand again that an earlier decision ended.
    #[must_use]
    pub fn only_narrows(&self) -> bool {
        match self {
            Self::Consent { decision, .. } => !decision.is_yes(),
            Self::Signal { lifted, .. } => !lifted,
            Self::AttributeContested { .. }
            | Self::AttributeRemoved { .. }
            | Self::AttributeExpired { .. }
            | Self::ConsentExpired { .. }
            | Self::GrantIssued(_)
            | Self::GrantGivenAgain(_)
            | Self::GrantRevoked { .. }
            | Self::RevocationsPending { .. }
            | Self::ArtifactInvalidated(_)
            | Self::RecordingRefused(_)
            | Self::RecordViewed(_)
            | Self::RecipientAcknowledged(_)
            | Self::ErasureRequested(_)
            | Self::ErasureRefused(_)
            | Self::RequestSubmitted(_)
            | Self::RequestDecided(_)
            | Self::RequestExtended(_)
            | Self::HoldPlaced(_)
            | Self::AccessProvided(_) => true,
            // Other kinds may allow more, or it takes the state to tell.
            _ => false,
        }
    }
}

/// An event before it has its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// When it is about, by the writer's word, milliseconds since the Unix epoch.
    pub about_ms: u64,
    /// Who caused it.
    pub actor: Actor,
    /// What happened.
    pub event: Event,
}

/// An event in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its id.
    pub event_id: EventId,
    /// 0-based position in the log.
    pub position: u64,
    /// 0-based version within the subject.
    pub version: u64,
    /// The ledger's time, never decreasing over positions, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// When it was sealed, never decreasing over the subject's versions.
    pub sealed_at_ms: u64,
    /// When it is about, by the writer's word.
    pub about_ms: u64,
    /// Who caused it.
    pub actor: Actor,
    /// Tells a retry from a reused key.
    pub request_digest: Vec<u8>,
    /// What happened.
    pub event: Event,
}
