//! Values that pass through the ledger: signed entries, their positions, and checkpoints.

use sayso_proof::entry::Header;
use sayso_proof::merkle::Hash;
use std::sync::Arc;

/// A signed entry and its header. Only [`super::Ledger::sign`] makes one. It takes the leaf hash and the
/// header from the signed bytes. So the tree and the index always match the bytes that are written.
#[derive(Clone, Debug)]
pub struct SignedEntry {
    pub(super) bytes: Vec<u8>,
    pub(super) leaf_hash: Hash,
    pub(super) header: Header,
    pub(super) key_id: [u8; 8],
}

impl SignedEntry {
    /// The entry as a COSE_Sign1.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The leaf hash of the entry.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        self.leaf_hash
    }

    /// The header, which is in the clear.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// An entry that is ready to be written, with its index records.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The entry.
    pub entry: SignedEntry,
    /// Index records: key prefix and value. The position, 8 bytes big-endian, is appended to the prefix.
    pub index: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Position and time of a written entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Position in the log, 0-based.
    pub position: u64,
    /// When it was recorded, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
}

/// Entries that were made durable.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Their places, in the order in which they were submitted.
    pub entries: Vec<Place>,
    /// A checkpoint of a tree that includes all of them.
    pub checkpoint: Arc<SignedCheckpoint>,
}

/// A signed checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The checkpoint as a C2SP signed note.
    pub note: String,
    /// Number of entries.
    pub size: u64,
    /// Root hash of their tree.
    pub root: Hash,
}
