//! What readers and the writer share: the store, the way down the tree, and the keys in memory.

use super::cache::Cache;
use super::custody::RootCustody;
use super::error::VaultError;
use super::pages::{self, RecordKey};
use super::path_cache::{PathCache, TreeRoot, TreeVersion};
use super::puncturable::Node;
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

/// What reading a page leaves on the stack is overwritten this deep.
const STACK_WORDS: usize = (32 << 10) / secret::STACK_WORD_BYTES;

/// A page to write (`Some`) or to remove.
pub type PageWrite = (Vec<u8>, Option<Vec<u8>>);

/// Pages and keys.
pub struct KeyTree {
    pub store: Arc<dyn KeyStore>,
    pub custody: Arc<dyn RootCustody>,
    pub clock: SharedClock,
    pub cache: Cache,
    pub paths: PathCache,
    /// Set by the writer where a re-keying failed so that nobody knows which root key counts: nothing is written, and
    /// no root key destroyed, before the next start.
    pub halted: AtomicBool,
    /// Number of subjects, durably. Written by the writer alone.
    pub subjects: AtomicU64,
}

impl KeyTree {
    /// A page of a trie, opened.
    pub fn page(&self, link: &Link) -> Result<Page, VaultError> {
        let name = link.name();
        let missing = || StoreError::Damaged { what: "key tree", place: "a page is missing".into() };
        let sealed = self.store.read_page(&name)?.ok_or_else(missing)?;
        Page::decode(&PageSeal::new(&link.key).open(&name, &sealed)?)
    }

    /// What is kept under a key.
    pub fn record(&self, trie: Trie, key: &RecordKey) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        loop {
            let (version, tree_root) = self.paths.current();
            match self.walk_down(version, &tree_root, trie, key) {
                // The pages on the way died meanwhile.
                Err(_) if !self.paths.is_current(version) => {}
                found => return found,
            }
        }
    }

    fn walk_down(
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
                        self.paths.keep(version, link.id, &interior);
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

    /// One of the vault's own pages, opened.
    pub fn own(&self, id: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let tree_root = self.paths.root();
        self.store.read_page(id)?.map(|sealed| tree_root.own.open(id, &sealed)).transpose()
    }

    /// One of the vault's own pages to write, sealed.
    pub fn own_page(&self, kind: u8, name: &[u8], clear: &[u8]) -> Result<PageWrite, VaultError> {
        let id = pages::id(kind, name);
        let sealed = self.paths.root().own.seal(&id, clear, self.clock.as_ref())?;
        Ok((id, Some(sealed)))
    }

    /// What the store holds of a subject: its handle and the nodes of its tree.
    pub fn held(&self, subject: &Hash) -> Result<Option<(Handle, Vec<Node>)>, VaultError> {
        let record = self.record(Trie::Subjects, subject)?;
        record.map(|record| pages::decode_subject(&record)).transpose()
    }

    /// The keys of a subject, by the keyed hash of its id.
    pub fn by_subject(&self, subject: &Hash) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        loop {
            if let Some(keys) = self.cache.get(subject) {
                return Ok(Some(keys));
            }
            let generation = self.cache.generation();
            let held = self.held(subject);
            secret::clear_stack::<STACK_WORDS>();
            let Some((handle, cover)) = held? else { return Ok(None) };
            if let Some(keys) = self.cache.put(SubjectKeys::new(*subject, handle, cover), generation) {
                return Ok(Some(keys));
            }
        }
    }

    /// The keys of whoever stands behind a handle.
    pub fn by_handle(&self, handle: Handle) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        if let Some(keys) = self.cache.by_handle(&handle) {
            return Ok(Some(keys));
        }
        let Some(subject) = self.subject_of(handle)? else { return Ok(None) };
        Ok(self.by_subject(&subject)?.filter(|keys| keys.handle == handle))
    }

    /// Whose a handle is.
    pub fn subject_of(&self, handle: Handle) -> Result<Option<Hash>, VaultError> {
        let record = self.record(Trie::Handles, &pages::handle_key(handle))?;
        record.map(|record| pages::decode_hash(&record)).transpose()
    }

    /// A number of the vault's own or of a fence.
    pub fn number(&self, kind: u8, name: &[u8]) -> Result<Option<u64>, VaultError> {
        self.own(&pages::id(kind, name))?.map(|page| pages::decode_number(&page)).transpose()
    }
}
