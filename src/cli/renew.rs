//! Keeps up with certificates and keys that change while the daemon runs.

use super::daemon::{DaemonError, wait};
use crate::api::{TokenRules, Tokens};
use crate::clock::SharedClock;
use crate::config::{self, Config};
use crate::fetch::fetch;
use crate::tls::Certificates;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The checker of another issuer's tokens, with its keys.
///
/// # Errors
/// The keys can't be had: a daemon that lets nobody in should not look as if it ran.
pub(super) async fn tokens(config: &Config, clock: SharedClock) -> Result<Option<Arc<Tokens>>, DaemonError> {
    let Some(from) = &config.tokens else { return Ok(None) };
    let rules = TokenRules {
        issuer: from.issuer.clone(),
        audience: from.audience.clone(),
        controller: config.controller.clone(),
    };
    let tokens = Tokens::new(rules, clock);
    let keys = read_keys(from).await.map_err(DaemonError::Keys)?;
    tokens.replace_keys(&keys)?;
    Ok(Some(Arc::new(tokens)))
}

async fn read_keys(from: &config::Tokens) -> Result<Vec<u8>, String> {
    match (&from.jwks_file, &from.jwks_url) {
        (Some(path), _) => {
            tokio::fs::read(path).await.map_err(|error| format!("`{}`: {error}", path.display()))
        }
        (None, Some(url)) => {
            fetch(url, from.jwks_ca.as_deref()).await.map_err(|error| format!("`{url}`: {error}"))
        }
        (None, None) => Err("neither `jwks_file` nor `jwks_url` is given".into()),
    }
}

/// Looks at certificates again and again, until the daemon stops. What can't be used is said and the old is kept.
pub(super) fn keep_certificates(
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
pub(super) fn keep_tokens(config: &Config, tokens: Option<Arc<Tokens>>, stopped: watch::Receiver<bool>) {
    let (Some(tokens), Some(from)) = (tokens, config.tokens.clone()) else { return };
    let every = Duration::from_secs(from.refresh_s);
    let renewing = async move {
        loop {
            tokio::time::sleep(every).await;
            let read = read_keys(&from).await;
            match read.and_then(|keys| tokens.replace_keys(&keys).map_err(|error| error.to_string())) {
                Ok(true) => tracing::info!("new issuer keys are in use"),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "issuer keys can't be renewed; the old ones stay in use")
                }
            }
        }
    };
    tokio::spawn(until_stopped(renewing, stopped));
}

async fn until_stopped(task: impl Future<Output = ()>, stopped: watch::Receiver<bool>) {
    tokio::select! {
        () = task => {}
        () = wait(stopped) => {}
    }
}
