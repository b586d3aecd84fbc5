//! Proofs that verify alone: C2SP tlog-proof texts whose extra data is the entry itself.

use crate::checkpoint::{Checkpoint, NoteError};
use crate::entry::{Entry, EntryError};
use crate::keys::KeyChain;
use crate::merkle::{self, Hash, ProofError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::{self, Display};
use std::str::FromStr;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 leaves is 64 high.
const HASHES_MAX: usize = 64;

/// Why a proof is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Not in the form of a tlog-proof.
    #[error("not a tlog-proof: {0}")]
    Form(&'static str),
    /// It carries no entry.
    #[error("the proof carries no entry")]
    NoEntry,
    /// The entry is not acceptable.
    #[error("the entry: {0}")]
    Entry(#[from] EntryError),
    /// The checkpoint is not acceptable.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// The entry is not where the proof says.
    #[error("inclusion: {0}")]
    Inclusion(#[from] ProofError),
    /// The entry names another log.
    #[error("the entry is of another log")]
    Origin,
}

/// A `c2sp.org/tlog-proof@v1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// The entry.
    pub extra: Option<Vec<u8>>,
    /// Its position.
    pub index: u64,
    /// The inclusion proof.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// What a proof showed.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The entry, its signature checked.
    pub entry: Entry,
    /// Where it stands.
    pub position: u64,
    /// In which tree.
    pub checkpoint: Checkpoint,
}

impl TlogProof {
    /// Checks everything: the entry's signature, its place in the tree, the tree's checkpoint. `keys` is the log's one
    /// key, or all that it had.
    ///
    /// # Errors
    /// The first thing that does not hold.
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
        let (head, checkpoint) = text.split_once("\n\n").ok_or(form("no checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(form("unknown first line"));
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => Some(decode(line.trim_start_matches("extra "))?),
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(form("no index"))?;
        let number: u64 = index.parse().map_err(|_| form("bad index"))?;
        if number.to_string() != index {
            return Err(form("bad index"));
        }
        let mut hashes = Vec::new();
        for line in lines {
            let hash = Hash::try_from(decode(line)?.as_slice()).map_err(|_| form("a hash has 32 bytes"))?;
            hashes.push(hash);
            if hashes.len() > HASHES_MAX {
                return Err(form("too many hashes"));
            }
        }
        Ok(Self { extra, index: number, hashes, checkpoint: checkpoint.to_owned() })
    }
}

fn decode(text: &str) -> Result<Vec<u8>, TlogProofError> {
    STANDARD.decode(text).map_err(|_| TlogProofError::Form("bad base64"))
}
