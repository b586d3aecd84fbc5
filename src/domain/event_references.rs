//! Which other event an event is about, and which data it names.

use super::event::Event;
use super::ids::EventId;

/// The event that the given event is about. Without that event, the given event has no meaning.
pub(super) fn subject_of(event: &Event) -> Option<EventId> {
    match event {
        Event::AttributeContested { attribute, .. }
        | Event::AttributeConfirmed { attribute }
        | Event::AttributeRemoved { attribute, .. }
        | Event::AttributeExpired { attribute, .. } => Some(*attribute),
        Event::GrantRevoked { grant, .. } => Some(*grant),
        Event::GrantGivenAgain(again) => Some(again.grant),
        Event::ArtifactInvalidated(artifact) => Some(artifact.artifact),
        Event::ConsentExpired { consent } => Some(*consent),
        _ => None,
    }
}

/// Whether the event is a request that contains details or keys, or a refusal that names a key.
pub(super) fn names_something(event: &Event) -> bool {
    match event {
        Event::RequestSubmitted(request) => !request.keys.is_empty() || !request.details.is_empty(),
        Event::ErasureRefused(refused) => !refused.key.is_empty(),
        _ => false,
    }
}

pub(super) fn names_key(event: &Event, key: &str) -> bool {
    match event {
        Event::AttributeRecorded(attribute)
        | Event::EarlierAttributeRecorded(attribute)
        | Event::AttributeCorrected { attribute, .. } => attribute.key == key,
        Event::GrantIssued(grant) => {
            grant.keys.iter().any(|named| named == key) || grant.allowed.iter().any(|cited| cited.key == key)
        }
        Event::RequestSubmitted(request) => {
            request.keys.iter().any(|named| named == key)
                || (!request.details.is_empty() && request.keys.is_empty())
        }
        Event::ErasureRefused(refused) => refused.key == key,
        _ => false,
    }
}
