//! `sayso import --package`: what another ledger gave its person, taken over.

use super::super::Connection;
use super::super::connect::{Link, client, parse_time};
use super::super::error::CliError;
use super::super::output::Out;
use super::super::progress;
use crate::clock::{Clock, SystemClock};
use crate::package::{self, ImportedAttribute};
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::{self, Provenance};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use tonic::Code;

/// What became of a package.
#[derive(Default)]
struct Tally {
    recorded: u64,
    already: u64,
    inferred: u64,
    expired: u64,
    sourceless: u64,
    /// Keys, and what the daemon said.
    refused: Vec<(String, String)>,
}

/// Records what a package holds of declared and observed facts, sources before what is derived from them.
pub(super) async fn run(
    file: &Path,
    subject: Option<String>,
    at: &Connection,
    out: Out,
) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::usage(format!("{}: {error}", file.display()));
    let mut opened = std::fs::File::open(file).map_err(|error| failed(&error))?;
    let imported = package::read(&mut opened).map_err(|error| failed(&error))?;
    let mut taking = Taking {
        subject: subject.unwrap_or(imported.subject.id),
        client: client!(ProfileServiceClient, at.link("steward").await?),
        here: HashMap::new(),
        tally: Tally::default(),
    };
    let bar = progress::entries(imported.attributes.len() as u64, "importing");
    let (waiting, inferred): (Vec<_>, Vec<_>) =
        imported.attributes.into_iter().partition(|of| of.provenance != "inferred");
    let mut waiting = VecDeque::from(waiting);
    taking.tally.inferred = inferred.len() as u64;
    bar.inc(taking.tally.inferred);
    // Each round takes what has all its sources here. A round that takes nothing is the last.
    loop {
        let coming: HashSet<String> = waiting.iter().map(|of| of.event_id.clone()).collect();
        let before = waiting.len();
        for _ in 0..before {
            let Some(of) = waiting.pop_front() else { break };
            if of.derived_from.iter().any(|source| coming.contains(source) && *source != of.event_id) {
                waiting.push_back(of);
                continue;
            }
            taking.take(of).await?;
            bar.inc(1);
        }
        if waiting.is_empty() || waiting.len() == before {
            break;
        }
    }
    taking.tally.sourceless = taking.tally.sourceless.saturating_add(waiting.len() as u64);
    bar.finish_and_clear();
    taking.tally.report(out)
}

struct Taking {
    subject: String,
    client: ProfileServiceClient<Link>,
    /// Events there, and what they have become here.
    here: HashMap<String, String>,
    tally: Tally,
}

impl Taking {
    async fn take(&mut self, of: ImportedAttribute) -> Result<(), CliError> {
        // What it was derived from limits what it may be used for: without that, it is not taken.
        let sources: Option<Vec<String>> =
            of.derived_from.iter().map(|source| self.here.get(source).cloned()).collect();
        let Some(derived_from) = sources else {
            self.tally.sourceless = self.tally.sourceless.saturating_add(1);
            return Ok(());
        };
        let when = |time: &str| {
            parse_time(time).map_err(|problem| CliError::usage(format!("a time in the package {problem}")))
        };
        let expires_at = of.expires_at.as_deref().map(when).transpose()?;
        if of.expires_at.as_deref().is_some_and(is_past) {
            self.tally.expired = self.tally.expired.saturating_add(1);
            return Ok(());
        }
        let provenance = match of.provenance.as_str() {
            "declared" => Provenance::Declared,
            "observed" => Provenance::Observed,
            _ => return Err(CliError::usage("a provenance in the package is unknown")),
        };
        let attribute = proto::AttributeInput {
            key: of.key.clone(),
            value_json: of.value.get().to_owned(),
            category: of.category,
            provenance: provenance.into(),
            evidence: of.evidence,
            derived_from,
            observed_at: Some(when(&of.observed_at)?),
            expires_at,
            ..Default::default()
        };
        let request = proto::RecordAttributesRequest {
            subject: self.subject.clone(),
            attributes: vec![attribute],
            options: self.options(&of.event_id, "recorded"),
        };
        let receipt = match self.client.record_attributes(request).await {
            Ok(answer) => answer.into_inner().receipt.unwrap_or_default(),
            Err(status) if status.code() == Code::InvalidArgument => {
                self.tally.refused.push((of.key, status.message().to_owned()));
                return Ok(());
            }
            Err(status) => return Err(status.into()),
        };
        let count = if receipt.replayed { &mut self.tally.already } else { &mut self.tally.recorded };
        *count = count.saturating_add(1);
        if let Some(event) = receipt.events.first() {
            self.here.insert(of.event_id.clone(), event.event_id.clone());
        }
        self.word_of_the_person(of.key, &of.event_id, (of.contested, of.confirmed)).await
    }

    /// What the person said about the fact comes along.
    async fn word_of_the_person(
        &mut self,
        key: String,
        event: &str,
        (contested, confirmed): (bool, bool),
    ) -> Result<(), CliError> {
        let subject = self.subject.clone();
        if contested {
            let options = self.options(event, "contested");
            let request = proto::ContestAttributeRequest { subject, key, options, ..Default::default() };
            self.client.contest_attribute(request).await?;
        } else if confirmed {
            let options = self.options(event, "confirmed");
            let request = proto::ConfirmAttributeRequest { subject, key, options };
            self.client.confirm_attribute(request).await?;
        }
        Ok(())
    }

    /// The same package again adds nothing.
    fn options(&self, event: &str, what: &str) -> Option<proto::WriteOptions> {
        let parts = [what, "\0", &self.subject, "\0", event].concat();
        let idempotency_key = format!("package-{}", hex::encode(Sha256::digest(parts)));
        Some(proto::WriteOptions { idempotency_key, ..Default::default() })
    }
}

fn is_past(time: &str) -> bool {
    let now_ms = i64::try_from(SystemClock.now_ms()).unwrap_or(i64::MAX);
    time.parse::<jiff::Timestamp>().is_ok_and(|time| time.as_millisecond() <= now_ms)
}

impl Tally {
    fn report(self, out: Out) -> Result<(), CliError> {
        let refused: Vec<_> =
            self.refused.iter().map(|(key, reason)| json!({ "key": key, "reason": reason })).collect();
        let left_out = json!({
            "inferred": self.inferred, "expired": self.expired, "without_sources": self.sourceless,
        });
        let value = json!({
            "recorded": self.recorded, "already_there": self.already, "left_out": left_out, "refused": refused,
        });
        let mut text = format!("{} facts recorded, {} were already there", self.recorded, self.already);
        let mut add = |count: u64, what: &str| {
            if count > 0 {
                text.push_str(&format!("\nleft out: {count} {what}"));
            }
        };
        add(self.inferred, "inferred by a model there");
        add(self.expired, "that had expired");
        add(self.sourceless, "derived from what the package does not hold");
        for (key, reason) in &self.refused {
            text.push_str(&format!("\nrefused: {key}: {reason}"));
        }
        out.print_value(&value, &text)?;
        match self.refused.len() {
            0 => Ok(()),
            count => Err(CliError::failed(format!("{count} facts were refused"))),
        }
    }
}
