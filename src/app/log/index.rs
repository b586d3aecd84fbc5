//! Keys of the index beside the log: what finds an event by recipient, request or end.

use crate::app::log::revocation::Revocation;
use crate::domain::event::{Event, Reason};
use crate::domain::ids::{EventId, GrantId};
use crate::domain::request::RequestOutcome;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Grants by when they expire.
pub(crate) const OPEN: &[u8] = b"open";

/// Artefacts that were registered.
pub(crate) const ARTIFACTS: &[u8] = b"bilt";

pub(crate) const REVOCATIONS: &[u8] = b"fall";

pub(crate) const ERASURE: &[u8] = b"done";

/// Grants that were erased, and whose they were.
pub(crate) const ERASED_GRANTS: &[u8] = b"gone";

pub(crate) const ACKNOWLEDGED: &[u8] = b"ack";

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) grants: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) artifacts: Vec<String>,
    pub(crate) reason: i32,
    #[serde(default)]
    pub(crate) cause: String,
    #[serde(default)]
    pub(crate) source: String,
}

/// A recipient's name as it stands in the index: of fixed length, so that no name is the beginning of another.
pub(crate) fn named(recipient: &str) -> Vec<u8> {
    Sha256::digest(recipient).as_slice().split_at(16).0.to_vec()
}

pub(crate) fn revocations_key(recipient: &str) -> Vec<u8> {
    [REVOCATIONS, &named(recipient)].concat()
}

pub(crate) fn erased_grant_key(grant: &GrantId) -> Vec<u8> {
    [ERASED_GRANTS, &grant.position.to_be_bytes(), &grant.token].concat()
}

pub(crate) fn acknowledged_by(position: u64, recipient: &str) -> Vec<u8> {
    [ACKNOWLEDGED, &position.to_be_bytes(), &named(recipient)].concat()
}

pub(crate) fn position_of(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |position| u64::from_be_bytes(*position))
}

/// Further index records of an event: what finds it when it is asked for by recipient or request.
pub(crate) fn index_of(event: &Event) -> Vec<(Vec<u8>, Vec<u8>)> {
    let due = index_of_requests(event);
    let id = |event: &Option<EventId>| event.map(|id| id.to_string()).unwrap_or_default();
    let fall = |recipient: &str, kept: Kept| {
        (revocations_key(recipient), serde_json::to_vec(&kept).unwrap_or_default())
    };
    match event {
        Event::GrantIssued(issued) => {
            vec![([OPEN, &issued.expires_at_ms.to_be_bytes()].concat(), Vec::new())]
        }
        Event::GrantRevoked { grant_id, recipient, reason, cause, source, .. } => {
            let (grants, reason) = (vec![grant_id.clone()], (*reason).into());
            let kept = Kept { grants, reason, cause: id(cause), source: id(source), ..Kept::default() };
            vec![fall(recipient, kept)]
        }
        Event::ErasureCompleted(done) => {
            let mut records = vec![([ERASURE, &done.request].concat(), Vec::new())];
            for each in &done.recipients {
                let ids = each.grant_ids.iter().filter_map(|id| id.parse::<GrantId>().ok());
                records
                    .extend(ids.map(|id| ([erased_grant_key(&id), named(&each.name)].concat(), Vec::new())));
            }
            let told = done.recipients.iter();
            records.extend(told.map(|each| {
                let (grants, artifacts) = (each.grant_ids.clone(), each.artifact_ids.clone());
                let reason = Reason::Erased.into();
                fall(&each.name, Kept { grants, artifacts, reason, ..Kept::default() })
            }));
            records
        }
        Event::ArtifactRegistered(_) => [(ARTIFACTS.to_vec(), Vec::new())].into_iter().chain(due).collect(),
        Event::ArtifactInvalidated(invalidated) => {
            let cause = id(&EventId::from_slice(&invalidated.cause));
            let (artifacts, reason) = (vec![invalidated.artifact_id.clone()], invalidated.reason);
            vec![fall(&invalidated.recipient, Kept { artifacts, reason, cause, ..Kept::default() })]
        }
        Event::RecipientAcknowledged(done) => {
            vec![(acknowledged_by(done.position, &done.recipient), Vec::new())]
        }
        other => index_of_pending(other).into_iter().chain(due).collect(),
    }
}

/// The key where watches wait for a revocation, and what they are told before it is recorded.
pub(crate) fn revocation_of(event: &Event) -> Option<(Vec<u8>, Revocation)> {
    let id = |event: Option<EventId>| event.map(|id| id.to_string()).unwrap_or_default();
    let (recipient, grant_ids, artifact_ids, reason, cause, source) = match event {
        Event::GrantRevoked { grant_id, recipient, reason, cause, source, .. } => {
            (recipient, vec![grant_id.clone()], Vec::new(), *reason, id(*cause), id(*source))
        }
        Event::ArtifactInvalidated(ended) => {
            let (artifacts, cause) = (vec![ended.artifact_id.clone()], id(EventId::from_slice(&ended.cause)));
            (&ended.recipient, Vec::new(), artifacts, ended.reason(), cause, String::new())
        }
        _ => return None,
    };
    let (cursor, recorded_at_ms) = (0, 0);
    let told = Revocation { cursor, grant_ids, artifact_ids, reason, recorded_at_ms, cause, source };
    Some((revocations_key(recipient), told))
}

/// Of these index records, the keys that watches wait at.
pub(crate) fn watched_keys(index: &[(Vec<u8>, Vec<u8>)]) -> impl Iterator<Item = Vec<u8>> {
    index.iter().filter(|(key, _)| key.starts_with(REVOCATIONS)).map(|(key, _)| key.clone())
}

pub(crate) const REQUEST: &[u8] = b"rqst";

pub(crate) const ATTRIBUTE_END: &[u8] = b"xpir";

pub(crate) const CONSENT_END: &[u8] = b"cend";

pub(crate) const ARTIFACT_END: &[u8] = b"aend";

/// The further index record of an event that something is due for. A request's has as value by when it is to be
/// answered, 0 where nothing is to be done any more.
pub(crate) fn index_of_requests(event: &Event) -> Option<(Vec<u8>, Vec<u8>)> {
    let request =
        |id: &[u8], due_at_ms: u64| Some(([REQUEST, id].concat(), due_at_ms.to_be_bytes().to_vec()));
    let ends = |kind: &[u8], end_ms: u64| ([kind, &end_ms.to_be_bytes()].concat(), Vec::new());
    match event {
        Event::RequestSubmitted(submitted) => request(&submitted.request, submitted.due_at_ms),
        Event::RequestExtended(extended) => request(&extended.request, extended.due_at_ms),
        Event::RequestDecided(decided) => match decided.outcome() {
            RequestOutcome::Accepted => request(&decided.request, decided.due_at_ms),
            _ => request(&decided.request, 0),
        },
        Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
            attribute.expires_at_ms.map(|end_ms| ends(ATTRIBUTE_END, end_ms))
        }
        Event::Consent { decision, terms } if decision.is_yes() => {
            terms.until_ms.map(|end_ms| ends(CONSENT_END, end_ms))
        }
        Event::ArtifactRegistered(built) if built.expires_at_ms > 0 => {
            Some(ends(ARTIFACT_END, built.expires_at_ms))
        }
        _ => None,
    }
}

/// The number that stands after a prefix, and the position at the end.
pub(crate) fn end_and_position(key: &[u8], prefix: &[u8]) -> Option<(u64, u64)> {
    let end = key.get(prefix.len()..)?.first_chunk().copied().map(u64::from_be_bytes)?;
    let position = key.last_chunk().copied().map(u64::from_be_bytes)?;
    Some((end, position))
}

/// Entries that say that revocations follow.
pub(crate) const PENDING: &[u8] = b"pend";

/// The index record of an event that says that revocations follow.
pub(crate) fn index_of_pending(event: &Event) -> Option<(Vec<u8>, Vec<u8>)> {
    let follows = matches!(event, Event::RevocationsPending { left } if *left > 0);
    follows.then(|| (PENDING.to_vec(), Vec::new()))
}
