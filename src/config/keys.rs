//! Settings for keys: the public keys that verify bounds, and the PKCS#11 token that keeps the root key.

use super::error::ConfigError;
use serde::Deserialize;
use std::path::PathBuf;

/// A PKCS#11 token that keeps the root key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11 {
    /// The module: a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// File with the user's PIN, mode 0600. A file that other users may read is refused.
    pub pin_file: PathBuf,
}

/// The keys that bounds must be signed with, so that a credential alone is not enough to publish bounds. A
/// tier without a key keeps the bounds that a log begins with, and accepts no others. `sayso bounds keygen`
/// makes a key and prints this setting.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BoundsKeys {
    /// For public bounds: the authority's Ed25519 public key, 64 hex digits.
    pub authority_key: String,
    /// For provider bounds: the stewards' Ed25519 public key, 64 hex digits. It must differ from
    /// `authority_key`.
    pub steward_key: String,
}

impl BoundsKeys {
    /// The authority's key, if one is set.
    ///
    /// # Errors
    /// It is not 64 hex digits.
    pub fn authority(&self) -> Result<Option<[u8; 32]>, ConfigError> {
        public_key(&self.authority_key, "bounds.authority_key")
    }

    /// The stewards' key, if one is set.
    ///
    /// # Errors
    /// It is not 64 hex digits.
    pub fn steward(&self) -> Result<Option<[u8; 32]>, ConfigError> {
        public_key(&self.steward_key, "bounds.steward_key")
    }
}

fn public_key(text: &str, key: &'static str) -> Result<Option<[u8; 32]>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut bytes = [0; 32];
    let decoded = hex::decode_to_slice(text, &mut bytes);
    let invalid = || ConfigError::Invalid { key, allowed: "an Ed25519 public key of 64 hex digits" };
    decoded.map(|()| Some(bytes)).map_err(|_| invalid())
}
