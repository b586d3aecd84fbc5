//! Self-contained inclusion proofs: C2SP tlog-proof texts whose extra data is the entry itself.

use crate::checkpoint::{Checkpoint, NoteError};
use crate::entry::{Entry, EntryError};
use crate::keys::KeyChain;
use crate::merkle::{self, Hash, ProofError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::{self, Display};
use std::str::FromStr;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 leaves has a height of 64.
const HASHES_MAX: usize = 64;

/// Why a proof is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// The text is not a tlog-proof.
    #[error("not a tlog-proof: {0}")]
    Form(&'static str),
    /// The proof has no extra data, which must be the entry.
    #[error("the proof contains no entry")]
    NoEntry,
    /// The entry is invalid.
    #[error("invalid entry: {0}")]
    Entry(#[from] EntryError),
    /// The checkpoint is invalid.
    #[error("invalid checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// The inclusion proof is invalid.
    #[error("invalid inclusion proof: {0}")]
    Inclusion(#[from] ProofError),
    /// The entry and the checkpoint name different logs.
    #[error("the entry belongs to another log")]
    Origin,
}

/// A proof in the form `c2sp.org/tlog-proof@v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// The entry.
    pub extra: Option<Vec<u8>>,
    /// Its position.
    pub index: u64,
    /// The hashes of the inclusion proof.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// The result of a valid proof.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The entry, with a valid signature.
    pub entry: Entry,
    /// Its position in the log.
    pub position: u64,
    /// The checkpoint of the tree that contains it.
    pub checkpoint: Checkpoint,
}

impl TlogProof {
    /// Verifies the entry's signature, its inclusion in the tree, and the checkpoint. `keys` is the log's
    /// only key, or every key that the log had.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, keys: impl Into<KeyChain>) -> Result<Verified, TlogProofError> {
        let keys = keys.into();
        let bytes = self.extra.as_deref().ok_or(TlogProofError::NoEntry)?;
        let checkpoint = keys.open(&self.checkpoint)?;
        let entry = Entry::parse(bytes)?;
        entry.verify(&keys.at(self.index).key)?;
        if entry.origin != checkpoint.origin {
            return Err(TlogProofError::Origin);
        }
        let leaf = merkle::leaf_hash(bytes);
        merkle::verify_inclusion(&leaf, self.index, checkpoint.size, &self.hashes, &checkpoint.root)?;
        Ok(Verified { entry, position: self.index, checkpoint })
    }
}

impl Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    fn from_str(text: &str) -> Result<Self, TlogProofError> {
        let form = TlogProofError::Form;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(form("the checkpoint is missing"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(form("unknown first line; `c2sp.org/tlog-proof@v1` is supported"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra = extra.and_then(|line| line.strip_prefix("extra ")).map(decode).transpose()?;
        let index =
            lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(form("the index is missing"))?;
        let number: u64 = index.parse().map_err(|_| form("the index is not a number"))?;
        if number.to_string() != index {
            return Err(form("the index has leading zeros"));
        }
        let mut hashes = Vec::new();
        for line in lines {
            let hash =
                Hash::try_from(decode(line)?.as_slice()).map_err(|_| form("a hash is not 32 bytes"))?;
            hashes.push(hash);
            if hashes.len() > HASHES_MAX {
                return Err(form("more than 64 hashes"));
            }
        }
        Ok(Self { extra, index: number, hashes, checkpoint: checkpoint.to_owned() })
    }
}

fn decode(text: &str) -> Result<Vec<u8>, TlogProofError> {
    STANDARD.decode(text).map_err(|_| TlogProofError::Form("invalid base64"))
}
