//! Proves what the subject map has for a label: a commitment, or nothing.

use super::{EMPTY, Label, leaf_hash, node_hash};
use crate::merkle::Hash;

/// A label has this many bits, so a path is not longer.
pub(super) const DEPTH_MAX: usize = 256;

/// A label in the map and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapLeaf {
    /// The label.
    pub label: Label,
    /// The commitment to the stream.
    pub commitment: Hash,
}

impl MapLeaf {
    /// Overwrites a leaf that is removed.
    pub(super) const NONE: Self = Self { label: Label([0; 32]), commitment: [0; 32] };
}

/// The path from the root toward a label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapProof {
    /// The hash beside the path at each depth, from the root down; at most 256.
    pub siblings: Vec<Hash>,
    /// Where the path ends: at the only leaf with these first bits, or at an empty part.
    pub end: Option<MapLeaf>,
}

/// Why a proof is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapProofError {
    /// The path is longer than a label.
    #[error("the path in the map is longer than 256 steps")]
    TooLong,
    /// The path ends at a label that is elsewhere.
    #[error("the path in the map ends at a label that does not begin with its bits")]
    OtherPath,
    /// The path does not lead to the root.
    #[error("the path does not lead to the root of the map")]
    Root,
}

impl MapProof {
    /// Verifies the proof, and returns the commitment of `label`; `None` if the map does not have the label.
    ///
    /// # Errors
    /// The proof is not one for this root and label.
    pub fn verify(&self, root: &Hash, label: &Label) -> Result<Option<Hash>, MapProofError> {
        let depth = self.siblings.len();
        if depth > DEPTH_MAX {
            return Err(MapProofError::TooLong);
        }
        let mut hash = EMPTY;
        if let Some(end) = &self.end {
            if (0..depth).any(|depth| end.label.bit(depth) != label.bit(depth)) {
                return Err(MapProofError::OtherPath);
            }
            hash = leaf_hash(&end.label, &end.commitment);
        }
        for (depth, sibling) in self.siblings.iter().enumerate().rev() {
            hash = match label.bit(depth) {
                false => node_hash(&hash, sibling),
                true => node_hash(sibling, &hash),
            };
        }
        match hash == *root {
            true => Ok(self.end.filter(|end| end.label == *label).map(|end| end.commitment)),
            false => Err(MapProofError::Root),
        }
    }
}
