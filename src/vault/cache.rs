//! Keys in memory: bounded, and of one subject never two sets, so that destroying them reaches whoever holds them.

use super::puncturable::Node;
use super::subject::SubjectKeys;
use lru::LruCache;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Subjects that are known of for each that stays in memory, dead ones included, before the dead are cleared away.
const KNOWN_PER_RECENT: usize = 4;

/// How many destructions there were: what was read from the store before may be of keys that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// The keys in memory.
pub struct Cache {
    inner: Mutex<Inner>,
}

struct Inner {
    generation: u64,
    /// Keeps alive.
    recent: LruCache<Hash, Arc<SubjectKeys>>,
    /// Everything that is alive, by the keyed hash of the subject's id.
    known: HashMap<Hash, Weak<SubjectKeys>>,
    /// Whose a handle is, of those that are known.
    subjects: HashMap<Handle, Hash>,
    /// Clears away at this size; moves up where more are in use at once.
    known_max: usize,
}

impl Inner {
    fn get(&mut self, subject: &Hash) -> Option<Arc<SubjectKeys>> {
        if let Some(keys) = self.recent.get(subject) {
            return Some(Arc::clone(keys));
        }
        let keys = self.known.get(subject)?.upgrade()?;
        self.recent.put(*subject, Arc::clone(&keys));
        Some(keys)
    }

    fn clear_away_dead(&mut self) {
        if self.known.len() < self.known_max {
            return;
        }
        self.known.retain(|_, keys| keys.strong_count() > 0);
        let known = &self.known;
        self.subjects.retain(|_, subject| known.contains_key(subject));
        let least = self.recent.cap().get().saturating_mul(KNOWN_PER_RECENT);
        self.known_max = least.max(self.known.len().saturating_mul(2));
    }
}

impl Cache {
    /// Keeps the keys of `recent_max` subjects while nobody uses them.
    pub fn new(recent_max: NonZeroUsize) -> Self {
        let inner = Inner {
            generation: 0,
            recent: LruCache::new(recent_max),
            known: HashMap::new(),
            subjects: HashMap::new(),
            known_max: recent_max.get().saturating_mul(KNOWN_PER_RECENT),
        };
        Self { inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where destroying stands; to be taken before the store is read.
    pub fn generation(&self) -> Generation {
        Generation(self.lock().generation)
    }

    /// The keys of a subject, if they are in memory.
    pub fn get(&self, subject: &Hash) -> Option<Arc<SubjectKeys>> {
        self.lock().get(subject)
    }

    /// The keys of whoever stands behind a handle, if they are in memory.
    pub fn by_handle(&self, handle: &Handle) -> Option<Arc<SubjectKeys>> {
        let mut inner = self.lock();
        let subject = *inner.subjects.get(handle)?;
        inner.get(&subject).filter(|keys| keys.handle == *handle)
    }

    /// Takes keys that were read at `generation`, and gives those that count: where others were faster, theirs.
    /// `None` where something was destroyed meanwhile: read again rather than bring destroyed keys back.
    pub fn put(&self, keys: SubjectKeys, generation: Generation) -> Option<Arc<SubjectKeys>> {
        let mut inner = self.lock();
        if inner.generation != generation.0 {
            return None;
        }
        if let Some(there) = inner.get(&keys.subject) {
            return Some(there);
        }
        inner.clear_away_dead();
        let keys = Arc::new(keys);
        inner.subjects.insert(keys.handle, keys.subject);
        inner.known.insert(keys.subject, Arc::downgrade(&keys));
        inner.recent.put(keys.subject, Arc::clone(&keys));
        Some(keys)
    }

    /// Takes keys that this process made itself and that the store is about to hold, so that nobody reads a second set of
    /// them. False where others are known of the same subject.
    pub fn adopt(&self, keys: &Arc<SubjectKeys>) -> bool {
        let mut inner = self.lock();
        if let Some(there) = inner.get(&keys.subject) {
            return Arc::ptr_eq(&there, keys);
        }
        inner.clear_away_dead();
        inner.subjects.insert(keys.handle, keys.subject);
        inner.known.insert(keys.subject, Arc::downgrade(keys));
        inner.recent.put(keys.subject, Arc::clone(keys));
        true
    }

    /// Forgets keys that the store does not hold after all.
    pub fn forget(&self, keys: &Arc<SubjectKeys>) {
        let mut inner = self.lock();
        if inner.get(&keys.subject).is_some_and(|there| Arc::ptr_eq(&there, keys)) {
            inner.recent.pop(&keys.subject);
            inner.known.remove(&keys.subject);
            inner.subjects.remove(&keys.handle);
        }
    }

    /// Lets the keys in memory follow what the store holds of a subject after a destruction: of `cover`, or nothing.
    pub fn follow(&self, subject: &Hash, handle: &Handle, cover: Option<Vec<Node>>) {
        let mut inner = self.lock();
        inner.generation = inner.generation.saturating_add(1);
        let there = inner.get(subject).filter(|keys| keys.handle == *handle);
        if cover.is_none() {
            inner.subjects.remove(handle);
            if there.is_some() {
                inner.recent.pop(subject);
                inner.known.remove(subject);
            }
        }
        if let Some(keys) = there {
            keys.replace(cover.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn put(cache: &Cache, number: u8) -> Arc<SubjectKeys> {
        let keys = SubjectKeys::new([number; 32], Handle([number; 16]), vec![Node::root(&[number; 32])]);
        cache.put(keys, cache.generation()).unwrap()
    }

    #[test]
    fn of_one_subject_there_is_one_set_of_keys_as_long_as_somebody_holds_it() {
        let cache = Cache::new(NonZeroUsize::MIN);
        let held = put(&cache, 1);
        assert!(Arc::ptr_eq(&held, &put(&cache, 1)), "a second reader gets the first one's");
        put(&cache, 2);
        assert!(Arc::ptr_eq(&held, &cache.get(&[1; 32]).unwrap()), "pushed out of the recent ones");
        put(&cache, 3);
        assert!(cache.get(&[2; 32]).is_none(), "nobody holds it");
        assert!(Arc::ptr_eq(&held, &cache.by_handle(&Handle([1; 16])).unwrap()));
        put(&cache, 4);
        cache.follow(&[1; 32], &Handle([1; 16]), None);
        assert!(held.event_key(0, &[0; 16]).is_err(), "destroying reaches the holder");
        assert!(cache.by_handle(&Handle([1; 16])).is_none());
    }

    #[test]
    fn memory_is_bounded() {
        let cache = Cache::new(NonZeroUsize::new(4).unwrap());
        let held = put(&cache, 0);
        for number in 1..=255 {
            put(&cache, number);
        }
        let inner = cache.lock();
        assert!(inner.known.len() <= 16 && inner.subjects.len() <= 16 && inner.recent.len() <= 4);
        assert!(inner.known.contains_key(&held.subject));
    }
}
