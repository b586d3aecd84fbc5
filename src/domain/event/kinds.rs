//! Every kind of event, and which kinds can only narrow (never widen) what may be used.

use super::operations::{BackupRestored, FiguresReported, RecordViewed, RestoreConfirmed};
use super::recipients::{RecipientAcknowledged, RecipientReminded, RecipientReported, RecipientsKept};
use super::rights::{
    AccessProvided, ErasureCompleted, ErasureRefused, ErasureRequested, HoldLifted, HoldPlaced,
    RequestDecided, RequestExtended, RequestSubmitted, RequestWithdrawn,
};
use super::rules::{BoundsPublished, PurposeDefined, RecordingRefused, RetentionDefined, SubjectDescribed};
use super::uses::{ArtifactInvalidated, ArtifactRegistered, GrantGivenAgain, GrantIssued, GrantUsed};
use crate::domain::attribute::Attribute;
use crate::domain::consent::{Decision, Terms};
use crate::domain::ids::EventId;
use sayso_proof::event::{
    AuditExported, CategoryDefined, ClockAccepted, DecisionRulesAdopted, LogKeyRotated, LogOpened,
    NoticePublished, NoticeRequired, PersonalBoundsSet, Reason, SignalKind, SubjectMapCommitted,
    WitnessAdded, WitnessRemoved,
};

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// An attribute was recorded.
    AttributeRecorded(Attribute),
    /// An attribute was recorded that had been observed before the current one under its key. It is history
    /// and never becomes current.
    EarlierAttributeRecorded(Attribute),
    /// A corrected attribute replaces a wrong attribute (GDPR Art. 16).
    AttributeCorrected {
        /// The event that recorded the wrong attribute.
        corrects: EventId,
        /// The corrected attribute.
        attribute: Attribute,
    },
    /// The data subject says that an attribute is wrong.
    AttributeContested {
        /// The event that recorded the attribute.
        attribute: EventId,
        /// The data subject's explanation, in their own words.
        reason: String,
    },
    /// The data subject says that an attribute is right.
    AttributeConfirmed {
        /// The event that recorded the attribute.
        attribute: EventId,
    },
    /// A reply was reported after an attribute that names it. Attributes of special categories shaped the
    /// reply, so they are sources of the attribute, too.
    AttributeSourcesAdded {
        /// The event that recorded the attribute.
        attribute: EventId,
        /// Sources in addition to the attribute's `derived_from`.
        sources: Vec<EventId>,
    },
    /// An attribute was removed from the profile.
    AttributeRemoved {
        /// The event that recorded the attribute.
        attribute: EventId,
        /// Why it was removed.
        reason: String,
    },
    /// The data subject was asked for consent.
    ConsentRequested(Terms),
    /// The data subject decided about consent.
    Consent {
        /// What they decided.
        decision: Decision,
        /// The scope of the decision.
        terms: Terms,
    },
    /// The data subject sent or lifted another signal, such as a pause or an objection.
    Signal {
        /// The kind of signal.
        kind: SignalKind,
        /// The purposes that the signal applies to; an empty list means all.
        purposes: Vec<String>,
        /// Whether the signal was lifted rather than set.
        lifted: bool,
        /// For a pause, the one conversation that it applies to; empty means all conversations.
        interaction: String,
    },
    /// The data subject replaced their personal bounds as a whole.
    PersonalBoundsSet(PersonalBoundsSet),
    /// The data subject's description for the bounds changed, for example the age band.
    SubjectDescribed(SubjectDescribed),
    /// A grant was issued: a use was allowed.
    GrantIssued(GrantIssued),
    /// A grant was used.
    GrantUsed(GrantUsed),
    /// An open grant answered a repeated request.
    GrantGivenAgain(GrantGivenAgain),
    /// A grant was revoked.
    GrantRevoked {
        /// The event that issued the grant.
        grant: EventId,
        /// Why the grant was revoked.
        reason: Reason,
        /// The event that caused the revocation, if one did.
        cause: Option<EventId>,
        /// The grant's id, as its recipient knows it.
        grant_id: String,
        /// The recipient to notify.
        recipient: String,
        /// If the grant was revoked because of the source of a derived attribute, the event that recorded
        /// the source.
        source: Option<EventId>,
    },
    /// Revocations took effect with the preceding decision; later entries record them.
    RevocationsPending {
        /// The number of revocations not yet recorded; 0 when all are recorded.
        left: u32,
    },
    /// Bounds refused a write.
    RecordingRefused(RecordingRefused),
    /// A recipient acknowledged that it carried out revocations.
    RecipientAcknowledged(RecipientAcknowledged),
    /// A recipient said what it did about erasures.
    RecipientReported(RecipientReported),
    /// A recipient was reminded of an erasure.
    RecipientReminded(RecipientReminded),
    /// The data subject asked for erasure.
    ErasureRequested(ErasureRequested),
    /// An export of the data subject's data was handed out.
    AccessProvided(AccessProvided),
    /// An attribute expired.
    AttributeExpired {
        /// The event that recorded the attribute.
        attribute: EventId,
        /// Whether a retention rule ended the attribute, rather than its own expiry.
        by_retention: bool,
    },
    /// A consent expired.
    ConsentExpired {
        /// The event that recorded the consent.
        consent: EventId,
    },
    /// A service registered an artifact that it built from attributes.
    ArtifactRegistered(ArtifactRegistered),
    /// An artifact was invalidated and must no longer be used.
    ArtifactInvalidated(ArtifactInvalidated),
    /// The data subject submitted a request to exercise a right.
    RequestSubmitted(RequestSubmitted),
    /// A data subject request was decided.
    RequestDecided(RequestDecided),
    /// The deadline of a data subject request was extended.
    RequestExtended(RequestExtended),
    /// The data subject withdrew a request for erasure.
    RequestWithdrawn(RequestWithdrawn),
    /// The record of disclosures ended, and the list of their recipients is kept.
    RecipientsKept(RecipientsKept),
    /// A legal hold was placed; it blocks erasure.
    HoldPlaced(HoldPlaced),
    /// A legal hold was lifted.
    HoldLifted(HoldLifted),
    /// An erasure was refused in whole or in part.
    ErasureRefused(ErasureRefused),
    /// A retention rule was defined: how long a class of events is kept.
    RetentionDefined(RetentionDefined),
    /// An erasure was completed.
    ErasureCompleted(ErasureCompleted),
    /// A version of a bounds pack was published.
    BoundsPublished(BoundsPublished),
    /// A purpose was defined in the vocabulary.
    PurposeDefined(PurposeDefined),
    /// A category was defined in the vocabulary.
    CategoryDefined(CategoryDefined),
    /// A version of a notice was published.
    NoticePublished(NoticePublished),
    /// Consents to earlier versions of a notice stop counting, so people have to be asked again.
    NoticeRequired(NoticeRequired),
    /// The audit log was exported.
    AuditExported(AuditExported),
    /// Staff viewed a record.
    RecordViewed(RecordViewed),
    /// Aggregate figures about data subjects were reported outside the ledger.
    FiguresReported(FiguresReported),
    /// The log was opened; always its first entry.
    LogOpened(LogOpened),
    /// The log was restored from a backup.
    BackupRestored(BackupRestored),
    /// An operator confirmed that decisions made since the backup are in the log again.
    RestoreConfirmed(RestoreConfirmed),
    /// An operator accepted the machine's clock as correct.
    ClockAccepted(ClockAccepted),
    /// Decisions follow newer rules from here on.
    DecisionRulesAdopted(DecisionRulesAdopted),
    /// The log committed to what it has about each data subject.
    SubjectMapCommitted(SubjectMapCommitted),
    /// The log's signing key was rotated.
    LogKeyRotated(LogKeyRotated),
    /// A witness was added.
    WitnessAdded(WitnessAdded),
    /// A witness was removed.
    WitnessRemoved(WitnessRemoved),
}

impl Event {
    /// Whether the event can only narrow what may be used. If so, it never restores a grant that an earlier
    /// decision ended.
    #[must_use]
    pub fn only_narrows(&self) -> bool {
        match self {
            Self::Consent { decision, .. } => !decision.is_yes(),
            Self::Signal { lifted, .. } => !lifted,
            Self::AttributeContested { .. }
            | Self::EarlierAttributeRecorded(_)
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
            | Self::RecipientsKept(_)
            | Self::AccessProvided(_) => true,
            // Other kinds may allow more, or only the subject's state shows whether they do.
            _ => false,
        }
    }
}
