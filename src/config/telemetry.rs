//! Settings for the export of traces to an OpenTelemetry collector.

use super::addresses::{SAFE_URL_ALLOWED, is_safe_url};
use super::error::{ConfigError, check};
use serde::Deserialize;
use std::path::PathBuf;

/// Traces to an OpenTelemetry collector. Off unless `traces` is set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The collector's address for OTLP over gRPC: `https://host:4317`, or `http://` on this machine, without
    /// a user name or password.
    pub traces: Option<String>,
    /// PEM file with the certificate authorities to check the collector's certificate against. Without this
    /// file, the system's authorities are used.
    pub traces_ca: Option<PathBuf>,
    /// Of the traces that the daemon begins itself, the share that is exported: 0 to 1; 1 by default. For a
    /// trace that a caller began, the caller's `traceparent` decides.
    pub traces_ratio: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { traces: None, traces_ca: None, traces_ratio: 1.0 }
    }
}

impl TelemetryConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check((0.0..=1.0).contains(&self.traces_ratio), "telemetry.traces_ratio", "0 to 1")?;
        let is_safe = self.traces.as_deref().is_none_or(is_safe_url);
        check(is_safe, "telemetry.traces", SAFE_URL_ALLOWED)
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
