//! Shutdown: every task waits for the signal to stop, and requests in progress get some time to finish.

use crate::daemon::error::DaemonError;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The time limit for all requests in progress together. Requests that take longer are cut off.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Returns when the daemon stops.
pub(crate) async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that the daemon is gone, which also means to stop.
    let _stopped = stopped.wait_for(|stop| *stop).await;
}

/// Waits for all tasks. Tasks that take longer than `DRAIN_MAX` are abandoned, which closes their
/// connections.
///
/// # Errors
/// The first error that a task ended with.
pub(crate) async fn drain(tasks: Vec<JoinHandle<Result<(), DaemonError>>>) -> Result<(), DaemonError> {
    let mut ended = Ok(());
    let until = Instant::now() + DRAIN_MAX;
    for task in tasks {
        match tokio::time::timeout_at(until, task).await {
            Ok(Ok(result)) => ended = ended.and(result),
            Ok(Err(_)) => tracing::error!("a server task panicked"),
            // A client that does not read its answer, or never ends a stream of requests, is cut off here.
            Err(_) => tracing::info!("connections that were still open at the deadline were closed"),
        }
    }
    ended
}
