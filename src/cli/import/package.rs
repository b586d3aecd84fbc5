//! `sayso import --package`: imports the package that another ledger exported for a person.

use super::super::connect::Connection;
use super::super::connect::{Link, client};
use super::super::error::CliError;
use super::super::output::{Out, count, int64};
use super::super::progress;
use super::super::times;
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

/// The attributes of a package, counted by outcome.
#[derive(Default)]
struct Tally {
    recorded: u64,
    /// Recorded by an earlier import.
    already: u64,
    inferred: u64,
    expired: u64,
    /// Derived from attributes that were not imported.
    without_sources: u64,
    /// Keys of refused attributes, each with the reason for the refusal.
    refused: Vec<(String, String)>,
}

/// Records the declared and observed attributes of a package. An attribute is recorded after the attributes
/// that it was derived from (its sources).
pub(super) async fn run(file: &Path, subject: String, at: &Connection, out: Out) -> Result<(), CliError> {
    let invalid = |error: &dyn std::fmt::Display| CliError::usage(format!("{}: {error}", file.display()));
    let mut opened = std::fs::File::open(file).map_err(|error| invalid(&error))?;
    let package = package::read(&mut opened).map_err(|error| invalid(&error))?;
    let mut importer = Importer {
        subject,
        client: client!(ProfileServiceClient, at.link("steward").await?),
        imported: HashMap::new(),
        tally: Tally::default(),
    };
    let (attributes, inferred) = (package.attributes, package.inferred);
    let bar = progress::entries((attributes.len() as u64).saturating_add(inferred), "importing");
    importer.tally.inferred = inferred;
    bar.inc(inferred);
    let order = SourceOrder::of(&attributes).map_err(|problem| invalid(&problem))?;
    let mut attributes: Vec<Option<ImportedAttribute>> = attributes.into_iter().map(Some).collect();
    for next in order {
        let Some(attribute) = attributes.get_mut(next).and_then(Option::take) else { continue };
        importer.import(attribute).await?;
        bar.inc(1);
    }
    // The remaining attributes are derived from each other in a circle, or from such attributes.
    let left = attributes.iter().flatten().count() as u64;
    importer.tally.without_sources = importer.tally.without_sources.saturating_add(left);
    bar.finish_and_clear();
    importer.tally.report(out)
}

/// Iterates over the indexes of attributes, each attribute after its sources. The time is linear in
/// the number of attributes and of their references to sources. Attributes that are derived from
/// each other in a circle, or from an attribute in a circle, are left out.
struct SourceOrder {
    /// Attributes whose sources were all returned, and that can be returned next. The last one is
    /// the first to be returned.
    ready: Vec<usize>,
    /// For each attribute: the number of its sources that were not returned yet.
    missing: Vec<usize>,
    /// By attribute: the attributes derived from it.
    derived: Vec<Vec<usize>>,
}

impl SourceOrder {
    /// # Errors
    /// Two attributes have the same event ID.
    fn of(attributes: &[ImportedAttribute]) -> Result<Self, &'static str> {
        let mut indexes = HashMap::with_capacity(attributes.len());
        for (index, attribute) in attributes.iter().enumerate() {
            if indexes.insert(attribute.event_id.as_str(), index).is_some() {
                return Err("invalid package: two attributes have the same event ID");
            }
        }
        let mut missing = vec![0_usize; attributes.len()];
        let mut derived = vec![Vec::new(); attributes.len()];
        for ((index, attribute), missing) in attributes.iter().enumerate().zip(&mut missing) {
            for source in attribute.derived_from.iter().filter_map(|source| indexes.get(source.as_str())) {
                if let Some(derived) = derived.get_mut(*source).filter(|_| *source != index) {
                    derived.push(index);
                    *missing = missing.saturating_add(1);
                }
            }
        }
        let ready = missing.iter().enumerate().rev().filter(|(_, missing)| **missing == 0);
        Ok(Self { ready: ready.map(|(index, _)| index).collect(), missing, derived })
    }
}

impl Iterator for SourceOrder {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let next = self.ready.pop()?;
        for index in self.derived.get_mut(next).map(std::mem::take).unwrap_or_default() {
            let Some(missing) = self.missing.get_mut(index) else { continue };
            *missing = missing.saturating_sub(1);
            if *missing == 0 {
                self.ready.push(index);
            }
        }
        Some(next)
    }
}

struct Importer {
    subject: String,
    client: ProfileServiceClient<Link>,
    /// The event IDs that the attributes have in this ledger, by their event IDs in the package.
    imported: HashMap<String, String>,
    tally: Tally,
}

impl Importer {
    async fn import(&mut self, attribute: ImportedAttribute) -> Result<(), CliError> {
        // The sources limit what an attribute may be used for, so it is not imported without them.
        let sources: Option<Vec<String>> =
            attribute.derived_from.iter().map(|source| self.imported.get(source).cloned()).collect();
        let Some(derived_from) = sources else {
            self.tally.without_sources = self.tally.without_sources.saturating_add(1);
            return Ok(());
        };
        let input = match input(&attribute, derived_from) {
            Ok(Some(input)) => input,
            Ok(None) => {
                self.tally.expired = self.tally.expired.saturating_add(1);
                return Ok(());
            }
            Err(problem) => {
                self.tally.refused.push((attribute.key, problem));
                return Ok(());
            }
        };
        let request = proto::RecordAttributesRequest {
            subject: self.subject.clone(),
            attributes: vec![input],
            options: self.options(&attribute.event_id, "recorded"),
        };
        let receipt = match self.client.record_attributes(request).await {
            Ok(answer) => answer.into_inner().receipt.unwrap_or_default(),
            Err(status) if status.code() == Code::InvalidArgument || contradicts_the_person(&status) => {
                self.tally.refused.push((attribute.key, status.message().to_owned()));
                return Ok(());
            }
            Err(status) => return Err(status.into()),
        };
        let tally = if receipt.replayed { &mut self.tally.already } else { &mut self.tally.recorded };
        *tally = tally.saturating_add(1);
        if let Some(event) = receipt.events.first() {
            self.imported.insert(attribute.event_id.clone(), event.event_id.clone());
        }
        if attribute.contested {
            self.contest(attribute.key, &attribute.event_id).await
        } else if attribute.confirmed {
            self.confirm(attribute.key, &attribute.event_id).await
        } else {
            Ok(())
        }
    }

    async fn contest(&mut self, key: String, event: &str) -> Result<(), CliError> {
        let (subject, options) = (self.subject.clone(), self.options(event, "contested"));
        let request = proto::ContestAttributeRequest { subject, key, options, ..Default::default() };
        self.client.contest_attribute(request).await?;
        Ok(())
    }

    async fn confirm(&mut self, key: String, event: &str) -> Result<(), CliError> {
        let (subject, options) = (self.subject.clone(), self.options(event, "confirmed"));
        let request = proto::ConfirmAttributeRequest { subject, key, options };
        self.client.confirm_attribute(request).await?;
        Ok(())
    }

    /// The options of a write, with an idempotency key, so that importing the same package again
    /// adds nothing.
    fn options(&self, event: &str, action: &str) -> Option<proto::WriteOptions> {
        let parts = [action, "\0", &self.subject, "\0", event].concat();
        let idempotency_key = format!("package-{}", hex::encode(Sha256::digest(parts)));
        Some(proto::WriteOptions { idempotency_key, ..Default::default() })
    }
}

/// Whether an attribute was refused because the person declared or contested an attribute with the same
/// key in this ledger.
fn contradicts_the_person(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.reason == "STATED_BY_SUBJECT")
}

/// Converts an attribute of a package to the attribute to record; `None` if it has expired.
///
/// # Errors
/// A time or the provenance is invalid. The caller then skips this attribute and imports the others.
fn input(
    attribute: &ImportedAttribute,
    derived_from: Vec<String>,
) -> Result<Option<proto::AttributeInput>, String> {
    let observed_at = times::beginning(&attribute.observed_at);
    let observed_at = observed_at.map_err(|problem| format!("`observed_at` {problem}"))?;
    let expires_at = attribute.expires_at.as_deref().map(times::end).transpose();
    let expires_at = expires_at.map_err(|problem| format!("`expires_at` {problem}"))?;
    if expires_at.as_ref().is_some_and(|end| end.millis() <= SystemClock.now_ms()) {
        return Ok(None);
    }
    let provenance = match attribute.provenance.as_str() {
        "declared" => Provenance::Declared,
        "observed" => Provenance::Observed,
        _ => return Err("`provenance` must be declared or observed".into()),
    };
    Ok(Some(proto::AttributeInput {
        key: attribute.key.clone(),
        value_json: attribute.value.get().to_owned(),
        category: attribute.category.clone(),
        provenance: provenance.into(),
        evidence: attribute.evidence.clone(),
        derived_from,
        observed_at: Some(observed_at.moment),
        expires_at: expires_at.map(|end| end.moment),
        ..Default::default()
    }))
}

impl Tally {
    fn report(self, out: Out) -> Result<(), CliError> {
        let refused: Vec<_> =
            self.refused.iter().map(|(key, reason)| json!({ "key": key, "reason": reason })).collect();
        let skipped = json!({
            "inferred": int64(self.inferred),
            "expired": int64(self.expired),
            "withoutSources": int64(self.without_sources),
        });
        let value = json!({
            "recorded": int64(self.recorded),
            "alreadyRecorded": int64(self.already),
            "skipped": skipped,
            "refused": refused,
        });
        let mut text = format!("recorded {}, already recorded {}", self.recorded, self.already);
        let mut add = |number: u64, why: &str| {
            if number > 0 {
                text.push_str(&format!("\nskipped {}: {why}", count(number, "attribute")));
            }
        };
        add(self.inferred, "inferred by a model");
        add(self.expired, "expired");
        add(self.without_sources, "derived from attributes that were not imported");
        for (key, reason) in &self.refused {
            text.push_str(&format!("\nrefused: {key}: {reason}"));
        }
        out.print_value(&value, &text)?;
        match self.refused.len() {
            0 => Ok(()),
            number => Err(CliError::failed(format!("{} refused", count(number as u64, "attribute")))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::time::{Duration, Instant};

    fn attributes(derived_from: &[&[usize]]) -> Vec<ImportedAttribute> {
        let attribute = |(index, sources): (usize, &&[usize])| {
            let sources: Vec<String> = sources.iter().map(usize::to_string).collect();
            let attribute = json!({
                "event_id": index.to_string(), "key": "k", "value": 1, "category": "work",
                "provenance": "declared", "observed_at": "2026-01-05", "derived_from": sources,
            });
            serde_json::from_str(&attribute.to_string()).unwrap()
        };
        derived_from.iter().enumerate().map(attribute).collect()
    }

    fn order(derived_from: &[&[usize]]) -> Vec<usize> {
        SourceOrder::of(&attributes(derived_from)).unwrap().collect()
    }

    #[test]
    fn sources_come_first_and_circles_are_left_out() {
        assert_eq!(order(&[&[], &[], &[]]), [0, 1, 2]);
        assert_eq!(order(&[&[2], &[], &[1]]), [1, 2, 0]);
        // A source that is not in the package does not delay an attribute. The import notices later that the
        // source is missing.
        assert_eq!(order(&[&[7], &[0, 0]]), [0, 1]);
        // An attribute derived from itself, two attributes derived from each other, and one derived from
        // those two are all left out.
        assert_eq!(order(&[&[0], &[2], &[1], &[1], &[]]), [0, 4]);
    }

    #[test]
    fn attributes_with_the_same_event_id_are_refused() {
        let mut twice = attributes(&[&[], &[]]);
        twice.iter_mut().for_each(|attribute| attribute.event_id = "same".into());
        assert!(SourceOrder::of(&twice).is_err());
    }

    /// The slowest order: each attribute is derived from the one after it. An algorithm that takes
    /// quadratic time would take much longer than this test allows.
    #[test]
    fn a_long_chain_takes_linear_time() {
        let sources: Vec<[usize; 1]> = (1..=50_000).map(|next| [next]).collect();
        let sources: Vec<&[usize]> = sources.iter().map(|source| &source[..]).collect();
        let attributes = attributes(&sources);
        let start = Instant::now();
        let order: Vec<usize> = SourceOrder::of(&attributes).unwrap().collect();
        assert_eq!(order, (0..50_000).rev().collect::<Vec<_>>());
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
