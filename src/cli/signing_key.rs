//! Reads a private key, with which a publisher signs rules or a recipient signs evidence of an erasure.

use super::error::CliError;
use crate::clock::SystemClock;
use crate::secret;
use ed25519_dalek::SigningKey;
use std::path::Path;

/// The private key in a file.
///
/// # Errors
/// The file is missing or contains no key.
pub(super) fn signing_key(path: &Path) -> Result<SigningKey, CliError> {
    let wrong = |error: std::io::Error| CliError::usage(format!("key {}: {error}", path.display()));
    if !path.exists() {
        return Err(wrong(std::io::ErrorKind::NotFound.into()));
    }
    let seed = secret::read_or_make(path, &SystemClock).map_err(wrong)?;
    Ok(SigningKey::from_bytes(&seed))
}
