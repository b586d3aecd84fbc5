//! Values of the ledger: entries before and after they are written, and checkpoints.

use sayso_proof::entry::Header;
use sayso_proof::merkle::Hash;
use std::sync::Arc;

/// A signed entry with its clear part. Only [`Ledger::sign`] makes one, of the bytes themselves: what goes into the tree and
/// the index is what is written.
#[derive(Clone, Debug)]
pub struct SignedEntry {
    pub(super) bytes: Vec<u8>,
    pub(super) leaf_hash: Hash,
    pub(super) header: Header,
    pub(super) key_id: [u8; 8],
}

impl SignedEntry {
    /// The COSE_Sign1.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its leaf hash.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        self.leaf_hash
    }

    /// Its clear part.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// An entry ready to be written.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The entry.
    pub entry: SignedEntry,
    /// Further index records: key prefix (the position, 8 bytes big-endian, is appended) and value.
    pub index: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// 0-based.
    pub position: u64,
    /// Milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
}

/// What was made durable.
#[derive(Clone, Debug)]
pub struct Committed {
    /// In the order submitted.
    pub entries: Vec<Place>,
    /// Of a tree that holds all of them.
    pub checkpoint: Arc<SignedCheckpoint>,
}

/// A checkpoint that was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// C2SP signed note.
    pub note: String,
    /// Number of entries.
    pub size: u64,
    /// Root of their tree.
    pub root: Hash,
}
