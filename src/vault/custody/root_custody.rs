//! The contract of a keeper of root keys.

use crate::clock::Clock;
use zeroize::Zeroizing;

/// Names a root key: how often the root key had been replaced before it.
pub type KeyEpoch = u64;

/// Why a keeper failed.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// A file or another resource of the operating system failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// There is no root key of this epoch.
    #[error("the root key of epoch {0} does not exist")]
    Missing(KeyEpoch),
    /// The wrapped key belongs to another root key, or is damaged.
    #[error("the key of the top page does not open with this root key")]
    Unwrap,
    /// The hardware or the service refused.
    #[error("the keeper of the root key refused: {0}")]
    Refused(String),
    /// The keeper does not answer. The call may or may not have taken effect; it is safe to repeat it.
    #[error("the keeper of the root key is unreachable: {0}")]
    Unreachable(String),
}

/// A keeper of root keys.
///
/// Durability: the effect of a method survives a power failure once the method has returned. After a call
/// that failed or was cut off by a crash, its effect is unknown: ask [`RootCustody::key_epochs`]. Every call
/// may be repeated.
///
/// Concurrency: one thread at a time makes and destroys keys. Others may call `unwrap` meanwhile.
///
/// Blocking: a keeper may be remote, for example a key management service, and calls may block as long as
/// they need. Calls are made at the start of the daemon and from the vault's own thread, never from a thread
/// of the asynchronous runtime. An asynchronous client needs its own runtime handle.
///
/// Unreachable: a keeper that does not answer returns [`CustodyError::Unreachable`]. If the re-keying has not
/// switched to the new root key yet, it is undone. The erasure then fails with this error, and may be
/// requested again. The destruction of a root key is tried several times; if it still fails, the next start
/// finishes it. No erasure is reported as complete before its root key is destroyed.
pub trait RootCustody: Send + Sync {
    /// Returns the key epochs of the existing root keys in ascending order. There is no root key before the
    /// first start, then one, and two while one replaces the other.
    ///
    /// # Errors
    /// The keeper can't be read or reached.
    fn key_epochs(&self) -> Result<Vec<KeyEpoch>, CustodyError>;

    /// Makes a fresh root key. An existing root key of the same epoch is destroyed. At most one root key
    /// of another epoch exists, and it stays.
    ///
    /// # Errors
    /// The keeper refuses or is unreachable.
    fn make(&self, epoch: KeyEpoch, clock: &dyn Clock) -> Result<(), CustodyError>;

    /// Wraps the key of a top page under a root key.
    ///
    /// # Errors
    /// The root key does not exist, or the keeper refuses or is unreachable.
    fn wrap(&self, epoch: KeyEpoch, key: &[u8; 32], clock: &dyn Clock) -> Result<Vec<u8>, CustodyError>;

    /// Unwraps the key of a top page.
    ///
    /// # Errors
    /// The root key does not exist, the key was wrapped under another one, or the keeper refuses or is
    /// unreachable.
    fn unwrap(&self, epoch: KeyEpoch, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError>;

    /// Destroys a root key beyond recovery. Succeeds if it does not exist.
    ///
    /// # Errors
    /// The keeper refuses or is unreachable.
    fn destroy(&self, epoch: KeyEpoch) -> Result<(), CustodyError>;

    /// Overwrites the remains of damaged keys, and repairs damaged copies of intact keys. This is called
    /// after the root key in force has opened the tree, so that key is not among the damaged ones.
    ///
    /// # Errors
    /// The keeper refuses or is unreachable.
    fn clear_remains(&self) -> Result<(), CustodyError> {
        Ok(())
    }
}
