//! The full erasures of the last hour, so that a repeated request gets the same answer. They are kept in
//! memory only: anything in the log by which a repeated request could be recognized would also confirm
//! guesses of who was erased.

use crate::domain::ids::EventId;
use lru::LruCache;
use sayso_proof::merkle::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most erasures that are kept, about 2 MiB. Then the oldest is dropped.
const RECENT_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not 0");

/// How long a repetition is answered, milliseconds.
const RECENT_MS: u64 = 3_600_000;

/// An erasure that was carried out.
struct RecentErasure {
    request: EventId,
    /// Keyed hash of the request's content.
    digest: Vec<u8>,
    completed_at_ms: u64,
}

/// Full erasures by the hash of the caller and the idempotency key.
pub(crate) struct RecentErasures(Mutex<LruCache<Hash, RecentErasure>>);

impl Default for RecentErasures {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(RECENT_MAX)))
    }
}

impl RecentErasures {
    /// Keeps an erasure that is complete, and drops those that are older than an hour.
    pub fn insert(&self, key: Hash, digest: Vec<u8>, request: EventId, now_ms: u64) {
        let mut recent = self.recent();
        while recent.peek_lru().is_some_and(|(_, oldest)| oldest.is_over(now_ms)) {
            recent.pop_lru();
        }
        recent.put(key, RecentErasure { request, digest, completed_at_ms: now_ms });
    }

    /// The erasure with this key: its request, and the digest of the request's content.
    pub fn find(&self, key: &Hash, now_ms: u64) -> Option<(EventId, Vec<u8>)> {
        let recent = self.recent();
        // `peek` leaves the order by age.
        let found = recent.peek(key).filter(|found| !found.is_over(now_ms))?;
        Some((found.request, found.digest.clone()))
    }

    fn recent(&self) -> MutexGuard<'_, LruCache<Hash, RecentErasure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecentErasure {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.completed_at_ms) > RECENT_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_is_found_for_an_hour() {
        let recent = RecentErasures::default();
        recent.insert([1; 32], vec![7], EventId([9; 16]), 1_000);
        assert_eq!(recent.find(&[1; 32], 1_000 + RECENT_MS), Some((EventId([9; 16]), vec![7])));
        assert_eq!(recent.find(&[1; 32], 1_001 + RECENT_MS), None);
        assert_eq!(recent.find(&[2; 32], 1_000), None);
        recent.insert([2; 32], vec![7], EventId([8; 16]), 1_001 + RECENT_MS);
        assert_eq!(recent.recent().len(), 1, "what is over is dropped");
    }

    #[test]
    fn the_number_of_erasures_is_limited() {
        let recent = RecentErasures::default();
        for number in 0..RECENT_MAX.get() as u64 + 5 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            recent.insert(key, Vec::new(), EventId([0; 16]), 1_000);
        }
        assert_eq!(recent.recent().len(), RECENT_MAX.get());
    }
}
