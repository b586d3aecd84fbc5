//! RFC 6962 / RFC 9162 Merkle tree hashing over entries.

/// A SHA-256 hash: of a leaf, of a node, of a whole tree.
pub type Hash = [u8; 32];
