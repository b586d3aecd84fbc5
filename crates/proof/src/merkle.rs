//! Merkle tree hashing, inclusion proofs and consistency proofs (RFC 6962, RFC 9162).

use sha2::{Digest, Sha256};

/// A SHA-256 hash of a leaf, an inner node or a whole tree.
pub type Hash = [u8; 32];

/// Levels between stored nodes: leaf hashes, then every 8th level, as in C2SP tlog-tiles.
pub const TILE_HEIGHT: u8 = 8;

/// Why a proof is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The position or size is outside the tree.
    #[error("position or size is outside the tree")]
    OutOfRange,
    /// The proof has too few or too many hashes.
    #[error("wrong number of hashes in the proof")]
    Length,
    /// The hashes give a different root.
    #[error("the proof gives a different root")]
    Root,
}

/// Access to the stored nodes of complete subtrees.
pub trait Nodes {
    /// Why nodes cannot be read.
    type Error;
    /// Reads `count` nodes from index `start` on, at `level` 0, 8, 16, …
    ///
    /// # Errors
    /// The subtrees are not complete yet, or the nodes cannot be read.
    fn nodes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, Self::Error>;
}

/// Leaf hash of an entry (RFC 9162 s. 2.1.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// Hash of an inner node (RFC 9162 s. 2.1.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of the tree without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The right edge of a growing tree, sufficient to append leaves and to compute the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees, largest first, one for each bit set in `size`.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loads the tree of the first `size` leaves from stored nodes.
    ///
    /// # Errors
    /// Reading the nodes failed.
    pub fn load<N: Nodes>(size: u64, nodes: &N) -> Result<Self, N::Error> {
        let mut peaks = Vec::new();
        let mut done = 0;
        for level in (0..64_u8).rev().filter(|level| size >> level & 1 == 1) {
            peaks.push(subtree(level, done >> level, nodes)?);
            done += 1 << level;
        }
        Ok(Self { size, peaks })
    }

    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        let mut size = self.size;
        while size & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            size >>= 1;
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold_peaks(&self.peaks)
    }
}

fn fold_peaks(peaks: &[Hash]) -> Hash {
    let joined = peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right));
    joined.unwrap_or_else(empty_root)
}

/// Root of the complete subtree at `level` and `index`, from the stored level at or below it.
fn subtree<N: Nodes>(level: u8, index: u64, nodes: &N) -> Result<Hash, N::Error> {
    let up = level % TILE_HEIGHT;
    let mut row = nodes.nodes(level - up, index << up, 1 << up)?;
    while row.len() > 1 {
        row = row.chunks(2).map(join).collect();
    }
    Ok(row.first().copied().unwrap_or_else(empty_root))
}

fn join(pair: &[Hash]) -> Hash {
    match pair {
        [left, right] => node_hash(left, right),
        [only] => *only,
        _ => empty_root(),
    }
}

/// Root of the leaves `from..to`. `from` must be a multiple of the largest power of two that is at most
/// `to - from`.
fn range_root<N: Nodes>(from: u64, to: u64, nodes: &N) -> Result<Hash, N::Error> {
    let width = to - from;
    let mut peaks = Vec::new();
    let mut done = from;
    for level in (0..64_u8).rev().filter(|level| width >> level & 1 == 1) {
        peaks.push(subtree(level, done >> level, nodes)?);
        done += 1 << level;
    }
    Ok(fold_peaks(&peaks))
}

/// The largest power of two below `width`; `width` is at least 2.
fn split(width: u64) -> u64 {
    1 << (63 - (width - 1).leading_zeros())
}

/// Proves that `position` is in the tree of `size` leaves (RFC 9162 s. 2.1.3.1). The proof is empty if the
/// position is not in the tree.
///
/// # Errors
/// Reading the nodes failed.
pub fn inclusion_proof<N: Nodes>(position: u64, size: u64, nodes: &N) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    if position >= size {
        return Ok(proof);
    }
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = from + split(to - from);
        if position < middle {
            proof.push(range_root(middle, to, nodes)?);
            to = middle;
        } else {
            proof.push(range_root(from, middle, nodes)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 9162 s. 2.1.4.1). The
/// proof is empty for equal sizes and for `old` 0.
///
/// # Errors
/// Reading the nodes failed.
pub fn consistency_proof<N: Nodes>(old: u64, new: u64, nodes: &N) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut from, mut to) = (0, new);
    let mut whole = true;
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(range_root(middle, to, nodes)?);
            to = middle;
        } else {
            proof.push(range_root(from, middle, nodes)?);
            from = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range_root(from, to, nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks an inclusion proof (RFC 9162 s. 2.1.3.2).
///
/// # Errors
/// The proof does not show that `leaf` is at `position` in the tree with this root.
pub fn verify_inclusion(
    leaf: &Hash,
    position: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if position >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut node, mut last, mut hash) = (position, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks a consistency proof (RFC 9162 s. 2.1.4.2).
///
/// # Errors
/// The proof does not show that the old tree is a prefix of the new one.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange);
    }
    if old == new || old == 0 {
        let roots_agree = if old == 0 { *old_root == empty_root() } else { old_root == new_root };
        return match (proof.is_empty(), roots_agree) {
            (false, _) => Err(ProofError::Length),
            (true, false) => Err(ProofError::Root),
            (true, true) => Ok(()),
        };
    }
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut hashes = proof.iter();
    let start = if old.is_power_of_two() { old_root } else { hashes.next().ok_or(ProofError::Length)? };
    let (mut from_old, mut from_new) = (*start, *start);
    for sibling in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if from_old == *old_root && from_new == *new_root { Ok(()) } else { Err(ProofError::Root) }
}
