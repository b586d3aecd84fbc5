//! The views (reads of a data subject's record, see `record_view.rs`) that were recorded in the last few
//! minutes. If the same caller views the same data subject by the same method again, nothing is recorded.

use crate::domain::event::Role;
use crate::domain::ids::Handle;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// Views of one subject by one caller and method within this time count as one, milliseconds.
pub(crate) const WINDOW_MS: u64 = 5 * 60_000;

/// The most views that are kept in memory. If there are more, the oldest is dropped, and the same view is
/// recorded again the next time.
pub(crate) const RECENT_VIEWS_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

pub(crate) type ViewKey = (Handle, Role, String, &'static str);

/// The views of the last minutes.
pub(crate) struct RecentViews(Mutex<LruCache<ViewKey, u64>>);

impl Default for RecentViews {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(RECENT_VIEWS_MAX)))
    }
}

impl RecentViews {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<ViewKey, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
