//! Keeps up with certificates and keys that change while the daemon runs.

use crate::api::{TokenRules, Tokens};
use crate::clock::{SharedClock, Stopwatch};
use crate::config::Config;
use crate::daemon::issuer_keys::KeySource;
use crate::daemon::start::{DaemonError, wait};
use crate::telemetry::metrics;
use crate::tls::Certificates;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How far the clock may have been ahead when keys were kept, milliseconds.
const CLOCK_LEEWAY_MS: u64 = 60_000;

/// The checker of another issuer's tokens, with its keys: those that it publishes now, or where it can't be reached, the last
/// ones that were kept.
///
/// # Errors
/// There are neither: a daemon that lets nobody in should not look as if it ran.
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
            say_if_empty(&tokens);
        }
        Err(error) => start_from_kept(&source, &tokens, now_ms, error)?,
    }
    say_standing(&config.controller, &tokens);
    Ok(Some(Arc::new(tokens)))
}

/// Takes the keys that were kept; `error` says why there are no newer ones.
fn start_from_kept(
    source: &KeySource,
    tokens: &Tokens,
    now_ms: u64,
    error: String,
) -> Result<(), DaemonError> {
    let kept = source.kept().map_err(|kept| DaemonError::Keys(format!("{error}; the kept keys: {kept}")))?;
    // How old keys of a time to come are, nothing says.
    let kept = kept.filter(|kept| kept.fetched_ms <= now_ms.saturating_add(CLOCK_LEEWAY_MS));
    let kept = kept.ok_or(DaemonError::Keys(error.clone()))?;
    tokens.replace_keys(kept.jwks.as_bytes(), kept.fetched_ms)?;
    let (trusted, age_ms) = tokens.standing();
    tracing::error!(
        error,
        trusted,
        age_s = age_ms / 1_000,
        "the issuer's keys can't be fetched; the daemon starts from the last ones that it kept"
    );
    Ok(())
}

fn keep(source: &KeySource, jwks: &[u8], fetched_ms: u64) {
    if let Err(error) = source.keep(jwks, fetched_ms) {
        tracing::error!(%error, "the issuer's keys can't be kept; without the issuer the daemon will not start");
    }
}

fn say_standing(controller: &str, tokens: &Tokens) {
    let (trusted, age_ms) = tokens.standing();
    metrics().issuer_keys(controller, trusted, Duration::from_millis(age_ms));
}

/// Looks at certificates again and again, until the daemon stops. What can't be used is said and the old is kept.
pub(crate) fn keep_certificates(
    config: &Config,
    certificates: Option<Arc<Certificates>>,
    stopped: watch::Receiver<bool>,
) {
    let (Some(certificates), Some(tls)) = (certificates, &config.tls) else { return };
    let every = Duration::from_secs(tls.reload_s);
    let renewing = async move {
        loop {
            tokio::time::sleep(every).await;
            match certificates.reload() {
                Ok(true) => tracing::info!("new certificates are in use"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "certificates can't be renewed; the old ones stay in use")
                }
            }
        }
    };
    tokio::spawn(until_stopped(renewing, stopped));
}

/// As [`keep_certificates`], for the keys of an issuer of tokens.
pub(crate) fn keep_tokens(
    config: &Config,
    tokens: Option<Arc<Tokens>>,
    clock: SharedClock,
    stopped: watch::Receiver<bool>,
) {
    let (Some(tokens), Some(source)) = (tokens, KeySource::of(config)) else { return };
    let controller = config.controller.clone();
    let every = Duration::from_secs(source.settings().refresh_s);
    // Often enough that a start from the kept keys takes them for hardly older than they are.
    let keep_every = Duration::from_secs(source.settings().stale_s_max / 24);
    let renewing = async move {
        let mut kept = Stopwatch::start();
        loop {
            tokio::time::sleep(every).await;
            let fetched_ms = clock.now_ms();
            let read = source.read().await;
            let taken = read.and_then(|jwks| {
                let is_new = tokens.replace_keys(&jwks, fetched_ms).map_err(|error| error.to_string())?;
                Ok((is_new, jwks))
            });
            match taken {
                Ok((is_new, jwks)) => {
                    if is_new || kept.elapsed() >= keep_every {
                        keep(&source, &jwks, fetched_ms);
                        kept = Stopwatch::start();
                    }
                    if is_new {
                        tracing::info!(trusted = tokens.standing().0, "new issuer keys are in use");
                        say_if_empty(&tokens);
                    }
                }
                Err(error) => say_old(&tokens, &error),
            }
            say_standing(&controller, &tokens);
        }
    };
    tokio::spawn(until_stopped(renewing, stopped));
}

fn say_if_empty(tokens: &Tokens) {
    if tokens.standing().0 == 0 {
        tracing::error!("the issuer publishes no key that can be used; nobody with its tokens is let in");
    }
}

fn say_old(tokens: &Tokens, error: &str) {
    let (trusted, age_ms) = tokens.standing();
    let age_s = age_ms / 1_000;
    if trusted == 0 {
        tracing::error!(error, age_s, "issuer keys can't be renewed; nobody with its tokens is let in");
    } else {
        tracing::error!(
            error,
            trusted,
            age_s,
            "issuer keys can't be renewed; the old ones stay in use for now"
        );
    }
}

async fn until_stopped(task: impl Future<Output = ()>, stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = task => {}
        () = wait(stopped) => {}
    }
}
