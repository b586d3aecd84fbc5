//! Asks the configured witnesses for cosignatures. This file connects the module `witness` with the daemon's
//! log, configuration and HTTP client.

use crate::app::App;
use crate::clock::SharedClock;
use crate::config::{Config, ConfigError, WitnessConfig};
use crate::daemon::error::DaemonError;
use crate::fetch;
use crate::ledger::Ledger;
use crate::witness::{Policy, Question, Rounds, WitnessEndpoint};
use sayso_proof::witness::{CosignatureAlgorithm, WitnessKey};
use std::sync::Arc;

/// The log of an application, as `witness` needs it.
struct LogOfApp(Arc<App>);

impl AsRef<Ledger> for LogOfApp {
    fn as_ref(&self) -> &Ledger {
        self.0.ledger()
    }
}

/// The configured witnesses.
///
/// # Errors
/// A configured key is not a verifier key for cosignatures.
pub(crate) fn configured_witnesses(config: &Config) -> Result<Vec<WitnessEndpoint>, ConfigError> {
    config.witnesses.ask.iter().map(endpoint).collect()
}

fn endpoint(witness: &WitnessConfig) -> Result<WitnessEndpoint, ConfigError> {
    let key: WitnessKey = witness.vkey.parse().map_err(|_| ConfigError::Invalid {
        key: "witnesses.ask.vkey",
        allowed: "a C2SP verifier key of cosignatures",
    })?;
    let name = key.name.clone();
    let mut keys = vec![key];
    if let Some(second) = &witness.vkey_ml_dsa_44 {
        let second: Option<WitnessKey> = second.parse().ok();
        let is_its = |key: &WitnessKey| key.name == name && key.algorithm() == CosignatureAlgorithm::MlDsa44;
        keys.push(second.filter(is_its).ok_or(ConfigError::Invalid {
            key: "witnesses.ask.vkey_ml_dsa_44",
            allowed: "a C2SP verifier key of ML-DSA-44 cosignatures (type 0x06) with the name in `vkey`",
        })?);
    }
    Ok(WitnessEndpoint { name, keys, url: witness.url.clone(), ca: witness.ca.clone() })
}

/// Asks the configured witnesses until `stopped` resolves. Returns at once if there are none.
///
/// # Errors
/// The configuration of a witness is invalid.
pub(crate) async fn ask(
    config: &Config,
    app: Arc<App>,
    clock: SharedClock,
    stopped: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let witnesses = configured_witnesses(config)?;
    if witnesses.is_empty() {
        return Ok(());
    }
    let settings = &config.witnesses;
    let policy =
        Policy { enough: settings.enough, within_ms: settings.within_ms, interval_ms: settings.interval_ms };
    let ask =
        |witness: WitnessEndpoint, question: Question| -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> {
            Box::pin(async move {
                let (prefix, ca) = (witness.url.trim_end_matches('/'), witness.ca.as_deref());
                let answer = match question {
                    Question::AddCheckpoint(body) => {
                        fetch::post(&format!("{prefix}/add-checkpoint"), ca, body).await
                    }
                    Question::LastCheckpoint(log) => {
                        let note = fetch::fetch(&format!("{prefix}/checkpoint/{log}"), ca).await;
                        note.map(|note| (200, String::from_utf8_lossy(&note).into_owned()))
                    }
                };
                answer.map_err(|error| error.to_string())
            })
        };
    Rounds::new(LogOfApp(app), witnesses, policy, clock, Arc::new(ask)).run(stopped).await;
    Ok(())
}
