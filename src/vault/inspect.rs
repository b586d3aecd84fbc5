//! Checks the key tree (the encrypted pages with people's keys) without changing it: whether every page
//! opens, and whether people's keys open their entries.

use super::cache::Cache;
use super::custody::RootCustody;
use super::error::VaultError;
use super::key_tree::KeyTree;
use super::pages::{self, RootPage};
use super::path_cache::PathCache;
use super::recover::{self, read_root};
use crate::clock::SharedClock;
use crate::store::{KeyStore, StoreError};
use sayso_proof::entry::Entry;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Subjects whose keys stay in memory between entries.
const CACHED_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// A key tree opened for inspection. Nothing is ever written.
pub struct KeyCheck {
    key_tree: KeyTree,
}

impl KeyCheck {
    /// Opens the top page of the key tree. An interrupted re-keying (replacement of the root key) is left as
    /// it is.
    ///
    /// # Errors
    /// The key store has no key tree, or its top page does not open.
    pub fn open(
        store: Arc<dyn KeyStore>,
        custody: Arc<dyn RootCustody>,
        clock: SharedClock,
    ) -> Result<Self, VaultError> {
        let root = store.read_page(pages::ROOT)?;
        let root = root.ok_or(StoreError::Missing("root page of the key tree"))?;
        RootPage::decode(&root)?;
        let tree_root = read_root(store.as_ref(), custody.as_ref(), &root)?;
        let (cache, paths) = (Cache::new(CACHED_MAX), PathCache::new(tree_root));
        let (halted, subjects) = (AtomicBool::new(true), AtomicU64::new(0));
        Ok(Self { key_tree: KeyTree { store, custody, clock, cache, paths, halted, subjects } })
    }

    /// Opens every page of the tree and every one of the vault's own pages. Returns the number of pages.
    ///
    /// # Errors
    /// A page is missing, damaged, or does not open; the first such page ends the check.
    pub fn open_all(&self) -> Result<u64, VaultError> {
        let tree_pages = recover::reachable_pages(&self.key_tree)?.len() as u64;
        let hashing = self.key_tree.own(&pages::id(pages::OWN, pages::HASHING))?.ok_or(VaultError::Page)?;
        pages::decode_hash(&hashing)?;
        self.key_tree.number(pages::OWN, pages::COUNT)?;
        let mut own = 1_u64;
        for kind in [pages::FENCE, pages::INTENT, pages::DETAILS] {
            for (id, _) in self.key_tree.store.scan_pages(&[kind], None, usize::MAX)? {
                self.key_tree.own(&id)?;
                own = own.saturating_add(1);
            }
        }
        Ok(tree_pages.saturating_add(own))
    }

    /// Whether an erasure has begun and is not known to be complete. Then the log may still have entries
    /// whose keys the erasure destroyed.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn is_erasing(&self) -> Result<bool, VaultError> {
        Ok(self.key_tree.store.count_pages(&[pages::INTENT])? > 0)
    }

    /// Whether an entry opens with the keys of the entry's subject; false if the key was destroyed.
    ///
    /// # Errors
    /// A page on the way is damaged, or the key exists but does not open the entry.
    pub fn opens(&self, entry: &Entry) -> Result<bool, VaultError> {
        let Some(keys) = self.key_tree.by_handle(entry.header.handle)? else { return Ok(false) };
        match keys.event_key(entry.header.version, &entry.header.event_id) {
            Ok(key) => entry.open(&key).map(|_| true).map_err(|_| VaultError::Page),
            Err(VaultError::Destroyed) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
