//! What the vault fails with.

use super::custody::{CustodyError, Generation};
use crate::store::StoreError;

/// Why a key can't be had, made or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The keeper of the root key.
    #[error("root key: {0}")]
    Custody(#[from] CustodyError),
    /// The key store.
    #[error("key store: {0}")]
    Store(#[from] StoreError),
    /// A page does not open: another root key, or damage.
    #[error("a key page does not open with this root key")]
    Page,
    /// The key store is of another root key than those there are: an older copy of one of the two.
    #[error(
        "the key store is of root key generation {0}, which does not exist: it is an older copy, or the root key is"
    )]
    OtherRoot(Generation),
    /// The root key has replaced others before, and there is no key tree that it could open.
    #[error("there is a root key of generation {0} but no key store that it opens")]
    NoTree(Generation),
    /// The key was destroyed.
    #[error("the key was destroyed")]
    Destroyed,
    /// Making a subject's key, or destroying one, failed together with all that shared its write.
    #[error("writing keys: {0}")]
    Shared(String),
    /// A re-keying failed in the middle: which root key counts is found out at the next start.
    #[error("keys can't be changed after an earlier failure; restart to recover")]
    Halted,
    /// Too many changes at once.
    #[error("too many changes of keys at once")]
    Overloaded,
    /// The writer's thread can't be started.
    #[error("the vault's writer can't be started: {0}")]
    Thread(std::io::Error),
    /// The writer has ended.
    #[error("the vault has stopped")]
    Stopped,
}
