//! Fetches timestamps of checkpoints from the configured authority, at intervals and in the background.

use crate::app::App;
use crate::clock::SharedClock;
use crate::config::{Config, Timestamps};
use crate::daemon::error::DaemonError;
use crate::fetch;
use crate::telemetry::metrics;
use sayso_proof::timestamp::{Authorities, TOKEN_BYTES_MAX, Token, request, token_of_response};
use std::sync::Arc;
use std::time::Duration;

/// Time until a failed request is repeated, unless the interval is shorter.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Fetches timestamps until `stopped` resolves. Returns at once if no authority is configured.
///
/// # Errors
/// The file with the timestamp authority's certificates is invalid.
pub(crate) async fn run(
    config: &Config,
    app: Arc<App>,
    clock: SharedClock,
    stopped: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let settings = &config.timestamps;
    let Some(url) = settings.url.as_deref() else { return Ok(()) };
    let interval = Duration::from_millis(settings.interval_ms);
    tokio::pin!(stopped);
    loop {
        let round = fetch_one(url, settings, &app, &clock);
        let outcome = tokio::select! {
            () = &mut stopped => return Ok(()),
            outcome = round => outcome,
        };
        let wait = match outcome {
            Ok(()) => interval,
            Err(error) => {
                metrics().timestamp_requested(app.ledger().origin(), "failed");
                tracing::warn!(error, "no timestamp of the checkpoint; trying again");
                interval.min(RETRY_MAX)
            }
        };
        tokio::select! {
            () = &mut stopped => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Fetches and keeps a timestamp of the newest checkpoint, if the log has grown since the last one.
async fn fetch_one(
    url: &str,
    settings: &Timestamps,
    app: &Arc<App>,
    clock: &SharedClock,
) -> Result<(), String> {
    let checkpoint = app.ledger().checkpoint();
    let size = checkpoint.size;
    if size <= app.ledger().newest_timestamp() {
        return Ok(());
    }
    let text = checkpoint.note.split_once("\n\n").map(|(text, _)| format!("{text}\n")).unwrap_or_default();
    let mut nonce = [0; 8];
    clock.fill(&mut nonce);
    let query = request(&text, nonce).map_err(|error| error.to_string())?;
    let kind = "application/timestamp-query";
    let answer = fetch::post_bytes(url, settings.ca.as_deref(), kind, query, TOKEN_BYTES_MAX).await;
    let response = match answer.map_err(|error| error.to_string())? {
        (200, response) => response,
        (status, _) => return Err(format!("HTTP status {status}")),
    };
    let token = token_of_response(&response, &text, nonce).map_err(|error| error.to_string())?;
    if let Some(path) = &settings.certificates {
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let trusted = Authorities::from_pem(&pem);
        let verified = trusted.and_then(|trusted| trusted.verify(&Token::parse(&token)?));
        verified.map_err(|error| error.to_string())?;
    }
    let of_task = Arc::clone(app);
    let keeping = tokio::task::spawn_blocking(move || of_task.ledger().keep_timestamp(size, &token));
    let kept = keeping.await.map_err(|error| error.to_string())?;
    kept.map_err(|error| error.to_string())?;
    metrics().timestamp_requested(app.ledger().origin(), "kept");
    metrics().timestamp_covers(app.ledger().origin(), size);
    Ok(())
}
