//! Grants that were looked for lately, and the lanes they are in: a second look need not read where they were issued.

use crate::app::log::stream::SubjectStream;
use crate::domain::ids::{EventId, GrantId};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Grants remembered.
const KNOWN_MAX: NonZeroUsize = NonZeroUsize::new(32_768).expect("not zero");

/// Nothing of a person's: a lane that is no longer in memory is not held by this, and says nothing.
pub(crate) struct GrantLookup(Mutex<LruCache<GrantId, (Weak<SubjectStream>, EventId)>>);

impl Default for GrantLookup {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KNOWN_MAX)))
    }
}

impl GrantLookup {
    /// The lane that a grant was found in, if that is in memory still, and the grant's event. Whoever asks makes sure that
    /// it is the lane of its subject still.
    pub fn get(&self, grant: &GrantId) -> Option<(Arc<SubjectStream>, EventId)> {
        let (stream, event) = self.lock().get(grant).cloned()?;
        Some((stream.upgrade()?, event))
    }

    /// A grant was found.
    pub fn put(&self, grant: GrantId, stream: &Arc<SubjectStream>, event: EventId) {
        self.lock().put(grant, (Arc::downgrade(stream), event));
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<GrantId, (Weak<SubjectStream>, EventId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
