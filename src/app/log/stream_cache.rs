//! The cache of streams in memory. It has a limit on the number of streams and on their bytes, and never has
//! two copies of one subject's stream.

use crate::app::error::{AppError, Cause};
use crate::app::log::new_streams::NewStreams;
use crate::app::log::stream::SubjectStream;
use crate::domain::ids::Handle;
use lru::LruCache;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// The maximum number of streams that are loaded in parallel. Each load takes a thread, and every thread
/// needs memory.
const LOADING_MAX: usize = 16;

/// The maximum number of streams that one eviction skips because they are in use. The next insertion tries
/// again.
const SKIPPED_MAX: usize = 64;

/// The streams in memory, never two of one subject.
pub(crate) struct StreamCache {
    cached: Mutex<LruCache<Handle, Arc<SubjectStream>>>,
    limits: StreamCacheLimits,
    /// Memory of the cached streams; changed only while `cached` is locked.
    bytes: AtomicUsize,
    /// Streams of data subjects about whom nothing is recorded yet.
    pub new_streams: NewStreams,
    /// One permit for each stream that is being loaded.
    loading: Semaphore,
    /// Notified when a stream can't be evicted because of an unrecorded count.
    eviction_blocked: Notify,
}

/// Limits of the cache. The cache exceeds them only while too many streams can't be evicted, because
/// they are in use or have unrecorded counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamCacheLimits {
    /// The maximum number of streams.
    pub count_max: usize,
    /// The maximum memory of all streams, in bytes.
    pub bytes_max: usize,
}

impl StreamCache {
    /// A cache with these limits.
    pub fn new(limits: StreamCacheLimits) -> Self {
        let limits = StreamCacheLimits { count_max: limits.count_max.max(1), ..limits };
        let loading = Semaphore::new(LOADING_MAX);
        let (cached, bytes) = (Mutex::new(LruCache::unbounded()), AtomicUsize::new(0));
        let new_streams = NewStreams::default();
        Self { cached, limits, bytes, new_streams, loading, eviction_blocked: Notify::new() }
    }

    fn cached(&self) -> MutexGuard<'_, LruCache<Handle, Arc<SubjectStream>>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until another stream may be loaded, and returns the permit to do so. The caller drops the permit
    /// after the load.
    ///
    /// # Errors
    /// Never: the semaphore is not closed.
    pub async fn load_permit(&self) -> Result<SemaphorePermit<'_>, AppError> {
        self.loading.acquire().await.map_err(|_| AppError::Internal(Cause::Task))
    }

    /// Waits until the cache needs to evict a stream and can't, because the stream has an unrecorded count.
    pub async fn eviction_blocked(&self) {
        self.eviction_blocked.notified().await;
    }

    /// The stream, if it is in memory.
    pub fn get(&self, handle: &Handle) -> Option<Arc<SubjectStream>> {
        self.cached().get(handle).cloned()
    }

    /// Inserts a loaded stream, and returns the stream to use. If another stream of the subject was inserted
    /// first, returns that stream. `refresh` runs while the cache is locked, and returns the stream as the
    /// log has it.
    ///
    /// # Errors
    /// `refresh` fails.
    pub fn put(
        &self,
        stream: SubjectStream,
        refresh: impl FnOnce(SubjectStream) -> Result<SubjectStream, AppError>,
    ) -> Result<Arc<SubjectStream>, AppError> {
        let mut cached = self.cached();
        let handle = stream.keys.handle;
        if let Some(other) = cached.get(&handle) {
            return Ok(Arc::clone(other));
        }
        let stream = Arc::new(refresh(stream)?);
        cached.put(handle, Arc::clone(&stream));
        self.set_weight(&stream, stream.measure_if_due().unwrap_or_default());
        self.evict(&mut cached);
        Ok(stream)
    }

    /// Inserts a stream that is about to get its first events. No other stream of this subject exists.
    pub fn adopt(&self, stream: &Arc<SubjectStream>) {
        let mut cached = self.cached();
        cached.put(stream.keys.handle, Arc::clone(stream));
        self.set_weight(stream, stream.measure_if_due().unwrap_or_default());
        self.evict(&mut cached);
    }

    /// Measures the memory of a stream again after events were added to it.
    pub fn measure(&self, stream: &Arc<SubjectStream>) {
        let Some(weight) = stream.measure_if_due() else { return };
        let mut cached = self.cached();
        if cached.peek(&stream.keys.handle).is_some_and(|other| Arc::ptr_eq(other, stream)) {
            self.set_weight(stream, weight);
            self.evict(&mut cached);
        }
    }

    /// Removes a subject's stream.
    pub fn remove(&self, handle: &Handle) {
        let mut cached = self.cached();
        if let Some(stream) = cached.pop(handle) {
            self.set_weight(&stream, 0);
        }
    }

    /// Sets the weight of a stream, under the lock of the cache.
    fn set_weight(&self, stream: &SubjectStream, weight: usize) {
        let before = stream.weight.swap(weight, Ordering::Relaxed);
        let others = self.bytes.load(Ordering::Relaxed).saturating_sub(before);
        self.bytes.store(others.saturating_add(weight), Ordering::Relaxed);
    }

    fn is_over(&self, count: usize) -> bool {
        count > self.limits.count_max || self.bytes.load(Ordering::Relaxed) > self.limits.bytes_max
    }

    /// Evicts the least recently used streams while the cache is over its limits. A stream in use stays,
    /// because two streams of one subject would not see each other's events. A stream with an unrecorded
    /// count stays until the count is recorded; [`StreamCache::eviction_blocked`] signals that this is
    /// needed.
    fn evict(&self, cached: &mut LruCache<Handle, Arc<SubjectStream>>) {
        let mut skips_left = SKIPPED_MAX;
        while skips_left > 0 && self.is_over(cached.len()) {
            let Some((handle, stream)) = cached.pop_lru() else { return };
            let has_unrecorded = stream.reusable_grants().has_unrecorded();
            if has_unrecorded || Arc::strong_count(&stream) > 1 {
                cached.put(handle, stream);
                skips_left -= 1;
                if has_unrecorded {
                    self.eviction_blocked.notify_one();
                }
            } else {
                self.set_weight(&stream, 0);
            }
        }
    }
}
