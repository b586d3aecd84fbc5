//! Inside a subject: a binary puncturable tree (Goldreich, Goldwasser, Micali 1986) over HMAC-SHA-256.
//!
//! The subject's key is the root; its leaves, 32 levels down, are the keys of the subject's versions. Destroying any
//! set of versions replaces the key by the smallest cover of what remains, versions to come included: nothing else has
//! to be sealed again, and no key for any scope has to be kept.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Height of the tree: 2^32 versions a subject.
pub const DEPTH: u8 = 32;
/// Versions there are.
pub const VERSIONS: u64 = 1 << DEPTH;

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
        Self { depth: 0, index: 0, key: *key }
    }

    /// Whether there is such a node in the tree.
    #[must_use]
    pub fn is_in_tree(&self) -> bool {
        self.depth <= DEPTH && self.index >> self.depth == 0
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
        }
    }

    fn covers(&self, version: u64) -> bool {
        version < VERSIONS && version >> (DEPTH - self.depth) == self.index
    }

    /// The child on the way to a version.
    fn towards(&self, version: u64) -> Self {
        self.child(u8::from(version >> (DEPTH - self.depth - 1) & 1 == 1))
    }
}

/// What is held of a tree, and the last way down it.
#[derive(Default)]
pub struct Tree {
    cover: Vec<Node>,
    /// From a node of the cover to the last leaf asked for: in order, a step costs about two hashes.
    path: Vec<Node>,
}

impl Tree {
    /// A tree of which this is held.
    #[must_use]
    pub fn new(cover: Vec<Node>) -> Self {
        Self { cover, path: Vec::new() }
    }

    /// What is held.
    #[must_use]
    pub fn cover(&self) -> &[Node] {
        &self.cover
    }

    /// The key of a version; `None` where it was destroyed.
    pub fn key(&mut self, version: u64) -> Option<Zeroizing<[u8; 32]>> {
        while self.path.last().is_some_and(|node| !node.covers(version)) {
            self.path.pop();
        }
        if self.path.is_empty() {
            // Never grown beyond: a vector that moves leaves its old bytes behind.
            self.path.reserve_exact(usize::from(DEPTH) + 1);
            self.path.push(self.cover.iter().find(|node| node.covers(version))?.clone());
        }
        while let Some(last) = self.path.last().filter(|node| node.depth < DEPTH) {
            let next = last.towards(version);
            self.path.push(next);
        }
        self.path.last().map(|leaf| Zeroizing::new(leaf.key))
    }

    /// The smallest cover without these versions.
    #[must_use]
    pub fn without(&self, versions: &[u64]) -> Vec<Node> {
        let mut sorted = versions.to_vec();
        sorted.sort_unstable();
        let mut cover = Vec::new();
        for node in &self.cover {
            puncture(node.clone(), &sorted, &mut cover);
        }
        cover
    }
}

fn puncture(node: Node, destroyed: &[u64], cover: &mut Vec<Node>) {
    let height = DEPTH - node.depth;
    let start = destroyed.partition_point(|version| version >> height < node.index);
    let end = destroyed.partition_point(|version| version >> height <= node.index);
    let within = destroyed.get(start..end).unwrap_or_default();
    if within.is_empty() {
        cover.push(node);
    } else if height > 0 {
        puncture(node.child(0), within, cover);
        puncture(node.child(1), within, cover);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn fresh() -> Tree {
        Tree::new(vec![Node::root(&[7; 32])])
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
            let once = Tree::new(whole.without(&first));
            let mut twice = Tree::new(once.without(&second));
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

    #[test]
    fn there_is_nothing_beyond_the_last_version() {
        assert_eq!(fresh().key(VERSIONS), None);
    }
}
