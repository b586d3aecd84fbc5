//! A subject's stream in memory: the keys of its events, the lock under which one write at a time appends to
//! it, and its folded state for reads.

use crate::app::log::pending_revocations::PendingRevocations;
use crate::app::log::requests_made::RequestsMade;
use crate::app::log::reusable_grants::ReusableGrants;
use crate::domain::event::{Event, Recorded};
use crate::domain::profile::SubjectState;
use crate::domain::special_sources::History;
use crate::vault::{PendingSubject, SubjectKeys};
use sayso_proof::merkle::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::OwnedMutexGuard;

/// The smallest number of new events after which the memory of a stream is measured again.
const MEASURE_AFTER: u64 = 4;

/// Memory, in bytes, that a stream takes in addition to the folded state: keys, locks, its place in the map.
const STREAM_BYTES: usize = 1_536;

/// The stream of one data subject.
pub(crate) struct SubjectStream {
    /// The keys that open and seal the subject's events.
    pub keys: Arc<SubjectKeys>,
    /// The write in progress owns this lock. Only its owner changes `now`.
    write_lock: Arc<tokio::sync::Mutex<()>>,
    now: RwLock<StreamState>,
    /// Code that locks both this and `now` locks `now` first.
    reusable_grants: Mutex<ReusableGrants>,
    /// What attributes were derived from, as far as requests needed it. Code that locks both this and `now`
    /// locks `now` first.
    history: Mutex<History>,
    /// Locked while `history` is read ahead of a write, so that requests that come together read it once.
    pub history_reading: tokio::sync::Mutex<()>,
    /// The number of requests that use `history`. Until there are none, it stays in memory, however large.
    history_users: AtomicUsize,
    /// The handle and keys of a data subject about whom nothing is recorded yet, and the hash under which
    /// other writers find this stream. The handle and keys become durable right before the first event; then
    /// this is `None`. Only the owner of the write lock changes it.
    pending_subject: Mutex<Option<(Hash, PendingSubject)>>,
    /// Memory when last measured, bytes.
    pub(crate) weight: AtomicUsize,
    /// The version at which the memory is measured again.
    measure_at: AtomicU64,
}

/// The current state of a stream.
#[derive(Default)]
pub(crate) struct StreamState {
    /// The fold of all durable events.
    pub state: SubjectState,
    /// Leaf hash of the newest event.
    pub newest: Option<Hash>,
    /// The requests that had an idempotency key.
    pub requests: RequestsMade,
    /// Set at the start of an erasure, for callers that still have the stream.
    pub erased: bool,
    /// Revocations in effect that are still to be recorded; `state` already reflects them.
    pub pending: PendingRevocations,
}

impl StreamState {
    /// Applies durable events, and the revocations that take effect with them.
    pub fn apply(&mut self, events: &[Recorded], newest: Option<Hash>, revoked: Vec<Event>) {
        for event in events {
            self.state.apply(event);
            self.requests.apply(event);
        }
        self.pending.extend(&mut self.state, revoked);
        self.newest = newest;
    }
}

impl SubjectStream {
    /// A stream without events.
    pub fn empty(keys: Arc<SubjectKeys>) -> Self {
        let now = StreamState::default();
        let (weight, measure_at) = (AtomicUsize::new(0), AtomicU64::new(0));
        let now = RwLock::new(now);
        let (reusable_grants, pending_subject) = (Mutex::default(), Mutex::default());
        let (write_lock, history, history_users) = (Arc::default(), Mutex::default(), AtomicUsize::new(0));
        Self {
            keys,
            write_lock,
            now,
            reusable_grants,
            history,
            history_reading: tokio::sync::Mutex::default(),
            history_users,
            pending_subject,
            weight,
            measure_at,
        }
    }

    /// The stream of a data subject about whom nothing is recorded yet.
    pub fn new_stream(filed_under: Hash, pending: PendingSubject) -> Self {
        let keys = Arc::clone(&pending.keys);
        Self { pending_subject: Mutex::new(Some((filed_under, pending))), ..Self::empty(keys) }
    }

    /// The handle and keys that are not durable yet.
    pub fn pending_subject(&self) -> MutexGuard<'_, Option<(Hash, PendingSubject)>> {
        self.pending_subject.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory of the stream, bytes, if there are enough new events to measure it again. Measuring takes
    /// longer the larger the profile is.
    pub(crate) fn measure_if_due(&self) -> Option<usize> {
        let now = self.read();
        let version = now.state.version;
        if version < self.measure_at.load(Ordering::Relaxed) {
            return None;
        }
        self.measure_at.store(version.saturating_add(MEASURE_AFTER.max(version / 8)), Ordering::Relaxed);
        // A request may be reading it.
        let history_bytes = self.history.try_lock().map_or(0, |history| history.bytes());
        let state_bytes = now.state.memory_bytes().saturating_add(now.requests.bytes());
        Some(STREAM_BYTES.saturating_add(state_bytes).saturating_add(history_bytes))
    }

    /// Measures the stream with its next event, because it has grown without one.
    pub(crate) fn measure_next(&self) {
        self.measure_at.store(0, Ordering::Relaxed);
    }

    /// Drops everything about an erased subject, for callers that still have the stream.
    pub fn forget(&self) {
        *self.write() = StreamState { erased: true, ..StreamState::default() };
        *self.reusable_grants() = ReusableGrants::default();
        self.history().reset();
    }

    /// Whether revocations are in effect that are still to be recorded.
    pub fn has_pending(&self) -> bool {
        let now = self.read();
        !now.erased && (now.state.revocations_pending > 0 || now.pending.len() > 0)
    }

    /// Waits until no other write is in progress, and takes the write lock.
    pub async fn write_lock(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.write_lock).lock_owned().await
    }

    /// The current state.
    pub fn read(&self) -> RwLockReadGuard<'_, StreamState> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The grants that may answer a repeated request.
    pub fn reusable_grants(&self) -> MutexGuard<'_, ReusableGrants> {
        self.reusable_grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What attributes were derived from. It has the events that a request has read so far.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the history in memory while a request uses it.
    pub fn use_history(self: &Arc<Self>) -> HistoryUse {
        self.history_users.fetch_add(1, Ordering::AcqRel);
        HistoryUse(Arc::clone(self))
    }

    /// The current state, for the owner of the write lock only.
    pub fn write(&self) -> RwLockWriteGuard<'_, StreamState> {
        self.now.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A longer history is not kept in memory for the next request.
const HISTORY_BYTES_MAX: usize = 16 << 20;

/// A request that uses the history of a stream.
pub(crate) struct HistoryUse(Arc<SubjectStream>);

impl Drop for HistoryUse {
    fn drop(&mut self) {
        let is_last = self.0.history_users.fetch_sub(1, Ordering::AcqRel) == 1;
        let mut history = self.0.history();
        if is_last && history.bytes() > HISTORY_BYTES_MAX {
            history.reset();
        }
    }
}
