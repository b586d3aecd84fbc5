//! What comes with a write, and what it returns.

use crate::app::log::revocation::revoked_for;
use crate::domain::event::Recorded;
use crate::domain::ids::EventId;
use sayso_proof::merkle::Hash;

/// What comes with every write.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Empty: none. At most 128 bytes.
    pub idempotency_key: String,
    /// What [`Caller::version_of`] must be.
    pub expected_version: Option<u64>,
    /// Attach inclusion proofs.
    pub proofs: bool,
    /// When it is about, milliseconds since the Unix epoch; none: now.
    pub about_ms: Option<u64>,
    /// The request, encoded, without what does not change its meaning: what a reused key is told apart by.
    pub request: Vec<u8>,
}

/// One event as it stands in the log.
#[derive(Clone, Debug)]
pub struct EventReceipt {
    /// Its id.
    pub event_id: EventId,
    /// 0-based position in the log.
    pub position: u64,
    /// 0-based version within the subject.
    pub version: u64,
    /// RFC 6962 leaf hash.
    pub leaf_hash: Hash,
    /// Milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Of something that fell: whose it was.
    pub revoked_for: Option<String>,
    /// `c2sp.org/tlog-proof` text, where asked for.
    pub proof: Option<String>,
}

/// What one write caused.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// In order.
    pub events: Vec<EventReceipt>,
    /// A signed checkpoint of a tree that holds all of them.
    pub checkpoint: String,
    /// It had been done before.
    pub replayed: bool,
}

/// What ties an event to the request that caused it.
#[derive(Clone, Default)]
pub(crate) struct RequestStamp {
    pub idempotency: Option<Hash>,
    pub digest: Vec<u8>,
}

pub(crate) fn receipt_of(event: &Recorded, leaf_hash: Hash) -> EventReceipt {
    EventReceipt {
        event_id: event.event_id,
        position: event.position,
        version: event.version,
        leaf_hash,
        recorded_at_ms: event.recorded_at_ms,
        revoked_for: revoked_for(&event.event).map(str::to_owned),
        proof: None,
    }
}
