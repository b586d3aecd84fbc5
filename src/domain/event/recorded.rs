//! An event before it is appended, and an event in the log.

use super::actor::Actor;
use super::kinds::Event;
use crate::domain::ids::EventId;

/// An event before it is appended.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The time that the writer says the event refers to, milliseconds since the Unix epoch.
    pub about_ms: u64,
    /// Who caused the event.
    pub actor: Actor,
    /// The event itself.
    pub event: Event,
}

/// What the log has of the idempotency key of the request that caused an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestKey {
    /// Nothing: the request had no key.
    #[default]
    None,
    /// The hash of the caller and the key, sealed with the event.
    Sealed([u8; 32]),
    /// A hash in the unencrypted part of the entry. System events have it, and early events of data subjects.
    InClear,
}

impl RequestKey {
    /// The hash, as the sealed body of an event has it.
    #[must_use]
    pub fn to_body(self) -> Vec<u8> {
        match self {
            Self::Sealed(hash) => hash.to_vec(),
            Self::None | Self::InClear => Vec::new(),
        }
    }
}

/// An event in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The event's id.
    pub event_id: EventId,
    /// 0-based position in the log.
    pub position: u64,
    /// 0-based version within the subject's stream.
    pub version: u64,
    /// The ledger's time, milliseconds since the Unix epoch; never decreases from one position to the next.
    pub recorded_at_ms: u64,
    /// When the event was sealed (encrypted and signed for the log), milliseconds since the Unix epoch; never
    /// decreases over the subject's versions.
    pub sealed_at_ms: u64,
    /// The time that the writer says the event refers to.
    pub about_ms: u64,
    /// Who caused the event.
    pub actor: Actor,
    /// Digest of the request; distinguishes a retry from a reused idempotency key.
    pub request_digest: Vec<u8>,
    /// The idempotency key of the request.
    pub request_key: RequestKey,
    /// The event itself.
    pub event: Event,
}
