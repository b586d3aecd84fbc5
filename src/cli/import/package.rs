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
use std::collections::HashMap;
use std::path::Path;
use tonic::{Code, Status};
use tonic_types::StatusExt;

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
pub(super) async fn run(file: &Path, subject: String, at: &Connection, out: Out) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::usage(format!("{}: {error}", file.display()));
    let mut opened = std::fs::File::open(file).map_err(|error| failed(&error))?;
    let imported = package::read(&mut opened).map_err(|error| failed(&error))?;
    let mut taking = Taking {
        subject,
        client: client!(ProfileServiceClient, at.link("steward").await?),
        here: HashMap::new(),
        tally: Tally::default(),
    };
    let (facts, inferred) = (imported.attributes, imported.inferred);
    let bar = progress::entries((facts.len() as u64).saturating_add(inferred), "importing");
    taking.tally.inferred = inferred;
    bar.inc(inferred);
    let order = Order::of(&facts).map_err(|problem| failed(&problem))?;
    let mut facts: Vec<Option<ImportedAttribute>> = facts.into_iter().map(Some).collect();
    for next in order {
        let Some(fact) = facts.get_mut(next).and_then(Option::take) else { continue };
        taking.take(fact).await?;
        bar.inc(1);
    }
    // What is left rests on itself, in a circle.
    let left = facts.iter().flatten().count() as u64;
    taking.tally.sourceless = taking.tally.sourceless.saturating_add(left);
    bar.finish_and_clear();
    taking.tally.report(out)
}

/// The order in which facts go: each after its sources. Takes as long as there are facts and links; facts that rest on
/// one another in a circle, or on such, never come.
struct Order {
    /// Facts with all their sources done, last first.
    ready: Vec<usize>,
    /// By fact: of its sources, how many are still to come.
    waits_for: Vec<usize>,
    /// By fact: those that name it as a source.
    waiting: Vec<Vec<usize>>,
}

impl Order {
    /// # Errors
    /// Two facts have the same event id.
    fn of(facts: &[ImportedAttribute]) -> Result<Self, &'static str> {
        let mut places = HashMap::with_capacity(facts.len());
        for (place, fact) in facts.iter().enumerate() {
            if places.insert(fact.event_id.as_str(), place).is_some() {
                return Err("not a package: two facts have the same event id");
            }
        }
        let mut waits_for = vec![0_usize; facts.len()];
        let mut waiting = vec![Vec::new(); facts.len()];
        for ((place, fact), waits_for) in facts.iter().enumerate().zip(&mut waits_for) {
            for source in fact.derived_from.iter().filter_map(|source| places.get(source.as_str())) {
                if let Some(waiting) = waiting.get_mut(*source).filter(|_| *source != place) {
                    waiting.push(place);
                    *waits_for = waits_for.saturating_add(1);
                }
            }
        }
        let ready = waits_for.iter().enumerate().rev().filter(|(_, count)| **count == 0);
        Ok(Self { ready: ready.map(|(place, _)| place).collect(), waits_for, waiting })
    }
}

impl Iterator for Order {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let next = self.ready.pop()?;
        for place in self.waiting.get_mut(next).map(std::mem::take).unwrap_or_default() {
            let Some(count) = self.waits_for.get_mut(place) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.ready.push(place);
            }
        }
        Some(next)
    }
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
            Err(status) if status.code() == Code::InvalidArgument || is_persons_word(&status) => {
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

/// Whether what the person said here stands against an observation from there.
fn is_persons_word(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "PERSONS_WORD")
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::time::{Duration, Instant};

    fn facts(derived_from: &[&[usize]]) -> Vec<ImportedAttribute> {
        let fact = |(place, sources): (usize, &&[usize])| {
            let sources: Vec<String> = sources.iter().map(usize::to_string).collect();
            let fact = json!({
                "event_id": place.to_string(), "key": "k", "value": 1, "category": "work",
                "provenance": "declared", "observed_at": "2026-01-05", "derived_from": sources,
            });
            serde_json::from_str(&fact.to_string()).unwrap()
        };
        derived_from.iter().enumerate().map(fact).collect()
    }

    fn order(derived_from: &[&[usize]]) -> Vec<usize> {
        Order::of(&facts(derived_from)).unwrap().collect()
    }

    #[test]
    fn sources_go_first_and_circles_never() {
        assert_eq!(order(&[&[], &[], &[]]), [0, 1, 2]);
        assert_eq!(order(&[&[2], &[], &[1]]), [1, 2, 0]);
        // A source that is not here is no reason to wait: that it is missing is found when the fact's turn comes.
        assert_eq!(order(&[&[7], &[0, 0]]), [0, 1]);
        // Itself, two of one another, and what rests on those.
        assert_eq!(order(&[&[0], &[2], &[1], &[1], &[]]), [0, 4]);
    }

    #[test]
    fn two_facts_of_one_id_are_refused() {
        let mut twice = facts(&[&[], &[]]);
        twice.iter_mut().for_each(|fact| fact.event_id = "same".into());
        assert!(Order::of(&twice).is_err());
    }

    /// The worst order: each fact rests on the one behind it. By rounds, this took hours.
    #[test]
    fn a_long_chain_takes_no_longer_than_its_length() {
        let sources: Vec<[usize; 1]> = (1..=50_000).map(|next| [next]).collect();
        let sources: Vec<&[usize]> = sources.iter().map(|source| &source[..]).collect();
        let facts = facts(&sources);
        let start = Instant::now();
        let order: Vec<usize> = Order::of(&facts).unwrap().collect();
        assert_eq!(order, (0..50_000).rev().collect::<Vec<_>>());
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
