//! Writes a batch of changes to the key tree: in place, or under a fresh root key if the batch destroys any
//! key.
//!
//! The root key is replaced in five steps:
//! 1. The next root key is made durable beside the old one.
//! 2. Every page on the path from the top page to a record that loses keys gets a fresh number and a fresh
//!    key. These pages, except the top page, are written, and so are new pages. No page in force links to any
//!    of them yet. All other pages keep their number and key.
//! 3. One atomic, durable write puts these pages in force. It writes the top page, and the root page, which
//!    says which page is the top page and which root key opens it. It also writes fences (times before which
//!    writes about a subject are refused), intents (each says what the daemon still has to do for an
//!    erasure), and the changed pages that keep their number and key.
//! 4. The keeper of the root key (a `RootCustody`) destroys the old root key.
//! 5. The old pages, which no key opens from now on, are removed.
//!
//! After a crash before step 3 the old tree is in force, and the next start destroys the new root key. After
//! a crash after step 3 the next start completes steps 4 and 5. At every moment one of the two trees is in
//! force.

use super::batch::{Batch, Changed};
use super::custody::{CustodyError, KeyEpoch};
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

/// Pauses before destroying a root key is tried again while its keeper is unreachable.
const DESTROY_WAITS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_secs(3),
];

impl Batch<'_> {
    /// Makes every applied change durable. If a key was destroyed, the old root key is gone when this
    /// returns.
    ///
    /// # Errors
    /// Either nothing was changed, or the outcome is unknown. In the second case no key can be destroyed
    /// before the next start.
    pub fn commit(mut self) -> Result<(), VaultError> {
        let own = self.own_pages()?;
        let sealed = self.copy.seal(&self.tree_root.top, self.moments)?;
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

/// Seals a top page for writing.
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
        let new_root =
            sealed.is_top_changed.then(|| TreeRoot::new(tree_root.epoch, tree_root.link.clone(), sealed.top));
        if let Some(tree_root) = &new_root {
            writes.push(top_page(self, tree_root)?);
        }
        if !writes.is_empty() {
            self.store.write_pages(&writes)?;
            self.paths.follow(new_root, sealed.interior, &[]);
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
        let epoch = old.epoch.saturating_add(1);
        let tree_root = TreeRoot::new(epoch, Link::fresh(self.clock.as_ref()), sealed.top);
        let mut dead = sealed.dead;
        dead.push(old.link.id);
        let staged: Vec<Vec<u8>> = sealed.fresh.iter().map(|(name, _)| name.clone()).collect();
        let switched = self.prepare_root(&tree_root, &sealed.fresh, &dead).and_then(|mut last| {
            last.extend(sealed.in_place);
            last.extend(own);
            // This write switches trees: before it the old tree is in force, after it the new one.
            self.store.write_pages(&last).map_err(VaultError::Store)
        });
        if let Err(error) = switched {
            if !self.has_switched(&error, epoch) {
                self.undo_rekeying(epoch, staged);
                return Err(error);
            }
            // Readers use the new tree, which the store shows. The old root key stays until the next start
            // finds out what is durable.
            self.halted.store(true, Ordering::SeqCst);
            self.follow(tree_root, sealed.interior, &dead, changed);
            return Err(error);
        }
        self.follow(tree_root, sealed.interior, &dead, changed);
        if let Err(error) = self.destroy_root(old.epoch) {
            self.halted.store(true, Ordering::SeqCst);
            return Err(error.into());
        }
        if let Err(error) = self.store.stage_pages(&removals(&dead)) {
            tracing::warn!(%error, "old pages that no key opens could not be removed");
        }
        Ok(())
    }

    /// Destroys a root key; tries again while its keeper is unreachable.
    fn destroy_root(&self, epoch: KeyEpoch) -> Result<(), CustodyError> {
        for wait in DESTROY_WAITS {
            match self.custody.destroy(epoch) {
                Err(CustodyError::Unreachable(why)) => {
                    tracing::warn!(why, "the old root key could not be destroyed yet; trying again");
                    std::thread::sleep(wait);
                }
                done => return done,
            }
        }
        self.custody.destroy(epoch)
    }

    /// Steps 1 and 2. Returns the first pages of the write that switches trees (step 3).
    fn prepare_root(
        &self,
        tree_root: &TreeRoot,
        fresh: &[PageWrite],
        dead: &[PageId],
    ) -> Result<Vec<PageWrite>, VaultError> {
        let clock = self.clock.as_ref();
        self.custody.make(tree_root.epoch, clock)?;
        let wrapped = self.custody.wrap(tree_root.epoch, &tree_root.link.key, clock)?;
        self.store.stage_pages(fresh)?;
        let root = RootPage { epoch: tree_root.epoch, top: tree_root.link.id, wrapped };
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
        // The path cache is updated first. A reader that finds the key cache updated must not find old pages
        // in the path cache.
        self.paths.follow(Some(tree_root), interior, dead);
        self.follow_keys(changed);
    }

    fn follow_keys(&self, changed: Vec<Changed>) {
        for Changed { subject, handle, secrets } in changed {
            self.cache.follow(&subject, &handle, secrets);
        }
    }

    /// Called after a failed write of the root page. Returns whether the write switched trees or may have
    /// done so. After [`StoreError::Full`] and [`StoreError::Stopped`] nothing was written. After any other
    /// error the root page is read to find out.
    fn has_switched(&self, error: &VaultError, epoch: u64) -> bool {
        let VaultError::Store(error) = error else { return false };
        if matches!(error, StoreError::Full | StoreError::Stopped) {
            return false;
        }
        let root = self.store.read_page(pages::ROOT).ok().flatten();
        let root = root.and_then(|page| RootPage::decode(&page).ok());
        // If the root page can't be read, neither root key may be destroyed.
        let switched = root.is_none_or(|root| root.epoch == epoch);
        if !switched {
            // The write may still reach the disk.
            self.halted.store(true, Ordering::SeqCst);
        }
        switched
    }

    /// Removes the root key and the pages of a re-keying that did not happen, unless it may still come into
    /// force.
    fn undo_rekeying(&self, epoch: u64, staged: Vec<Vec<u8>>) {
        if self.halted.load(Ordering::SeqCst) {
            return;
        }
        let removed = staged.into_iter().map(|name| (name, None)).collect::<Vec<_>>();
        let undone = self.store.stage_pages(&removed).map_err(VaultError::Store);
        if let Err(error) = undone.and(self.custody.destroy(epoch).map_err(VaultError::Custody)) {
            tracing::warn!(%error, "the root key or pages of a failed re-keying could not be removed; the next start removes them");
        }
    }
}

/// The writes that remove pages of the tree.
pub fn removals(dead: &[PageId]) -> Vec<PageWrite> {
    dead.iter().map(|id| (pages::tree_page(id), None)).collect()
}
