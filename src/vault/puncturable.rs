//! Inside a subject: a binary puncturable tree (Goldreich, Goldwasser, Micali 1986) over HMAC-SHA-256.
//!
//! The subject's key is the root; its leaves, 32 levels down, are the keys of the subject's versions. Destroying any
//! set of versions replaces the key by the smallest cover of what remains, versions to come included: nothing else has
//! to be sealed again, and no key for any scope has to be kept.
//!
//! A log that went back to a backup has versions before it that were used already, some of them destroyed. From there on
//! a *renewal* counts: a second tree with a key of its own. What the first one holds of those versions opens nothing but
//! copies of the log that is lost, and goes with the next destruction.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::ops::Range;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Height of the tree: 2^32 versions a subject.
pub const DEPTH: u8 = 32;
/// Versions there are.
pub const VERSIONS: u64 = 1 << DEPTH;

/// Levels above a leaf that are kept on the way to the next one.
const KEPT_LEVELS: u8 = 8;

const CHILD_TAG: &[u8] = b"sayso tree v1";

/// A node that is held: opens everything below it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Node {
    /// Levels below the root.
    pub depth: u8,
    /// Number within its level.
    pub index: u64,
    /// Its key.
    pub key: [u8; 32],
    /// Of a renewal, always a whole tree: the first version that it counts for. What was held before counts below it.
    pub renewed_from: Option<u64>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({}/{}, ..)", self.depth, self.index)
    }
}

impl Node {
    /// The whole tree.
    #[must_use]
    pub fn root(key: &[u8; 32]) -> Self {
        Self { depth: 0, index: 0, key: *key, renewed_from: None }
    }

    /// A whole tree of its own, for the versions from here on.
    #[must_use]
    pub fn renewal(from: u64, key: &[u8; 32]) -> Self {
        Self { renewed_from: Some(from), ..Self::root(key) }
    }

    /// Whether there is such a node in the tree.
    #[must_use]
    pub fn is_in_tree(&self) -> bool {
        let renews = self.renewed_from.is_none_or(|from| from < VERSIONS && self.depth == 0);
        renews && self.depth <= DEPTH && self.index >> self.depth == 0
    }

    /// The left (0) or right (1) child.
    fn child(&self, side: u8) -> Self {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(CHILD_TAG);
        mac.update(&[side]);
        Self {
            depth: self.depth + 1,
            index: self.index << 1 | u64::from(side),
            key: mac.finalize().into_bytes().into(),
            renewed_from: self.renewed_from,
        }
    }

    fn covers(&self, version: u64) -> bool {
        let counts = self.renewed_from.is_none_or(|from| version >= from);
        counts && version < VERSIONS && version >> (DEPTH - self.depth) == self.index
    }

    /// The child on the way to a version.
    fn towards(&self, version: u64) -> Self {
        self.child(u8::from(version >> (DEPTH - self.depth - 1) & 1 == 1))
    }
}

/// What is held of a tree, and the last way down it.
#[derive(Default)]
pub struct PuncturableTree {
    /// Older first: of several nodes that cover a version, the last counts.
    cover: Vec<Node>,
    /// A node of the cover, and the last levels above the last leaf asked for: in order, a step costs about two hashes, and
    /// every 256th all that lies between. Of everybody in memory the whole way would take several times as much.
    path: Vec<Node>,
    /// The first version that the path's node does not count for, because a renewal does.
    path_end: u64,
}

impl PuncturableTree {
    /// A tree of which this is held.
    #[must_use]
    pub fn new(cover: Vec<Node>) -> Self {
        Self { cover, path: Vec::new(), path_end: 0 }
    }

    /// What is held.
    #[must_use]
    pub fn cover(&self) -> &[Node] {
        &self.cover
    }

    /// Each node with the first version that it does not count for any more; the newest first.
    fn newest_first(&self) -> impl Iterator<Item = (&Node, u64)> {
        let mut end = VERSIONS;
        self.cover.iter().rev().map(move |node| {
            let counts_to = end;
            end = node.renewed_from.map_or(end, |from| from.min(end));
            (node, counts_to)
        })
    }

    /// The key of a version; `None` where it was destroyed.
    pub fn key(&mut self, version: u64) -> Option<Zeroizing<[u8; 32]>> {
        if version >= self.path_end {
            self.path.clear();
        }
        while self.path.last().is_some_and(|node| !node.covers(version)) {
            self.path.pop();
        }
        if self.path.is_empty() {
            let counts = |(node, end): &(&Node, u64)| version < *end && node.covers(version);
            let (node, end) = self.newest_first().find(counts).map(|(node, end)| (node.clone(), end))?;
            self.path_end = end;
            // Never grown beyond: a vector that moves leaves its old bytes behind.
            self.path.reserve_exact(usize::from(KEPT_LEVELS) + 2);
            self.path.push(node);
        }
        while let Some(last) = self.path.last().filter(|node| node.depth < DEPTH) {
            let next = last.towards(version);
            if self.path.len() > 1 && last.depth < DEPTH - KEPT_LEVELS {
                self.path.pop();
            }
            self.path.push(next);
        }
        self.path.last().map(|leaf| Zeroizing::new(leaf.key))
    }

    /// The smallest cover without these versions, and without anything that a renewal stands in for: one tree's nodes
    /// beside another's, no version under two.
    #[must_use]
    pub fn without(&self, versions: &[u64]) -> Vec<Node> {
        let mut sorted = versions.to_vec();
        sorted.sort_unstable();
        let mut covers: Vec<Vec<Node>> = self
            .newest_first()
            .map(|(node, end)| {
                let counts = node.renewed_from.unwrap_or(0)..end;
                let mut cover = Vec::new();
                puncture(Node { renewed_from: None, ..node.clone() }, &counts, &sorted, &mut cover);
                cover
            })
            .collect();
        covers.reverse();
        covers.into_iter().flatten().collect()
    }

    /// What is held where versions from here on are under a fresh key. Older renewals that begin no earlier go: what they
    /// were for is lost.
    #[must_use]
    pub fn renewed(&self, from: u64, key: &[u8; 32]) -> Vec<Node> {
        let stays = |node: &&Node| node.renewed_from.is_none_or(|older| older < from);
        let kept = self.cover.iter().filter(stays).cloned();
        kept.chain([Node::renewal(from, key)]).collect()
    }

    /// Whether a version from here on was destroyed.
    #[must_use]
    pub fn is_punctured_from(&self, from: u64) -> bool {
        let counted = |(node, end): (&Node, u64)| {
            let height = DEPTH - node.depth;
            let start = (node.index << height).max(node.renewed_from.unwrap_or(0)).max(from);
            ((node.index.saturating_add(1)) << height).min(end).saturating_sub(start)
        };
        self.newest_first().map(counted).sum::<u64>() < VERSIONS.saturating_sub(from)
    }
}

/// What is left of a node: of the versions that it counts for, those that are not destroyed.
fn puncture(node: Node, counts: &Range<u64>, destroyed: &[u64], cover: &mut Vec<Node>) {
    let height = DEPTH - node.depth;
    let (first, behind) = (node.index << height, node.index.saturating_add(1) << height);
    if behind <= counts.start || first >= counts.end {
        return;
    }
    let start = destroyed.partition_point(|version| *version < first);
    let end = destroyed.partition_point(|version| *version < behind);
    let within = destroyed.get(start..end).unwrap_or_default();
    if within.is_empty() && counts.start <= first && behind <= counts.end {
        cover.push(node);
    } else if height > 0 {
        puncture(node.child(0), counts, within, cover);
        puncture(node.child(1), counts, within, cover);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn fresh() -> PuncturableTree {
        PuncturableTree::new(vec![Node::root(&[7; 32])])
    }

    proptest! {
        #[test]
        fn what_is_destroyed_is_gone_and_nothing_else(
            destroyed in proptest::collection::btree_set(0_u64..200, 0..40),
            more in proptest::collection::btree_set(0_u64..200, 0..10),
        ) {
            let mut whole = fresh();
            let first: Vec<u64> = destroyed.iter().copied().collect();
            let second: Vec<u64> = more.iter().copied().collect();
            let once = PuncturableTree::new(whole.without(&first));
            let mut twice = PuncturableTree::new(once.without(&second));
            for version in (0..210).chain([VERSIONS - 1]) {
                let gone = destroyed.contains(&version) || more.contains(&version);
                let expected = if gone { None } else { whole.key(version) };
                prop_assert_eq!(twice.key(version), expected);
            }
            // No node that is held lies above a version that was destroyed.
            for node in twice.cover() {
                prop_assert!(!destroyed.iter().chain(&more).any(|version| node.covers(*version)));
            }
            // Smallest: no two siblings are both held.
            for node in twice.cover() {
                let sibling = (node.depth, node.index ^ 1);
                prop_assert!(node.depth == 0 || !twice.cover().iter().any(|other| (other.depth, other.index) == sibling));
            }
        }

        #[test]
        fn order_does_not_matter(versions in proptest::collection::vec(0_u64..VERSIONS, 1..50)) {
            let mut tree = fresh();
            for version in versions {
                prop_assert_eq!(tree.key(version), fresh().key(version));
            }
        }
    }

    proptest! {
        #[test]
        fn renewals_count_from_their_version_on(
            destroyed in proptest::collection::btree_set(0_u64..60, 0..20),
            renewals in proptest::collection::vec(0_u64..60, 1..4),
            after in proptest::collection::btree_set(0_u64..60, 0..20),
            asked in proptest::collection::vec(0_u64..70, 1..60),
        ) {
            let destroyed: Vec<u64> = destroyed.into_iter().collect();
            let after: Vec<u64> = after.into_iter().collect();
            let mut tree = PuncturableTree::new(fresh().without(&destroyed));
            for (number, from) in (1_u8..).zip(&renewals) {
                tree = PuncturableTree::new(tree.renewed(*from, &[number; 32]));
                prop_assert!(!tree.is_punctured_from(*from));
            }
            // Of whichever tree counts for a version: the newest that begins at or below it.
            let key = |version: u64| {
                let newest = renewals.iter().rposition(|from| *from <= version);
                let number = newest.map_or(0, |place| place as u8 + 1);
                match number {
                    0 if destroyed.contains(&version) => None,
                    0 => fresh().key(version),
                    number => PuncturableTree::new(vec![Node::root(&[number; 32])]).key(version),
                }
            };
            for version in &asked {
                prop_assert_eq!(tree.key(*version), key(*version));
            }
            let mut left = PuncturableTree::new(tree.without(&after));
            for version in asked.into_iter().chain([VERSIONS - 1]) {
                let expected = if after.contains(&version) { None } else { key(version) };
                prop_assert_eq!(left.key(version), expected);
            }
            // No version is under two nodes any more, and there are no renewals: what they stood in for is gone.
            for version in 0..70 {
                prop_assert!(left.cover().iter().filter(|node| node.covers(version)).count() <= 1);
            }
            prop_assert!(left.cover().iter().all(|node| node.renewed_from.is_none()));
            for from in [0, 30, 61] {
                let gone = (from..70).any(|version| left.key(version).is_none());
                prop_assert_eq!(left.is_punctured_from(from), gone);
            }
        }
    }

    #[test]
    fn there_is_nothing_beyond_the_last_version() {
        assert_eq!(fresh().key(VERSIONS), None);
    }
}
