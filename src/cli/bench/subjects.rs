//! The made-up people whom the calls of a benchmark are about, and the preparation of these people before the
//! measurement.

use super::clients::Clients;
use super::options::{Bench, Mode};
use crate::cli::connect::{Connection, client};
use crate::cli::error::CliError;
use crate::cli::progress;
use crate::clock::{Clock, SystemClock};
use crate::proto::bounds_service_client::BoundsServiceClient;
use crate::proto::{self, ConsentDecision, Provenance};
use tonic::Status;

const NOTICE: &str = "bench";
const PURPOSE: &str = "memory";
/// Number of different attribute keys of a subject. The events of a subject use these keys in turn.
const KEYS: u64 = 10;
/// Subjects that are prepared concurrently.
const PREPARED_AT_ONCE: u64 = 16;
/// Subjects that are prepared concurrently for `erase`. The number is higher than for the other modes,
/// because concurrent preparations share writes of the key store.
const PREPARED_AT_ONCE_FOR_ERASURE: u64 = 256;
/// Lifetime of the grants: the longest that the daemon allows.
const GRANT_SECONDS: i64 = 86_400;

/// A group of made-up data subjects. They are numbered from 0.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    name: String,
    first: u64,
    value_bytes: usize,
    /// Start of this run in milliseconds since the Unix epoch. Names of conversations begin with
    /// this time, so no earlier run has used the same names.
    run: u64,
}

impl Subjects {
    /// The group that the flags ask for.
    pub fn of(bench: &Bench) -> Self {
        // Without a named group, each run on the same data folder is about different people.
        let name = bench.people.clone().unwrap_or_else(|| SystemClock.now_ms().to_string());
        Self::new(name, bench.first, usize::try_from(bench.value_bytes).unwrap_or(usize::MAX))
    }

    fn new(name: String, first: u64, value_bytes: usize) -> Self {
        Self { name, first, value_bytes, run: SystemClock.now_ms() }
    }

    /// The ID of a subject.
    pub fn id(&self, subject: u64) -> String {
        format!("bench-{}-{}", self.name, self.first.saturating_add(subject))
    }

    /// A request to record `count` attributes of a subject, each a separate event. The events are numbered
    /// from `number`, and each has a different value.
    pub fn events(&self, subject: u64, number: u64, count: u64) -> proto::RecordAttributesRequest {
        // The value is a JSON string with its quotes. No two values of a subject are the same.
        let width = self.value_bytes.saturating_sub(2);
        let attribute = |number: u64| proto::AttributeInput {
            key: format!("memory/{}", number % KEYS),
            value_json: format!("\"{number:0>width$}\""),
            category: "preference".into(),
            provenance: Provenance::Inferred.into(),
            ..Default::default()
        };
        let numbers = number..number.saturating_add(count);
        proto::RecordAttributesRequest {
            subject: self.id(subject),
            attributes: numbers.map(attribute).collect(),
            options: None,
        }
    }

    /// A name of a conversation that no earlier call used.
    pub fn new_conversation(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    /// A request for a grant with the longest lifetime. If it names a conversation (`interaction`), the
    /// answer to a repeated request can reuse the grant.
    pub fn longest_grant(&self, subject: u64, interaction: &str) -> proto::RequestGrantRequest {
        proto::RequestGrantRequest {
            subject: self.id(subject),
            purpose: PURPOSE.into(),
            interaction: interaction.into(),
            ttl: Some(prost_types::Duration { seconds: GRANT_SECONDS, nanos: 0 }),
            ..Default::default()
        }
    }

    /// A request that records a subject's consent to the benchmark's purpose, or its withdrawal.
    pub fn consent(&self, subject: u64, decision: ConsentDecision) -> proto::RecordConsentRequest {
        let choice = proto::ConsentChoice {
            decision: decision.into(),
            purposes: vec![PURPOSE.into()],
            ..Default::default()
        };
        proto::RecordConsentRequest {
            subject: self.id(subject),
            choices: vec![choice],
            notice: Some(proto::NoticeServed { id: NOTICE.into(), ..Default::default() }),
            ..Default::default()
        }
    }

    /// Records attributes of a subject, and consent and a grant where the mode needs them. Returns the
    /// grant's ID, if any.
    async fn prepare(&self, mode: Mode, clients: &mut Clients, subject: u64) -> Result<String, Status> {
        let attributes = if mode == Mode::Erase { 1 } else { KEYS };
        clients.profile.record_attributes(self.events(subject, 0, attributes)).await?;
        if matches!(mode, Mode::Rebuild | Mode::Erase) {
            return Ok(String::new());
        }
        clients.consent.record_consent(self.consent(subject, ConsentDecision::Given)).await?;
        if mode != Mode::Check {
            return Ok(String::new());
        }
        Ok(clients.grant.request_grant(self.longest_grant(subject, "")).await?.into_inner().grant_id)
    }
}

/// Prepares all subjects of a run. Returns the IDs of the grants to check, by subject number.
pub(super) async fn prepare(
    bench: &Bench,
    at: &Connection,
    clients: &[Clients],
    subjects: &Subjects,
) -> Result<Vec<String>, CliError> {
    if !bench.mode.needs_preparation() || bench.prepared {
        return Ok(Vec::new());
    }
    publish_notice(at).await?;
    let (mode, total) = (bench.mode, bench.subjects.max(bench.concurrency));
    let bar = progress::entries(total, "preparing people");
    let at_once = if mode == Mode::Erase { PREPARED_AT_ONCE_FOR_ERASURE } else { PREPARED_AT_ONCE };
    let mut tasks = Vec::new();
    for (first, clients) in (0..at_once).zip(clients.iter().cycle()) {
        let (mut clients, subjects, bar) = (clients.clone(), subjects.clone(), bar.clone());
        tasks.push(tokio::spawn(async move {
            let mut grants = Vec::new();
            let mut subject = first;
            while subject < total {
                grants.push((subject, subjects.prepare(mode, &mut clients, subject).await?));
                bar.inc(1);
                subject = subject.saturating_add(at_once);
            }
            Ok::<_, Status>(grants)
        }));
    }
    let mut grants = Vec::new();
    for task in tasks {
        grants.extend(task.await.map_err(CliError::failed)??);
    }
    bar.finish_and_clear();
    grants.sort_unstable();
    Ok(grants.into_iter().map(|(_, grant)| grant).collect())
}

/// Publishes the notice that the subjects consent under. A repeated call changes nothing.
pub(super) async fn publish_notice(at: &Connection) -> Result<(), CliError> {
    let bearer = at.dev_bearer("steward")?;
    let link = tonic::service::interceptor::InterceptedService::new(at.channel().await?, bearer);
    let options = proto::WriteOptions { idempotency_key: "bench-notice".into(), ..Default::default() };
    let notice = proto::PublishNoticeRequest {
        id: NOTICE.into(),
        version: "1".into(),
        text: "a notice for measuring".into(),
        options: Some(options),
        ..Default::default()
    };
    client!(BoundsServiceClient, link).publish_notice(notice).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn values_have_the_requested_length_and_differ() {
        let subjects = Subjects::new("run".into(), 5, 450);
        let (one, other) = (subjects.events(3, 7, 2), subjects.events(3, 9, 1));
        assert_eq!(one.attributes.len(), 2);
        assert!(one.attributes.iter().all(|attribute| attribute.value_json.len() == 450));
        assert_ne!(one.attributes[1].value_json, other.attributes[0].value_json);
        assert_eq!((one.subject.as_str(), one.subject == other.subject), ("bench-run-8", true));
    }
}
