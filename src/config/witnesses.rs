//! Settings: the witnesses that cosign the log's checkpoints, and how many of them must cosign.

use super::addresses::{SAFE_URL_ALLOWED, is_safe_url};
use super::error::{ConfigError, check};
use serde::Deserialize;
use std::path::PathBuf;

/// Witnesses of the log (C2SP tlog-witness): independent parties that attest, with their cosignatures,
/// that the log only grows. Writes never wait for them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Witnesses {
    /// Cosignatures that a checkpoint needs to count as witnessed. 1 to the number of witnesses.
    pub enough: usize,
    /// How long witnessing a checkpoint may take, milliseconds. After that, health and metrics report a
    /// failure. 1,000 to 86,400,000.
    pub within_ms: u64,
    /// Shortest time between two requests to a witness, milliseconds. 10 to 3,600,000.
    pub interval_ms: u64,
    /// The witnesses; at most 16.
    pub ask: Vec<WitnessConfig>,
}

impl Default for Witnesses {
    fn default() -> Self {
        Self { enough: 1, within_ms: 60_000, interval_ms: 1_000, ask: Vec::new() }
    }
}

/// A witness.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Its verifier key, as `sayso witness` prints it.
    pub vkey: String,
    /// Its second verifier key, for ML-DSA-44 cosignatures. If it is set, the witness must cosign with both
    /// keys.
    pub vkey_ml_dsa_44: Option<String>,
    /// Its submission prefix: `https://`, or `http://` on this machine.
    pub url: String,
    /// PEM file with the certificate authorities to check the witness's certificate against. Without this
    /// file, the system's authorities are used.
    pub ca: Option<PathBuf>,
}

impl WitnessConfig {
    /// All of its verifier keys.
    pub fn vkeys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.vkey.as_str()).chain(self.vkey_ml_dsa_44.as_deref())
    }
}

impl Witnesses {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let (count, hour) = (self.ask.len(), 3_600_000);
        check(count <= 16, "witnesses.ask", "at most 16 witnesses")?;
        check((1..=count.max(1)).contains(&self.enough), "witnesses.enough", "1 to the number of witnesses")?;
        check((1_000..=24 * hour).contains(&self.within_ms), "witnesses.within_ms", "1,000 to 86,400,000")?;
        check((10..=hour).contains(&self.interval_ms), "witnesses.interval_ms", "10 to 3,600,000")?;
        check(self.ask.iter().all(|one| is_safe_url(&one.url)), "witnesses.ask.url", SAFE_URL_ALLOWED)?;
        let mut keys: Vec<&str> = self.ask.iter().flat_map(WitnessConfig::vkeys).collect();
        let given = keys.len();
        keys.sort_unstable();
        keys.dedup();
        check(keys.len() == given, "witnesses.ask.vkey", "different for each witness")
    }
}
