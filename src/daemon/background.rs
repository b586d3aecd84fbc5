//! Tasks that run for each controller in the background until the daemon stops: for example, they end what
//! has expired, and save the ledger's time. They also record commitments to the subject map (a Merkle map
//! of what the log has about each person).

use crate::app::App;
use crate::daemon::error::DaemonError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the ledger's time is compared with the machine's clock and stored.
const KEEP_TIME_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two commitments to the subject map while the log grows.
const MAP_INTERVAL: Duration = Duration::from_secs(300);
/// Entries after which the log commits to the subject map sooner.
const MAP_ENTRIES_MAX: u64 = 10_000;
/// How often the number of entries is checked.
const MAP_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A commitment follows no sooner than this many times the duration of the one before, so that commitments
/// take at most 5% of the time of one core.
const MAP_REST_FACTOR: u32 = 19;
/// Pause after a failed attempt to record how often grants were reused.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Runs a retention pass at an interval. A failure is logged, and the next pass tries again.
pub(crate) async fn end_expired(
    app: Arc<App>,
    interval: Duration,
    stopped: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(()),
            _ = ticks.tick() => {}
        }
        match app.run_maintenance().await {
            Ok(true) => ticks.reset_immediately(),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "ending what has expired failed; retrying at the next interval")
            }
        }
    }
}

/// Commits to the subject map every few minutes, or sooner after many entries, but with pauses if commitments
/// take long. A failure is logged, and the next pass tries again.
pub(crate) async fn commit_subject_map(
    app: Arc<App>,
    stopped: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let mut ticks = tokio::time::interval(MAP_CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(stopped);
    let (mut last, mut pause) = (Instant::now(), Duration::ZERO);
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(()),
            _ = ticks.tick() => {}
        }
        app.forget_erased();
        let is_due = last.elapsed() >= MAP_INTERVAL;
        let entries = if is_due { 1 } else { MAP_ENTRIES_MAX };
        if last.elapsed() < pause || app.entries_after_subject_map() < entries {
            continue;
        }
        let begun = Instant::now();
        if let Err(error) = app.commit_subject_map().await {
            tracing::warn!(%error, "committing to the subject map failed; retrying at the next interval");
        }
        let rest = begun.elapsed().saturating_mul(MAP_REST_FACTOR);
        (last, pause) = (Instant::now(), rest.min(MAP_INTERVAL));
    }
}

/// Stores the ledger's time for the next start, at an interval.
pub(crate) async fn keep_time(app: Arc<App>, stopped: impl Future<Output = ()>) -> Result<(), DaemonError> {
    tokio::pin!(stopped);
    loop {
        let keeping = Arc::clone(&app);
        if tokio::task::spawn_blocking(move || keeping.keep_time()).await.is_err() {
            tracing::error!("keeping the ledger's time panicked; retrying");
        }
        tokio::select! {
            () = &mut stopped => return Ok(()),
            () = tokio::time::sleep(KEEP_TIME_INTERVAL) => {}
        }
    }
}

/// Records counts of reused grants when memory is short. An event stream with an unrecorded count can't be
/// evicted from the cache, so the counts are recorded whenever such streams keep the cache over its limits.
pub(crate) async fn make_room(app: Arc<App>, stopped: impl Future<Output = ()>) -> Result<(), DaemonError> {
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return Ok(()),
            () = app.eviction_blocked() => {}
        }
        // This call is not in the `select`. If it were canceled there, counts that it had already taken for
        // recording would be lost.
        if let Err(error) = app.make_room().await {
            tracing::warn!(%error, "counts of reused grants could not be recorded; retrying");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}
