//! Waits for the signals that ask a process to stop.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the process receives SIGINT or SIGTERM.
///
/// # Errors
/// The signal handlers can't be installed.
pub(super) async fn interrupted() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended,
        _ = terminate.recv() => Ok(()),
    }
}
