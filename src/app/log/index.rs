//! Keys of the index beside the log: what finds an event by recipient, request or end.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::app::log::revocation::Revocation;
use crate::domain::event::{Event, Reason};
use crate::domain::ids::{EventId, GrantId};
use sayso_proof::event::Role;
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

/// Records read at once while a watch catches up.
const READ_COUNT: usize = 256;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    grants: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<String>,
    reason: i32,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    source: String,
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
    let due = crate::app::log::open_requests::index_of(event);
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
        other => crate::app::log::pending_revocations::index_of(other).into_iter().chain(due).collect(),
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

impl Core {
    pub(crate) fn revocations_after(&self, key: &[u8], cursor: u64) -> Result<Vec<Revocation>, AppError> {
        let after = cursor.checked_sub(1).map(|position| [key, &position.to_be_bytes()].concat());
        let mut invalidated = Vec::new();
        for (key, value) in self.store().index_scan(key, after.as_deref(), READ_COUNT)? {
            let position = position_of(&key);
            let kept: Kept = serde_json::from_slice(&value).map_err(|_| {
                AppError::Internal(crate::app::Cause::Inconsistent("a revocation can't be read"))
            })?;
            invalidated.push(Revocation {
                cursor: position.saturating_add(1),
                grant_ids: kept.grants,
                artifact_ids: kept.artifacts,
                reason: Reason::try_from(kept.reason).unwrap_or_default(),
                recorded_at_ms: self.store().read_entry(position)?.recorded_at_ms,
                cause: kept.cause,
                source: kept.source,
            });
        }
        Ok(invalidated)
    }

    /// Whether a caller may know that there was a grant of this id, which is erased: the recipient, and staff.
    pub(crate) fn may_know_erased(&self, caller: &Caller, grant: &GrantId) -> Result<bool, AppError> {
        let key = match caller.role {
            Role::Service => [erased_grant_key(grant), named(&caller.name)].concat(),
            Role::Steward | Role::Auditor => erased_grant_key(grant),
            _ => return Ok(false),
        };
        Ok(!self.store().index_scan(&key, None, 1)?.is_empty())
    }

    /// Whether something fell for this recipient at this position.
    pub(crate) fn revoked_for(&self, recipient: &str, position: u64) -> Result<bool, AppError> {
        let key = [revocations_key(recipient).as_slice(), &position.to_be_bytes()].concat();
        Ok(self.store().index_get(&key)?.is_some())
    }

    /// Whether a recipient said that it carried out what fell at this position.
    pub(crate) fn has_acknowledged(&self, recipient: &str, position: u64) -> Result<bool, AppError> {
        Ok(!self.store().index_scan(&acknowledged_by(position, recipient), None, 1)?.is_empty())
    }

    /// Position of the completion of an erasure.
    pub(crate) fn erasure_position(&self, request: &EventId) -> Result<Option<u64>, AppError> {
        let found = self.store().index_scan(&[ERASURE, &request.0].concat(), None, 1)?;
        Ok(found.first().map(|(key, _)| position_of(key)))
    }
}
