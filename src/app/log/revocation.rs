//! A revocation as a recipient is notified of it.

use crate::domain::event::Reason;

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
