//! Which events may be in one frame (entries that are written together), and which may follow announced
//! revocations that are still to be recorded. See `revocations.rs`.

use crate::event::event_body::Event;

/// Whether an event records that a grant or an artifact ended, or announces such events.
pub(super) fn is_revocation(event: &Event) -> bool {
    matches!(event, Event::GrantRevoked(_) | Event::ArtifactInvalidated(_) | Event::RevocationsPending(_))
}

/// Whether an event is never in the frame of a change that comes before it.
pub(super) fn is_never_beside_a_change(event: &Event) -> bool {
    matches!(
        event,
        Event::GrantIssued(_)
            | Event::GrantUsed(_)
            | Event::GrantGivenAgain(_)
            | Event::ArtifactRegistered(_)
    )
}

/// Whether an event may be recorded while announced revocations are still to be recorded, because it cannot
/// make a grant valid again.
pub(super) fn allows_nothing_more(event: &Event) -> bool {
    matches!(
        event,
        Event::ConsentRefused(_)
            | Event::ConsentWithdrawn(_)
            | Event::ConsentRequested(_)
            | Event::ConsentExpired(_)
            | Event::SignalRecorded(_)
            | Event::AttributeContested(_)
            | Event::AttributeSourcesAdded(_)
            | Event::EarlierAttributeRecorded(_)
            | Event::AttributeRemoved(_)
            | Event::AttributeExpired(_)
            | Event::GrantIssued(_)
            | Event::GrantGivenAgain(_)
            | Event::RecordingRefused(_)
            | Event::RecordViewed(_)
            | Event::ErasureRequested(_)
            | Event::ErasureRefused(_)
            | Event::RequestSubmitted(_)
            | Event::RequestDecided(_)
            | Event::RequestExtended(_)
            | Event::HoldPlaced(_)
            | Event::RecipientsKept(_)
            | Event::AccessProvided(_)
    )
}
