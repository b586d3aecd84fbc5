//! A cache of subjects' keys. It has at most one set of keys for each subject, so that a destruction of keys
//! reaches every reference to them.
//!
//! Memory is limited: keys without references are dropped, the least recently used first.

use super::pages::SubjectSecrets;
use super::subject::SubjectKeys;
use lru::LruCache;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The cache may list this many known subjects for each recent one. Beyond that, it removes the entries of
/// keys that were dropped.
const KNOWN_PER_RECENT: usize = 4;

/// Number of changes to stored keys so far. Keys that were read from the store before the last change may be
/// destroyed by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// Keys in memory.
pub struct Cache {
    inner: Mutex<Inner>,
}

struct Inner {
    generation: u64,
    /// Keeps the most recently used keys alive.
    recent: LruCache<Hash, Arc<SubjectKeys>>,
    /// All keys that may still be referenced, by the keyed hash of the subject's id.
    known: HashMap<Hash, Weak<SubjectKeys>>,
    /// The known subject of each handle.
    subjects: HashMap<Handle, Hash>,
    /// Size of `known` at which entries of dropped keys are removed; this size grows if more keys are in use
    /// at once.
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

    fn remove_dropped(&mut self) {
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
    /// Keeps the keys of up to `recent_max` subjects in memory when they have no references.
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

    /// The current generation. Take it before reading keys from the store, and pass it to [`Cache::put`].
    pub fn generation(&self) -> Generation {
        Generation(self.lock().generation)
    }

    /// Returns the keys of a subject if they are in memory.
    pub fn get(&self, subject: &Hash) -> Option<Arc<SubjectKeys>> {
        self.lock().get(subject)
    }

    /// Returns the keys of the subject with this handle if they are in memory.
    pub fn by_handle(&self, handle: &Handle) -> Option<Arc<SubjectKeys>> {
        let mut inner = self.lock();
        let subject = *inner.subjects.get(handle)?;
        inner.get(&subject).filter(|keys| keys.handle == *handle)
    }

    /// Adds keys that were read at `generation`, and returns the subject's only set of keys. If another
    /// reader has added a set already, that set is returned. `None` if stored keys changed since
    /// `generation`: then the keys may be destroyed, and the caller must read again.
    pub fn put(&self, keys: SubjectKeys, generation: Generation) -> Option<Arc<SubjectKeys>> {
        let mut inner = self.lock();
        if inner.generation != generation.0 {
            return None;
        }
        if let Some(known) = inner.get(&keys.subject) {
            return Some(known);
        }
        inner.remove_dropped();
        let keys = Arc::new(keys);
        inner.subjects.insert(keys.handle, keys.subject);
        inner.known.insert(keys.subject, Arc::downgrade(&keys));
        inner.recent.put(keys.subject, Arc::clone(&keys));
        Some(keys)
    }

    /// Adds keys that are about to be stored, so that no reader makes a second set of the same keys. Returns
    /// false if the subject has other keys in memory.
    pub fn adopt(&self, keys: &Arc<SubjectKeys>) -> bool {
        let mut inner = self.lock();
        if let Some(known) = inner.get(&keys.subject) {
            return Arc::ptr_eq(&known, keys);
        }
        inner.remove_dropped();
        inner.subjects.insert(keys.handle, keys.subject);
        inner.known.insert(keys.subject, Arc::downgrade(keys));
        inner.recent.put(keys.subject, Arc::clone(keys));
        true
    }

    /// Removes keys that were not stored after all.
    pub fn forget(&self, keys: &Arc<SubjectKeys>) {
        let mut inner = self.lock();
        if inner.get(&keys.subject).is_some_and(|known| Arc::ptr_eq(&known, keys)) {
            inner.recent.pop(&keys.subject);
            inner.known.remove(&keys.subject);
            inner.subjects.remove(&keys.handle);
        }
    }

    /// Applies a stored change to the keys in memory. They keep only these secrets; without secrets, they
    /// keep none.
    pub fn follow(&self, subject: &Hash, handle: &Handle, secrets: Option<SubjectSecrets>) {
        let mut inner = self.lock();
        inner.generation = inner.generation.saturating_add(1);
        let keys = inner.get(subject).filter(|keys| keys.handle == *handle);
        if secrets.is_none() {
            inner.subjects.remove(handle);
            if keys.is_some() {
                inner.recent.pop(subject);
                inner.known.remove(subject);
            }
        }
        if let Some(keys) = keys {
            keys.replace(secrets.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::vault::puncturable::Node;

    fn put(cache: &Cache, number: u8) -> Arc<SubjectKeys> {
        let secrets = SubjectSecrets { cover: vec![Node::root(&[number; 32])], link: None };
        let keys = SubjectKeys::new([number; 32], Handle([number; 16]), secrets);
        cache.put(keys, cache.generation()).unwrap()
    }

    #[test]
    fn a_subject_has_one_set_of_keys_while_it_is_referenced() {
        let cache = Cache::new(NonZeroUsize::MIN);
        let referenced = put(&cache, 1);
        assert!(Arc::ptr_eq(&referenced, &put(&cache, 1)), "a second reader gets the same keys");
        put(&cache, 2);
        assert!(Arc::ptr_eq(&referenced, &cache.get(&[1; 32]).unwrap()), "no longer among the recent keys");
        put(&cache, 3);
        assert!(cache.get(&[2; 32]).is_none(), "not referenced");
        assert!(Arc::ptr_eq(&referenced, &cache.by_handle(&Handle([1; 16])).unwrap()));
        put(&cache, 4);
        cache.follow(&[1; 32], &Handle([1; 16]), None);
        assert!(referenced.event_key(0, &[0; 16]).is_err(), "destroying reaches every reference");
        assert!(cache.by_handle(&Handle([1; 16])).is_none());
    }

    #[test]
    fn memory_is_limited() {
        let cache = Cache::new(NonZeroUsize::new(4).unwrap());
        let referenced = put(&cache, 0);
        for number in 1..=255 {
            put(&cache, number);
        }
        let inner = cache.lock();
        assert!(inner.known.len() <= 16 && inner.subjects.len() <= 16 && inner.recent.len() <= 4);
        assert!(inner.known.contains_key(&referenced.subject));
    }
}
