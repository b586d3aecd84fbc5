//! The options of a write, such as an idempotency key, and the receipt that a write returns.

use crate::app::log::revocation::recipient_of_revoked;
use crate::domain::event::{Recorded, RequestKey};
use crate::domain::ids::EventId;
use sayso_proof::merkle::Hash;

/// Options of a write.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// At most 128 bytes; empty for none.
    pub idempotency_key: String,
    /// The expected value of [`Caller::version_of`](crate::app::Caller).
    pub expected_version: Option<u64>,
    /// Whether to attach inclusion proofs.
    pub proofs: bool,
    /// The writer's own time of the event, milliseconds since the Unix epoch; `None` for now.
    pub about_ms: Option<u64>,
    /// The encoded request without fields that do not change its meaning. It shows whether an idempotency key
    /// is reused for a different request.
    pub request: Vec<u8>,
}

/// One event in the log.
#[derive(Clone, Debug)]
pub struct EventReceipt {
    /// Its id.
    pub event_id: EventId,
    /// 0-based position in the log.
    pub position: u64,
    /// 0-based version in the subject's stream.
    pub version: u64,
    /// RFC 6962 leaf hash.
    pub leaf_hash: Hash,
    /// Milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// For the event of a revocation: the recipient.
    pub revoked_for: Option<String>,
    /// `c2sp.org/tlog-proof` text, if it was requested.
    pub proof: Option<String>,
}

/// The result of one write.
#[derive(Clone, Debug, Default)]
pub struct Receipt {
    /// The events, in the order of the log.
    pub events: Vec<EventReceipt>,
    /// A signed checkpoint of a tree that includes all of these events.
    pub checkpoint: String,
    /// Whether the same request was made before, and this is its result.
    pub replayed: bool,
}

/// Ties an event to the request that caused it.
#[derive(Clone, Default)]
pub(crate) struct RequestStamp {
    /// Keyed hash of the caller and the idempotency key, which system events have in clear.
    pub in_clear: Option<Hash>,
    /// Hash of the caller and the idempotency key, which is sealed with the events of data subjects.
    pub sealed: RequestKey,
    /// Keyed hash of the content.
    pub digest: Vec<u8>,
}

pub(crate) fn receipt_of(event: &Recorded, leaf_hash: Hash) -> EventReceipt {
    EventReceipt {
        event_id: event.event_id,
        position: event.position,
        version: event.version,
        leaf_hash,
        recorded_at_ms: event.recorded_at_ms,
        revoked_for: recipient_of_revoked(&event.event).map(str::to_owned),
        proof: None,
    }
}
