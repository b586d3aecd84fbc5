//! What is to be done by when: requests to be answered, attributes and consents that end. Found again after any restart.

use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::app::log::stream::SubjectStream;
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{EventId, Handle};
use crate::domain::request::{RequestOutcome, RequestRecord};
use sayso_proof::entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const REQUEST: &[u8] = b"rqst";
const ATTRIBUTE_END: &[u8] = b"xpir";
const CONSENT_END: &[u8] = b"cend";
const ARTIFACT_END: &[u8] = b"aend";
/// Records read at once.
const READ_COUNT: usize = 1_024;

/// The further index record of an event that something is due for. A request's has as value by when it is to be
/// answered, 0 where nothing is to be done any more.
pub(crate) fn index_of(event: &Event) -> Option<(Vec<u8>, Vec<u8>)> {
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

/// Requests that are to be answered. Memory follows their number.
#[derive(Default)]
pub(crate) struct OpenRequests {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// With the position of the newest event about each.
    by_due: BTreeMap<(u64, EventId), u64>,
    due_of: HashMap<EventId, u64>,
}

impl Open {
    fn set(&mut self, id: EventId, due_at_ms: u64, position: u64) {
        if let Some(before) = self.due_of.remove(&id) {
            self.by_due.remove(&(before, id));
        }
        if due_at_ms > 0 {
            self.due_of.insert(id, due_at_ms);
            self.by_due.insert((due_at_ms, id), position);
        }
    }
}

impl OpenRequests {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes recorded events in.
    pub fn note(&self, events: &[Recorded]) {
        for event in events.iter().filter(|event| is_about_request(&event.event)) {
            if let Some((key, value)) = index_of(&event.event) {
                self.take(&key, &value, event.position);
            }
        }
    }

    fn take(&self, key: &[u8], value: &[u8], position: u64) {
        let id = key.get(REQUEST.len()..).and_then(|rest| rest.first_chunk()).copied().map(EventId);
        if let (Some(id), Some(due)) = (id, value.first_chunk()) {
            self.open().set(id, u64::from_be_bytes(*due), position);
        }
    }

    /// Forgets what was recorded at these positions, ascending.
    pub fn forget(&self, positions: &[u64]) {
        let mut open = self.open();
        let Open { by_due, due_of } = &mut *open;
        by_due.retain(|(_, id), position| {
            let stays = positions.binary_search(position).is_err();
            if !stays {
                due_of.remove(id);
            }
            stays
        });
    }

    /// The first due after a place, at most `count`: by when, id, position.
    pub fn after(&self, after: Option<(u64, EventId)>, count: usize) -> Vec<(u64, EventId, u64)> {
        let start = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let open = self.open();
        let range = open.by_due.range((start, std::ops::Bound::Unbounded));
        range.take(count).map(|((due, id), position)| (*due, *id, *position)).collect()
    }
}

fn is_about_request(event: &Event) -> bool {
    matches!(event, Event::RequestSubmitted(_) | Event::RequestExtended(_) | Event::RequestDecided(_))
}

/// The number that stands after a prefix, and the position at the end.
fn end_and_position(key: &[u8], prefix: &[u8]) -> Option<(u64, u64)> {
    let end = key.get(prefix.len()..)?.first_chunk().copied().map(u64::from_be_bytes)?;
    let position = key.last_chunk().copied().map(u64::from_be_bytes)?;
    Some((end, position))
}

impl Core {
    /// Finds every request that is to be answered, from the index.
    pub(crate) fn load_open_requests(&self) -> Result<(), AppError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            // By request and then by position: the newest word about each counts.
            let found = self.store().index_scan(REQUEST, after.as_deref(), READ_COUNT)?;
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
