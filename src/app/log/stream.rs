//! A lane a subject: its events are sealed one after the other, and its folded state stands ready for reads.

use crate::app::log::pending_revocations::PendingRevocations;
use crate::app::log::reusable_grants::ReusableGrants;
use crate::domain::event::{Event, Recorded};
use crate::domain::profile::SubjectState;
use crate::vault::{PendingSubject, SubjectKeys};
use sayso_proof::merkle::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::OwnedMutexGuard;

/// Events after which a lane is weighed again, at least.
const WEIGH_AFTER: u64 = 4;

/// What a lane takes beside the folded profile: keys, locks, its place in the map.
const STREAM_BYTES: usize = 1_536;

/// One subject's place in the daemon.
pub(crate) struct SubjectStream {
    /// Opens and seals the subject's events.
    pub keys: Arc<SubjectKeys>,
    /// Held by the one write under way; its owner alone moves `now` on.
    write_lock: Arc<tokio::sync::Mutex<()>>,
    now: RwLock<StreamState>,
    /// Taken after `now`, where both are.
    given: Mutex<ReusableGrants>,
    /// Of a person about whom nothing is recorded yet: what becomes theirs with the first event, and what it waits under. Moved
    /// on by the holder of the gate alone.
    pending_subject: Mutex<Option<(Hash, PendingSubject)>>,
    /// What it was found to take of memory, bytes.
    pub(crate) weight: AtomicUsize,
    /// The version from which on another look is worth it.
    weigh_at: AtomicU64,
}

/// Where the subject stands.
#[derive(Default)]
pub(crate) struct StreamState {
    /// The fold of everything that is durable.
    pub state: SubjectState,
    /// Leaf hash of the newest event.
    pub newest: Option<Hash>,
    /// Set at the start of an erasure, for whoever still holds the lane.
    pub erased: bool,
    /// Revocations in effect that are still to be recorded; `state` knows of them.
    pub pending: PendingRevocations,
}

impl StreamState {
    /// Takes in what is durable now, and what takes effect with it.
    pub fn take_in(&mut self, events: &[Recorded], newest: Option<Hash>, revoked: Vec<Event>) {
        for event in events {
            self.state.apply(event);
        }
        self.pending.extend(&mut self.state, revoked);
        self.newest = newest;
    }
}

impl SubjectStream {
    /// A lane whose subject has no events.
    pub fn empty(keys: Arc<SubjectKeys>) -> Self {
        let now = StreamState::default();
        let (weight, weigh_at) = (AtomicUsize::new(0), AtomicU64::new(0));
        let now = RwLock::new(now);
        let (given, pending_subject) = (Mutex::default(), Mutex::default());
        Self { keys, write_lock: Arc::default(), now, given, pending_subject, weight, weigh_at }
    }

    /// A lane of a person about whom nothing is recorded yet.
    pub fn new_stream(waits_under: Hash, pending: PendingSubject) -> Self {
        let keys = Arc::clone(&pending.keys);
        Self { pending_subject: Mutex::new(Some((waits_under, pending))), ..Self::empty(keys) }
    }

    /// What is not the person's yet.
    pub fn pending_subject(&self) -> MutexGuard<'_, Option<(Hash, PendingSubject)>> {
        self.pending_subject.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it takes of memory now, bytes, if so much came since the last look that it may be another; a look takes as long
    /// as the profile is large.
    pub(crate) fn weigh_if_due(&self) -> Option<usize> {
        let now = self.read();
        let version = now.state.version;
        if version < self.weigh_at.load(Ordering::Relaxed) {
            return None;
        }
        self.weigh_at.store(version.saturating_add(WEIGH_AFTER.max(version / 8)), Ordering::Relaxed);
        Some(STREAM_BYTES.saturating_add(now.state.memory_bytes()))
    }

    /// Lets go of everything that is known about an erased subject, for whoever still holds the lane.
    pub fn forget(&self) {
        *self.write() = StreamState { erased: true, ..StreamState::default() };
        *self.given() = ReusableGrants::default();
    }

    /// Whether revocations are in effect that are still to be recorded.
    pub fn has_pending(&self) -> bool {
        let now = self.read();
        !now.erased && (now.state.revocations_pending > 0 || now.pending.len() > 0)
    }

    /// Waits for the write under way and takes its place.
    pub async fn write_lock(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.write_lock).lock_owned().await
    }

    /// Where the subject stands now.
    pub fn read(&self) -> RwLockReadGuard<'_, StreamState> {
        self.now.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants that may be given again.
    pub fn given(&self) -> MutexGuard<'_, ReusableGrants> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the holder of the gate alone.
    pub fn write(&self) -> RwLockWriteGuard<'_, StreamState> {
        self.now.write().unwrap_or_else(PoisonError::into_inner)
    }
}
