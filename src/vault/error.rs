//! What the vault fails with.

use crate::store::StoreError;

/// Why a key can't be had, made or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The root key's file.
    #[error("root key: {0}")]
    RootKey(std::io::Error),
    /// The key store.
    #[error("key store: {0}")]
    Store(#[from] StoreError),
    /// A page does not open: another root key, or damage.
    #[error("a key page does not open with this root key")]
    Page,
    /// The key was destroyed.
    #[error("the key was destroyed")]
    Destroyed,
    /// Making a subject's key failed.
    #[error("making a key: {0}")]
    Creation(String),
    /// Too many new subjects at once.
    #[error("too many new subjects at once")]
    Overloaded,
    /// The writer's thread can't be started.
    #[error("the vault's writer can't be started: {0}")]
    Thread(std::io::Error),
    /// The writer has ended.
    #[error("the vault has stopped")]
    Stopped,
}
