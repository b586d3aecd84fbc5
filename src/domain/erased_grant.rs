//! What is known about a grant after an erasure destroyed its record.

use super::event::{ErasureScope, Reason};
use super::ids::EventId;
use super::wording;
use sayso_proof::merkle::Hash;
use std::fmt;

/// The erasure that erased a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedGrant {
    /// The request that the erasure carried out, if an early version recorded it.
    pub request: Option<EventId>,
    /// The hash of its id.
    pub request_hash: Hash,
    /// The recipient of the grant.
    pub recipient: String,
    /// What was erased.
    pub scope: ErasureScope,
    /// The category of an erasure of one category. Empty for a service, because the grant may have had only
    /// data that was derived from this category.
    pub category: String,
    /// Why the grant ended.
    pub reason: Reason,
    /// When the erasure was completed, milliseconds since the Unix epoch.
    pub completed_at_ms: u64,
}

impl fmt::Display for ErasedGrant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let erased = wording::erased(self.scope, self.reason == Reason::Erased);
        write!(out, "the record of this grant was erased on {}: ", wording::time(self.completed_at_ms))?;
        match self.category.as_str() {
            "" => write!(out, "{erased}"),
            category => write!(out, "{erased} (`{category}`)"),
        }
    }
}
