//! The way down the key tree, kept in memory as far as interior pages go: bounded, zeroized, and never older than what
//! the writer has made durable.

use super::custody::Generation;
use super::pages::PageId;
use super::seal::PageSeal;
use super::tree_pages::{Interior, Link, TopPage};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Interior pages in memory, of at most 800 bytes each.
const INTERIOR_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// Where the tree begins.
pub struct TreeRoot {
    /// The root key under which the top page's key is wrapped.
    pub generation: Generation,
    /// The top page.
    pub link: Link,
    /// What is in it.
    pub top: TopPage,
    /// Seals the vault's own pages.
    pub own: PageSeal,
}

impl TreeRoot {
    /// Of a top page.
    pub fn new(generation: Generation, link: Link, top: TopPage) -> Self {
        let own = PageSeal::new(&top.own);
        Self { generation, link, top, own }
    }
}

/// How often the writer has changed the tree: what was read before a change may be of pages that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeVersion(u64);

/// The tree as far as it is in memory. Changed by the writer alone.
pub struct PathCache {
    inner: Mutex<Inner>,
}

struct Inner {
    version: u64,
    tree_root: Arc<TreeRoot>,
    interior: LruCache<PageId, Arc<Interior>>,
}

impl PathCache {
    /// Beginning at this trunk.
    pub fn new(tree_root: TreeRoot) -> Self {
        let interior = LruCache::new(INTERIOR_MAX);
        Self { inner: Mutex::new(Inner { version: 0, tree_root: Arc::new(tree_root), interior }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trunk, and when it was asked for.
    pub fn current(&self) -> (TreeVersion, Arc<TreeRoot>) {
        let inner = self.lock();
        (TreeVersion(inner.version), Arc::clone(&inner.tree_root))
    }

    /// The trunk.
    pub fn root(&self) -> Arc<TreeRoot> {
        Arc::clone(&self.lock().tree_root)
    }

    /// Whether the tree is still as it was then.
    pub fn is_current(&self, version: TreeVersion) -> bool {
        self.lock().version == version.0
    }

    /// An interior page, if it is in memory.
    pub fn interior(&self, id: &PageId) -> Option<Arc<Interior>> {
        self.lock().interior.get(id).cloned()
    }

    /// Takes an interior page that was read at `turn`, unless the tree has changed since.
    pub fn keep(&self, version: TreeVersion, id: PageId, interior: &Arc<Interior>) {
        let mut inner = self.lock();
        if inner.version == version.0 {
            inner.interior.put(id, Arc::clone(interior));
        }
    }

    /// Follows what the writer has made durable.
    pub fn follow(&self, tree_root: Option<TreeRoot>, changed: Vec<(PageId, Interior)>, gone: &[PageId]) {
        let mut inner = self.lock();
        inner.version = inner.version.saturating_add(1);
        if let Some(tree_root) = tree_root {
            inner.tree_root = Arc::new(tree_root);
        }
        for id in gone {
            inner.interior.pop(id);
        }
        for (id, interior) in changed {
            inner.interior.put(id, Arc::new(interior));
        }
    }
}
