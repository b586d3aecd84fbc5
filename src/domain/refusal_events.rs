//! Distinguishes a person's no, such as a refusal or an objection, from everything else. A no is recorded
//! regardless of the time that it concerns, even if the person was erased since. To refuse the record
//! would allow a use that the person ended.

use super::event::{Event, PersonalBoundsSet};

/// Whether these events record a person's no, and nothing else but its effects. A no is a refusal or
/// withdrawal of consent, a signal, personal bounds that forbid something, a contest or removal of an
/// attribute, or a data subject request.
#[must_use]
pub fn are_refusals<'a>(events: impl IntoIterator<Item = &'a Event>) -> bool {
    let mut has_refusal = false;
    for event in events {
        match event {
            _ if is_refusal(event) => has_refusal = true,
            // What the ledger itself records with a refusal: revocations, the answer to a request that a hold
            // stops, and recipients of what is erased.
            Event::GrantRevoked { .. }
            | Event::RevocationsPending { .. }
            | Event::ArtifactInvalidated(_)
            | Event::ErasureRefused(_)
            | Event::RequestDecided(_)
            | Event::RecipientsKept(_) => {}
            _ => return false,
        }
    }
    has_refusal
}

fn is_refusal(event: &Event) -> bool {
    match event {
        Event::Consent { decision, .. } => !decision.is_yes(),
        Event::Signal { lifted, .. } => !lifted,
        Event::PersonalBoundsSet(choices) => *choices != PersonalBoundsSet::default(),
        Event::AttributeContested { .. }
        | Event::AttributeRemoved { .. }
        | Event::ErasureRequested(_)
        | Event::RequestSubmitted(_) => true,
        _ => false,
    }
}
