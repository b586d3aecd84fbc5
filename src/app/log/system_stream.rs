//! The end of the system stream (its version and newest hash), and the form of an event to be appended to it.
//! Events of this stream belong to no data subject.

use crate::app::log::index::index_of;
use crate::domain::event::Event;
use sayso_proof::event::WriterSignature;
use sayso_proof::merkle::Hash;

/// The end of the system stream.
#[derive(Default)]
pub(crate) struct SystemStream {
    /// Events so far.
    pub version: u64,
    /// Leaf hash of the newest event.
    pub newest: Option<Hash>,
    /// When the newest event was sealed.
    pub last_sealed_at_ms: u64,
}

/// A notice to be published.
#[derive(Clone, Debug)]
pub struct Notice {
    /// 1 to 128 bytes.
    pub id: String,
    /// 1 to 64 bytes; a version is published once.
    pub version: String,
    /// BCP 47; empty means `en`.
    pub language: String,
    /// 1 byte to 64 KiB.
    pub text: String,
}

/// An event of the system stream, with its further index records.
pub(crate) struct SystemEvent {
    pub event: Event,
    pub index: Vec<(Vec<u8>, Vec<u8>)>,
    /// The writer's signature.
    pub signature: Option<WriterSignature>,
}

impl SystemEvent {
    pub fn new(event: Event) -> Self {
        // No record of a system event depends on the time.
        let index = index_of(&event, 0);
        Self { event, index, signature: None }
    }
}
