//! Keys in memory: bounded, and of one subject never two sets, so that destroying them reaches whoever holds them.

use super::SubjectKeys;
use super::tree::Node;
use lru::LruCache;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Subjects whose keys stay in memory while nobody uses them.
const RECENT_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// Subjects that are known of, dead ones included, before the dead ones are cleared away.
const KNOWN_MAX: usize = 4 * RECENT_MAX.get();

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

impl Default for Cache {
    fn default() -> Self {
        let inner = Inner {
            generation: 0,
            recent: LruCache::new(RECENT_MAX),
            known: HashMap::new(),
            subjects: HashMap::new(),
            known_max: KNOWN_MAX,
        };
        Self { inner: Mutex::new(inner) }
    }
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
        self.known_max = KNOWN_MAX.max(self.known.len().saturating_mul(2));
    }
}

impl Cache {
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
