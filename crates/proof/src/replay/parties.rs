//! For each kind of event: whom the event is about (`about`), and which items, such as attributes and grants,
//! it names (`named`). Both functions match every kind of event. So a new kind does not compile until both
//! functions cover it.

use super::missing::MissingKind;
use crate::event::event_body::Event;
use crate::event::{Attribute, ErasureScope};

/// Whom an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// One data subject. The event is sealed in their stream.
    Subject,
    /// No data subject: a system event.
    Log,
    /// A data subject, or all of them. Then it is a system event.
    PersonOrAll,
}

impl About {
    /// Whether the event belongs where it was recorded: in the stream of a data subject, or among the system
    /// events.
    pub fn may_be_recorded(self, is_system_event: bool) -> bool {
        match self {
            Self::Subject => !is_system_event,
            Self::Log => is_system_event,
            Self::PersonOrAll => true,
        }
    }
}

/// Whom a kind of event is about.
pub(super) fn about(event: &Event) -> About {
    match event {
        Event::AttributeRecorded(_)
        | Event::AttributeCorrected(_)
        | Event::AttributeContested(_)
        | Event::AttributeConfirmed(_)
        | Event::AttributeSourcesAdded(_)
        | Event::AttributeRemoved(_)
        | Event::AttributeExpired(_)
        | Event::EarlierAttributeRecorded(_)
        | Event::ConsentRequested(_)
        | Event::ConsentGiven(_)
        | Event::ConsentRefused(_)
        | Event::ConsentRenewed(_)
        | Event::ConsentWithdrawn(_)
        | Event::ConsentExpired(_)
        | Event::SignalRecorded(_)
        | Event::SignalLifted(_)
        | Event::PersonalBoundsSet(_)
        | Event::SubjectDescribed(_)
        | Event::GrantIssued(_)
        | Event::GrantUsed(_)
        | Event::GrantRevoked(_)
        | Event::GrantGivenAgain(_)
        | Event::RevocationsPending(_)
        | Event::RecordingRefused(_)
        | Event::ArtifactRegistered(_)
        | Event::ArtifactInvalidated(_)
        | Event::ErasureRequested(_)
        | Event::ErasureRefused(_)
        | Event::AccessProvided(_)
        | Event::RequestSubmitted(_)
        | Event::RequestDecided(_)
        | Event::RequestExtended(_)
        | Event::RequestWithdrawn(_)
        | Event::RecipientsKept(_)
        | Event::HoldPlaced(_)
        | Event::HoldLifted(_) => About::Subject,
        Event::RecordViewed(_) => About::PersonOrAll,
        // The acknowledgment names a position and a recipient, and no data subject.
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
        | Event::LogOpened(_)
        | Event::LogKeyRotated(_)
        | Event::RetentionDefined(_)
        | Event::BackupRestored(_)
        | Event::RestoreConfirmed(_)
        | Event::ClockAccepted(_)
        | Event::DecisionRulesAdopted(_)
        | Event::SubjectMapCommitted(_)
        | Event::WitnessAdded(_)
        | Event::WitnessRemoved(_)
        | Event::FiguresReported(_) => About::Log,
    }
}

/// Something of a data subject that an event names by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// The event that recorded an attribute.
    Attribute(&'a [u8]),
    /// The event that gave or renewed a consent.
    Consent(&'a [u8]),
    Grant(&'a [u8]),
    /// The event that registered an artifact.
    Artifact(&'a [u8]),
    Request(&'a [u8]),
    Hold(&'a [u8]),
    /// Any event of the data subject.
    OwnEvent(&'a [u8]),
    /// Any event of the data subject, or a system event.
    Cause(&'a [u8]),
}

/// What an event names of its data subject. It must have been recorded before the event. Empty ids name
/// nothing. The attributes that a grant allows are left out: they are checked with the grant.
pub(super) fn named(event: &Event) -> Vec<Named<'_>> {
    match event {
        Event::AttributeRecorded(recorded) => sources(recorded.attribute.as_ref()),
        Event::EarlierAttributeRecorded(recorded) => sources(recorded.attribute.as_ref()),
        Event::AttributeCorrected(corrected) => {
            let mut named = sources(corrected.attribute.as_ref());
            named.push(Named::Attribute(&corrected.corrects));
            named
        }
        Event::AttributeContested(contested) => vec![Named::Attribute(&contested.attribute)],
        Event::AttributeConfirmed(confirmed) => vec![Named::Attribute(&confirmed.attribute)],
        Event::AttributeSourcesAdded(added) => {
            let sources = added.sources.iter().map(|source| Named::Attribute(source));
            std::iter::once(Named::Attribute(&added.attribute)).chain(sources).collect()
        }
        Event::AttributeRemoved(removed) => vec![Named::Attribute(&removed.attribute)],
        Event::AttributeExpired(expired) => vec![Named::Attribute(&expired.attribute)],
        Event::ConsentExpired(expired) => vec![Named::Consent(&expired.consent)],
        Event::GrantIssued(_)
        | Event::GrantUsed(_)
        | Event::GrantGivenAgain(_)
        | Event::GrantRevoked(_)
        | Event::ArtifactRegistered(_)
        | Event::ArtifactInvalidated(_) => named_of_grants(event),
        Event::ErasureRequested(_)
        | Event::ErasureRefused(_)
        | Event::AccessProvided(_)
        | Event::RequestDecided(_)
        | Event::RequestExtended(_)
        | Event::RequestWithdrawn(_)
        | Event::HoldLifted(_) => named_of_requests(event),
        Event::ConsentRequested(_)
        | Event::ConsentGiven(_)
        | Event::ConsentRefused(_)
        | Event::ConsentRenewed(_)
        | Event::ConsentWithdrawn(_)
        | Event::SignalRecorded(_)
        | Event::SignalLifted(_)
        | Event::PersonalBoundsSet(_)
        | Event::SubjectDescribed(_)
        | Event::RevocationsPending(_)
        | Event::RecordingRefused(_)
        | Event::RequestSubmitted(_)
        | Event::HoldPlaced(_)
        | Event::RecipientsKept(_)
        | Event::RecordViewed(_)
        | Event::RecipientAcknowledged(_)
        | Event::RecipientReported(_)
        | Event::RecipientReminded(_)
        | Event::ErasureCompleted(_)
        | Event::BoundsPublished(_)
        | Event::PurposeDefined(_)
        | Event::CategoryDefined(_)
        | Event::NoticePublished(_)
        | Event::NoticeRequired(_)
        | Event::AuditExported(_)
        | Event::LogOpened(_)
        | Event::LogKeyRotated(_)
        | Event::RetentionDefined(_)
        | Event::BackupRestored(_)
        | Event::RestoreConfirmed(_)
        | Event::ClockAccepted(_)
        | Event::DecisionRulesAdopted(_)
        | Event::SubjectMapCommitted(_)
        | Event::WitnessAdded(_)
        | Event::WitnessRemoved(_)
        | Event::FiguresReported(_) => Vec::new(),
    }
}

/// What an event about grants and artifacts names.
fn named_of_grants(event: &Event) -> Vec<Named<'_>> {
    match event {
        Event::GrantIssued(grant) => {
            let decided = grant.withheld.iter().map(|class| Named::OwnEvent(&class.decided_by_event));
            let sources = grant.withheld.iter().map(|class| Named::Attribute(&class.source));
            decided.chain(sources).filter(|named| !named.id().is_empty()).collect()
        }
        Event::GrantUsed(used) => vec![Named::Grant(&used.grant)],
        Event::GrantGivenAgain(given) => vec![Named::Grant(&given.grant)],
        Event::GrantRevoked(revoked) => {
            let mut named = vec![Named::Grant(&revoked.grant)];
            named.extend(Some(Named::Cause(&revoked.cause)).filter(|cause| !cause.id().is_empty()));
            named.extend(Some(Named::Attribute(&revoked.source)).filter(|source| !source.id().is_empty()));
            named
        }
        Event::ArtifactRegistered(registered) => vec![Named::Grant(&registered.grant)],
        Event::ArtifactInvalidated(ended) => {
            let mut named = vec![Named::Artifact(&ended.artifact)];
            named.extend(Some(Named::Cause(&ended.cause)).filter(|cause| !cause.id().is_empty()));
            named
        }
        _ => Vec::new(),
    }
}

/// What an event about requests and holds names.
fn named_of_requests(event: &Event) -> Vec<Named<'_>> {
    match event {
        // The end of retention has no request of the data subject. It may erase everything.
        Event::ErasureRequested(requested)
            if matches!(requested.scope(), ErasureScope::Retention | ErasureScope::All) =>
        {
            Vec::new()
        }
        Event::ErasureRequested(requested) => vec![Named::Request(&requested.request)],
        Event::ErasureRefused(refused) => {
            let holds = refused.holds.iter().map(|hold| Named::Hold(hold));
            std::iter::once(Named::Request(&refused.request)).chain(holds).collect()
        }
        Event::AccessProvided(provided) if provided.request.is_empty() => Vec::new(),
        Event::AccessProvided(provided) => vec![Named::Request(&provided.request)],
        Event::RequestDecided(decided) => vec![Named::Request(&decided.request)],
        Event::RequestExtended(extended) => vec![Named::Request(&extended.request)],
        Event::RequestWithdrawn(withdrawn) => vec![Named::Request(&withdrawn.request)],
        Event::HoldLifted(lifted) => vec![Named::Hold(&lifted.hold)],
        _ => Vec::new(),
    }
}

impl<'a> Named<'a> {
    /// What it must have been, if its entry is missing. The entry of a correction may be a decision. So what
    /// has to be an attribute may be of any kind.
    pub fn missing_kind(&self) -> MissingKind {
        match self {
            Self::Consent(_) => MissingKind::Decision,
            Self::Grant(_) | Self::Artifact(_) => MissingKind::Use,
            Self::Request(_) | Self::Hold(_) => MissingKind::Request,
            Self::Attribute(_) | Self::OwnEvent(_) | Self::Cause(_) => MissingKind::Any,
        }
    }

    pub fn id(&self) -> &'a [u8] {
        match self {
            Self::Attribute(id)
            | Self::Consent(id)
            | Self::Grant(id)
            | Self::Artifact(id)
            | Self::Request(id)
            | Self::Hold(id)
            | Self::OwnEvent(id)
            | Self::Cause(id) => id,
        }
    }
}

fn sources(attribute: Option<&Attribute>) -> Vec<Named<'_>> {
    let sources = attribute.into_iter().flat_map(|attribute| &attribute.derived_from);
    sources.map(|source| Named::Attribute(source)).collect()
}
