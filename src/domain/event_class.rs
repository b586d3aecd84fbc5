//! The classes of events. Erasure and retention treat each class differently.

use super::event::Event;

/// Classes of events. Each class has its own retention period and legal ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Attributes and events about them.
    Profile,
    /// Consent decisions, signals and personal bounds: the evidence of the data subject's wishes. The
    /// data subject's description is in this class too.
    Consent,
    /// Grants, reports of use and artifacts.
    Uses,
    /// Requests, holds and their outcomes, exports, and views of records.
    Requests,
    /// System events, which have no data subject.
    System,
}

/// The class of an event. The match is exhaustive, so that the author of a new kind must decide what erasure
/// means for it.
#[must_use]
pub fn class(event: &Event) -> Class {
    match event {
        Event::AttributeRecorded(_)
        | Event::EarlierAttributeRecorded(_)
        | Event::AttributeCorrected { .. }
        | Event::AttributeContested { .. }
        | Event::AttributeConfirmed { .. }
        | Event::AttributeSourcesAdded { .. }
        | Event::AttributeRemoved { .. }
        | Event::AttributeExpired { .. }
        // An attempted inference also reveals something about the data subject.
        | Event::RecordingRefused(_) => Class::Profile,
        Event::ConsentRequested(_)
        | Event::Consent { .. }
        | Event::ConsentExpired { .. }
        | Event::Signal { .. }
        // Bounds protect the data subject by age and place, so erasing a description must not allow more use.
        | Event::SubjectDescribed(_)
        | Event::PersonalBoundsSet(_) => Class::Consent,
        Event::GrantIssued(_)
        | Event::GrantUsed(_)
        | Event::GrantGivenAgain(_)
        | Event::GrantRevoked { .. }
        | Event::RevocationsPending { .. }
        | Event::ArtifactRegistered(_)
        | Event::ArtifactInvalidated(_) => Class::Uses,
        Event::ErasureRequested(_)
        | Event::ErasureRefused(_)
        | Event::RequestSubmitted(_)
        | Event::RequestDecided(_)
        | Event::RequestExtended(_)
        | Event::RequestWithdrawn(_)
        // Like a request, the list shows how the data subject was treated. An erasure of the profile keeps
        // it.
        | Event::RecipientsKept(_)
        | Event::AccessProvided(_)
        | Event::HoldPlaced(_)
        | Event::HoldLifted(_)
        // A view of a record, like a request, shows how the data subject was treated.
        | Event::RecordViewed(_) => Class::Requests,
        Event::RecipientAcknowledged(_)
        | Event::RecipientReported(_)
        | Event::RecipientReminded(_)
        | Event::ErasureCompleted(_)
        | Event::BoundsPublished(_)
        | Event::PurposeDefined(_)
        | Event::CategoryDefined(_)
        | Event::NoticePublished(_)
        | Event::NoticeRequired(_)
        | Event::AuditExported(_)
        | Event::RetentionDefined(_)
        | Event::BackupRestored(_)
        | Event::RestoreConfirmed(_)
        | Event::ClockAccepted(_)
        | Event::DecisionRulesAdopted(_)
        | Event::SubjectMapCommitted(_)
        | Event::LogKeyRotated(_)
        | Event::WitnessAdded(_)
        | Event::WitnessRemoved(_)
        | Event::FiguresReported(_)
        | Event::LogOpened(_) => Class::System,
    }
}
