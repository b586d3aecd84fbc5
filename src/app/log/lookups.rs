//! Finds events by index key or by position, and computes the state of a subject at a moment, now or earlier.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::address::address_of;
use crate::app::log::core::Core;
use crate::app::log::index::{
    ARTIFACT_END, ATTRIBUTE_END, CONSENT_END, CONSENT_SAID, EARLY_ERASURE, EARLY_REQUEST, ERASURE,
    HAS_RECIPIENT_NAMES, REQUEST, REVOCATIONS, RevocationRecord, acknowledgment_key, end_and_position,
    erased_grant_key, outcome_key, position_of, recipient_hash, recipient_name_key, revocations_key,
};
use crate::app::log::moment::Moment;
use crate::app::log::read::open_system_entry;
use crate::app::log::revocation::Revocation;
use crate::app::log::stream::SubjectStream;
use crate::domain::event::{
    ErasureCompleted, ErasureScope, Event, PriorRecipient, Reason, RecipientReported, Role,
};
use crate::domain::ids::{EventId, GrantId, Handle, SubjectId};
use crate::domain::profile::SubjectState;
use crate::domain::request::RequestRecord;
use crate::store::StoredEntry;
use sayso_proof::merkle::Hash;
use std::sync::Arc;

/// Index records in one read.
const READ_COUNT: usize = 256;
/// Index records of open requests in one read.
const REQUESTS_READ_COUNT: usize = 1_024;

/// The most erasures that are read of those that name one grant.
const ERASURES_OF_GRANT_MAX: usize = 16;

/// The most reports that are read of those of one recipient about one erasure.
const OUTCOMES_MAX: usize = 64;

/// Something that has ended, in an index of ends.
pub(crate) struct Ended {
    /// The key in the index.
    pub key: Vec<u8>,
    /// When it ended, milliseconds since the Unix epoch.
    pub end_ms: u64,
    /// The position of its event in the log.
    pub position: u64,
}

/// A subject's state at a moment of the past.
pub(crate) struct PastState {
    pub state: SubjectState,
    /// Whether all events that were recorded by the moment still exist. False if one of them was erased or
    /// reached the end of its retention. Also false if a missing event lies between an event before the
    /// moment and an event after it, because then it may have been recorded by the moment.
    pub is_complete: bool,
}

impl Core {
    /// A page of a recipient's revocations after a cursor. `key` is what [`revocations_key`] returns.
    ///
    /// # Errors
    /// The index can't be read.
    pub(crate) fn revocations_after(&self, key: &[u8], cursor: u64) -> Result<Vec<Revocation>, AppError> {
        let after = cursor.checked_sub(1).map(|position| [key, &position.to_be_bytes()].concat());
        let mut revocations = Vec::new();
        let recipient = key.strip_prefix(REVOCATIONS).unwrap_or_default();
        for (key, value) in self.store().index_scan(key, after.as_deref(), READ_COUNT)? {
            let position = position_of(&key);
            let record: RevocationRecord = serde_json::from_slice(&value).map_err(|_| {
                AppError::Internal(crate::app::Cause::Inconsistent(
                    "an index record of a revocation can't be decoded",
                ))
            })?;
            let stored = self.stored_entry(position)?;
            let recorded_at_ms = stored.recorded_at_ms;
            let reason = Reason::try_from(record.reason).unwrap_or_default();
            let mut revocation = Revocation {
                cursor: position.saturating_add(1),
                grant_ids: record.grants,
                artifact_ids: record.artifacts,
                reason,
                recorded_at_ms,
                cause: record.cause,
                source: record.source,
                erased_scope: ErasureScope::Unspecified,
                reminder: 0,
                named_by: String::new(),
            };
            if matches!(reason, Reason::Erased | Reason::PartlyErased) {
                revocation.erased_scope = ErasureScope::All;
                self.complete_from_erasure(&mut revocation, recipient, stored)?;
            }
            revocations.push(revocation);
        }
        Ok(revocations)
    }

    /// The erasure that erased a grant. `None` if the grant was not erased, or if the caller is a service
    /// that is not its recipient.
    pub(crate) fn erasure_of_grant(
        &self,
        caller: &Caller,
        grant: &GrantId,
    ) -> Result<Option<(ErasureCompleted, u64)>, AppError> {
        let key = match caller.role {
            Role::Service => [erased_grant_key(grant), recipient_hash(&caller.name)].concat(),
            Role::Steward | Role::Auditor | Role::Subject => erased_grant_key(grant),
            _ => return Ok(None),
        };
        let mut first = None;
        for (key, _) in self.store().index_scan(&key, None, ERASURES_OF_GRANT_MAX)? {
            let event = self.system_event_at(position_of(&key))?;
            let Event::ErasureCompleted(completed) = event.event else {
                let wrong = "the index of erased grants points to another event";
                return Err(AppError::Internal(crate::app::Cause::Inconsistent(wrong)));
            };
            // Later erasures name a grant again if its recipient had received what they erased. The one that
            // erased everything counts, otherwise the one that erased the grant.
            let is_whole = completed.is_whole();
            first = first.filter(|_| !is_whole).or(Some((completed, event.recorded_at_ms)));
            if is_whole {
                break;
            }
        }
        Ok(first)
    }

    /// Whether a revocation for this recipient is recorded at this position.
    pub(crate) fn has_revocation(&self, recipient: &str, position: u64) -> Result<bool, AppError> {
        let key = [revocations_key(recipient).as_slice(), &position.to_be_bytes()].concat();
        Ok(self.store().index_get(&key)?.is_some())
    }

    /// Whether a recipient acknowledged the revocation at this position.
    pub(crate) fn has_acknowledged(&self, recipient: &str, position: u64) -> Result<bool, AppError> {
        Ok(!self.store().index_scan(&acknowledgment_key(position, recipient), None, 1)?.is_empty())
    }

    /// What a recipient reported last about an erasure: its outcome, and why; `None` if it reported none.
    pub(crate) fn outcome_of(
        &self,
        recipient: &str,
        position: u64,
    ) -> Result<Option<RecipientReported>, AppError> {
        let found = self.store().index_scan(&outcome_key(position, recipient), None, OUTCOMES_MAX)?;
        let Some((key, _)) = found.last() else { return Ok(None) };
        match self.system_event_at(position_of(key))?.event {
            Event::RecipientReported(report) => Ok(Some(report)),
            _ => {
                let wrong = "the index of outcomes points to another event";
                Err(AppError::Internal(crate::app::Cause::Inconsistent(wrong)))
            }
        }
    }

    /// Whether a grant of any data subject before this position names this recipient. Also true if that is
    /// not known, because an earlier version made the index.
    ///
    /// # Errors
    /// The index can't be read.
    pub(crate) fn has_named_recipient(&self, recipient: &str, before: u64) -> Result<bool, AppError> {
        if self.store().index_scan(HAS_RECIPIENT_NAMES, None, 1)?.is_empty() {
            return Ok(true);
        }
        let found = self.store().index_scan(&recipient_name_key(recipient), None, 1)?;
        Ok(found.first().is_some_and(|(key, _)| position_of(key) < before))
    }

    /// The position of the event that completed an erasure.
    pub(crate) fn erasure_position(&self, request: &EventId) -> Result<Option<u64>, AppError> {
        if let Some(position) = self.erasure_by_hash(&request.request_hash())? {
            return Ok(Some(position));
        }
        let found = self.store().index_scan(&[EARLY_ERASURE, request.0.as_slice()].concat(), None, 1)?;
        Ok(found.first().map(|(key, _)| position_of(key)))
    }

    /// The position of the event that completed the erasure with this hash of its request. Not found if an
    /// early version indexed it.
    pub(crate) fn erasure_by_hash(&self, request_hash: &Hash) -> Result<Option<u64>, AppError> {
        let found = self.store().index_scan(&[ERASURE, request_hash.as_slice()].concat(), None, 1)?;
        Ok(found.first().map(|(key, _)| position_of(key)))
    }

    /// Loads every open request from the index.
    pub(crate) fn load_open_requests(&self) -> Result<(), AppError> {
        // Events that an early version indexed are older than all others.
        self.load_requests(EARLY_REQUEST)?;
        self.load_requests(REQUEST)
    }

    fn load_requests(&self, prefix: &[u8]) -> Result<(), AppError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            // The records are ordered by request and then by position, so the newest event about each request
            // wins.
            let found = self.store().index_scan(prefix, after.as_deref(), REQUESTS_READ_COUNT)?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in &found {
                let position = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
                self.projections.open_requests.set(key, value, position);
            }
        }
    }

    /// Attributes that have expired, the earliest first, after the index key `after`.
    pub(crate) fn ended_attributes(
        &self,
        now_ms: u64,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Ended>, AppError> {
        self.ended(ATTRIBUTE_END, now_ms, after, count)
    }

    /// Consents that have expired, as [`Core::ended_attributes`] returns attributes.
    pub(crate) fn ended_decisions(
        &self,
        now_ms: u64,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Ended>, AppError> {
        self.ended(CONSENT_END, now_ms, after, count)
    }

    /// Artifacts that have expired, as [`Core::ended_attributes`] returns attributes.
    pub(crate) fn ended_artifacts(
        &self,
        now_ms: u64,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Ended>, AppError> {
        self.ended(ARTIFACT_END, now_ms, after, count)
    }

    /// Consents that were given by a time, as [`Core::ended_attributes`] returns attributes.
    pub(crate) fn consents_said(
        &self,
        by_ms: u64,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Ended>, AppError> {
        self.ended(CONSENT_SAID, by_ms, after, count)
    }

    fn ended(
        &self,
        prefix: &[u8],
        now_ms: u64,
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<Ended>, AppError> {
        let found = self.store().index_scan(prefix, after, count)?;
        let ended = found.into_iter().map_while(|(key, _)| {
            let (end_ms, position) = end_and_position(&key, prefix)?;
            (end_ms <= now_ms).then_some(Ended { key, end_ms, position })
        });
        Ok(ended.collect())
    }

    /// The stream that the entry at a position belongs to; `None` for a system event or an erased entry.
    pub(crate) async fn stream_at(
        self: &Arc<Self>,
        position: u64,
    ) -> Result<Option<Arc<SubjectStream>>, AppError> {
        match self.header_at(position)?.map(|header| header.handle) {
            None | Some(Handle::SYSTEM) => Ok(None),
            Some(handle) => self.stream_by_handle(handle).await,
        }
    }

    /// A data subject request and its stream.
    pub(crate) async fn find_request(
        self: &Arc<Self>,
        id: &EventId,
    ) -> Result<Option<(Arc<SubjectStream>, RequestRecord)>, AppError> {
        let hash = id.request_hash();
        if let Some(found) = self.request_at(&[REQUEST, hash.as_slice()].concat(), &hash).await? {
            return Ok(Some(found));
        }
        self.request_at(&[EARLY_REQUEST, id.0.as_slice()].concat(), &hash).await
    }

    /// The request that an erasure carried out, and its stream. `None` if the data subject was erased.
    /// `request` is its id, if an early version recorded the erasure.
    pub(crate) async fn request_of_erasure(
        self: &Arc<Self>,
        request: Option<&EventId>,
        hash: &Hash,
    ) -> Result<Option<(Arc<SubjectStream>, RequestRecord)>, AppError> {
        match request {
            Some(id) => self.find_request(id).await,
            None => self.request_at(&[REQUEST, hash.as_slice()].concat(), hash).await,
        }
    }

    async fn request_at(
        self: &Arc<Self>,
        key: &[u8],
        hash: &Hash,
    ) -> Result<Option<(Arc<SubjectStream>, RequestRecord)>, AppError> {
        let found = self.store().index_scan(key, None, 1)?;
        let Some((key, _)) = found.first() else { return Ok(None) };
        let position = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
        let Some(stream) = self.stream_at(position).await? else { return Ok(None) };
        let record = stream.read().state.rights.request_with(hash).cloned();
        Ok(record.map(|record| (stream, record)))
    }

    /// Folds the events that were recorded by a moment.
    pub(crate) fn state_as_of(
        &self,
        stream: &SubjectStream,
        moment: Moment,
    ) -> Result<SubjectState, AppError> {
        Ok(self.past_state(stream, moment)?.state)
    }

    /// Folds the events that were recorded by a moment, and says whether any of them is gone.
    pub(crate) fn past_state(&self, stream: &SubjectStream, moment: Moment) -> Result<PastState, AppError> {
        let mut past = PastState { state: SubjectState::default(), is_complete: true };
        let (mut next, mut is_past) = (0, true);
        self.for_each_event(&stream.keys, 0, |event, _| {
            let (within, may_miss) = match moment {
                Moment::Now => (true, true),
                Moment::Time(time_ms) => (event.recorded_at_ms <= time_ms, true),
                Moment::Version(count) => (event.version < count, next < count),
            };
            if is_past && may_miss && event.version != next {
                past.is_complete = false;
            }
            next = event.version.saturating_add(1);
            is_past = within;
            if within {
                past.state.apply(&event);
            }
            Ok(())
        })?;
        Ok(past)
    }

    /// A subject's state at a moment.
    ///
    /// # Errors
    /// Nothing is recorded about the subject, or the store failed.
    pub(crate) async fn state_at(
        self: &Arc<Self>,
        subject: &SubjectId,
        moment: Moment,
    ) -> Result<SubjectState, AppError> {
        let stream = self.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        {
            let now = stream.read();
            if moment == Moment::Now || moment == Moment::Version(now.state.version) {
                return Ok(now.state.clone());
            }
        }
        self.state_as_of(&stream, moment)
    }

    /// As [`Core::state_at`], folded from the events of the log and not taken from memory.
    pub(crate) async fn rebuilt_state_at(
        self: &Arc<Self>,
        subject: &SubjectId,
        moment: Moment,
    ) -> Result<SubjectState, AppError> {
        let stream = self.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        self.state_as_of(&stream, moment)
    }
}

impl Core {
    /// Adds what the event of an erasure says to the revocation for a recipient. `recipient` is the hash of
    /// its name. The revocation may be a reminder, or be because another recipient passed the data on.
    fn complete_from_erasure(
        &self,
        revocation: &mut Revocation,
        recipient: &[u8],
        stored: StoredEntry,
    ) -> Result<(), AppError> {
        match open_system_entry(stored)?.event {
            Event::ErasureCompleted(completed) => {
                let is_own = |of: &PriorRecipient| recipient_hash(&address_of(of)) == recipient;
                complete_from(revocation, completed, is_own);
            }
            Event::RecipientReminded(reminded) => {
                revocation.reminder = reminded.number;
                match reminded.named_at {
                    0 => {
                        let completed = self.erasure_at(reminded.position)?;
                        let is_own = |of: &PriorRecipient| recipient_hash(&address_of(of)) == recipient;
                        complete_from(revocation, completed, is_own);
                    }
                    named_at => {
                        let report = self.stored_entry(named_at)?;
                        self.complete_from_erasure(revocation, recipient, report)?;
                    }
                }
            }
            Event::RecipientReported(report) => {
                let Some(position) = report.positions.first() else { return Ok(()) };
                let completed = self.erasure_at(*position)?;
                let named_by = (report.role, report.recipient.as_str());
                let is_namer = |of: &PriorRecipient| (of.role, of.name.as_str()) == named_by;
                complete_from(revocation, completed, is_namer);
                revocation.named_by.clone_from(&report.recipient);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Adds what an erasure says, with the ids of the recipient that `is_named` selects.
fn complete_from(
    revocation: &mut Revocation,
    completed: ErasureCompleted,
    is_named: impl Fn(&PriorRecipient) -> bool,
) {
    revocation.reason = completed.reason();
    revocation.erased_scope = completed.scope;
    if let Some(named) = completed.recipients.into_iter().find(|of| is_named(of)) {
        (revocation.grant_ids, revocation.artifact_ids) = (named.grant_ids, named.artifact_ids);
    }
}
