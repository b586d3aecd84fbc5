//! The command `sayso monitor`.

use super::connect::Connection;
use super::error::CliError;
use super::interrupt::interrupted;
use super::monitor_metrics::MetricsPage;
use super::output::{Out, count, duration, int64};
use super::times::parse_duration;
use super::verify::{read_key, read_witnesses};
use super::verify_context::cosigners;
use crate::clock::{Clock, SystemClock};
use crate::domain::wording;
use crate::fetch;
use crate::monitor::{AlertKind, Check, Follower, Get, Kept, Limits, StateFile, metrics_of};
use crate::telemetry::{self, LogForm};
use crate::witness::write_durably;
use clap::Args;
use sayso_proof::bundle::Options;
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest size of a document that is read from a log, such as a checkpoint or a tile, in bytes.
const DOCUMENT_BYTES_MAX: usize = 8 << 20;
/// Largest number of bytes that are read of a webhook's answer.
const WEBHOOK_ANSWER_BYTES_MAX: usize = 64 << 10;

/// Follow a log from outside, and raise an alert if it is not append-only.
///
/// The monitor reads the log's checkpoint, its keys and a few of its tiles (blocks of hashes), and
/// keeps the newest checkpoint in a state file. The monitor needs no token. At each check, it
/// verifies:
///
/// - that the checkpoint was signed by the log's key, or by a newer key that follows from it by rotations;
///
/// - that the log continues the checkpoint of the earlier check: nothing was removed, changed or
///   forked;
///
/// - that the given witnesses cosigned the checkpoint (--witness);
///
/// - that the checkpoint is not too old (--age-max), and the log did not grow too much
///   (--growth-max);
///
/// - that the log's signed counts of rules and erasures belong to this log, fit the earlier counts,
///   and did not grow too much (--rules-growth-max, --erasures-growth-max).
///
/// If two signed checkpoints or counts contradict each other, the monitor keeps both beside the state file,
/// as `STATE.evidence-*`, so that anyone can check them. Keep the state file: without it, the monitor cannot
/// notice that a log was rebuilt.
///
/// With --once, the command checks once and ends with status 0 (no alert), 4 (the log contradicts itself, or
/// shows something that its key did not sign) or 1 (another alert). Without --once, the monitor checks at
/// intervals until it receives SIGTERM or SIGINT, and prints a line after each check.
///
/// The tiles contain only hashes, so the monitor does not see what is recorded. The counts of rules
/// and erasures are statements of the operator. To learn whether they are true, check them against
/// an export of the log with `sayso verify --counts`.
///
/// Example: `sayso monitor https://ledger.example --key log.vkey --witness w1.vkey --age-max 1h`
#[derive(Args)]
pub(super) struct Monitor {
    /// Address of the log's public pages, such as https://ledger.example or, for a further controller,
    /// https://ledger.example/NAME. Plain http:// works only on this machine.
    #[arg(value_name = "URL")]
    url: String,
    /// The log's verifier key in C2SP form, or a file with it. After a rotation, the old key works too.
    #[arg(long, value_name = "VKEY")]
    key: String,
    /// State file: the newest checkpoint, keys and counts of the log that were seen. The first
    /// check creates it.
    #[arg(long, default_value = "sayso-monitor.json", value_name = "FILE")]
    state: PathBuf,
    /// Verifier key of a trusted witness in C2SP form, or a file with it; may be repeated. Each such key must
    /// have cosigned the checkpoint, unless --witnesses-min requires fewer.
    #[arg(long = "witness", value_name = "VKEY")]
    witnesses: Vec<String>,
    /// Number of witnesses that must have cosigned, of those named by --witness. A witness with
    /// several keys counts once. Default: every key that --witness names must have cosigned.
    #[arg(long, value_name = "NUMBER", requires = "witnesses")]
    witnesses_min: Option<usize>,
    /// Raise an alert if the newest checkpoint is older than this, such as 1h. The checkpoint's age
    /// counts from when a witness cosigned it or, without --witness, from when the monitor first
    /// saw it.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    age_max: Option<Duration>,
    /// Raise an alert if the log grew by more entries than this between two checks.
    #[arg(long, value_name = "ENTRIES")]
    growth_max: Option<u64>,
    /// Raise an alert if more new rules than this were published between two checks. Rules are
    /// bounds, purposes, categories, notices, retention periods and editions of the rules of
    /// decisions.
    #[arg(long, value_name = "NUMBER")]
    rules_growth_max: Option<u64>,
    /// Raise an alert if more erasures than this were completed between two checks.
    #[arg(long, value_name = "NUMBER")]
    erasures_growth_max: Option<u64>,
    /// Address that receives a POST with JSON when alerts begin, change or end. Plain http:// works only on
    /// this machine.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// File that receives metrics in the Prometheus text format after each check, for the textfile collector
    /// of the node exporter.
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Address, such as 127.0.0.1:9464, at which the monitor serves its metrics under /metrics over plain
    /// HTTP.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "once")]
    metrics_addr: Option<SocketAddr>,
    /// Check once and end. The exit status is 0 without an alert, 4 if the log contradicts itself or
    /// shows something that its key did not sign, and 1 for another alert.
    #[arg(long, conflicts_with = "every")]
    once: bool,
    /// Time between two checks.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    every: Duration,
}

impl Monitor {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        telemetry::start(LogForm::of_output(out.json), None);
        let follower = self.follower(at.ca.clone())?;
        let opened = StateFile::open(&self.state, &follower.key.name).map_err(CliError::failed)?;
        let page = match self.metrics_addr {
            Some(address) => Some(MetricsPage::serve(address).await?),
            None => None,
        };
        let (file, kept) = opened;
        let mut watch = Watch { command: &self, follower, ca: at.ca.clone(), file, kept, page };
        if self.once {
            let check = watch.check(out).await?;
            return verdict(&check);
        }
        let stopped = interrupted();
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                _ = &mut stopped => return Ok(()),
                checked = watch.check(out) => { checked?; }
            }
            tokio::select! {
                _ = &mut stopped => return Ok(()),
                () = tokio::time::sleep(self.every) => {}
            }
        }
    }

    fn follower(&self, ca: Option<PathBuf>) -> Result<Follower, CliError> {
        let witnesses = read_witnesses(&self.witnesses)?;
        let options = Options { witnesses, witnesses_min: self.witnesses_min, ..Options::default() };
        let age_max_ms = self.age_max.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let limits = Limits {
            age_max_ms,
            growth_max: self.growth_max,
            rules_growth_max: self.rules_growth_max,
            erasures_growth_max: self.erasures_growth_max,
        };
        Ok(Follower { key: read_key(&self.key)?, options, limits, get: get_below(&self.url, ca) })
    }
}

/// Returns a function that reads the document at a path below `url`, the address of a log.
fn get_below(url: &str, ca: Option<PathBuf>) -> Box<Get> {
    let url = url.trim_end_matches('/').to_owned();
    Box::new(move |path| {
        let (url, ca) = (format!("{url}/{path}"), ca.clone());
        Box::pin(async move {
            let answer = fetch::get(&url, ca.as_deref(), DOCUMENT_BYTES_MAX).await;
            answer.map_err(|error| format!("{url}: {error}"))
        })
    })
}

/// A running monitor.
struct Watch<'a> {
    command: &'a Monitor,
    follower: Follower,
    ca: Option<PathBuf>,
    file: StateFile,
    kept: Option<Kept>,
    page: Option<MetricsPage>,
}

impl Watch<'_> {
    /// Checks the log once: updates the state, prints the result, writes metrics and calls the webhook.
    async fn check(&mut self, out: Out) -> Result<Check, CliError> {
        let check = self.follower.check(&mut self.kept, SystemClock.now_ms()).await;
        if let Some((kept, shown)) = &check.evidence {
            let path = self.file.keep_evidence(kept, shown).map_err(CliError::failed)?;
            tracing::error!(path = %path.display(), "kept two signed notes that contradict each other");
        }
        self.notify(&check).await;
        if let Some(kept) = &self.kept {
            self.file.write(kept).map_err(CliError::failed)?;
        }
        if let Some(path) = &self.command.metrics {
            let written = write_durably(path, &metrics_of(&check));
            written.map_err(|error| CliError::failed(format!("--metrics: {}: {error}", path.display())))?;
        }
        if let Some(page) = &self.page {
            page.set(metrics_of(&check));
        }
        out.print_value(&json_of(&check), &text_of(&check))?;
        std::io::stdout().flush().map_err(CliError::failed)?;
        Ok(check)
    }

    /// Calls the webhook if the kinds of alerts differ from those in its last successful call. A
    /// failed call is logged, and repeated at the next check.
    async fn notify(&mut self, check: &Check) {
        let Some(url) = &self.command.webhook else { return };
        let mut kinds: Vec<AlertKind> = check.alerts.iter().map(|alert| alert.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let notified = self.kept.as_ref().map(|kept| kept.notified.as_slice()).unwrap_or_default();
        if kinds == notified {
            return;
        }
        match post(url, self.ca.as_deref(), check).await {
            Ok(()) => {
                if let Some(kept) = &mut self.kept {
                    kept.notified = kinds;
                }
            }
            Err(error) => tracing::error!(
                error,
                "the webhook did not accept the alerts; trying again after the next check"
            ),
        }
    }
}

async fn post(url: &str, ca: Option<&Path>, check: &Check) -> Result<(), String> {
    let body = json!({
        "log": check.origin,
        "at": wording::time(check.at_ms),
        "entries": check.entries.to_string(),
        "alerts": check.alerts,
    });
    let body = body.to_string().into_bytes();
    let answer = fetch::post_bytes(url, ca, "application/json", body, WEBHOOK_ANSWER_BYTES_MAX).await;
    match answer {
        Ok((200..=299, _)) => Ok(()),
        Ok((status, _)) => Err(format!("HTTP status {status}")),
        Err(error) => Err(error.to_string()),
    }
}

/// The result of a check, as JSON in the style of proto JSON.
fn json_of(check: &Check) -> Value {
    let witnesses = check.witnesses.iter().map(|of| {
        let at = wording::time(of.at_s.saturating_mul(1_000));
        json!({ "witness": of.witness, "at": at, "algorithms": of.algorithms })
    });
    json!({
        "origin": check.origin,
        "at": wording::time(check.at_ms),
        "entries": int64(check.entries),
        "grownBy": check.grown_by.map(int64),
        "rules": check.rules.map(int64),
        "rulesGrownBy": check.rules_grown_by.map(int64),
        "erasures": check.erasures.map(int64),
        "erasuresGrownBy": check.erasures_grown_by.map(int64),
        "age": duration(check.age_ms),
        "witnesses": witnesses.collect::<Value>(),
        "alerts": check.alerts,
    })
}

fn text_of(check: &Check) -> String {
    let growth = match check.grown_by {
        Some(0) => ", none new".to_owned(),
        Some(new) => format!(", {new} new"),
        None => String::new(),
    };
    let mut text =
        format!("{} {}: {}{growth}", wording::time(check.at_ms), check.origin, count(check.entries, "entry"));
    if let Some((rules, erasures)) = check.rules.zip(check.erasures) {
        text.push_str(&format!(", states {} and {}", count(rules, "rule"), count(erasures, "erasure")));
    }
    if !check.witnesses.is_empty() {
        text.push_str(&format!(", cosigned by {}", cosigners(&check.witnesses)));
    }
    for alert in &check.alerts {
        text.push_str(&format!("\nALERT {alert}"));
    }
    text
}

/// The result of the command after a single check: an error if there are alerts.
fn verdict(check: &Check) -> Result<(), CliError> {
    let texts: Vec<String> = check.alerts.iter().map(ToString::to_string).collect();
    match check.alerts.iter().any(|alert| alert.kind.is_contradiction()) {
        true => Err(CliError::unverified(texts.join("; "))),
        false if texts.is_empty() => Ok(()),
        false => Err(CliError::failed(texts.join("; "))),
    }
}
