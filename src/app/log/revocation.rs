//! A revocation, in the form in which a recipient that watches revocations receives it.

use crate::app::caller::Caller;
use crate::domain::event::{ErasureScope, Event, Reason};

/// One or more grants or artifacts of a recipient were revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Position plus one, to resume from. A revocation that is in effect but not recorded yet has the watch's
    /// current cursor. The watch returns it again once it is recorded.
    pub cursor: u64,
    /// The grants.
    pub grant_ids: Vec<String>,
    /// The artifacts.
    pub artifact_ids: Vec<String>,
    /// The reason.
    pub reason: Reason,
    /// Milliseconds since the Unix epoch; 0 if it is in effect but not recorded yet.
    pub recorded_at_ms: u64,
    /// The id of the event that caused the revocation; empty if that event was erased.
    pub cause: String,
    /// The id of the event that recorded the source, if something derived was revoked with its source;
    /// otherwise empty.
    pub source: String,
    /// What was erased, if the revocation is because of an erasure.
    pub erased_scope: ErasureScope,
    /// Which reminder of an erasure this is, from 1; 0 if it is none.
    pub reminder: u32,
    /// The recipient that passed the data on to this one; empty if the ledger disclosed it.
    pub named_by: String,
}

/// The recipient whose grant or artifact an event revokes. Empty for `RevocationsPending`, which concerns
/// only the ledger. `None` for all other events.
pub(crate) fn recipient_of_revoked(event: &Event) -> Option<&str> {
    match event {
        Event::GrantRevoked { recipient, .. } => Some(recipient),
        Event::ArtifactInvalidated(invalidated) => Some(&invalidated.recipient),
        Event::RevocationsPending { .. } => Some(""),
        _ => None,
    }
}

/// The ids of the grants that these events revoke. A service or channel gets only those of its own grants.
pub(crate) fn revoked_ids<'a>(caller: &Caller, events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    let revoked = events.into_iter().filter_map(|event| match event {
        Event::GrantRevoked { grant_id, recipient, .. } => Some((grant_id, recipient)),
        _ => None,
    });
    revoked.filter(|(_, recipient)| caller.sees_recipient(recipient)).map(|(id, _)| id.clone()).collect()
}
