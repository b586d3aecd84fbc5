//! The messages of C2SP tlog-witness.

use crate::checkpoint::NoteError;
use crate::merkle::Hash;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::{self, Display};
use std::str::FromStr;

/// Maximum number of hashes of a consistency proof (C2SP tlog-witness).
const HASHES_MAX: usize = 63;
/// Maximum size of a request: 63 hashes, and a note with the maximum number of signatures, each by ML-DSA-44.
pub const REQUEST_BYTES_MAX: usize = 256 << 10;

/// The body of `POST /add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint that the witness is expected to have cosigned last.
    pub old_size: u64,
    /// Consistency proof from that size to the checkpoint (RFC 6962 s. 2.1.2).
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let form = NoteError::Form;
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or(form("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old =
            lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(form("the old size is missing"))?;
        let old_size: u64 = old.parse().map_err(|_| form("the old size is not a number"))?;
        if old_size.to_string() != old {
            return Err(form("the old size has leading zeros"));
        }
        let mut proof = Vec::new();
        for line in lines {
            let hash = STANDARD.decode(line).ok().and_then(|hash| Hash::try_from(hash.as_slice()).ok());
            proof.push(hash.ok_or(form("a line of the proof is not a base64 hash of 32 bytes"))?);
            if proof.len() > HASHES_MAX {
                return Err(form("more than 63 hashes in the proof"));
            }
        }
        Ok(Self { old_size, proof, checkpoint: checkpoint.to_owned() })
    }
}
