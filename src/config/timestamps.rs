//! Settings: the timestamp authority (RFC 3161) that signs timestamps of checkpoints.

use super::addresses::{SAFE_URL_ALLOWED, is_safe_url};
use super::error::{ConfigError, check};
use serde::Deserialize;
use std::path::PathBuf;

/// An authority for timestamps (RFC 3161). Without `url`, no timestamps are fetched. Writes never wait for
/// them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timestamps {
    /// The timestamp authority's address: `https://`, or `http://` on this machine.
    pub url: Option<String>,
    /// Time between two timestamps, milliseconds. None is fetched while the log does not grow. 1,000 to
    /// 2,678,400,000 (31 days).
    pub interval_ms: u64,
    /// PEM file with certificates: of the authority, or of the CA above it. If it is set, a timestamp is kept
    /// only if one of them vouches for it.
    pub certificates: Option<PathBuf>,
    /// PEM file with the certificate authorities to check the certificate of the HTTPS server against.
    /// Without this file, the system's authorities are used.
    pub ca: Option<PathBuf>,
}

impl Default for Timestamps {
    fn default() -> Self {
        Self { url: None, interval_ms: 86_400_000, certificates: None, ca: None }
    }
}

impl Timestamps {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_safe = self.url.as_deref().is_none_or(is_safe_url);
        check(is_safe, "timestamps.url", SAFE_URL_ALLOWED)?;
        let is_valid = (1_000..=2_678_400_000).contains(&self.interval_ms);
        check(is_valid, "timestamps.interval_ms", "1,000 to 2,678,400,000")
    }
}
