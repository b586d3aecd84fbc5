//! The keys of one subject's events: a binary puncturable tree (Goldreich, Goldwasser, Micali 1986) over
//! HMAC-SHA-256. A *version* is the number of an event in the subject's stream. Each version has its own key.
//!
//! The subject's key is the root. The leaves, 32 levels below it, are the keys of the subject's versions. At
//! first the vault stores only the root. To destroy the keys of any versions, it replaces the stored nodes by
//! the *cover*. The cover is the smallest set of nodes that gives the keys of the remaining versions,
//! including future ones. No entry needs to be sealed again. Because each entry has its own key, any
//! selection of entries can be erased, for example those of one category.
//!
//! A log that was restored from a backup lacks the newest versions and assigns them a second time. Keys
//! of some of these versions may have been destroyed before the restore. So a *renewal* covers all
//! versions from the first lost one on: it is a second tree with its own key. The restored log no longer
//! uses the nodes of the first tree for those versions. But these nodes stay stored until keys of the
//! subject are destroyed the next time. Until then, anybody who has both these nodes and a copy of the lost
//! log can open the entries that the lost log recorded after the backup.
//!
//! The last version seals no event. Its key is the *secret* of the subject, with which the ledger hashes the
//! subject's data. After the subject's keys are destroyed, these hashes cannot be compared with guesses. A
//! renewal does not change the secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::ops::Range;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Height of the tree: 2^32 versions for each subject.
pub const DEPTH: u8 = 32;
/// Number of versions of a subject, at most.
pub const VERSIONS: u64 = 1 << DEPTH;

/// The version whose key is the secret of the subject. It is the last one, and never that of an event.
pub const SECRET_VERSION: u64 = VERSIONS - 1;

/// Number of levels above the last leaf that stay in memory.
const KEPT_LEVELS: u8 = 8;

const CHILD_TAG: &[u8] = b"sayso tree v1";

/// A node of the tree. Its key gives the keys of all versions below it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Node {
    /// Levels below the root.
    pub depth: u8,
    /// Index within its level.
    pub index: u64,
    /// Key of the node.
    pub key: [u8; 32],
    /// The first version of a renewal, which is always a whole tree; `None` for other nodes. Older nodes
    /// cover the versions before it.
    pub renewed_from: Option<u64>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({}/{}, ..)", self.depth, self.index)
    }
}

impl Node {
    /// The root of a tree: all versions.
    #[must_use]
    pub fn root(key: &[u8; 32]) -> Self {
        Self { depth: 0, index: 0, key: *key, renewed_from: None }
    }

    /// The root of a renewal: the versions from `from` on.
    #[must_use]
    pub fn renewal(from: u64, key: &[u8; 32]) -> Self {
        Self { renewed_from: Some(from), ..Self::root(key) }
    }

    /// Whether depth, index and first version are possible.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let is_valid_renewal = self.renewed_from.is_none_or(|from| from < VERSIONS && self.depth == 0);
        is_valid_renewal && self.depth <= DEPTH && self.index >> self.depth == 0
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

    /// Whether it is the leaf with the secret.
    fn is_secret(&self) -> bool {
        self.depth == DEPTH && self.index == SECRET_VERSION
    }

    fn covers(&self, version: u64) -> bool {
        let is_in_range = self.renewed_from.is_none_or(|from| version >= from);
        is_in_range && version < VERSIONS && version >> (DEPTH - self.depth) == self.index
    }

    /// The child on the path to a version.
    fn towards(&self, version: u64) -> Self {
        self.child(u8::from(version >> (DEPTH - self.depth - 1) & 1 == 1))
    }
}

/// The remaining nodes of a tree, and the path to the version that was requested last.
#[derive(Default)]
pub struct PuncturableTree {
    /// Oldest first. If several nodes cover a version, the last one gives its key.
    cover: Vec<Node>,
    /// The path to the leaf that was requested last: first a node of the cover, then the last levels above
    /// the leaf, then the leaf. The levels in between are not kept, because whole paths of all subjects would
    /// take several times the memory. Reading versions in order costs about two hashes each. Only every 256th
    /// version has to be derived from the node of the cover through all levels.
    path: Vec<Node>,
    /// The first version that the first node of the path no longer covers, because a newer renewal covers it.
    path_end: u64,
}

impl PuncturableTree {
    /// A tree of which these nodes remain, oldest first.
    #[must_use]
    pub fn new(cover: Vec<Node>) -> Self {
        Self { cover, path: Vec::new(), path_end: 0 }
    }

    /// The nodes that are left.
    #[must_use]
    pub fn cover(&self) -> &[Node] {
        &self.cover
    }

    /// Each node with the first version that a newer renewal covers instead; newest first.
    fn newest_first(&self) -> impl Iterator<Item = (&Node, u64)> {
        let (mut end, mut is_secret_covered) = (VERSIONS, false);
        self.cover.iter().rev().map(move |node| {
            // After a renewal, the oldest node may be kept for the secret only.
            let node_end = if is_secret_covered && node.is_secret() { 0 } else { end };
            is_secret_covered |= node.covers(SECRET_VERSION);
            end = node.renewed_from.map_or(end, |from| from.min(end));
            (node, node_end)
        })
    }

    /// The leaf with the secret, derived from the oldest node above it; `None` if it was destroyed.
    fn secret_leaf(&self) -> Option<Node> {
        let oldest = self.cover.iter().find(|node| node.covers(SECRET_VERSION))?;
        let mut node = Node { renewed_from: None, ..oldest.clone() };
        while node.depth < DEPTH {
            node = node.towards(SECRET_VERSION);
        }
        Some(node)
    }

    /// The secret of the subject; `None` if it was destroyed. No puncture destroys it and no renewal changes
    /// it.
    #[must_use]
    pub fn secret(&self) -> Option<Zeroizing<[u8; 32]>> {
        self.secret_leaf().map(|leaf| Zeroizing::new(leaf.key))
    }

    /// Derives the key of a version; `None` if it was destroyed.
    pub fn key(&mut self, version: u64) -> Option<Zeroizing<[u8; 32]>> {
        if version >= self.path_end {
            self.path.clear();
        }
        while self.path.last().is_some_and(|node| !node.covers(version)) {
            self.path.pop();
        }
        if self.path.is_empty() {
            let covers = |(node, end): &(&Node, u64)| version < *end && node.covers(version);
            let (node, end) = self.newest_first().find(covers).map(|(node, end)| (node.clone(), end))?;
            self.path_end = end;
            // Allocated with its full capacity: a vector that grows leaves copies of the keys in memory.
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

    /// The smallest cover without these versions. Nodes that a renewal replaced are removed, so that each
    /// version is covered by at most one node. Only the leaf with the secret stays, as the first node.
    /// `versions` does not contain [`SECRET_VERSION`], which no event has.
    #[must_use]
    pub fn without(&self, versions: &[u64]) -> Vec<Node> {
        let mut sorted = versions.to_vec();
        sorted.sort_unstable();
        let is_renewed = self.cover.iter().filter(|node| node.covers(SECRET_VERSION)).count() > 1;
        let secret = self.secret_leaf().filter(|_| is_renewed);
        let mut covers: Vec<Vec<Node>> = self
            .newest_first()
            .map(|(node, end)| {
                let range = node.renewed_from.unwrap_or(0)..end;
                let mut cover = Vec::new();
                puncture(Node { renewed_from: None, ..node.clone() }, &range, &sorted, &mut cover);
                cover
            })
            .collect();
        covers.reverse();
        secret.into_iter().chain(covers.into_iter().flatten()).collect()
    }

    /// The cover after a renewal with a fresh key for the versions from `from` on. Older renewals that begin
    /// at `from` or later are removed: the entries that they sealed are lost.
    #[must_use]
    pub fn renewed(&self, from: u64, key: &[u8; 32]) -> Vec<Node> {
        let is_kept = |node: &&Node| node.renewed_from.is_none_or(|older| older < from);
        let kept = self.cover.iter().filter(is_kept).cloned();
        kept.chain([Node::renewal(from, key)]).collect()
    }

    /// Whether the key of any version from `from` on was destroyed.
    #[must_use]
    pub fn is_punctured_from(&self, from: u64) -> bool {
        let versions_left = |(node, end): (&Node, u64)| {
            let height = DEPTH - node.depth;
            let start = (node.index << height).max(node.renewed_from.unwrap_or(0)).max(from);
            ((node.index.saturating_add(1)) << height).min(end).saturating_sub(start)
        };
        self.newest_first().map(versions_left).sum::<u64>() < VERSIONS.saturating_sub(from)
    }
}

/// Adds to `cover` what is left of a node: the versions in `range` that are not destroyed.
fn puncture(node: Node, range: &Range<u64>, destroyed: &[u64], cover: &mut Vec<Node>) {
    let height = DEPTH - node.depth;
    let (first, next) = (node.index << height, node.index.saturating_add(1) << height);
    if next <= range.start || first >= range.end {
        return;
    }
    let start = destroyed.partition_point(|version| *version < first);
    let end = destroyed.partition_point(|version| *version < next);
    let within = destroyed.get(start..end).unwrap_or_default();
    if within.is_empty() && range.start <= first && next <= range.end {
        cover.push(node);
    } else if height > 0 {
        puncture(node.child(0), range, within, cover);
        puncture(node.child(1), range, within, cover);
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
        fn puncturing_destroys_exactly_the_given_versions(
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
            // No remaining node is above a destroyed version.
            for node in twice.cover() {
                prop_assert!(!destroyed.iter().chain(&more).any(|version| node.covers(*version)));
            }
            // The cover is the smallest: no two siblings remain.
            for node in twice.cover() {
                let sibling = (node.depth, node.index ^ 1);
                prop_assert!(node.depth == 0 || !twice.cover().iter().any(|other| (other.depth, other.index) == sibling));
            }
        }

        #[test]
        fn keys_do_not_depend_on_the_order_of_reads(versions in proptest::collection::vec(0_u64..VERSIONS, 1..50)) {
            let mut tree = fresh();
            for version in versions {
                prop_assert_eq!(tree.key(version), fresh().key(version));
            }
        }
    }

    proptest! {
        #[test]
        fn a_renewal_covers_the_versions_from_its_first_on(
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
            // The newest renewal that begins at or before the version gives its key.
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
            // Each version has at most one node and no renewal is left: the nodes that renewals replaced are
            // gone.
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

    proptest! {
        #[test]
        fn the_secret_survives_renewals_and_punctures(
            steps in proptest::collection::vec((0_u64..60, proptest::bool::ANY), 0..8),
        ) {
            let mut tree = fresh();
            for (number, (version, renews)) in (1_u8..).zip(steps) {
                let cover = if renews { tree.renewed(version, &[number; 32]) } else { tree.without(&[version]) };
                let newest = if renews {
                    PuncturableTree::new(vec![Node::root(&[number; 32])]).key(SECRET_VERSION)
                } else {
                    tree.key(SECRET_VERSION)
                };
                tree = PuncturableTree::new(cover);
                prop_assert_eq!(tree.secret(), fresh().key(SECRET_VERSION));
                // The node that is kept for the secret gives no key.
                prop_assert_eq!(tree.key(SECRET_VERSION), newest);
                prop_assert!(renews || tree.key(version).is_none());
                prop_assert!(renews || tree.is_punctured_from(version));
                prop_assert!(!tree.is_punctured_from(60));
            }
        }
    }

    #[test]
    fn there_is_no_key_beyond_the_last_version() {
        assert_eq!(fresh().key(VERSIONS), None);
    }
}
