//! Who is asked to cosign checkpoints.

use super::{ConfigError, is_safe_url};
use serde::Deserialize;
use std::path::PathBuf;

/// Witnesses of the log (C2SP tlog-witness): others who cosign that it only ever grows. They are asked beside the writes,
/// which never wait for them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Witnesses {
    /// So many of them must have cosigned for a checkpoint to count as witnessed. 1 to their number.
    pub enough: usize,
    /// Within so long, or health and metrics say that they have not, milliseconds. 1,000 to 86,400,000.
    pub within_ms: u64,
    /// They are asked at most once in so long, milliseconds. 10 to 3,600,000.
    pub interval_ms: u64,
    /// Each of them; at most 16.
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
    /// Its submission prefix: `https://`, or `http://` on this machine.
    pub url: String,
    /// Whom to trust there (PEM) instead of whom the system trusts.
    pub ca: Option<PathBuf>,
}

impl Witnesses {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let bound = |holds: bool, key, bound| {
            if holds { Ok(()) } else { Err(ConfigError::OutOfBounds { key, bound }) }
        };
        let (count, hour) = (self.ask.len(), 3_600_000);
        bound(count <= 16, "witnesses.ask", "at most 16 witnesses")?;
        bound((1..=count.max(1)).contains(&self.enough), "witnesses.enough", "1 to the number of witnesses")?;
        bound((1_000..=24 * hour).contains(&self.within_ms), "witnesses.within_ms", "1,000 to 86,400,000")?;
        bound((10..=hour).contains(&self.interval_ms), "witnesses.interval_ms", "10 to 3,600,000")?;
        let bound_of_url = "an https:// address, or http:// on this machine, without a user name or password";
        bound(self.ask.iter().all(|one| is_safe_url(&one.url)), "witnesses.ask.url", bound_of_url)?;
        let mut keys: Vec<&str> = self.ask.iter().map(|one| one.vkey.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        bound(keys.len() == count, "witnesses.ask.vkey", "another one for each witness")
    }
}
