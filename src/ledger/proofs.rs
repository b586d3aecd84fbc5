//! Proofs of the log's tree: inclusion, consistency, whole `tlog-proof` texts, and tiles of hashes.

use super::{Ledger, LedgerError, SignedCheckpoint, StoreNodes};
use sayso_proof::merkle::{self, Hash};
use sayso_proof::proof::TlogProof;
use std::sync::Arc;

impl Ledger {
    /// Proves that the entry at `position` is in the tree of `size` entries.
    ///
    /// # Errors
    /// Out of range, or the store can't be read.
    pub fn inclusion_proof(&self, position: u64, size: u64) -> Result<Vec<Hash>, LedgerError> {
        if position >= size || size > self.checkpoint().size {
            return Err(LedgerError::OutOfRange);
        }
        Ok(merkle::inclusion_proof(position, size, &StoreNodes(self.store.as_ref()))?)
    }

    /// Proves that the tree of `old` entries is a prefix of the tree of `new` entries.
    ///
    /// # Errors
    /// Out of range, or the store can't be read.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LedgerError> {
        if old > new || new > self.checkpoint().size {
            return Err(LedgerError::OutOfRange);
        }
        Ok(merkle::consistency_proof(old, new, &StoreNodes(self.store.as_ref()))?)
    }

    /// The newest checkpoint that enough witnesses cosigned, if that one covers the entry at `position`;
    /// otherwise the newest checkpoint of all.
    #[must_use]
    pub fn checkpoint_for(&self, position: u64) -> Arc<SignedCheckpoint> {
        let cosigned = self.cosigning.newest().filter(|cosigned| cosigned.checkpoint.size > position);
        cosigned.map_or_else(|| self.checkpoint(), |cosigned| Arc::new(cosigned.checkpoint.clone()))
    }

    /// Returns a `c2sp.org/tlog-proof` text that contains one entry. If the entry was discarded, the text has
    /// only its proof. The proof is for the checkpoint that [`Ledger::checkpoint_for`] returns.
    ///
    /// # Errors
    /// Out of range, or the store can't be read.
    pub fn proof_text(&self, position: u64) -> Result<String, LedgerError> {
        self.proof_text_at(position, &self.checkpoint_for(position))
    }

    /// Like [`Ledger::proof_text`], but for this checkpoint.
    ///
    /// # Errors
    /// Out of range, or the store can't be read.
    pub fn proof_text_at(&self, position: u64, checkpoint: &SignedCheckpoint) -> Result<String, LedgerError> {
        let hashes = self.inclusion_proof(position, checkpoint.size)?;
        let extra = self.store.read_entry(position)?.bytes;
        Ok(TlogProof { extra, index: position, hashes, checkpoint: checkpoint.note.clone() }.to_string())
    }

    /// Returns a tile of hashes (C2SP tlog-tiles): the first `width` of its 256 nodes at level `8 * level`.
    /// `None` if the log has fewer nodes.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn tile(&self, level: u8, index: u64, width: u16) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(level) = level.checked_mul(merkle::TILE_HEIGHT).filter(|level| *level < 64) else {
            return Ok(None);
        };
        let start = index.saturating_mul(256);
        if start.saturating_add(u64::from(width)) > self.checkpoint().size >> level {
            return Ok(None);
        }
        Ok(Some(self.store.read_hashes(level, start, usize::from(width))?.concat()))
    }
}
