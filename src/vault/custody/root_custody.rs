//! The contract of a keeper of root keys.

use crate::clock::Clock;
use zeroize::Zeroizing;

/// Number of a root key: how often keys were destroyed before it.
pub type Generation = u64;

/// Why a keeper can't do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// The file, or whatever else the operating system stands between.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// There is no root key of this number.
    #[error("there is no root key of generation {0}")]
    Missing(Generation),
    /// What was wrapped is not of this root key.
    #[error("the top page's key does not open with this root key")]
    Unwrap,
    /// The hardware or the service said no.
    #[error("the keeper of the root key refused: {0}")]
    Refused(String),
    /// It does not answer now. Whether it did what was asked nobody knows; asking again does no harm.
    #[error("the keeper of the root key can't be reached: {0}")]
    Unreachable(String),
}

/// Keeps root keys.
///
/// Durability: what a method did survives a power cut once it has returned. Of a call that failed, or that a crash cut
/// off, nobody knows; [`RootCustody::generations`] says, and each call may be repeated.
/// Concurrency: one writer; `unwrap` may be called beside it.
///
/// A keeper may be far away, a key management service say: calls may block as long as they need, since they come from the
/// start and from the vault's own thread, never from the runtime. An asynchronous client is driven there by a runtime
/// handle of its own. What can't be reached says [`CustodyError::Unreachable`]: a re-keying that had not switched yet is
/// taken back and the erasure answered with the error, to be asked for again; destroying a key is tried several times,
/// and then finished by the next start, and nobody is told that anything is erased before.
pub trait RootCustody: Send + Sync {
    /// The root keys that exist, ascending: none before the first start, one afterwards, two while one replaces the
    /// other.
    ///
    /// # Errors
    /// The keeper can't be asked.
    fn generations(&self) -> Result<Vec<Generation>, CustodyError>;

    /// Makes a fresh root key. One of the same number is destroyed by that; those of other numbers stay, of which there
    /// is at most one.
    ///
    /// # Errors
    /// The keeper refuses.
    fn make(&self, generation: Generation, clock: &dyn Clock) -> Result<(), CustodyError>;

    /// Wraps the key of a top page.
    ///
    /// # Errors
    /// There is no such root key, or the keeper refuses.
    fn wrap(
        &self,
        generation: Generation,
        key: &[u8; 32],
        clock: &dyn Clock,
    ) -> Result<Vec<u8>, CustodyError>;

    /// Unwraps the key of a top page.
    ///
    /// # Errors
    /// There is no such root key, it is another one, or the keeper refuses.
    fn unwrap(&self, generation: Generation, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError>;

    /// Destroys a root key, so that nothing in the world can give it back. One that is not there is no error.
    ///
    /// # Errors
    /// The keeper refuses.
    fn destroy(&self, generation: Generation) -> Result<(), CustodyError>;

    /// Overwrites what is left of keys that are not whole, and mends those that are. Called once the key that counts has
    /// opened the tree, and is thus none of them.
    ///
    /// # Errors
    /// The keeper refuses.
    fn clear_remains(&self) -> Result<(), CustodyError> {
        Ok(())
    }
}
