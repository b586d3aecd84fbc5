//! Hashes of erased attribute keys, which stay in a person's stream after a partial erasure. The hashes
//! are keyed with a secret of the person. The secret is destroyed when all encryption keys of the person
//! are destroyed. After that, guesses of an attribute key can't be checked against the hashes. Only hashes
//! from early versions of the daemon are keyed with the vault's secret.

use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::domain::ids::Handle;
use crate::vault::SubjectKeys;

/// How much of the hash is kept for the key of a recipient, bytes: enough to tell the keys of one recipient
/// apart.
const RECIPIENT_KEY_BYTES: usize = 8;

impl Core {
    /// The hashes that an earlier erasure may have of an attribute key: that of [`key_hash_of`], and the one
    /// that early versions made under the secret of the vault.
    ///
    /// # Errors
    /// The subject was erased.
    pub(crate) fn key_hashes(&self, keys: &SubjectKeys, key: &str) -> Result<[Vec<u8>; 2], AppError> {
        let early = self.vault.keyed_hash("attribute key", &[&keys.handle.0, key.as_bytes()]);
        Ok([key_hash_of(keys, key)?, early.to_vec()])
    }

    /// The hashes that an earlier erasure may have of a recipient's key: that of [`recipient_key_hash`], and
    /// the one that early versions made.
    ///
    /// # Errors
    /// The subject was erased.
    pub(crate) fn recipient_key_hashes(
        &self,
        keys: &SubjectKeys,
        recipient: &str,
        key: &str,
    ) -> Result<[Vec<u8>; 2], AppError> {
        let Handle(handle) = &keys.handle;
        let parts = [handle, recipient.as_bytes(), key.as_bytes()];
        let early = self.vault.keyed_hash("erased key of a recipient", &parts);
        Ok([recipient_key_hash(keys, recipient, key)?, early.into_iter().take(RECIPIENT_KEY_BYTES).collect()])
    }
}

/// The hash of an attribute key under the subject's secret.
///
/// # Errors
/// The subject was erased.
pub(crate) fn key_hash_of(keys: &SubjectKeys, key: &str) -> Result<Vec<u8>, AppError> {
    Ok(keys.keyed_hash("attribute key", &[key.as_bytes()])?.to_vec())
}

/// The hash of an attribute key that a recipient was given, under the subject's secret: 8 bytes.
///
/// # Errors
/// The subject was erased.
pub(crate) fn recipient_key_hash(
    keys: &SubjectKeys,
    recipient: &str,
    key: &str,
) -> Result<Vec<u8>, AppError> {
    let parts = [recipient.as_bytes(), key.as_bytes()];
    let hash = keys.keyed_hash("erased key of a recipient", &parts)?;
    Ok(hash.into_iter().take(RECIPIENT_KEY_BYTES).collect())
}
