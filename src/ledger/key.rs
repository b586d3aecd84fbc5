//! The log key: signs entries and checkpoints.

use super::LedgerError;
use crate::clock::Clock;
use crate::secret;
use ed25519_dalek::{SigningKey, VerifyingKey};
use std::path::Path;
use zeroize::Zeroizing;

/// An Ed25519 key; zeroized when dropped.
pub struct LogKey(SigningKey);

impl LogKey {
    /// Reads the key (32 bytes, mode 0600), or makes one and has it durable.
    ///
    /// # Errors
    /// The file can't be read or made, is not 32 bytes long, or others may read it.
    pub fn load_or_create(path: &Path, clock: &dyn Clock) -> Result<Self, LedgerError> {
        let seed = secret::read_or_make(path, clock).map_err(LedgerError::Key)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads the key, and makes none.
    ///
    /// # Errors
    /// The file can't be read, or is not 32 bytes long.
    pub fn look(path: &Path) -> Result<Self, LedgerError> {
        let bytes = Zeroizing::new(std::fs::read(path).map_err(LedgerError::Key)?);
        let wrong = || std::io::Error::new(std::io::ErrorKind::InvalidData, "it must have 32 bytes");
        let seed: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| LedgerError::Key(wrong()))?;
        Ok(Self::from_seed(seed))
    }

    /// A key from a seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// What verifies.
    #[must_use]
    pub fn verifying(&self) -> VerifyingKey {
        self.0.verifying_key()
    }

    /// What signs.
    #[must_use]
    pub fn signing(&self) -> &SigningKey {
        &self.0
    }
}
