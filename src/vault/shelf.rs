//! What readers and the writer share: the store, the seal on its pages, and the keys in memory.

use super::cache::Cache;
use super::pages::{self, PageSeal};
use super::tree::Node;
use super::{SubjectKeys, VaultError};
use crate::clock::SharedClock;
use crate::store::KeyStore;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use zeroize::Zeroizing;

/// A page to write (`Some`) or to remove.
pub type Page = (Vec<u8>, Option<Vec<u8>>);

/// Pages and keys.
pub struct Shelf {
    pub store: Arc<dyn KeyStore>,
    pub seal: PageSeal,
    pub clock: SharedClock,
    pub cache: Cache,
    /// How often keys were destroyed, durably. Written by the writer alone.
    pub epoch: AtomicU64,
}

impl Shelf {
    /// One page, opened.
    pub fn read(&self, id: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        self.store.read_page(id)?.map(|sealed| self.seal.open(id, &sealed)).transpose()
    }

    /// A page to write, sealed.
    pub fn page(&self, kind: u8, name: &[u8], clear: &[u8]) -> Result<Page, VaultError> {
        let id = pages::id(kind, name);
        let sealed = self.seal.seal(&id, clear, self.clock.as_ref())?;
        Ok((id, Some(sealed)))
    }

    /// What the store holds of a subject: its handle and the nodes of its tree.
    pub fn held(&self, subject: &Hash) -> Result<Option<(Handle, Vec<Node>)>, VaultError> {
        let page = self.read(&pages::id(pages::SUBJECT, subject))?;
        page.map(|page| pages::decode_subject(&page)).transpose()
    }

    /// The keys of a subject, by the keyed hash of its id.
    pub fn by_subject(&self, subject: &Hash) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        loop {
            if let Some(keys) = self.cache.get(subject) {
                return Ok(Some(keys));
            }
            let generation = self.cache.generation();
            let Some((handle, cover)) = self.held(subject)? else { return Ok(None) };
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
        let page = self.read(&pages::id(pages::HANDLE, &handle.0))?;
        page.map(|page| pages::decode_hash(&page)).transpose()
    }

    /// A number of the vault's own or of a fence.
    pub fn number(&self, kind: u8, name: &[u8]) -> Result<Option<u64>, VaultError> {
        self.read(&pages::id(kind, name))?.map(|page| pages::decode_number(&page)).transpose()
    }
}
