//! What a daemon serves: each controller's application, and whose word counts about its callers.

use crate::api::{Issuer, Tokens, Trusted};
use crate::app::App;
use crate::clock::{CredentialClock, LedgerClock, SharedClock};
use crate::config::Config;
use crate::daemon::app_settings::{ledger_clock, open_app};
use crate::daemon::data_dir::{check_folders, make_private_dir};
use crate::daemon::reload;
use crate::daemon::start::{DaemonError, issuer};
use crate::ledger::Signing;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// One controller on a daemon that runs.
pub struct OpenController {
    /// Its name, as in credentials.
    pub controller: String,
    /// Its data folder.
    pub data: PathBuf,
    /// Mints its credentials, with a key of its own.
    pub issuer: Arc<Issuer>,
    /// What verifies its log.
    pub vkey: String,
    pub(crate) app: Arc<App>,
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// Its ledger's.
    pub(crate) time: Arc<LedgerClock>,
    /// What its credentials are judged by.
    pub(crate) clock: Arc<CredentialClock>,
    built_in: bool,
}

impl OpenController {
    /// Whose word counts about its callers.
    pub(crate) fn trusted(&self) -> Trusted {
        Trusted {
            controller: self.controller.clone(),
            issuer: self.built_in.then(|| Arc::clone(&self.issuer)),
            tokens: self.tokens.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Sees every change of its log's key.
    pub(crate) fn watch_keys(&self) -> watch::Receiver<Arc<Signing>> {
        self.app.ledger().watch_keys()
    }

    async fn open(config: &Config, clock: &SharedClock) -> Result<Self, DaemonError> {
        make_private_dir(&config.data)?;
        check_folders(&config.data)?;
        let time = ledger_clock(config, clock)?;
        let clock = Arc::new(CredentialClock::of(&time));
        let issuer = Arc::new(issuer(config, Arc::clone(&clock) as _)?);
        let tokens = reload::tokens(config, Arc::clone(&clock) as _).await?;
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
pub(crate) async fn open_each(
    each: &[Config],
    clock: &SharedClock,
) -> Result<Vec<OpenController>, DaemonError> {
    let mut served = Vec::with_capacity(each.len());
    for config in each {
        match OpenController::open(config, clock).await {
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
pub(crate) async fn close_each(served: Vec<OpenController>) {
    for each in served {
        each.app.shutdown().await;
    }
}
