//! A cache that maps recently used grants to the streams of their data subjects. With it, the next call about
//! a grant finds the stream without reading the grant's entry in the log.

use crate::app::log::stream::SubjectStream;
use crate::domain::ids::{EventId, GrantId};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Grants in the cache.
const GRANTS_MAX: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");

/// The streams of recently used grants. References are weak, so the cache keeps no personal data in memory.
pub(crate) struct GrantLookup(Mutex<LruCache<GrantId, (Weak<SubjectStream>, EventId)>>);

impl Default for GrantLookup {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(GRANTS_MAX)))
    }
}

impl GrantLookup {
    /// The stream and the event of a grant, if the stream is still in memory. The caller must check that this
    /// is still the subject's current stream.
    pub fn get(&self, grant: &GrantId) -> Option<(Arc<SubjectStream>, EventId)> {
        let (stream, event) = self.lock().get(grant).cloned()?;
        Some((stream.upgrade()?, event))
    }

    /// Adds a grant.
    pub fn put(&self, grant: GrantId, stream: &Arc<SubjectStream>, event: EventId) {
        self.lock().put(grant, (Arc::downgrade(stream), event));
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<GrantId, (Weak<SubjectStream>, EventId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
