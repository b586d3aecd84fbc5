//! Settings for recipients of data: the keys with which they sign evidence that they deleted data, and the
//! webhooks that notify them of erasures.

use super::addresses::{SAFE_URL_ALLOWED, is_safe_url};
use super::error::{ConfigError, check};
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// The most configured recipients.
pub(super) const RECIPIENTS_MAX: usize = 256;

/// A recipient of data, if there is more to know about it than its credential says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipientConfig {
    /// The name in its credential, or the name by which another recipient or a steward names it.
    pub name: String,
    /// The raw Ed25519 key that it signs its evidence with, in hex.
    pub public_key: Option<String>,
    /// The webhook that notifies it of erasures, if it does not watch revocations: an `https://` URL, or
    /// `http://` on this machine.
    pub webhook: Option<String>,
    /// File with the secret of the webhook: `whsec_` and 24 to 64 bytes in base64 (Standard Webhooks). Only
    /// its owner may read it.
    pub webhook_secret_file: Option<PathBuf>,
    /// PEM file with the certificate authorities to check the webhook's certificate against. Without this
    /// file, the system's authorities are used.
    pub ca: Option<PathBuf>,
}

impl RecipientConfig {
    fn key(&self) -> Result<Option<VerifyingKey>, ConfigError> {
        let Some(text) = &self.public_key else { return Ok(None) };
        let bytes = hex::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key = bytes.and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok());
        let allowed = "an Ed25519 key of 32 bytes in hex";
        key.map(Some).ok_or(ConfigError::Invalid { key: "recipients.public_key", allowed })
    }
}

/// The keys of the recipients, by name.
///
/// # Errors
/// A key is malformed.
pub fn recipient_keys(recipients: &[RecipientConfig]) -> Result<BTreeMap<String, VerifyingKey>, ConfigError> {
    let mut keys = BTreeMap::new();
    for recipient in recipients {
        if let Some(key) = recipient.key()? {
            keys.insert(recipient.name.clone(), key);
        }
    }
    Ok(keys)
}

pub(super) fn check_recipients(recipients: &[RecipientConfig]) -> Result<(), ConfigError> {
    check(recipients.len() <= RECIPIENTS_MAX, "recipients", "at most 256")?;
    let mut names = HashSet::new();
    for recipient in recipients {
        let is_name = (1..=128).contains(&recipient.name.len());
        check(is_name, "recipients.name", "1 to 128 bytes")?;
        check(names.insert(&recipient.name), "recipients.name", "different for each recipient")?;
        let is_safe = recipient.webhook.as_deref().is_none_or(is_safe_url);
        check(is_safe, "recipients.webhook", SAFE_URL_ALLOWED)?;
        let has_both = recipient.webhook.is_some() == recipient.webhook_secret_file.is_some();
        check(has_both, "recipients.webhook_secret_file", "set if `webhook` is set, and only then")?;
        recipient.key()?;
    }
    Ok(())
}
