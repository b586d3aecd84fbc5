//! Settings of what leaves for a collector.

use super::{ConfigError, is_safe_url};
use serde::Deserialize;
use std::path::PathBuf;

/// Traces to an OpenTelemetry collector. Off unless `traces` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Where the collector takes OTLP over gRPC: `https://host:4317`, or `http://` on this machine. No user name or
    /// password in it.
    pub traces: Option<String>,
    /// Whom to trust there (PEM) instead of whom the system trusts.
    pub traces_ca: Option<PathBuf>,
    /// How many of the traces that begin here are kept: 0 to 1, 1 by default. What a caller's `traceparent` says about
    /// its own trace counts before this.
    pub traces_ratio: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { traces: None, traces_ca: None, traces_ratio: 1.0 }
    }
}

impl TelemetryConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, bound| Err(ConfigError::OutOfBounds { key, bound });
        if !(0.0..=1.0).contains(&self.traces_ratio) {
            return wrong("telemetry.traces_ratio", "0 to 1");
        }
        if self.traces.as_deref().is_some_and(|traces| !is_safe_url(traces)) {
            let bound = "an https:// address, or http:// on this machine, without a user name or password";
            return wrong("telemetry.traces", bound);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn traces_leave_this_machine_over_tls_only() {
        let with = |text: &str| toml::from_str::<TelemetryConfig>(text).unwrap().check();
        with("").unwrap();
        with("traces = 'http://127.0.0.1:4317'").unwrap();
        with("traces = 'https://collector.example:4317'\ntraces_ratio = 0.1").unwrap();
        for wrong in [
            "traces = 'http://collector.example:4317'",
            "traces = 'http://127.0.0.1.example:4317'",
            "traces = 'collector:4317'",
            "traces = 'http://127.0.0.1:x@collector.example:4317'",
            "traces = 'http://localhost:4317@collector.example'",
            "traces = 'https://user:password@collector.example:4317'",
            "traces_ratio = 1.5",
            "traces_ratio = nan",
        ] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }
}
