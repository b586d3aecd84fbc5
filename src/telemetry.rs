//! What operators see: structured logs. Nothing personal goes in, at any level.

use tracing_subscriber::EnvFilter;

/// Sends logs to standard error: JSON for machines, plain for people at a terminal.
///
/// The level comes from `RUST_LOG`, default `info` for this crate and `warn` for the others. Dependencies that log
/// payloads at `trace` are capped at `info` whatever `RUST_LOG` says, so that no request body can reach a log line.
pub fn start(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,sayso=info"));
    let filter = CAPPED
        .iter()
        .filter_map(|target| format!("{target}=info").parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (tests, demo) keeps the first one's subscriber.
    let _already = if json { builder.json().try_init() } else { builder.try_init() };
}

/// Crates whose debug output can hold message bytes or header values.
const CAPPED: [&str; 7] = ["h2", "hyper", "hyper_util", "tonic", "tower", "axum", "sled"];
