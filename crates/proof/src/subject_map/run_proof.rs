//! Proves that the log has the last entry before each gap that an erasure left in a stream.
//!
//! Each entry names the leaf hash of the previous entry of its stream. So the newest entry of a stream
//! fixes the earlier ones, back to the nearest gap. The last entry before a gap needs a proof of its own:
//! otherwise the holder of the log's key could replace this entry and those before it.

use crate::checkpoint::Checkpoint;
use crate::merkle::{Hash, verify_inclusion};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The last entry before a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// Its position in the log.
    pub position: u64,
    /// Its leaf hash.
    pub leaf: Hash,
}

/// The proof that an entry is in the tree of the checkpoint in the subject proof. Its text is one line of
/// JSON, without spaces, with the members in this order.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunProof {
    position: u64,
    /// Base64 of each hash, from the leaf up.
    hashes: Vec<String>,
}

impl RunProof {
    /// The proof of the entry at `position`, from its inclusion proof.
    #[must_use]
    pub fn new(position: u64, hashes: &[Hash]) -> Self {
        Self { position, hashes: hashes.iter().map(|hash| STANDARD.encode(hash)).collect() }
    }

    /// The line, without a newline.
    ///
    /// # Errors
    /// It has no JSON form, which cannot happen.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Whether a line, without its newline, proves that this entry is in the tree of the checkpoint.
    #[must_use]
    pub fn proves(line: &[u8], end: &RunEnd, checkpoint: &Checkpoint) -> bool {
        let Ok(proof) = serde_json::from_slice::<Self>(line) else { return false };
        let hash = |hash: &String| Hash::try_from(STANDARD.decode(hash).ok()?.as_slice()).ok();
        let Some(hashes) = proof.hashes.iter().map(hash).collect::<Option<Vec<Hash>>>() else { return false };
        let is_written_so = Self::new(end.position, &hashes).to_line().is_ok_and(|expected| expected == line);
        let (size, root) = (checkpoint.size, &checkpoint.root);
        is_written_so && verify_inclusion(&end.leaf, end.position, size, &hashes, root).is_ok()
    }
}
