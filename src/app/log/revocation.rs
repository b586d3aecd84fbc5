//! A revocation as a recipient is notified of it.

use crate::app::caller::Caller;
use crate::domain::event::{Event, Reason};

/// One or more grants of a recipient fell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Position plus one: where to resume. Of one that is in effect and not recorded yet, where the watch stands; it comes
    /// again.
    pub cursor: u64,
    /// Which grants.
    pub grant_ids: Vec<String>,
    /// Which artefacts.
    pub artifact_ids: Vec<String>,
    /// Why.
    pub reason: Reason,
    /// Milliseconds since the Unix epoch; 0: it is in effect, and not recorded yet.
    pub recorded_at_ms: u64,
    /// Id of the event that they fell with; empty where that is erased.
    pub cause: String,
    /// Where something derived fell with its source: id of the event that recorded it; otherwise empty.
    pub source: String,
}

/// Whose something was, of an event that says that it fell. That more follow is the ledger's own.
pub(crate) fn revoked_for(event: &Event) -> Option<&str> {
    match event {
        Event::GrantRevoked { recipient, .. } => Some(recipient),
        Event::ArtifactInvalidated(invalidated) => Some(&invalidated.recipient),
        Event::RevocationsPending { .. } => Some(""),
        _ => None,
    }
}

/// The ids of grants that events revoke, as far as the caller is told of them: a service of its own.
pub(crate) fn revoked_ids<'a>(caller: &Caller, events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    let revoked = events.into_iter().filter_map(|event| match event {
        Event::GrantRevoked { grant_id, recipient, .. } => Some((grant_id, recipient)),
        _ => None,
    });
    revoked.filter(|(_, recipient)| caller.sees_recipient(recipient)).map(|(id, _)| id.clone()).collect()
}
