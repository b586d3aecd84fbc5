//! Reloads certificates and the keys of token issuers while the daemon runs.

use crate::api::{TokenRules, Tokens};
use crate::clock::{SharedClock, Stopwatch};
use crate::config::Config;
use crate::daemon::error::DaemonError;
use crate::daemon::issuer_keys::KeySource;
use crate::daemon::shutdown::wait;
use crate::telemetry::metrics;
use crate::tls::Certificates;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How far the fetch time of kept keys may be in the future, milliseconds. A fetch time is in the future if
/// the clock was ahead when the keys were fetched.
const CLOCK_LEEWAY_MS: u64 = 60_000;

/// The verifier of an external issuer's tokens. It has the keys that the issuer publishes now, or the last
/// kept keys if the issuer can't be reached. `None` if the configuration names no issuer.
///
/// # Errors
/// There are neither current nor kept keys. A daemon that would reject every token must not start.
pub(crate) async fn tokens(config: &Config, clock: SharedClock) -> Result<Option<Arc<Tokens>>, DaemonError> {
    let Some(source) = KeySource::of(config) else { return Ok(None) };
    let rules = TokenRules {
        issuer: source.settings().issuer.clone(),
        audience: source.settings().audience.clone(),
        controller: config.controller.clone(),
        stale_ms_max: source.settings().stale_s_max.saturating_mul(1_000),
    };
    let tokens = Tokens::new(rules, Arc::clone(&clock));
    let now_ms = clock.now_ms();
    let fetched = match source.read().await {
        Ok(jwks) => tokens.replace_keys(&jwks, now_ms).map(|_| jwks).map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match fetched {
        Ok(jwks) => {
            keep(&source, &jwks, now_ms);
            log_if_empty(&tokens);
        }
        Err(error) => start_from_kept(&source, &tokens, now_ms, error)?,
    }
    report_keys(&config.controller, &tokens);
    Ok(Some(Arc::new(tokens)))
}

/// Uses the kept keys. `error` is why the issuer's current keys could not be read.
fn start_from_kept(
    source: &KeySource,
    tokens: &Tokens,
    now_ms: u64,
    error: String,
) -> Result<(), DaemonError> {
    let kept =
        source.kept().map_err(|kept| DaemonError::IssuerKeys(format!("{error}; the kept keys: {kept}")))?;
    // If the fetch time of kept keys is further in the future than the leeway, their age is unknown, so they
    // are not used.
    let kept = kept.filter(|kept| kept.fetched_ms <= now_ms.saturating_add(CLOCK_LEEWAY_MS));
    let kept = kept.ok_or(DaemonError::IssuerKeys(error.clone()))?;
    tokens.replace_keys(kept.jwks.as_bytes(), kept.fetched_ms)?;
    let (trusted, age_ms) = tokens.standing();
    tracing::error!(
        error,
        trusted,
        age_s = age_ms / 1_000,
        "the keys of the token issuer can't be read; starting with the last kept ones"
    );
    Ok(())
}

fn keep(source: &KeySource, jwks: &[u8], fetched_ms: u64) {
    if let Err(error) = source.keep(jwks, fetched_ms) {
        tracing::error!(
            %error,
            "the keys of the token issuer can't be kept; a restart will fail while the issuer is unreachable"
        );
    }
}

fn report_keys(controller: &str, tokens: &Tokens) {
    let (trusted, age_ms) = tokens.standing();
    metrics().issuer_keys(controller, trusted, Duration::from_millis(age_ms));
}

/// Reloads certificates at an interval, until the daemon stops. If new ones can't be used, that is logged,
/// and the old ones stay in use.
pub(crate) fn keep_certificates(
    config: &Config,
    certificates: Option<Arc<Certificates>>,
    stopped: watch::Receiver<bool>,
) {
    let (Some(certificates), Some(tls)) = (certificates, &config.tls) else { return };
    let interval = Duration::from_secs(tls.reload_s);
    let reloading = async move {
        loop {
            tokio::time::sleep(interval).await;
            match certificates.reload() {
                Ok(true) => tracing::info!("new certificates are in use"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "new certificates can't be loaded; the old ones stay in use")
                }
            }
        }
    };
    tokio::spawn(until_stopped(reloading, stopped));
}

/// Reads the keys of a token issuer at an interval, until the daemon stops, and keeps them for the next
/// start.
pub(crate) fn keep_tokens(
    config: &Config,
    tokens: Option<Arc<Tokens>>,
    clock: SharedClock,
    stopped: watch::Receiver<bool>,
) {
    let (Some(tokens), Some(source)) = (tokens, KeySource::of(config)) else { return };
    let controller = config.controller.clone();
    let interval = Duration::from_secs(source.settings().refresh_s);
    // The file of kept keys contains the time at which they were fetched. A daemon that starts with kept keys
    // computes their age from this time. So unchanged keys are also written again at this interval, with the
    // newer time.
    let keep_interval = Duration::from_secs(source.settings().stale_s_max / 24);
    let reloading = async move {
        let mut kept = Stopwatch::start();
        loop {
            tokio::time::sleep(interval).await;
            let fetched_ms = clock.now_ms();
            let read = source.read().await;
            let taken = read.and_then(|jwks| {
                let is_new = tokens.replace_keys(&jwks, fetched_ms).map_err(|error| error.to_string())?;
                Ok((is_new, jwks))
            });
            match taken {
                Ok((is_new, jwks)) => {
                    if is_new || kept.elapsed() >= keep_interval {
                        keep(&source, &jwks, fetched_ms);
                        kept = Stopwatch::start();
                    }
                    if is_new {
                        tracing::info!(
                            trusted = tokens.standing().0,
                            "new keys of the token issuer are in use"
                        );
                        log_if_empty(&tokens);
                    }
                }
                Err(error) => log_failed_renewal(&tokens, &error),
            }
            report_keys(&controller, &tokens);
        }
    };
    tokio::spawn(until_stopped(reloading, stopped));
}

fn log_if_empty(tokens: &Tokens) {
    if tokens.standing().0 == 0 {
        tracing::error!("the token issuer publishes no usable key; all its tokens are rejected");
    }
}

fn log_failed_renewal(tokens: &Tokens, error: &str) {
    let (trusted, age_ms) = tokens.standing();
    let age_s = age_ms / 1_000;
    if trusted == 0 {
        tracing::error!(
            error,
            age_s,
            "the keys of the token issuer can't be renewed; all its tokens are rejected"
        );
    } else {
        tracing::error!(
            error,
            trusted,
            age_s,
            "the keys of the token issuer can't be renewed; the old ones stay in use for now"
        );
    }
}

async fn until_stopped(task: impl Future<Output = ()>, stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = task => {}
        () = wait(stopped) => {}
    }
}
