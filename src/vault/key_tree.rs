//! The part of the key tree that readers and the one writer share, and the search for a data subject's
//! record. The key tree is the encrypted pages with people's keys (see `mod.rs`).
//!
//! Reads may run while the writer writes. A reader starts over if the writer has just replaced a page that it
//! needs.

use super::cache::Cache;
use super::custody::RootCustody;
use super::error::VaultError;
use super::fences;
use super::pages::{self, RecordKey, SubjectSecrets};
use super::path_cache::{PathCache, TreeRoot, TreeVersion};
use super::seal::PageSeal;
use super::subject::SubjectKeys;
use super::tree_pages::{Interior, LEVELS_MAX, Link, Page, Trie, nibble};
use crate::clock::SharedClock;
use crate::secret;
use crate::store::{KeyStore, StoreError};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use zeroize::Zeroizing;

/// Words of stack that are overwritten after a record or a fence was read.
const STACK_WORDS: usize = (32 << 10) / secret::STACK_WORD_BYTES;

/// A page to write (`Some`) or to remove.
pub type PageWrite = (Vec<u8>, Option<Vec<u8>>);

/// The stored pages, and the part of them that is in memory.
pub struct KeyTree {
    pub store: Arc<dyn KeyStore>,
    pub custody: Arc<dyn RootCustody>,
    pub clock: SharedClock,
    pub cache: Cache,
    pub paths: PathCache,
    /// Set by the writer when it is unknown which root key is in force, or when an old root key could not be
    /// destroyed. Until the next start no re-keying (replacement of the root key) begins, and no root key is
    /// destroyed.
    pub halted: AtomicBool,
    /// Number of stored subjects. Only the writer changes it.
    pub subjects: AtomicU64,
}

impl KeyTree {
    /// Reads and opens a page of a trie, one of the two search trees below the top page.
    pub fn page(&self, link: &Link) -> Result<Page, VaultError> {
        let name = link.name();
        let missing = || StoreError::Damaged { what: "key tree", place: "a page is missing".into() };
        let sealed = self.store.read_page(&name)?.ok_or_else(missing)?;
        Page::decode(&PageSeal::new(&link.key).open(&name, &sealed)?)
    }

    /// Finds the value of a record.
    pub fn record(&self, trie: Trie, key: &RecordKey) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        secret::with_cleared_stack::<STACK_WORDS, _>(|| self.find_current(trie, key))
    }

    fn find_current(&self, trie: Trie, key: &RecordKey) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        loop {
            let (version, tree_root) = self.paths.current();
            match self.find(version, &tree_root, trie, key) {
                // The writer replaced a page on the way.
                Err(_) if !self.paths.is_current(version) => {}
                found => return found,
            }
        }
    }

    fn find(
        &self,
        version: TreeVersion,
        tree_root: &TreeRoot,
        trie: Trie,
        key: &RecordKey,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let Some(mut link) = tree_root.top.root(trie).cloned() else { return Ok(None) };
        for level in 0..=LEVELS_MAX {
            let interior = match self.paths.interior(&link.id) {
                Some(interior) => interior,
                None => match self.page(&link)? {
                    Page::Leaf(records) => {
                        return Ok(records
                            .into_iter()
                            .find(|record| record.key == *key)
                            .map(|found| found.value));
                    }
                    Page::Interior(interior) => {
                        let interior: Arc<Interior> = Arc::from(interior);
                        self.paths.insert(version, link.id, &interior);
                        interior
                    }
                },
            };
            let child = interior.children.get(nibble(key, level)).and_then(Option::as_ref);
            let Some(child) = child else { return Ok(None) };
            link = child.clone();
        }
        Err(VaultError::Page)
    }

    /// Reads and opens one of the vault's own pages.
    pub fn own(&self, id: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let tree_root = self.paths.root();
        self.store.read_page(id)?.map(|sealed| tree_root.own.open(id, &sealed)).transpose()
    }

    /// Seals one of the vault's own pages for writing.
    pub fn own_page(&self, kind: u8, name: &[u8], clear: &[u8]) -> Result<PageWrite, VaultError> {
        let id = pages::id(kind, name);
        let sealed = self.paths.root().own.seal(&id, clear, self.clock.as_ref())?;
        Ok((id, Some(sealed)))
    }

    /// Reads the record of a subject: its handle, and the secrets that remain.
    pub fn stored(&self, subject: &Hash) -> Result<Option<(Handle, SubjectSecrets)>, VaultError> {
        let record = self.record(Trie::Subjects, subject)?;
        record.map(|record| pages::decode_subject(&record)).transpose()
    }

    /// Finds the keys of a subject by the keyed hash of its id.
    pub fn by_subject(&self, subject: &Hash) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        loop {
            if let Some(keys) = self.cache.get(subject) {
                return Ok(Some(keys));
            }
            let generation = self.cache.generation();
            let keys = secret::with_cleared_stack::<STACK_WORDS, _>(|| {
                let stored = self.stored(subject)?;
                let keys = stored.map(|(handle, secrets)| SubjectKeys::new(*subject, handle, secrets));
                Ok::<_, VaultError>(keys)
            });
            let Some(keys) = keys? else { return Ok(None) };
            if let Some(keys) = self.cache.put(keys, generation) {
                return Ok(Some(keys));
            }
        }
    }

    /// Finds the keys of the subject with this handle.
    pub fn by_handle(&self, handle: Handle) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        if let Some(keys) = self.cache.by_handle(&handle) {
            return Ok(Some(keys));
        }
        let Some(subject) = self.subject_of(handle)? else { return Ok(None) };
        Ok(self.by_subject(&subject)?.filter(|keys| keys.handle == handle))
    }

    /// Finds the keyed hash of the id of the subject with this handle.
    pub fn subject_of(&self, handle: Handle) -> Result<Option<Hash>, VaultError> {
        let record = self.record(Trie::Handles, &pages::handle_key(handle))?;
        record.map(|record| pages::decode_hash(&record)).transpose()
    }

    /// The time of a subject's fence, milliseconds since the Unix epoch. Writes about the subject from before
    /// this time are refused.
    pub fn fence(&self, subject: &Hash) -> Result<Option<u64>, VaultError> {
        secret::with_cleared_stack::<STACK_WORDS, _>(|| {
            let page = self.own(&pages::id(pages::FENCE, subject))?;
            let root = self.paths.root();
            page.map(|page| fences::time_of(subject, &page, root.top.moments.as_ref())).transpose()
        })
    }

    /// Reads a page that holds one number, such as the number of subjects.
    pub fn number(&self, kind: u8, name: &[u8]) -> Result<Option<u64>, VaultError> {
        self.own(&pages::id(kind, name))?.map(|page| pages::decode_number(&page)).transpose()
    }
}
