//! Writing a batch: in place, or, where something is destroyed, under a fresh root key.
//!
//! Replacing the root is two-phase. 1. The next root key is made, durably, beside the old one. 2. Every page with a fresh
//! key is written under a fresh number; nothing leads there yet. 3. One atomic, durable write of the root page makes them
//! count, together with fences, intents, and pages that others' new keys changed in place. 4. The old root key is destroyed where it lies. 5. The old pages, which
//! nothing opens any more, are removed. A crash before 3 leaves everything as it was, and the next start destroys the
//! root key that never counted; a crash after 3 is completed by the next start. At no moment is there neither.

use super::batch::{Batch, Changed};
use super::custody::{CustodyError, Generation};
use super::error::VaultError;
use super::key_tree::{KeyTree, PageWrite};
use super::pages::{self, PageId, RootPage};
use super::path_cache::TreeRoot;
use super::seal::PageSeal;
use super::tree_pages::{Interior, Link};
use super::working_copy::Sealed;
use crate::store::StoreError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Waits before destroying a root key is tried again, where its keeper can't be reached.
const DESTROY_WAITS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_secs(3),
];

impl Batch<'_> {
    /// Makes everything durable that was applied. With destructions among it, the old root key is gone on return.
    ///
    /// # Errors
    /// Nothing happened; or nobody knows, and nothing more can be destroyed before the next start.
    pub fn commit(mut self) -> Result<(), VaultError> {
        let own = self.own_pages()?;
        let sealed = self.copy.seal(&self.tree_root.top)?;
        let key_tree = self.key_tree;
        if sealed.is_rekeyed {
            key_tree.write_rekeyed(&self.tree_root, sealed, own, self.changed)?;
        } else {
            key_tree.write_in_place(&self.tree_root, sealed, own, self.changed)?;
        }
        key_tree.subjects.store(self.subjects, Ordering::SeqCst);
        Ok(())
    }
}

/// A top page and where it is.
fn top_page(key_tree: &KeyTree, tree_root: &TreeRoot) -> Result<PageWrite, VaultError> {
    let name = tree_root.link.name();
    let page =
        PageSeal::new(&tree_root.link.key).seal(&name, &tree_root.top.encode(), key_tree.clock.as_ref())?;
    Ok((name, Some(page)))
}

impl KeyTree {
    fn write_in_place(
        &self,
        tree_root: &TreeRoot,
        sealed: Sealed,
        own: Vec<PageWrite>,
        changed: Vec<Changed>,
    ) -> Result<(), VaultError> {
        let mut writes = sealed.fresh;
        writes.extend(sealed.in_place);
        writes.extend(own);
        let moved = sealed
            .is_top_changed
            .then(|| TreeRoot::new(tree_root.generation, tree_root.link.clone(), sealed.top));
        if let Some(tree_root) = &moved {
            writes.push(top_page(self, tree_root)?);
        }
        if !writes.is_empty() {
            self.store.write_pages(&writes)?;
            self.paths.follow(moved, sealed.interior, &[]);
            self.follow_keys(changed);
        }
        Ok(())
    }

    fn write_rekeyed(
        &self,
        old: &TreeRoot,
        sealed: Sealed,
        own: Vec<PageWrite>,
        changed: Vec<Changed>,
    ) -> Result<(), VaultError> {
        if self.halted.load(Ordering::SeqCst) {
            return Err(VaultError::Halted);
        }
        let generation = old.generation.saturating_add(1);
        let tree_root = TreeRoot::new(generation, Link::fresh(self.clock.as_ref()), sealed.top);
        let mut dead = sealed.dead;
        dead.push(old.link.id);
        let staged: Vec<Vec<u8>> = sealed.fresh.iter().map(|(name, _)| name.clone()).collect();
        let switched = self.prepare_root(&tree_root, &sealed.fresh, &dead).and_then(|mut last| {
            last.extend(sealed.in_place);
            last.extend(own);
            // The one moment: before it the old tree counts, after it the new one.
            self.store.write_pages(&last).map_err(VaultError::Store)
        });
        if let Err(error) = switched {
            if !self.has_switched(&error, generation) {
                self.take_back(generation, staged);
                return Err(error);
            }
            // Readers follow what the store says. The old root key stays until a start finds out what is durable.
            self.halted.store(true, Ordering::SeqCst);
            self.follow(tree_root, sealed.interior, &dead, changed);
            return Err(error);
        }
        self.follow(tree_root, sealed.interior, &dead, changed);
        if let Err(error) = self.destroy_root(old.generation) {
            self.halted.store(true, Ordering::SeqCst);
            return Err(error.into());
        }
        if let Err(error) = self.store.stage_pages(&removals(&dead)) {
            tracing::warn!(%error, "pages that nothing opens any more could not be removed");
        }
        Ok(())
    }

    /// Destroys a root key; where its keeper can't be reached for a moment, once more.
    fn destroy_root(&self, generation: Generation) -> Result<(), CustodyError> {
        for wait in DESTROY_WAITS {
            match self.custody.destroy(generation) {
                Err(CustodyError::Unreachable(why)) => {
                    tracing::warn!(why, "the old root key could not be destroyed yet");
                    std::thread::sleep(wait);
                }
                done => return done,
            }
        }
        self.custody.destroy(generation)
    }

    /// Phases 1 and 2; gives what the write that switches begins with.
    fn prepare_root(
        &self,
        tree_root: &TreeRoot,
        fresh: &[PageWrite],
        dead: &[PageId],
    ) -> Result<Vec<PageWrite>, VaultError> {
        let clock = self.clock.as_ref();
        self.custody.make(tree_root.generation, clock)?;
        let wrapped = self.custody.wrap(tree_root.generation, &tree_root.link.key, clock)?;
        self.store.stage_pages(fresh)?;
        let root = RootPage { generation: tree_root.generation, top: tree_root.link.id, wrapped };
        Ok(vec![
            top_page(self, tree_root)?,
            (pages::DEAD.to_vec(), Some(dead.concat())),
            (pages::ROOT.to_vec(), Some(root.encode())),
        ])
    }

    fn follow(
        &self,
        tree_root: TreeRoot,
        interior: Vec<(PageId, Interior)>,
        dead: &[PageId],
        changed: Vec<Changed>,
    ) {
        // The way down first: who reads keys after the cache moved on must not find the old way.
        self.paths.follow(Some(tree_root), interior, dead);
        self.follow_keys(changed);
    }

    fn follow_keys(&self, changed: Vec<Changed>) {
        for Changed { subject, handle, cover } in changed {
            self.cache.follow(&subject, &handle, cover);
        }
    }

    /// Whether a switch that failed has happened all the same, or may have. A store that had no room says that nothing
    /// was written; of any other failure it is asked.
    fn has_switched(&self, error: &VaultError, generation: u64) -> bool {
        let VaultError::Store(error) = error else { return false };
        if matches!(error, StoreError::Full | StoreError::Stopped) {
            return false;
        }
        let root = self.store.read_page(pages::ROOT).ok().flatten();
        let root = root.and_then(|page| RootPage::decode(&page).ok());
        // Where not even that can be read, no root key may be touched.
        let switched = root.is_none_or(|root| root.generation == generation);
        if !switched {
            // Perhaps it still happens, by whatever is on its way to the disk.
            self.halted.store(true, Ordering::SeqCst);
        }
        switched
    }

    /// A re-keying that did not happen: its root key goes, unless something may still lead to it.
    fn take_back(&self, generation: u64, staged: Vec<Vec<u8>>) {
        if self.halted.load(Ordering::SeqCst) {
            return;
        }
        let removed = staged.into_iter().map(|name| (name, None)).collect::<Vec<_>>();
        let taken_back = self.store.stage_pages(&removed).map_err(VaultError::Store);
        if let Err(error) = taken_back.and(self.custody.destroy(generation).map_err(VaultError::Custody)) {
            tracing::warn!(%error, "a re-keying that did not happen could not be cleared away");
        }
    }
}

/// Pages to remove.
pub fn removals(dead: &[PageId]) -> Vec<PageWrite> {
    dead.iter().map(|id| (pages::tree_page(id), None)).collect()
}
