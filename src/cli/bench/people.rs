//! Whom the load is about, and what is known of them before it begins.

use super::super::connect::client;
use super::{Bench, Clients, Connection, Mode};
use crate::cli::error::CliError;
use crate::cli::progress;
use crate::clock::{Clock, SystemClock};
use crate::proto::bounds_service_client::BoundsServiceClient;
use crate::proto::{self, ConsentDecision, Provenance};
use tonic::Status;

const NOTICE: &str = "bench";
const PURPOSE: &str = "memory";
/// Keys a person's events go round in.
const KEYS: u64 = 10;
/// People prepared at once.
const PREPARED_AT_ONCE: u64 = 16;
/// As many as there are of those who are to be erased: their keys share writes.
const ERASED_PREPARED_AT_ONCE: u64 = 256;
/// Lifetime of grants that are checked: the longest there is.
const GRANT_SECONDS: i64 = 86_400;

/// A group of people, made up.
#[derive(Clone, Debug)]
pub(super) struct People {
    name: String,
    first: u64,
    value_bytes: usize,
    /// When this run began, milliseconds since the Unix epoch: no conversation of an earlier one comes again.
    run: u64,
}

impl People {
    /// Called by this name and a number, from `first` on.
    pub fn new(name: String, first: u64, value_bytes: usize) -> Self {
        Self { name, first, value_bytes, run: SystemClock.now_ms() }
    }

    pub fn subject(&self, person: u64) -> String {
        format!("bench-{}-{}", self.name, self.first.saturating_add(person))
    }

    /// `count` events about a person, from their `number`th on.
    pub fn events(&self, person: u64, number: u64, count: u64) -> proto::RecordAttributesRequest {
        // As JSON: quotes included, and no two of a person alike.
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
            subject: self.subject(person),
            attributes: numbers.map(attribute).collect(),
            options: None,
        }
    }

    /// The name of a conversation that there never was.
    pub fn new_conversation(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    /// Asks for a grant; for a conversation, one that may be had again.
    pub fn grant(&self, person: u64, interaction: &str) -> proto::RequestGrantRequest {
        proto::RequestGrantRequest {
            subject: self.subject(person),
            purpose: PURPOSE.into(),
            interaction: interaction.into(),
            ..Default::default()
        }
    }

    /// A grant that lasts.
    pub fn lasting_grant(&self, person: u64, interaction: &str) -> proto::RequestGrantRequest {
        let ttl = Some(prost_types::Duration { seconds: GRANT_SECONDS, nanos: 0 });
        proto::RequestGrantRequest { ttl, ..self.grant(person, interaction) }
    }

    /// What a person says to the use of their data.
    pub fn say(&self, person: u64, decision: ConsentDecision) -> proto::RecordConsentRequest {
        let choice = proto::ConsentChoice {
            decision: decision.into(),
            purposes: vec![PURPOSE.into()],
            ..Default::default()
        };
        proto::RecordConsentRequest {
            subject: self.subject(person),
            choices: vec![choice],
            notice: Some(proto::NoticeServed { id: NOTICE.into(), ..Default::default() }),
            ..Default::default()
        }
    }

    /// A person with facts, and with consent and a grant as far as the mode needs them.
    async fn introduce(&self, mode: Mode, clients: &mut Clients, person: u64) -> Result<String, Status> {
        let facts = if mode == Mode::Erase { 1 } else { KEYS };
        clients.profile.record_attributes(self.events(person, 0, facts)).await?;
        if matches!(mode, Mode::Rebuild | Mode::Erase) {
            return Ok(String::new());
        }
        clients.consent.record_consent(self.say(person, ConsentDecision::Given)).await?;
        if mode != Mode::Check {
            return Ok(String::new());
        }
        Ok(clients.grant.request_grant(self.lasting_grant(person, "")).await?.into_inner().grant_id)
    }
}

/// Makes everybody ready. Gives the grants to check, by person.
pub(super) async fn prepare(
    bench: &Bench,
    at: &Connection,
    clients: &[Clients],
    people: &People,
) -> Result<Vec<String>, CliError> {
    if bench.mode.needs_nobody() || bench.prepared {
        return Ok(Vec::new());
    }
    publish_notice(at).await?;
    let (mode, subjects) = (bench.mode, bench.subjects.max(bench.concurrency));
    let bar = progress::entries(subjects, "preparing people");
    let at_once = if mode == Mode::Erase { ERASED_PREPARED_AT_ONCE } else { PREPARED_AT_ONCE };
    let mut tasks = Vec::new();
    for (first, clients) in (0..at_once).zip(clients.iter().cycle()) {
        let (mut clients, people, bar) = (clients.clone(), people.clone(), bar.clone());
        tasks.push(tokio::spawn(async move {
            let mut grants = Vec::new();
            let mut person = first;
            while person < subjects {
                grants.push((person, people.introduce(mode, &mut clients, person).await?));
                bar.inc(1);
                person = person.saturating_add(at_once);
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

/// The notice that the people consent under. A repeated run finds it published.
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
    fn values_have_their_length_and_differ() {
        let people = People::new("run".into(), 5, 450);
        let (one, other) = (people.events(3, 7, 2), people.events(3, 9, 1));
        assert_eq!(one.attributes.len(), 2);
        assert!(one.attributes.iter().all(|attribute| attribute.value_json.len() == 450));
        assert_ne!(one.attributes[1].value_json, other.attributes[0].value_json);
        assert_eq!((one.subject.as_str(), one.subject == other.subject), ("bench-run-8", true));
    }
}
