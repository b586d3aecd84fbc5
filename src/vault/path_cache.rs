//! A cache of the upper pages of the key tree (the encrypted pages with people's keys, see `mod.rs`). With
//! the cache, usually only one page has to be read to find a person's keys: the leaf page with the
//! person's record.
//!
//! The size of the cache is limited, and its keys are zeroized. The cache is never older than the tree
//! that the writer of the key store (`writer.rs`) has made durable.

use super::custody::KeyEpoch;
use super::pages::PageId;
use super::seal::PageSeal;
use super::tree_pages::{Interior, Link, TopPage};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Interior pages in memory; each takes at most 1,200 bytes.
const INTERIOR_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// The opened top page of the tree.
pub struct TreeRoot {
    /// The root key under which the top page's key is wrapped.
    pub epoch: KeyEpoch,
    /// Number and key of the top page.
    pub link: Link,
    /// Content of the top page.
    pub top: TopPage,
    /// Seals and opens the vault's own pages.
    pub own: PageSeal,
}

impl TreeRoot {
    /// Makes the root of a tree from its top page.
    pub fn new(epoch: KeyEpoch, link: Link, top: TopPage) -> Self {
        let own = PageSeal::new(&top.own);
        Self { epoch, link, top, own }
    }
}

/// Number of changes to the tree so far. Pages that were read before the last change may be gone by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeVersion(u64);

/// The cached part of the tree. Only the writer replaces what is in it.
pub struct PathCache {
    inner: Mutex<Inner>,
}

struct Inner {
    version: u64,
    tree_root: Arc<TreeRoot>,
    interior: LruCache<PageId, Arc<Interior>>,
}

impl PathCache {
    /// Starts with the top page alone.
    pub fn new(tree_root: TreeRoot) -> Self {
        let interior = LruCache::new(INTERIOR_MAX);
        Self { inner: Mutex::new(Inner { version: 0, tree_root: Arc::new(tree_root), interior }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current root of the tree, and its version.
    pub fn current(&self) -> (TreeVersion, Arc<TreeRoot>) {
        let inner = self.lock();
        (TreeVersion(inner.version), Arc::clone(&inner.tree_root))
    }

    /// The current root of the tree.
    pub fn root(&self) -> Arc<TreeRoot> {
        Arc::clone(&self.lock().tree_root)
    }

    /// Whether the tree still has this version.
    pub fn is_current(&self, version: TreeVersion) -> bool {
        self.lock().version == version.0
    }

    /// Returns an interior page if it is in memory.
    pub fn interior(&self, id: &PageId) -> Option<Arc<Interior>> {
        self.lock().interior.get(id).cloned()
    }

    /// Adds an interior page that was read at `version`, unless the tree has changed since.
    pub fn insert(&self, version: TreeVersion, id: PageId, interior: &Arc<Interior>) {
        let mut inner = self.lock();
        if inner.version == version.0 {
            inner.interior.put(id, Arc::clone(interior));
        }
    }

    /// Applies a durable change: the new root, if there is one, and the interior pages that changed or went
    /// away.
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
