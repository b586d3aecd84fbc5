//! Errors of the vault.

use super::custody::{CustodyError, KeyEpoch};
use crate::store::StoreError;

/// Why a key could not be found, made or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The keeper of the root key failed.
    #[error("root key: {0}")]
    Custody(#[from] CustodyError),
    /// The key store failed.
    #[error("key store: {0}")]
    Store(#[from] StoreError),
    /// A page does not open: it is damaged, or sealed under another key.
    #[error(
        "a page of the key store does not open with this root key; it is damaged or belongs to another key"
    )]
    Page,
    /// The key store needs a root key that does not exist. So the key store or the root key is an older copy.
    #[error(
        "the key store needs the root key of epoch {0}, which does not exist: the key store or the root key is an \
         older copy; restore both from the same time"
    )]
    RootKeyMissing(KeyEpoch),
    /// A root key that replaced others exists, but the key store has no key tree.
    #[error("the root key of epoch {0} exists, but the key store is empty; restore the key store")]
    KeyTreeMissing(KeyEpoch),
    /// The key was destroyed, or the subject has another handle by now.
    #[error("the key was destroyed")]
    Destroyed,
    /// The batch failed as a whole, with every change in it.
    #[error("writing keys failed: {0}")]
    BatchFailed(String),
    /// A re-keying (replacement of the root key) failed midway; the next start finds out which root key is in
    /// force.
    #[error("keys can't be changed after an earlier failure; restart to recover")]
    Halted,
    /// The writer's queue is full.
    #[error("too many changes of keys are waiting; try again later")]
    Overloaded,
    /// The writer's thread could not be started.
    #[error("the vault's writer could not be started: {0}")]
    Thread(std::io::Error),
    /// The writer has ended.
    #[error("the vault has stopped")]
    Stopped,
}
