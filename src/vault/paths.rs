//! The way down the key tree, kept in memory as far as interior pages go: bounded, zeroized, and never older than what
//! the writer has made durable.

use super::custody::Generation;
use super::node::{Interior, Link, PageId, Top};
use super::seal::PageSeal;
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Interior pages in memory, of at most 800 bytes each.
const INTERIOR_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// Where the tree begins.
pub struct Trunk {
    /// The root key under which the top page's key is wrapped.
    pub generation: Generation,
    /// The top page.
    pub link: Link,
    /// What is in it.
    pub top: Top,
    /// Seals the vault's own pages.
    pub own: PageSeal,
}

impl Trunk {
    /// Of a top page.
    pub fn new(generation: Generation, link: Link, top: Top) -> Self {
        let own = PageSeal::new(&top.own);
        Self { generation, link, top, own }
    }
}

/// How often the writer has changed the tree: what was read before a change may be of pages that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(u64);

/// The tree as far as it is in memory. Changed by the writer alone.
pub struct Paths {
    inner: Mutex<Inner>,
}

struct Inner {
    turn: u64,
    trunk: Arc<Trunk>,
    interior: LruCache<PageId, Arc<Interior>>,
}

impl Paths {
    /// Beginning at this trunk.
    pub fn new(trunk: Trunk) -> Self {
        let interior = LruCache::new(INTERIOR_MAX);
        Self { inner: Mutex::new(Inner { turn: 0, trunk: Arc::new(trunk), interior }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trunk, and when it was asked for.
    pub fn now(&self) -> (Turn, Arc<Trunk>) {
        let inner = self.lock();
        (Turn(inner.turn), Arc::clone(&inner.trunk))
    }

    /// The trunk.
    pub fn trunk(&self) -> Arc<Trunk> {
        Arc::clone(&self.lock().trunk)
    }

    /// Whether the tree is still as it was then.
    pub fn is_now(&self, turn: Turn) -> bool {
        self.lock().turn == turn.0
    }

    /// An interior page, if it is in memory.
    pub fn interior(&self, id: &PageId) -> Option<Arc<Interior>> {
        self.lock().interior.get(id).cloned()
    }

    /// Takes an interior page that was read at `turn`, unless the tree has changed since.
    pub fn keep(&self, turn: Turn, id: PageId, interior: &Arc<Interior>) {
        let mut inner = self.lock();
        if inner.turn == turn.0 {
            inner.interior.put(id, Arc::clone(interior));
        }
    }

    /// Follows what the writer has made durable.
    pub fn follow(&self, trunk: Option<Trunk>, changed: Vec<(PageId, Interior)>, gone: &[PageId]) {
        let mut inner = self.lock();
        inner.turn = inner.turn.saturating_add(1);
        if let Some(trunk) = trunk {
            inner.trunk = Arc::new(trunk);
        }
        for id in gone {
            inner.interior.pop(id);
        }
        for (id, interior) in changed {
            inner.interior.put(id, Arc::new(interior));
        }
    }
}
