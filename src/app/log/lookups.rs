//! What the index finds: revocations, erasures, requests, streams with something that has ended.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::app::log::index::{
    ARTIFACT_END, ATTRIBUTE_END, CONSENT_END, ERASURE, Kept, REQUEST, acknowledged_by, end_and_position,
    erased_grant_key, named, position_of, revocations_key,
};
use crate::app::log::moment::Moment;
use crate::app::log::read::for_each_event;
use crate::app::log::revocation::Revocation;
use crate::app::log::stream::SubjectStream;
use crate::domain::event::Reason;
use crate::domain::ids::{EventId, GrantId, Handle, SubjectId};
use crate::domain::profile::SubjectState;
use crate::domain::request::RequestRecord;
use sayso_proof::entry;
use sayso_proof::event::Role;
use std::sync::Arc;

/// Index records read at once.
const READ_COUNT: usize = 256;
/// Open requests read at once, at a start.
const REQUESTS_READ_COUNT: usize = 1_024;

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

impl Core {
    /// Finds every request that is to be answered, from the index.
    pub(crate) fn load_open_requests(&self) -> Result<(), AppError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            // By request and then by position: the newest word about each counts.
            let found = self.store().index_scan(REQUEST, after.as_deref(), REQUESTS_READ_COUNT)?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in &found {
                let position = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
                self.open_requests.take(key, value, position);
            }
        }
    }

    /// Positions of attributes whose own end has passed, the first first, after a key of the index; each with its key.
    pub(crate) fn ended_attributes(
        &self,
        now_ms: u64,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, AppError> {
        self.ended(ATTRIBUTE_END, now_ms, after, count)
    }

    /// Positions of decisions whose end has passed, likewise.
    pub(crate) fn ended_decisions(
        &self,
        now_ms: u64,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, AppError> {
        self.ended(CONSENT_END, now_ms, after, count)
    }

    /// Positions of artifacts whose end has passed, likewise.
    pub(crate) fn ended_artifacts(
        &self,
        now_ms: u64,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, AppError> {
        self.ended(ARTIFACT_END, now_ms, after, count)
    }

    fn ended(
        &self,
        what: &[u8],
        now_ms: u64,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, AppError> {
        let found = self.store().index_scan(what, after, count)?;
        let ended = found.into_iter().map_while(|(key, _)| {
            let (end, position) = end_and_position(&key, what)?;
            (end <= now_ms).then_some((key, position))
        });
        Ok(ended.collect())
    }

    /// The lane of whomever the entry at a position is about.
    pub(crate) async fn stream_at(
        self: &Arc<Self>,
        position: u64,
    ) -> Result<Option<Arc<SubjectStream>>, AppError> {
        let Some(bytes) = self.store().read_entry(position)?.bytes else { return Ok(None) };
        match entry::parse_header(&bytes)?.handle {
            Handle::SYSTEM => Ok(None),
            handle => self.stream_by_handle(handle).await,
        }
    }

    /// A request and the lane that it is in.
    pub(crate) async fn find_request(
        self: &Arc<Self>,
        id: &EventId,
    ) -> Result<Option<(Arc<SubjectStream>, RequestRecord)>, AppError> {
        let found = self.store().index_scan(&[REQUEST, &id.0].concat(), None, 1)?;
        let Some((key, _)) = found.first() else { return Ok(None) };
        let position = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
        let Some(stream) = self.stream_at(position).await? else { return Ok(None) };
        let record = stream.read().state.rights.requests.get(id).cloned();
        Ok(record.map(|record| (stream, record)))
    }
}

impl Core {
    /// Keyed hash of an attribute key, of this subject alone.
    pub(crate) fn key_hash(&self, handle: Handle, key: &str) -> Vec<u8> {
        self.vault.keyed_hash("attribute key", &[&handle.0, key.as_bytes()]).to_vec()
    }

    /// The fold of what had been recorded by a moment, from the events.
    pub(crate) fn state_as_of(
        &self,
        stream: &SubjectStream,
        moment: Moment,
    ) -> Result<SubjectState, AppError> {
        let mut state = SubjectState::default();
        for_each_event(&stream.keys, self.store(), 0, |event, _| {
            let within = match moment {
                Moment::Now => true,
                Moment::Time(time_ms) => event.recorded_at_ms <= time_ms,
                Moment::Version(count) => event.version < count,
            };
            if within {
                state.apply(&event);
            }
            Ok(())
        })?;
        Ok(state)
    }

    /// A subject's state at a moment. `rebuild` folds the events of the log instead of the state in memory.
    ///
    /// # Errors
    /// Nothing is recorded about the subject; or the store.
    pub(crate) async fn state_at(
        self: &Arc<Self>,
        subject: &SubjectId,
        moment: Moment,
        rebuild: bool,
    ) -> Result<SubjectState, AppError> {
        let stream = self.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        if !rebuild {
            let now = stream.read();
            if moment == Moment::Now || moment == Moment::Version(now.state.version) {
                return Ok(now.state.clone());
            }
        }
        self.state_as_of(&stream, moment)
    }
}
