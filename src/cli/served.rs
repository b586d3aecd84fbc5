//! What a daemon serves: each controller's application, and whose word counts about its callers.

use super::daemon::{DaemonError, issuer};
use super::layout::{check_folders, make_private_dir};
use super::renew;
use super::settings::{ledger_clock, open_app};
use crate::api::{Issuer, Tokens, Trusted};
use crate::app::App;
use crate::clock::{CredentialClock, LedgerClock, SharedClock};
use crate::config::Config;
use crate::ledger::Signing;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// One controller on a daemon that runs.
pub struct Served {
    /// Its name, as in credentials.
    pub controller: String,
    /// Its data folder.
    pub data: PathBuf,
    /// Mints its credentials, with a key of its own.
    pub issuer: Arc<Issuer>,
    /// What verifies its log.
    pub vkey: String,
    pub(super) app: Arc<App>,
    pub(super) tokens: Option<Arc<Tokens>>,
    /// Its ledger's.
    pub(super) time: Arc<LedgerClock>,
    /// What its credentials are judged by.
    pub(super) clock: Arc<CredentialClock>,
    built_in: bool,
}

impl Served {
    /// Whose word counts about its callers.
    pub(super) fn trusted(&self) -> Trusted {
        Trusted {
            controller: self.controller.clone(),
            issuer: self.built_in.then(|| Arc::clone(&self.issuer)),
            tokens: self.tokens.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Sees every change of its log's key.
    pub(super) fn watch_keys(&self) -> watch::Receiver<Arc<Signing>> {
        self.app.ledger().watch_keys()
    }

    async fn open(config: &Config, clock: &SharedClock) -> Result<Self, DaemonError> {
        make_private_dir(&config.data)?;
        check_folders(&config.data)?;
        let time = ledger_clock(config, clock)?;
        let clock = Arc::new(CredentialClock::of(&time));
        let issuer = Arc::new(issuer(config, Arc::clone(&clock) as _)?);
        let tokens = renew::tokens(config, Arc::clone(&clock) as _).await?;
        let app = open_app(config, Arc::clone(&time)).await?;
        Ok(Self {
            controller: config.controller.clone(),
            data: config.data.clone(),
            issuer,
            vkey: app.ledger().verifier_key().to_string(),
            app,
            tokens,
            time,
            clock,
            built_in: config.tokens.as_ref().is_none_or(|tokens| tokens.built_in),
        })
    }
}

/// Opens every controller; where one can't be, those that were opened are closed again.
///
/// # Errors
/// The first that can't be opened.
pub(super) async fn open_each(each: &[Config], clock: &SharedClock) -> Result<Vec<Served>, DaemonError> {
    let mut served = Vec::with_capacity(each.len());
    for config in each {
        match Served::open(config, clock).await {
            Ok(opened) => served.push(opened),
            Err(error) => {
                close_each(served).await;
                let named = |error| DaemonError::Controller(config.controller.clone(), Box::new(error));
                return Err(if each.len() > 1 { named(error) } else { error });
            }
        }
    }
    Ok(served)
}

/// No more writes are taken, and everything is durable.
pub(super) async fn close_each(served: Vec<Served>) {
    for each in served {
        each.app.shutdown().await;
    }
}
