//! The subject map as the ledger keeps it: all leaves in memory, and the hashes above them.
//!
//! Leaves are in buckets by the first bits of their labels. A change marks the leaf's bucket, and
//! [`SubjectMap::root`] hashes only marked buckets and the nodes above them. Memory: about 100 bytes for each
//! label.

use super::proof::{MapLeaf, MapProof};
use super::{Label, Subtree, leaf_hash};
use crate::merkle::Hash;
use std::collections::BTreeSet;

/// Average number of leaves in a bucket before the buckets are split.
const BUCKET_LEAVES_MAX: usize = 24;
/// Bits that choose a bucket, at most.
const BITS_MAX: u32 = 24;

/// A map from labels to commitments, with its root.
pub struct SubjectMap {
    /// First bits that all labels share.
    shared: u32,
    /// Bits after these that choose a bucket.
    bits: u32,
    /// Sorted leaves, by first bits.
    buckets: Vec<Vec<MapLeaf>>,
    /// A binary tree in one list: the children of node n are 2n and 2n + 1, the root is 1, and the buckets
    /// are the last level.
    nodes: Vec<Subtree>,
    /// Buckets whose hashes are not up to date.
    changed: BTreeSet<usize>,
    leaves: usize,
}

impl Default for SubjectMap {
    fn default() -> Self {
        Self::new()
    }
}

impl SubjectMap {
    /// The empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::below(0)
    }

    /// An empty part of a map: the labels that share their first `shared` bits, at most 8.
    pub(crate) fn below(shared: u32) -> Self {
        let (buckets, nodes) = (vec![Vec::new()], vec![Subtree::Empty; 2]);
        Self { shared, bits: 0, buckets, nodes, changed: BTreeSet::new(), leaves: 0 }
    }

    /// The number of the bucket of a label.
    fn bucket_of(&self, label: &Label) -> usize {
        label.prefix(self.shared + self.bits) & ((1 << self.bits) - 1)
    }

    /// Depth of the buckets: each bucket is one part of the map at this depth.
    fn depth(&self) -> usize {
        (self.shared + self.bits) as usize
    }

    /// Number of labels.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.leaves as u64
    }

    /// Whether the map has no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaves == 0
    }

    /// Sets the commitment of a label. Returns whether the label is new.
    pub fn set(&mut self, label: Label, commitment: Hash) -> bool {
        let number = self.bucket_of(&label);
        let Some(bucket) = self.buckets.get_mut(number) else { return false };
        let is_new = match bucket.binary_search_by(|leaf| leaf.label.cmp(&label)) {
            Ok(place) => {
                bucket.get_mut(place).into_iter().for_each(|leaf| leaf.commitment = commitment);
                false
            }
            Err(place) => {
                bucket.insert(place, MapLeaf { label, commitment });
                self.leaves += 1;
                true
            }
        };
        self.changed.insert(number);
        if self.leaves > BUCKET_LEAVES_MAX << self.bits && self.bits < BITS_MAX {
            self.split();
        }
        is_new
    }

    /// Removes a label. Returns whether the map had it.
    pub fn remove(&mut self, label: &Label) -> bool {
        let number = self.bucket_of(label);
        let Some(bucket) = self.buckets.get_mut(number) else { return false };
        let Ok(place) = bucket.binary_search_by(|leaf| leaf.label.cmp(label)) else { return false };
        // `remove` leaves a copy of the last leaf behind the others.
        bucket.get_mut(place).into_iter().for_each(|leaf| *leaf = MapLeaf::NONE);
        bucket.remove(place);
        self.leaves -= 1;
        self.changed.insert(number);
        true
    }

    /// Splits every bucket in two.
    fn split(&mut self) {
        let depth = self.depth();
        let mut buckets = Vec::with_capacity(self.buckets.len() * 2);
        for mut left in std::mem::take(&mut self.buckets) {
            let right = left.split_off(left.partition_point(|leaf| !leaf.label.bit(depth)));
            left.shrink_to_fit();
            buckets.extend([left, right]);
        }
        self.bits += 1;
        self.nodes = vec![Subtree::Empty; buckets.len() * 2];
        self.changed = (0..buckets.len()).collect();
        self.buckets = buckets;
    }

    /// The root: a hash over all labels and their commitments.
    pub fn root(&mut self) -> Hash {
        self.subtree().hash()
    }

    /// The map as a part of a larger one.
    pub(crate) fn subtree(&mut self) -> Subtree {
        let mut above: BTreeSet<usize> = BTreeSet::new();
        for number in std::mem::take(&mut self.changed) {
            let leaves = self.buckets.get(number).map(Vec::as_slice).unwrap_or_default();
            let subtree = Subtree::of(&hashed(leaves), self.depth());
            let node = self.buckets.len() + number;
            self.put(node, subtree);
            above.insert(node / 2);
        }
        while let Some(node) = above.pop_last().filter(|node| *node > 0) {
            self.put(node, Subtree::join(self.node(node * 2), self.node(node * 2 + 1)));
            above.insert(node / 2);
        }
        self.node(1)
    }

    fn node(&self, number: usize) -> Subtree {
        self.nodes.get(number).copied().unwrap_or_default()
    }

    fn put(&mut self, number: usize, subtree: Subtree) {
        if let Some(node) = self.nodes.get_mut(number) {
            *node = subtree;
        }
    }

    /// Proves what the map has for a label.
    pub fn prove(&mut self, label: &Label) -> MapProof {
        self.root();
        let (mut siblings, mut node) = (Vec::new(), 1);
        for depth in 0..self.bits {
            if !matches!(self.node(node), Subtree::Node(_)) {
                break;
            }
            let child = node * 2 + usize::from(label.bit(depth as usize));
            siblings.push(self.node(child ^ 1).hash());
            node = child;
        }
        // The leaves below the node where the path left the tree of buckets.
        let height = self.bits - (siblings.len() as u32).min(self.bits);
        let first = (node << height).saturating_sub(self.buckets.len());
        let below = self.buckets.iter().skip(first).take(1 << height).flatten();
        let leaves: Vec<MapLeaf> = below.copied().collect();
        let mut part = leaves.as_slice();
        while part.len() > 1 {
            let depth = siblings.len();
            let (left, right) = part.split_at(part.partition_point(|leaf| !leaf.label.bit(depth)));
            let (path, beside) = if label.bit(depth) { (right, left) } else { (left, right) };
            siblings.push(Subtree::of(&hashed(beside), depth + 1).hash());
            part = path;
        }
        MapProof { siblings, end: part.first().copied() }
    }
}

fn hashed(leaves: &[MapLeaf]) -> Vec<(Label, Hash)> {
    leaves.iter().map(|leaf| (leaf.label, leaf_hash(&leaf.label, &leaf.commitment))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::subject_map::{EMPTY, MapProofError};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Labels that often share their first bits.
    fn label() -> impl Strategy<Value = Label> {
        let near = (0_u8..4, 0_u8..4).prop_map(|(first, last)| {
            let mut label = [0; 32];
            (label[0], label[31]) = (first, last);
            Label(label)
        });
        prop_oneof![any::<[u8; 32]>().prop_map(Label), near]
    }

    /// The root as docs/completeness.md defines it, without any tree in memory.
    fn plain_root(leaves: &BTreeMap<Label, Hash>, depth: usize) -> Hash {
        match leaves.len() {
            0 => EMPTY,
            1 => leaves.iter().map(|(label, commitment)| leaf_hash(label, commitment)).next().unwrap(),
            _ => {
                let side = |right: bool| {
                    let part = leaves.iter().filter(|(label, _)| label.bit(depth) == right);
                    part.map(|(label, commitment)| (*label, *commitment)).collect()
                };
                let (left, right): (BTreeMap<_, _>, BTreeMap<_, _>) = (side(false), side(true));
                super::super::node_hash(&plain_root(&left, depth + 1), &plain_root(&right, depth + 1))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_map_has_the_root_and_the_proofs_of_a_plain_model(
            changes in proptest::collection::vec((label(), any::<Option<[u8; 32]>>()), 0..150),
            asked in proptest::collection::vec(label(), 0..20),
        ) {
            let (mut map, mut model) = (SubjectMap::new(), BTreeMap::new());
            for (number, (label, commitment)) in changes.iter().enumerate() {
                match commitment {
                    Some(commitment) => {
                        map.set(*label, *commitment);
                        model.insert(*label, *commitment);
                    }
                    None => prop_assert_eq!(map.remove(label), model.remove(label).is_some()),
                }
                if number % 50 == 0 {
                    prop_assert_eq!(map.root(), plain_root(&model, 0));
                }
            }
            let root = map.root();
            prop_assert_eq!(root, plain_root(&model, 0));
            prop_assert_eq!(map.len(), model.len() as u64);
            for label in asked.iter().chain(changes.iter().map(|(label, _)| label)) {
                let proof = map.prove(label);
                prop_assert_eq!(proof.verify(&root, label), Ok(model.get(label).copied()));
                let mut other = proof.clone();
                match &mut other.end {
                    Some(end) => end.commitment[0] ^= 1,
                    None => other.end = Some(MapLeaf { label: *label, commitment: [1; 32] }),
                }
                prop_assert_eq!(other.verify(&root, label), Err(MapProofError::Root));
                if let Some(end) = proof.end.filter(|end| end.label == *label) {
                    // A present label can't be shown as absent.
                    let elsewhere = MapLeaf { label: Label([!end.label.0[0]; 32]), ..end };
                    for end in [None, Some(elsewhere)] {
                        let forged = MapProof { end, ..proof.clone() };
                        prop_assert!(forged.verify(&root, label).is_err());
                    }
                }
            }
        }
    }

    #[test]
    fn many_labels_are_split_into_buckets() {
        let mut map = SubjectMap::new();
        let labels: Vec<Label> = (0..5_000_u64).map(|number| Label::unlinked(handle(number))).collect();
        labels.iter().for_each(|label| assert!(map.set(*label, label.0)));
        assert!(map.bits >= 7 && map.len() == 5_000);
        let root = map.root();
        for label in labels.iter().step_by(97) {
            let proof = map.prove(label);
            assert!(proof.siblings.len() < 40);
            assert_eq!(proof.verify(&root, label), Ok(Some(label.0)));
        }
        labels.iter().for_each(|label| assert!(map.remove(label)));
        assert_eq!(map.root(), EMPTY);
    }

    fn handle(number: u64) -> crate::entry::Handle {
        let mut handle = [0; 16];
        handle[..8].copy_from_slice(&number.to_be_bytes());
        crate::entry::Handle(handle)
    }
}
