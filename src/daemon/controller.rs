//! Opens and closes the controllers of a daemon. Each controller has an application ([`App`]) and trusts a
//! set of credential issuers.

use crate::api::{Issuer, Tokens, Trusted};
use crate::app::App;
use crate::clock::{CredentialClock, LedgerClock, SharedClock};
use crate::config::Config;
use crate::daemon::app_settings::{ledger_clock, open_app};
use crate::daemon::data_dir::{Layout, check_folders, check_secrets, make_private_dir};
use crate::daemon::error::DaemonError;
use crate::daemon::reload;
use crate::ledger::Signing;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// One controller of a running daemon.
pub struct OpenController {
    /// Its name, as in credentials.
    pub controller: String,
    /// Its data folder.
    pub data: PathBuf,
    /// Issues its credentials, with its own key.
    pub issuer: Arc<Issuer>,
    /// Verifier key of its log.
    pub vkey: String,
    pub(crate) app: Arc<App>,
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// The time of its ledger.
    pub(crate) time: Arc<LedgerClock>,
    /// The clock by which its credentials expire.
    pub(crate) clock: Arc<CredentialClock>,
    /// Whether tokens of its own issuer are accepted.
    accepts_built_in_tokens: bool,
}

impl OpenController {
    /// The issuers that it trusts.
    pub(crate) fn trusted(&self) -> Trusted {
        Trusted {
            controller: self.controller.clone(),
            issuer: self.accepts_built_in_tokens.then(|| Arc::clone(&self.issuer)),
            tokens: self.tokens.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    /// Receives every change of its log key.
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
            accepts_built_in_tokens: config.tokens.as_ref().is_none_or(|tokens| tokens.built_in),
        })
    }
}

/// The credential issuer of a data folder. Its key is made if there is none.
///
/// # Errors
/// The key can't be read or made.
pub fn issuer(config: &Config, clock: SharedClock) -> Result<Issuer, DaemonError> {
    let secrets = Layout::new(&config.data).secrets();
    make_private_dir(&secrets)?;
    check_secrets(&secrets)?;
    let issuer = Issuer::load_or_create(&secrets.join("issuer.key"), &config.controller, clock)?;
    Ok(issuer.with_longest_life(u64::from(config.built_in_tokens.days_max).saturating_mul(86_400)))
}

/// Opens every controller. If one can't be opened, those that were opened are closed again.
///
/// # Errors
/// The error of the first controller that can't be opened. It names the controller if there are several.
pub(crate) async fn open_each(
    each: &[Config],
    clock: &SharedClock,
) -> Result<Vec<OpenController>, DaemonError> {
    let mut open = Vec::with_capacity(each.len());
    for config in each {
        match OpenController::open(config, clock).await {
            Ok(opened) => open.push(opened),
            Err(error) => {
                close_each(open).await;
                let named = |error| DaemonError::Controller(config.controller.clone(), Box::new(error));
                return Err(if each.len() > 1 { named(error) } else { error });
            }
        }
    }
    Ok(open)
}

/// Closes every controller. No more writes are accepted, and everything is made durable.
pub(crate) async fn close_each(open: Vec<OpenController>) {
    for each in open {
        each.app.shutdown().await;
    }
}
