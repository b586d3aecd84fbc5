//! Subject streams in memory: limited by count and bytes, and never two of one subject.

use crate::app::error::{AppError, Cause};
use crate::app::log::new_streams::NewStreams;
use crate::app::log::stream::SubjectStream;
use crate::domain::ids::Handle;
use lru::LruCache;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// Lanes loaded at once: each takes a thread, and a thread keeps memory of its own.
const LOADING_MAX: usize = 16;

/// Lanes in use that are passed over while others are let go, before the next one that comes tries again.
const LOOKS_MAX: usize = 64;

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
    eviction_blocked: Notify,
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
        Self { cached, bounds, bytes, new_streams, loading, eviction_blocked: Notify::new() }
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
    pub async fn eviction_blocked(&self) {
        self.eviction_blocked.notified().await;
    }

    /// The lane, if it is in memory.
    pub fn get(&self, handle: &Handle) -> Option<Arc<SubjectStream>> {
        self.cached().get(handle).cloned()
    }

    /// Puts a loaded stream in. If another one of the same subject is there, that one is returned. `refresh` runs under the
    /// lock of the cache and returns the stream as the log has it.
    ///
    /// # Errors
    /// As `refresh`.
    pub fn put(
        &self,
        stream: SubjectStream,
        refresh: impl FnOnce(SubjectStream) -> Result<SubjectStream, AppError>,
    ) -> Result<Arc<SubjectStream>, AppError> {
        let mut cached = self.cached();
        let handle = stream.keys.handle;
        if let Some(there) = cached.get(&handle) {
            return Ok(Arc::clone(there));
        }
        let stream = Arc::new(refresh(stream)?);
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
    /// only counted yet, until [`StreamCache::eviction_blocked`] has it written down.
    fn evict(&self, cached: &mut LruCache<Handle, Arc<SubjectStream>>) {
        let mut recent_views = LOOKS_MAX;
        while recent_views > 0 && self.is_over(cached.len()) {
            let Some((handle, stream)) = cached.pop_lru() else { return };
            let is_unwritten = stream.given().is_unwritten();
            if is_unwritten || Arc::strong_count(&stream) > 1 {
                cached.put(handle, stream);
                recent_views -= 1;
                if is_unwritten {
                    self.eviction_blocked.notify_one();
                }
            } else {
                self.count(&stream, 0);
            }
        }
    }
}
