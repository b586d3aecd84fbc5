//! Proofs and raw entries of the log.

use crate::app::error::AppError;
use crate::app::reports::Reports;
use crate::ledger::LedgerError;
use sayso_proof::merkle::Hash;

/// A proof that a position is in the log.
#[derive(Clone, Debug)]
pub struct Inclusion {
    /// Leaf hash of the entry.
    pub leaf_hash: Hash,
    /// The proof, from the leaf up.
    pub hashes: Vec<Hash>,
    /// Size of the tree.
    pub size: u64,
    /// The proof as `c2sp.org/tlog-proof` text, if the proof is for the tree of the newest checkpoint.
    pub text: Option<String>,
}

/// A proof that one tree is a prefix of another.
#[derive(Clone, Debug)]
pub struct Consistency {
    /// The proof.
    pub hashes: Vec<Hash>,
    /// Size of the larger tree.
    pub size: u64,
    /// The newest checkpoint.
    pub checkpoint: String,
}

/// An entry as it is stored.
#[derive(Clone, Debug)]
pub struct RawEntry {
    /// The COSE_Sign1 bytes; none if the entry was discarded.
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
    /// Proves that `position` is in the tree of this `size`; 0 means the size of the newest checkpoint.
    ///
    /// # Errors
    /// The position or the size is beyond the log, or the store fails.
    pub fn inclusion(&self, position: u64, size: u64) -> Result<Inclusion, AppError> {
        let newest = self.core.ledger.checkpoint();
        let size = if size == 0 { newest.size } else { size };
        let hashes = self.core.ledger.inclusion_proof(position, size).map_err(out_of_range)?;
        let leaf_hash = self.core.stored_entry(position)?.leaf_hash;
        let text =
            if size == newest.size { Some(self.core.ledger.proof_text_at(position, &newest)?) } else { None };
        Ok(Inclusion { leaf_hash, hashes, size, text })
    }

    /// Proves that the tree of size `from` is a prefix of the tree of size `to`; for `to`, 0 means the size
    /// of the newest checkpoint.
    ///
    /// # Errors
    /// A size is beyond the log, or the store fails.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Consistency, AppError> {
        let checkpoint = self.core.ledger.checkpoint();
        let size = if to == 0 { checkpoint.size } else { to };
        let hashes = self.core.ledger.consistency_proof(from, size).map_err(out_of_range)?;
        Ok(Consistency { hashes, size, checkpoint: checkpoint.note.clone() })
    }

    /// One entry as it is stored. A sealed entry stays sealed.
    ///
    /// # Errors
    /// The position is beyond the log, or the store fails.
    pub fn raw_entry(&self, position: u64) -> Result<RawEntry, AppError> {
        if position >= self.core.store().head().size {
            return Err(AppError::NotFound("entry"));
        }
        let stored = self.core.stored_entry(position)?;
        Ok(RawEntry { bytes: stored.bytes, leaf_hash: stored.leaf_hash })
    }

    /// The number of data subjects that have keys.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn subject_count(&self) -> Result<u64, AppError> {
        Ok(self.core.vault.subject_count())
    }
}
