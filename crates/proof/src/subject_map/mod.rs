//! The subject map: what the log commits to about each data subject, so that an omission can be found.
//!
//! A system event, `SubjectMapCommitted`, names the root of the map. A data subject is found in the map by
//! their [`Label`]. Only the ledger has the secret key that computes the label from their id. The ledger
//! can prove that the label is right. Under the label, the map has a commitment to their [`Stream`].
//! `docs/completeness.md` describes the map and what it shows.

mod proof;
mod run_proof;
mod stream_check;
mod subject_proof;
mod tree;
mod vrf;

pub use proof::{MapLeaf, MapProof, MapProofError};
pub use run_proof::{RunEnd, RunProof};
pub use stream_check::{CheckedStream, StreamCheck, StreamError};
pub use subject_proof::{FORMAT, SubjectProof, SubjectProofError, VerifiedSubject, is_subject_proof};
pub use tree::SubjectMap;
pub use vrf::{PROOF_BYTES, VrfError, VrfKey, verify_label};

use crate::entry::Handle;
use crate::merkle::Hash;
use sha2::{Digest, Sha256};

/// Hash of a subtree without labels.
const EMPTY: Hash = [0; 32];
/// Domains of the hashes; the log's own tree uses 0 and 1.
const LEAF: u8 = 2;
const NODE: u8 = 3;
const COMMITMENT: &[u8] = b"sayso subject map v1\n";
const UNLINKED: &[u8] = b"sayso unlinked subject v1\n";

/// The key of a data subject in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(pub [u8; 32]);

impl Label {
    /// The label of a data subject whose id the log has not seen since it has had a map. Everybody can
    /// compute it from the handle, so it shows that nothing links this label to an id.
    #[must_use]
    pub fn unlinked(handle: Handle) -> Self {
        Self(Sha256::new().chain_update(UNLINKED).chain_update(handle.0).finalize().into())
    }

    /// The bit that decides between left and right at `depth`; 0 is left. `depth` is at most 255.
    fn bit(&self, depth: usize) -> bool {
        self.0.get(depth / 8).is_some_and(|byte| byte >> (7 - depth % 8) & 1 == 1)
    }

    /// The first `bits` bits as a number; `bits` is at most 32.
    fn prefix(&self, bits: u32) -> usize {
        let [first, second, third, fourth, ..] = self.0;
        let number = u64::from(u32::from_be_bytes([first, second, third, fourth]));
        (number >> (32 - bits.min(32))) as usize
    }
}

/// The secret of a data subject that hides their stream from everybody who sees only its commitment. It is
/// destroyed with their keys.
pub type Blinding = [u8; 32];

/// What the map says about a data subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Their handle.
    pub handle: Handle,
    /// The version of their newest event that is not erased, plus one.
    pub events: u64,
    /// Number of their events that are not erased.
    pub present: u64,
    /// The leaf hash of the newest of these.
    pub newest_leaf: Hash,
}

impl Stream {
    /// The value in the map.
    #[must_use]
    pub fn commitment(&self, blinding: &Blinding) -> Hash {
        let hash = Sha256::new().chain_update(COMMITMENT).chain_update(blinding).chain_update(self.handle.0);
        let hash = hash.chain_update(self.events.to_be_bytes()).chain_update(self.present.to_be_bytes());
        hash.chain_update(self.newest_leaf).finalize().into()
    }
}

/// The hash of a leaf.
#[must_use]
pub fn leaf_hash(label: &Label, commitment: &Hash) -> Hash {
    Sha256::new().chain_update([LEAF]).chain_update(label.0).chain_update(commitment).finalize().into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([NODE]).chain_update(left).chain_update(right).finalize().into()
}

/// A part of the map: all labels with a common beginning. A part with one label is that label's leaf, however
/// long the common beginning is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subtree {
    /// No labels.
    #[default]
    Empty,
    /// One label, with this leaf hash.
    Leaf(Hash),
    /// Several labels.
    Node(Hash),
}

impl Subtree {
    /// The hash that the node above contains; at the top, the root of the map.
    #[must_use]
    pub fn hash(&self) -> Hash {
        match self {
            Self::Empty => EMPTY,
            Self::Leaf(hash) | Self::Node(hash) => *hash,
        }
    }

    /// Joins two neighbors.
    #[must_use]
    pub fn join(left: Self, right: Self) -> Self {
        match (left, right) {
            (Self::Empty, Self::Empty) => Self::Empty,
            (Self::Empty, leaf @ Self::Leaf(_)) | (leaf @ Self::Leaf(_), Self::Empty) => leaf,
            (left, right) => Self::Node(node_hash(&left.hash(), &right.hash())),
        }
    }

    /// The part with these leaves (label and leaf hash), which are sorted by label, have no label twice, and
    /// agree in the first `depth` bits. The work is linear in the leaves for labels that look random, and at
    /// most 256 hashes for each leaf.
    #[must_use]
    pub fn of(leaves: &[(Label, Hash)], depth: usize) -> Self {
        match leaves {
            [] => Self::Empty,
            [(_, hash)] => Self::Leaf(*hash),
            _ => {
                let middle = leaves.partition_point(|(label, _)| !label.bit(depth));
                let (left, right) = leaves.split_at(middle);
                Self::join(Self::of(left, depth + 1), Self::of(right, depth + 1))
            }
        }
    }
}
