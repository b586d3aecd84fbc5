//! A lane a subject: its events are sealed one after the other, and its folded state stands ready for reads.

use crate::app::App;
use crate::app::error::{AppError, Cause};
use crate::app::grants::reuse_grant::ReusableGrants;
use crate::app::log::new_streams::NewStreams;
use crate::app::log::pending_revocations::PendingRevocations;
use crate::domain::codec;
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::{EventId, Handle};
use crate::domain::profile::SubjectState;
use crate::store::{LogStore, StoreError, StoredEntry};
use crate::vault::{PendingSubject, STACK_WORD_BYTES, SubjectKeys, VaultError, clear_stack};
use lru::LruCache;
use sayso_proof::entry::Entry;
use sayso_proof::merkle::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{Notify, OwnedMutexGuard, Semaphore, SemaphorePermit};

/// Entries read at once while a subject is rebuilt.
const READ_COUNT: usize = 512;

/// Lanes loaded at once: each takes a thread, and a thread keeps memory of its own.
const LOADING_MAX: usize = 16;

/// Lanes in use that are passed over while others are let go, before the next one that comes tries again.
const LOOKS_MAX: usize = 64;

/// Events after which a lane is weighed again, at least.
const WEIGH_AFTER: u64 = 4;

/// What a lane takes beside the folded profile: keys, locks, its place in the map.
const STREAM_BYTES: usize = 1_536;

/// What a cipher leaves on the stack is overwritten this deep.
pub(crate) const CIPHER_STACK_WORDS: usize = (8 << 10) / STACK_WORD_BYTES;

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
    weight: AtomicUsize,
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

    /// Folds everything that the log holds about the subject.
    ///
    /// # Errors
    /// The log can't be read or opened.
    pub fn load(keys: Arc<SubjectKeys>, app: &App) -> Result<Self, AppError> {
        let stream = Self::empty(keys);
        stream.reload(app)?;
        Ok(stream)
    }

    /// Forgets what it knew and folds again; for the holder of the gate alone.
    ///
    /// # Errors
    /// The log can't be read or opened.
    pub fn reload(&self, app: &App) -> Result<(), AppError> {
        let (mut state, mut newest) = (SubjectState::default(), None);
        for_each_event(&self.keys, app.store(), 0, |event, leaf| {
            state.apply(&event);
            newest = Some(leaf);
            Ok(())
        })?;
        let (implied, mut pending) = (app.implied_by(&state), PendingRevocations::default());
        pending.extend(&mut state, implied);
        let mut now = self.write();
        (now.state, now.newest, now.pending) = (state, newest, pending);
        // Of the same version may now be less than there was: what was decided on it counts no more.
        self.given().decide_anew();
        Ok(())
    }

    /// What it takes of memory now, bytes, if so much came since the last look that it may be another; a look takes as long
    /// as the profile is large.
    fn weigh_if_due(&self) -> Option<usize> {
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

/// Opens a subject's events from version `start` on, oldest first; those that were erased are passed over.
///
/// # Errors
/// The log can't be read, an entry can't be opened, or `each` fails.
pub(crate) fn for_each_event(
    keys: &SubjectKeys,
    store: &dyn LogStore,
    start: u64,
    mut each: impl FnMut(Recorded, Hash) -> Result<(), AppError>,
) -> Result<(), AppError> {
    let mut next = start;
    loop {
        let places = store.read_subject(keys.handle, next, READ_COUNT)?;
        next = places.last().map_or(next, |(version, _)| version.saturating_add(1));
        // What was written in one go lies together, and is read in one go.
        for run in places.chunk_by(|(_, one), (_, other)| one.checked_add(1) == Some(*other)) {
            let first = run.first().map_or(0, |(_, position)| *position);
            let entries = store.read_entries(first, run.len())?;
            if entries.len() != run.len() {
                return Err(StoreError::Missing("entry").into());
            }
            for stored in entries {
                let leaf = stored.leaf_hash;
                match open(keys, stored) {
                    Ok(event) => each(event, leaf)?,
                    Err(AppError::Erased) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if places.len() < READ_COUNT {
            return Ok(());
        }
    }
}

/// Opens one entry of a subject.
///
/// # Errors
/// The entry was discarded, its key destroyed, or it is damaged.
pub(crate) fn open(keys: &SubjectKeys, stored: StoredEntry) -> Result<Recorded, AppError> {
    let bytes = stored.bytes.ok_or(AppError::Erased)?;
    let entry = Entry::parse(&bytes)?;
    let header = &entry.header;
    let key = keys.event_key(header.version, &header.event_id).map_err(|error| match error {
        VaultError::Destroyed => AppError::Erased,
        other => other.into(),
    })?;
    let body = entry.open(&key);
    drop(key);
    clear_stack::<CIPHER_STACK_WORDS>();
    let body = body?;
    let place = codec::Place {
        event_id: EventId(header.event_id),
        position: stored.position,
        version: header.version,
        recorded_at_ms: stored.recorded_at_ms,
        sealed_at_ms: header.sealed_at_ms,
    };
    Ok(codec::decode(place, body)?)
}

/// The lanes in memory: bounded, and never one that is in use twice.
pub(crate) struct StreamCache {
    cached: Mutex<LruCache<Handle, Arc<SubjectStream>>>,
    bounds: StreamCacheLimits,
    /// The weight of those that are cached; changed under their lock.
    bytes: AtomicUsize,
    /// Of people about whom nothing is recorded yet.
    pub new_streams: NewStreams,
    /// For each that is being loaded.
    loading: Semaphore,
    /// Told when one that would have to go stays for what is only counted.
    crowded: Notify,
}

/// How many lanes are kept; more only while more are in use at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamCacheLimits {
    /// Lanes.
    pub count_max: usize,
    /// What they take of memory, bytes.
    pub bytes_max: usize,
}

impl StreamCache {
    /// Keeps about as many as `bounds` say.
    pub fn new(bounds: StreamCacheLimits) -> Self {
        let bounds = StreamCacheLimits { count_max: bounds.count_max.max(1), ..bounds };
        let loading = Semaphore::new(LOADING_MAX);
        let (cached, bytes) = (Mutex::new(LruCache::unbounded()), AtomicUsize::new(0));
        let new_streams = NewStreams::default();
        Self { cached, bounds, bytes, new_streams, loading, crowded: Notify::new() }
    }

    fn cached(&self) -> MutexGuard<'_, LruCache<Handle, Arc<SubjectStream>>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until another lane may be loaded, for as long as what it gives is held.
    ///
    /// # Errors
    /// Never: nobody closes what is waited for.
    pub async fn load_permit(&self) -> Result<SemaphorePermit<'_>, AppError> {
        self.loading.acquire().await.map_err(|_| AppError::Internal(Cause::Task))
    }

    /// Waits until a lane takes the room of others for nothing but what is counted of it.
    pub async fn crowded(&self) {
        self.crowded.notified().await;
    }

    /// The lane, if it is in memory.
    pub fn get(&self, handle: &Handle) -> Option<Arc<SubjectStream>> {
        self.cached().get(handle).cloned()
    }

    /// Puts a loaded lane in; where another was faster, that one counts.
    ///
    /// # Errors
    /// The log can't be read or opened, or the subject was erased while the lane was loading.
    pub fn put(&self, stream: SubjectStream, app: &App) -> Result<Arc<SubjectStream>, AppError> {
        let mut cached = self.cached();
        let handle = stream.keys.handle;
        if let Some(there) = cached.get(&handle) {
            return Ok(Arc::clone(there));
        }
        // An erasure destroys the keys first and then takes the lane out: a late one must not bring them back.
        app.vault.by_handle(handle)?.ok_or(AppError::Erased)?;
        // Another lane may have come, written and gone while this one was loading. None can come now.
        let count = app.store().subject_head(handle)?.map_or(0, |(version, _)| version.saturating_add(1));
        let stream = if stream.read().state.version == count {
            stream
        } else {
            SubjectStream::load(stream.keys, app)?
        };
        let stream = Arc::new(stream);
        cached.put(handle, Arc::clone(&stream));
        self.count(&stream, stream.weigh_if_due().unwrap_or_default());
        self.evict(&mut cached);
        Ok(stream)
    }

    /// Puts in a lane that is about to get its first events. Nobody else has one of this subject.
    pub fn adopt(&self, stream: &Arc<SubjectStream>) {
        let mut cached = self.cached();
        cached.put(stream.keys.handle, Arc::clone(stream));
        self.count(stream, stream.weigh_if_due().unwrap_or_default());
        self.evict(&mut cached);
    }

    /// Looks again at what a lane takes after events were added to it.
    pub fn grew(&self, stream: &Arc<SubjectStream>) {
        let Some(weight) = stream.weigh_if_due() else { return };
        let mut cached = self.cached();
        if cached.peek(&stream.keys.handle).is_some_and(|there| Arc::ptr_eq(there, stream)) {
            self.count(stream, weight);
            self.evict(&mut cached);
        }
    }

    /// Forgets a subject.
    pub fn remove(&self, handle: &Handle) {
        let mut cached = self.cached();
        if let Some(stream) = cached.pop(handle) {
            self.count(&stream, 0);
        }
    }

    /// Under the lock of those that are cached.
    fn count(&self, stream: &SubjectStream, weight: usize) {
        let before = stream.weight.swap(weight, Ordering::Relaxed);
        let others = self.bytes.load(Ordering::Relaxed).saturating_sub(before);
        self.bytes.store(others.saturating_add(weight), Ordering::Relaxed);
    }

    fn is_over(&self, count: usize) -> bool {
        count > self.bounds.count_max || self.bytes.load(Ordering::Relaxed) > self.bounds.bytes_max
    }

    /// A lane in use stays: two lanes of one subject would not see each other's events. So does one with something that is
    /// only counted yet, until [`StreamCache::crowded`] has it written down.
    fn evict(&self, cached: &mut LruCache<Handle, Arc<SubjectStream>>) {
        let mut recent_views = LOOKS_MAX;
        while recent_views > 0 && self.is_over(cached.len()) {
            let Some((handle, stream)) = cached.pop_lru() else { return };
            let is_unwritten = stream.given().is_unwritten();
            if is_unwritten || Arc::strong_count(&stream) > 1 {
                cached.put(handle, stream);
                recent_views -= 1;
                if is_unwritten {
                    self.crowded.notify_one();
                }
            } else {
                self.count(&stream, 0);
            }
        }
    }
}
