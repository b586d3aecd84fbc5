//! The root key: 32 bytes in a file that nobody else may read.

use super::VaultError;
use crate::clock::Clock;
use crate::secret;
use hkdf::Hkdf;
use sha2::Sha256;
use std::path::Path;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Opens the key pages.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RootKey([u8; 32]);

impl RootKey {
    /// Reads the key, or makes one and has it durable.
    ///
    /// # Errors
    /// The file can't be read or made, is not 32 bytes long, or others may read it.
    pub fn load_or_create(path: &Path, clock: &dyn Clock) -> Result<Self, VaultError> {
        secret::read_or_make(path, clock).map(|key| Self(*key)).map_err(VaultError::RootKey)
    }

    /// A key from the system's randomness for tests, kept nowhere.
    #[must_use]
    pub fn ephemeral(clock: &dyn Clock) -> Self {
        let mut key = Self([0; 32]);
        clock.fill(&mut key.0);
        key
    }

    /// A key for one purpose: HKDF-SHA-256 (RFC 5869) without salt.
    pub(super) fn derive(&self, info: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        let hkdf = Hkdf::<Sha256>::new(None, &self.0);
        hkdf.expand(info, key.as_mut()).expect("32 bytes are within HKDF's bound");
        key
    }
}
