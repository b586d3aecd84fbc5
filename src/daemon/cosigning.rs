//! Rounds of asking witnesses, put together with the daemon's log, its settings and HTTP.

use crate::app::App;
use crate::clock::SharedClock;
use crate::config::{Config, ConfigError};
use crate::daemon::start::DaemonError;
use crate::fetch;
use crate::ledger::Ledger;
use crate::witness::{Policy, Question, Rounds, WitnessEndpoint};
use std::sync::Arc;

/// The daemon's log.
struct OfApp(Arc<App>);

impl AsRef<Ledger> for OfApp {
    fn as_ref(&self) -> &Ledger {
        self.0.ledger()
    }
}

/// Who is asked, by the settings.
///
/// # Errors
/// A key is no verifier key of cosignatures.
pub(crate) fn asked(config: &Config) -> Result<Vec<WitnessEndpoint>, ConfigError> {
    let wrong =
        ConfigError::Invalid { key: "witnesses.ask.vkey", allowed: "a C2SP verifier key of cosignatures" };
    let asked = config.witnesses.ask.iter().map(|one| {
        let key = one.vkey.parse().ok()?;
        Some(WitnessEndpoint { key, url: one.url.clone(), ca: one.ca.clone() })
    });
    asked.collect::<Option<_>>().ok_or(wrong)
}

/// Asks the witnesses that the settings name until `stopped`; returns at once where there are none.
///
/// # Errors
/// The settings name something that is no witness.
pub(crate) async fn ask(
    config: &Config,
    app: Arc<App>,
    clock: SharedClock,
    stopped: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let witnesses = asked(config)?;
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
    Rounds::new(OfApp(app), witnesses, policy, clock, Arc::new(ask)).run(stopped).await;
    Ok(())
}
