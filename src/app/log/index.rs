//! Keys of the index that the store keeps beside the log. With them, events are found by recipient, request
//! or expiry without reading the whole log.

use crate::app::log::address::{address, address_of};
use crate::app::log::revocation::Revocation;
use crate::domain::birth::Birth;
use crate::domain::description::TEEN_YEARS;
use crate::domain::event::{ErasureOutcome, ErasureScope, Event, Reason, SubjectDescribed};
use crate::domain::ids::{EventId, GrantId};
use crate::domain::request::RequestOutcome;
use crate::store::IndexRecord;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Grants by when they expire.
pub(crate) const OPEN: &[u8] = b"open";

/// Registered artifacts.
pub(crate) const ARTIFACTS: &[u8] = b"bilt";

/// Revocations, by recipient.
pub(crate) const REVOCATIONS: &[u8] = b"fall";

/// Completed erasures, by the hash of the id of the request.
pub(crate) const ERASURE: &[u8] = b"dnsh";

/// Completed erasures by the id of the request, as early versions indexed them.
pub(crate) const EARLY_ERASURE: &[u8] = b"done";

/// Erased grants and artifacts, and their recipients.
pub(crate) const ERASED_GRANTS: &[u8] = b"gone";

/// Acknowledged revocations, by position and recipient.
pub(crate) const ACKNOWLEDGED: &[u8] = b"ack";

/// What recipients reported about erasures, by position and recipient.
pub(crate) const OUTCOMES: &[u8] = b"outc";

pub(crate) fn outcome_key(position: u64, recipient: &str) -> Vec<u8> {
    [OUTCOMES, &position.to_be_bytes(), &recipient_hash(recipient)].concat()
}

/// The value of an index record of a revocation, as JSON. For an erasure it has the reason only; earlier
/// versions also wrote the ids of grants and artifacts.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct RevocationRecord {
    pub(crate) grants: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) artifacts: Vec<String>,
    pub(crate) reason: i32,
    #[serde(default)]
    pub(crate) cause: String,
    #[serde(default)]
    pub(crate) source: String,
}

/// A recipient's name in an index key. It has a fixed length, so no name is a prefix of another.
pub(crate) fn recipient_hash(recipient: &str) -> Vec<u8> {
    Sha256::digest(recipient).as_slice().split_at(16).0.to_vec()
}

pub(crate) fn revocations_key(recipient: &str) -> Vec<u8> {
    [REVOCATIONS, &recipient_hash(recipient)].concat()
}

pub(crate) fn erased_grant_key(grant: &GrantId) -> Vec<u8> {
    [ERASED_GRANTS, &grant.position.to_be_bytes(), &grant.token].concat()
}

pub(crate) fn acknowledgment_key(position: u64, recipient: &str) -> Vec<u8> {
    [ACKNOWLEDGED, &position.to_be_bytes(), &recipient_hash(recipient)].concat()
}

pub(crate) fn position_of(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |position| u64::from_be_bytes(*position))
}

/// Names of the recipients of grants, over all data subjects.
pub(crate) const RECIPIENT_NAMES: &[u8] = b"name";

/// Marks an index that has the names of the recipients of all grants. Indexes of earlier versions lack some.
pub(crate) const HAS_RECIPIENT_NAMES: &[u8] = b"nall";

/// The prefix of the index records of a recipient's name.
pub(crate) fn recipient_name_key(recipient: &str) -> Vec<u8> {
    [RECIPIENT_NAMES, &recipient_hash(recipient)].concat()
}

/// The index record of the recipient of a grant. The recipients that decisions name have none: one write may
/// name thousands of them.
fn index_of_name(event: &Event) -> Option<(Vec<u8>, Vec<u8>)> {
    match event {
        Event::GrantIssued(issued) => Some((recipient_name_key(&issued.recipient), Vec::new())),
        _ => None,
    }
}

/// The index records by which an event is found by recipient, request or expiry. `now_ms` is the time of the
/// event, milliseconds since the Unix epoch.
pub(crate) fn index_of(event: &Event, now_ms: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = records_of(event, now_ms);
    records.extend(index_of_name(event));
    records
}

/// An index record of the entry at a position. The position ends the key, so that keys are unique.
pub(crate) fn at_position((key, value): IndexRecord, position: u64) -> IndexRecord {
    ([key.as_slice(), &position.to_be_bytes()].concat(), value)
}

fn records_of(event: &Event, now_ms: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let timed = index_of_requests(event);
    let id = |event: &Option<EventId>| event.map(|id| id.to_string()).unwrap_or_default();
    let revocation = |recipient: &str, record: RevocationRecord| {
        (revocations_key(recipient), serde_json::to_vec(&record).unwrap_or_default())
    };
    match event {
        Event::GrantIssued(issued) => {
            vec![([OPEN, &issued.expires_at_ms.to_be_bytes()].concat(), Vec::new())]
        }
        Event::GrantRevoked { grant_id, recipient, reason, cause, source, .. } => {
            let (grants, reason) = (vec![grant_id.clone()], (*reason).into());
            let record = RevocationRecord {
                grants,
                reason,
                cause: id(cause),
                source: id(source),
                ..RevocationRecord::default()
            };
            vec![revocation(recipient, record)]
        }
        Event::ErasureCompleted(done) => {
            let mut records = vec![([ERASURE, done.hash_of_request().as_slice()].concat(), Vec::new())];
            for each in &done.recipients {
                let ids = each.grant_ids.iter().chain(&each.artifact_ids);
                let ids = ids.filter_map(|id| id.parse::<GrantId>().ok());
                let hash = recipient_hash(&address_of(each));
                records.extend(ids.map(|id| ([erased_grant_key(&id), hash.clone()].concat(), Vec::new())));
            }
            // The event has the ids of grants and artifacts. There may be thousands, and values are short.
            let reason = done.reason().into();
            let record = || RevocationRecord { reason, ..RevocationRecord::default() };
            records.extend(done.recipients.iter().map(|each| revocation(&address_of(each), record())));
            records
        }
        Event::ArtifactRegistered(_) => [(ARTIFACTS.to_vec(), Vec::new())].into_iter().chain(timed).collect(),
        Event::ArtifactInvalidated(invalidated) => {
            let cause = id(&invalidated.cause);
            let (artifacts, reason) = (vec![invalidated.artifact_id.clone()], invalidated.reason.into());
            vec![revocation(
                &invalidated.recipient,
                RevocationRecord { artifacts, reason, cause, ..RevocationRecord::default() },
            )]
        }
        Event::RecipientAcknowledged(acknowledged) => {
            let recipient = address(acknowledged.role, &acknowledged.recipient);
            vec![(acknowledgment_key(acknowledged.position, &recipient), Vec::new())]
        }
        Event::RecipientReported(_) | Event::RecipientReminded(_) => index_of_answers(event),
        Event::SubjectDescribed(described) => age_changes(described, now_ms),
        Event::LogOpened(_) => {
            [HAS_RECIPIENT_NAMES, HAS_CONSENTS_SAID].map(|mark| (mark.to_vec(), Vec::new())).into()
        }
        other => index_of_pending(other).into_iter().chain(timed).collect(),
    }
}

/// The index records of what a recipient reports about an erasure, and of a reminder. Recipients that are
/// named or reminded find the notice by their name; its reason is that of the erasure.
fn index_of_answers(event: &Event) -> Vec<(Vec<u8>, Vec<u8>)> {
    let reason = Reason::Erased.into();
    let notice = serde_json::to_vec(&RevocationRecord { reason, ..RevocationRecord::default() });
    let notice = notice.unwrap_or_default();
    match event {
        Event::RecipientReported(report) => {
            let own = address(report.role, &report.recipient);
            let mut records = Vec::new();
            for position in &report.positions {
                let outcome = report.outcome;
                if outcome != ErasureOutcome::Unspecified {
                    records.push((outcome_key(*position, &own), Vec::new()));
                }
                if outcome == ErasureOutcome::Deleted {
                    records.push((acknowledgment_key(*position, &own), Vec::new()));
                }
            }
            records.extend(report.onward.iter().map(|name| (revocations_key(name), notice.clone())));
            records
        }
        Event::RecipientReminded(reminded) => {
            vec![(revocations_key(&address(reminded.role, &reminded.recipient)), notice)]
        }
        _ => Vec::new(),
    }
}

/// The index key of a revocation, and the revocation as it is announced before it is recorded.
pub(crate) fn revocation_of(event: &Event) -> Option<(Vec<u8>, Revocation)> {
    let id = |event: Option<EventId>| event.map(|id| id.to_string()).unwrap_or_default();
    let (recipient, grant_ids, artifact_ids, reason, cause, source) = match event {
        Event::GrantRevoked { grant_id, recipient, reason, cause, source, .. } => {
            (recipient, vec![grant_id.clone()], Vec::new(), *reason, id(*cause), id(*source))
        }
        Event::ArtifactInvalidated(ended) => {
            let (artifacts, cause) = (vec![ended.artifact_id.clone()], id(ended.cause));
            (&ended.recipient, Vec::new(), artifacts, ended.reason, cause, String::new())
        }
        _ => return None,
    };
    let (cursor, recorded_at_ms) = (0, 0);
    let erased_scope = ErasureScope::Unspecified;
    let announced = Revocation {
        cursor,
        grant_ids,
        artifact_ids,
        reason,
        recorded_at_ms,
        cause,
        source,
        erased_scope,
        reminder: 0,
        named_by: String::new(),
    };
    Some((revocations_key(recipient), announced))
}

/// The keys of those index records that are about revocations. Watches wait at these keys.
pub(crate) fn watched_keys(index: &[(Vec<u8>, Vec<u8>)]) -> impl Iterator<Item = Vec<u8>> {
    index.iter().filter(|(key, _)| key.starts_with(REVOCATIONS)).map(|(key, _)| key.clone())
}

/// Data subject requests, by the hash of their ids. The ids open what is kept for certificates of erasures,
/// so the index does not have them.
pub(crate) const REQUEST: &[u8] = b"rqsh";

/// Data subject requests, by id, as early versions indexed them.
pub(crate) const EARLY_REQUEST: &[u8] = b"rqst";

/// Attributes by when they expire.
pub(crate) const ATTRIBUTE_END: &[u8] = b"xpir";

/// Consents by when they expire.
pub(crate) const CONSENT_END: &[u8] = b"cend";

/// Consents by when the data subject gave them.
pub(crate) const CONSENT_SAID: &[u8] = b"said";

/// Marks an index that has all consents by when they were given. Indexes of earlier versions lack them.
pub(crate) const HAS_CONSENTS_SAID: &[u8] = b"sall";

/// The index record of a consent by when the data subject gave it, milliseconds since the Unix epoch. Rules
/// may compare its age.
pub(crate) fn index_of_said(event: &Event, said_ms: u64) -> Option<(Vec<u8>, Vec<u8>)> {
    let is_yes = matches!(event, Event::Consent { decision, .. } if decision.is_yes());
    is_yes.then(|| (said_key(said_ms), Vec::new()))
}

/// The prefix of the index records of consents that were given at this time.
fn said_key(said_ms: u64) -> Vec<u8> {
    [CONSENT_SAID, &said_ms.to_be_bytes()].concat()
}

/// Artifacts by when they expire.
pub(crate) const ARTIFACT_END: &[u8] = b"aend";

/// The index record of an event that has a due date or an expiry. The value of a request's record is its due
/// date, or 0 if the request is closed.
pub(crate) fn index_of_requests(event: &Event) -> Option<(Vec<u8>, Vec<u8>)> {
    let request = |id: &EventId, due_at_ms: u64| {
        Some(([REQUEST, id.request_hash().as_slice()].concat(), due_at_ms.to_be_bytes().to_vec()))
    };
    let expiry = |kind: &[u8], end_ms: u64| ([kind, &end_ms.to_be_bytes()].concat(), Vec::new());
    match event {
        Event::RequestSubmitted(submitted) => request(&submitted.request, submitted.due_at_ms),
        Event::RequestExtended(extended) => request(&extended.request, extended.due_at_ms),
        Event::RequestWithdrawn(withdrawn) => request(&withdrawn.request, 0),
        Event::RequestDecided(decided) => match decided.outcome {
            RequestOutcome::Accepted => request(&decided.request, decided.due_at_ms),
            _ => request(&decided.request, 0),
        },
        Event::AttributeRecorded(attribute)
        | Event::EarlierAttributeRecorded(attribute)
        | Event::AttributeCorrected { attribute, .. } => {
            attribute.expires_at_ms.map(|end_ms| expiry(ATTRIBUTE_END, end_ms))
        }
        Event::Consent { decision, terms } if decision.is_yes() => {
            terms.until_ms.map(|end_ms| expiry(CONSENT_END, end_ms))
        }
        Event::ArtifactRegistered(artifact) if artifact.expires_at_ms > 0 => {
            Some(expiry(ARTIFACT_END, artifact.expires_at_ms))
        }
        _ => None,
    }
}

/// Everybody born before this year was an adult when this was written.
const MINORS_BORN_FROM: &str = "2007";

/// Index records of the times after `now_ms` at which a minor may reach an age that rules of law name, 13 to
/// 18. At these times decisions may change, as they do when a consent ends, so the records have the same key
/// prefix.
fn age_changes(described: &SubjectDescribed, now_ms: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let born = Birth::parse(&described.born).filter(|_| described.born.as_str() >= MINORS_BORN_FROM);
    let changes = born.into_iter().flat_map(|born| born.changes_ms(*TEEN_YEARS.start()));
    changes
        .filter(|change_ms| *change_ms > now_ms)
        .map(|change_ms| ([CONSENT_END, &change_ms.to_be_bytes()].concat(), Vec::new()))
        .collect()
}

/// The time that follows the prefix of an index key, and the position at its end.
pub(crate) fn end_and_position(key: &[u8], prefix: &[u8]) -> Option<(u64, u64)> {
    let end = key.get(prefix.len()..)?.first_chunk().copied().map(u64::from_be_bytes)?;
    let position = key.last_chunk().copied().map(u64::from_be_bytes)?;
    Some((end, position))
}

/// Index key of entries that announce further revocations.
pub(crate) const PENDING: &[u8] = b"pend";

/// The index record of an event that announces further revocations.
pub(crate) fn index_of_pending(event: &Event) -> Option<(Vec<u8>, Vec<u8>)> {
    let are_pending = matches!(event, Event::RevocationsPending { left } if *left > 0);
    are_pending.then(|| (PENDING.to_vec(), Vec::new()))
}
