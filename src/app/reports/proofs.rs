//! What auditors ask the log itself.

use crate::app::error::AppError;
use crate::app::reports::Reports;
use crate::ledger::LedgerError;
use sayso_proof::merkle::Hash;

/// That a position is in the log.
#[derive(Clone, Debug)]
pub struct Inclusion {
    /// Leaf hash of the entry.
    pub leaf_hash: Hash,
    /// From the leaf up.
    pub hashes: Vec<Hash>,
    /// In which tree.
    pub size: u64,
    /// As a `c2sp.org/tlog-proof` text, where the tree is the newest checkpoint's.
    pub text: Option<String>,
}

/// That one tree is the beginning of another.
#[derive(Clone, Debug)]
pub struct Consistency {
    /// The proof.
    pub hashes: Vec<Hash>,
    /// Of which tree.
    pub size: u64,
    /// The newest checkpoint.
    pub checkpoint: String,
}

/// An entry, verbatim.
#[derive(Clone, Debug)]
pub struct RawEntry {
    /// COSE_Sign1; none where it was discarded.
    pub bytes: Option<Vec<u8>>,
    /// Leaf hash.
    pub leaf_hash: Hash,
}

fn out_of_range(error: LedgerError) -> AppError {
    match error {
        LedgerError::OutOfRange => AppError::NotFound("position or tree size"),
        other => other.into(),
    }
}

impl Reports {
    /// Proves that `position` is in the tree of `size` (0: the newest checkpoint's).
    ///
    /// # Errors
    /// Beyond the log; or the store.
    pub fn inclusion(&self, position: u64, size: u64) -> Result<Inclusion, AppError> {
        let newest = self.core.ledger.checkpoint().size;
        let size = if size == 0 { newest } else { size };
        let hashes = self.core.ledger.inclusion_proof(position, size).map_err(out_of_range)?;
        let leaf_hash = self.core.store().read_entry(position)?.leaf_hash;
        let text = if size == newest { Some(self.core.ledger.proof_text(position)?) } else { None };
        Ok(Inclusion { leaf_hash, hashes, size, text })
    }

    /// Proves that the tree of `from` is the beginning of the tree of `to` (0: the newest checkpoint's).
    ///
    /// # Errors
    /// Beyond the log; or the store.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Consistency, AppError> {
        let checkpoint = self.core.ledger.checkpoint();
        let size = if to == 0 { checkpoint.size } else { to };
        let hashes = self.core.ledger.consistency_proof(from, size).map_err(out_of_range)?;
        Ok(Consistency { hashes, size, checkpoint: checkpoint.note.clone() })
    }

    /// One entry, verbatim; sealed ones stay sealed.
    ///
    /// # Errors
    /// Beyond the log; or the store.
    pub fn raw_entry(&self, position: u64) -> Result<RawEntry, AppError> {
        if position >= self.core.store().head().size {
            return Err(AppError::NotFound("entry"));
        }
        let stored = self.core.store().read_entry(position)?;
        Ok(RawEntry { bytes: stored.bytes, leaf_hash: stored.leaf_hash })
    }

    /// Number of people that something is or may be held about.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn subject_count(&self) -> Result<u64, AppError> {
        Ok(self.core.vault.subject_count())
    }
}
