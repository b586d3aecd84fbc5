//! Whom the load is about, and what is asked about them.

use super::super::connect::client;
use super::{Clients, Connection, INGEST_EVENTS, Mode};
use crate::cli::error::CliError;
use crate::proto::bounds_service_client::BoundsServiceClient;
use crate::proto::{self, Provenance};
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

/// What is asked, about whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub mode: Mode,
    /// Tells this run's people from others'.
    pub run: u64,
    pub subjects: u64,
    pub value_bytes: usize,
}

impl Load {
    fn subject(&self, person: u64) -> String {
        format!("bench-{}-{person}", self.run)
    }

    /// `count` events about a person, from the run's `number`th on.
    fn events(&self, person: u64, number: u64, count: u64) -> proto::RecordAttributesRequest {
        // As JSON: quotes included, and no two alike.
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

    fn grant(&self, person: u64) -> proto::RequestGrantRequest {
        proto::RequestGrantRequest {
            subject: self.subject(person),
            purpose: PURPOSE.into(),
            ..Default::default()
        }
    }

    /// One call, the run's `number`th.
    pub async fn call(
        &self,
        clients: &mut Clients,
        person: u64,
        number: u64,
        grants: &[String],
    ) -> Result<(), Status> {
        match self.mode {
            Mode::Append => {
                clients.profile.record_attributes(self.events(person, number, 1)).await?;
            }
            Mode::Ingest => {
                let request = self.events(person, number, INGEST_EVENTS);
                clients.profile.record_attributes(request).await?;
            }
            Mode::Grant => {
                clients.grant.request_grant(self.grant(person)).await?;
            }
            Mode::Check => {
                let grant_id = usize::try_from(person).ok().and_then(|person| grants.get(person)).cloned();
                let request = proto::CheckGrantRequest { grant_id: grant_id.unwrap_or_default() };
                if !clients.grant.check_grant(request).await?.into_inner().stands {
                    return Err(Status::failed_precondition("a grant that should stand does not"));
                }
            }
            Mode::Rebuild => {
                let subject = self.subject(person);
                let request = proto::GetProfileRequest { subject, rebuild: true, ..Default::default() };
                clients.stewards_profile.get_profile(request).await?;
            }
            Mode::Erase => {
                let request = proto::SubmitRequestRequest {
                    subject: self.subject(person),
                    kind: proto::RequestKind::Erasure.into(),
                    scope: proto::ErasureScope::All.into(),
                    ..Default::default()
                };
                if clients.rights.submit_request(request).await?.into_inner().certificate.is_none() {
                    return Err(Status::failed_precondition("an erasure left no certificate"));
                }
            }
        }
        Ok(())
    }

    /// A person with facts, and with consent and a grant as far as the mode needs them.
    async fn introduce(&self, clients: &mut Clients, person: u64) -> Result<String, Status> {
        let facts = if self.mode == Mode::Erase { 1 } else { KEYS };
        clients.profile.record_attributes(self.events(person, 0, facts)).await?;
        if matches!(self.mode, Mode::Rebuild | Mode::Erase) {
            return Ok(String::new());
        }
        let choice = proto::ConsentChoice {
            decision: proto::ConsentDecision::Given.into(),
            purposes: vec![PURPOSE.into()],
            ..Default::default()
        };
        let request = proto::RecordConsentRequest {
            subject: self.subject(person),
            choices: vec![choice],
            notice: Some(proto::NoticeServed { id: NOTICE.into(), ..Default::default() }),
            ..Default::default()
        };
        clients.consent.record_consent(request).await?;
        if self.mode == Mode::Grant {
            return Ok(String::new());
        }
        let ttl = Some(prost_types::Duration { seconds: GRANT_SECONDS, nanos: 0 });
        let request = proto::RequestGrantRequest { ttl, ..self.grant(person) };
        Ok(clients.grant.request_grant(request).await?.into_inner().grant_id)
    }
}

/// Makes everybody ready. Gives the grants to check, by person.
pub(super) async fn prepare(
    at: &Connection,
    clients: &[Clients],
    load: Load,
) -> Result<Vec<String>, CliError> {
    if matches!(load.mode, Mode::Append | Mode::Ingest) {
        return Ok(Vec::new());
    }
    publish_notice(at).await?;
    let at_once = if load.mode == Mode::Erase { ERASED_PREPARED_AT_ONCE } else { PREPARED_AT_ONCE };
    let mut tasks = Vec::new();
    for (first, clients) in (0..at_once).zip(clients.iter().cycle()) {
        let mut clients = clients.clone();
        tasks.push(tokio::spawn(async move {
            let mut grants = Vec::new();
            let mut person = first;
            while person < load.subjects {
                grants.push((person, load.introduce(&mut clients, person).await?));
                person = person.saturating_add(at_once);
            }
            Ok::<_, Status>(grants)
        }));
    }
    let mut grants = Vec::new();
    for task in tasks {
        grants.extend(task.await.map_err(CliError::failed)??);
    }
    grants.sort_unstable();
    Ok(grants.into_iter().map(|(_, grant)| grant).collect())
}

/// The notice that the people consent under. A repeated run finds it published.
async fn publish_notice(at: &Connection) -> Result<(), CliError> {
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
        let load = Load { mode: Mode::Append, run: 1, subjects: 10, value_bytes: 450 };
        let (one, other) = (load.events(3, 7, 2), load.events(3, 9, 1));
        assert_eq!(one.attributes.len(), 2);
        assert!(one.attributes.iter().all(|attribute| attribute.value_json.len() == 450));
        assert_ne!(one.attributes[1].value_json, other.attributes[0].value_json);
        assert_eq!((one.subject.as_str(), one.subject == other.subject), ("bench-1-3", true));
    }
}
