//! Views that were recorded lately, so that one is not recorded again within the same window.

use crate::domain::ids::Handle;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// Looks of one caller at one person by one method that count as one, milliseconds.
pub(crate) const WINDOW_MS: u64 = 5 * 60_000;

/// Looks remembered; beyond it the oldest is forgotten, and looking again is recorded again.
pub(crate) const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

pub(crate) type ViewKey = (Handle, i32, String, &'static str);

/// Looks of the last minutes.
pub(crate) struct RecentViews(Mutex<LruCache<ViewKey, u64>>);

impl Default for RecentViews {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED_MAX)))
    }
}

impl RecentViews {
    pub(crate) fn seen(&self) -> std::sync::MutexGuard<'_, LruCache<ViewKey, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
