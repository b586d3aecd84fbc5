//! The vault: finds, makes and destroys the keys of subjects.

use super::batch::{Creation, Erasure, PendingErasure, Renewal};
use super::custody::RootCustody;
use super::error::VaultError;
use super::key_tree::KeyTree;
use super::pages;
use super::puncturable::Node;
use super::recover;
use super::subject::SubjectKeys;
use super::tree_pages::Trie;
use super::writer::Writer;
use crate::clock::SharedClock;
use crate::domain::ids::SubjectId;
use crate::store::{KeyStore, Page};
use hmac::{Hmac, KeyInit, Mac};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use sha2::Sha256;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zeroize::Zeroizing;

/// Erasures read at once.
const READ_COUNT: usize = 256;
/// Subjects that get fresh keys in one write: in the order of their pages, some dozens of pages.
const RENEWALS_COUNT: usize = if cfg!(test) { 16 } else { 1_024 };

/// Keys of a person about whom nothing is recorded yet. In memory alone: the store knows nothing of them before
/// [`Vault::create`].
pub struct PendingSubject {
    /// The keys.
    pub keys: Arc<SubjectKeys>,
    key: Zeroizing<[u8; 32]>,
}

/// Keys of one controller's subjects.
///
/// Finding is synchronous: at worst one read of the key store. Making and destroying are asynchronous: they wait for
/// the one writer, whose thread does not need the runtime. Dropping the vault waits for what the writer has to do.
pub struct Vault {
    pub(super) key_tree: Arc<KeyTree>,
    hashing: Zeroizing<[u8; 32]>,
    writer: Writer,
}

impl Vault {
    /// Opens the key tree with the root key, and completes or takes back a re-keying that was interrupted.
    ///
    /// # Errors
    /// The key store can't be read, or its keeper has not the root key that opens it.
    pub fn open(
        store: Arc<dyn KeyStore>,
        custody: Arc<dyn RootCustody>,
        clock: SharedClock,
    ) -> Result<Self, VaultError> {
        let key_tree = Arc::new(recover::open(store, custody, clock)?);
        let hashing = key_tree.own(&pages::id(pages::OWN, pages::HASHING))?.ok_or(VaultError::Page)?;
        let hashing = Zeroizing::new(pages::decode_hash(&hashing)?);
        let writer = Writer::start(Arc::clone(&key_tree))?;
        Ok(Self { key_tree, hashing, writer })
    }

    /// HMAC-SHA-256 of length-prefixed parts under a secret of the vault, one domain each.
    #[must_use]
    pub fn keyed_hash(&self, domain: &'static str, parts: &[&[u8]]) -> Hash {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.hashing.as_ref())
            .expect("HMAC takes keys of any length");
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn hash_of(&self, subject: &SubjectId) -> Hash {
        self.keyed_hash("subject", &[subject.as_str().as_bytes()])
    }

    /// The keys of a person, if something is or may be held about them.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn subject(&self, subject: &SubjectId) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        self.key_tree.by_subject(&self.hash_of(subject))
    }

    /// The keys of whoever stands behind a handle.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn by_handle(&self, handle: Handle) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        self.key_tree.by_handle(handle)
    }

    /// Draws a handle and a key for a person who has none. Nothing is written.
    #[must_use]
    pub fn prepare(&self, subject: &SubjectId) -> PendingSubject {
        let clock = self.key_tree.clock.as_ref();
        let mut handle = Handle([0; 16]);
        clock.fill(&mut handle.0);
        let mut key = Zeroizing::new([0; 32]);
        clock.fill(key.as_mut());
        let keys = SubjectKeys::new(self.hash_of(subject), handle, vec![Node::root(&key)]);
        PendingSubject { keys: Arc::new(keys), key }
    }

    /// Makes prepared keys the person's; durable when it returns.
    ///
    /// # Errors
    /// The person has other keys ([`VaultError::Destroyed`]), too many changes wait, or the key store can't be read or
    /// written.
    pub async fn create(&self, pending: &PendingSubject) -> Result<(), VaultError> {
        let PendingSubject { keys, key } = pending;
        // Before the store holds them: whoever reads them there would have a second set.
        if !self.key_tree.cache.adopt(keys) {
            return Err(VaultError::Destroyed);
        }
        let creation = Creation { subject: keys.subject, handle: keys.handle, key: key.clone() };
        let created = self.writer.create(creation).await;
        created.inspect_err(|_| self.key_tree.cache.forget(keys))
    }

    /// Takes keys back that were created and under which nothing was sealed; durable when it returns.
    ///
    /// # Errors
    /// They are not the person's, or the key store can't be written: then they stay.
    pub async fn take_back(&self, pending: &PendingSubject) -> Result<(), VaultError> {
        let keys = &pending.keys;
        self.writer.take_back(keys.subject, keys.handle).await?;
        self.key_tree.cache.forget(keys);
        Ok(())
    }

    /// The keys of a person; made, and durable, where there are none.
    #[cfg(test)]
    pub async fn subject_or_create(&self, subject: &SubjectId) -> Result<Arc<SubjectKeys>, VaultError> {
        let hash = self.hash_of(subject);
        if let Some(keys) = self.key_tree.by_subject(&hash)? {
            return Ok(keys);
        }
        let PendingSubject { keys, key } = self.prepare(subject);
        let creation = Creation { subject: hash, handle: keys.handle, key };
        match self.writer.create(creation).await {
            // Another task was faster.
            Ok(()) | Err(VaultError::Destroyed) => {}
            Err(error) => return Err(error),
        }
        self.key_tree.by_subject(&hash)?.ok_or(VaultError::Destroyed)
    }

    /// Destroys the keys of these versions: the subject's key is replaced by the smallest cover of what remains. The
    /// intent of a partial erasure, where there is one, is kept in the same durable write, as [`Vault::erase`] does.
    ///
    /// # Errors
    /// The subject is unknown, or the key store can't be written; then what was destroyed is what the store says, and
    /// the keys in memory follow it.
    pub async fn puncture(
        &self,
        handle: Handle,
        versions: &[u64],
        intent: Option<([u8; 16], &[u8])>,
    ) -> Result<(), VaultError> {
        let intent = intent.map(|(request, bytes)| (request, bytes.to_vec()));
        self.writer.puncture(handle, versions.to_vec(), intent).await
    }

    /// Destroys a person's keys and their place in the id map, sets the fence and keeps the intent of the erasure, all
    /// in one durable write: from here on nothing about the person can be opened, and the erasure can be finished.
    /// Goes on to the end even where the caller does not wait for it.
    ///
    /// # Errors
    /// These keys were destroyed before ([`VaultError::Destroyed`]: nothing happened; if the person has come back since,
    /// their new keys stay), or the key store can't be written: then nothing happened, or after a crash the intent
    /// says so.
    pub async fn erase(
        &self,
        keys: &SubjectKeys,
        fence_at_ms: u64,
        request: [u8; 16],
        intent: &[u8],
    ) -> Result<(), VaultError> {
        let (subject, handle) = (keys.subject, keys.handle);
        self.writer.erase(Erasure { subject, handle, fence_at_ms, request, intent: intent.to_vec() }).await
    }

    /// When the person was last erased, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn fenced_at(&self, subject: &SubjectId) -> Result<Option<u64>, VaultError> {
        self.key_tree.number(pages::FENCE, &self.hash_of(subject))
    }

    /// Erasures that have begun and are not known to be complete: request and intent.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn pending_erasures(&self) -> Result<Vec<PendingErasure>, VaultError> {
        let tree_root = self.key_tree.paths.root();
        let mut pending = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = self.key_tree.store.scan_pages(&[pages::INTENT], after.as_deref(), READ_COUNT)?;
            let Some((last, _)) = found.last() else { return Ok(pending) };
            after = Some(last.clone());
            for (page, sealed) in found {
                pending.push((name_of(&page)?, tree_root.own.open(&page, &sealed)?.to_vec()));
            }
        }
    }

    /// The erasure is complete: its intent is not needed any more.
    ///
    /// # Errors
    /// The key store can't be written.
    pub async fn erasure_done(&self, request: [u8; 16]) -> Result<(), VaultError> {
        self.writer.complete(request).await
    }

    /// Every page of the key store, sealed as it is, none written meanwhile: what a backup takes. In memory, about 300
    /// bytes a person.
    ///
    /// # Errors
    /// The key store can't be read.
    pub async fn pages(&self) -> Result<Vec<Page>, VaultError> {
        self.writer.copy().await
    }

    /// Whether keys can be made and destroyed: not once a write of the key store, or a re-keying, failed so that nobody
    /// knows what became of it.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.key_tree.store.takes_writes() && !self.key_tree.halted.load(Ordering::SeqCst)
    }

    /// How often keys were destroyed and the root key replaced; destructions that waited together count once.
    #[must_use]
    pub fn key_epoch(&self) -> u64 {
        self.key_tree.paths.root().generation
    }

    /// Number of people that keys are held for.
    #[must_use]
    pub fn subject_count(&self) -> u64 {
        self.key_tree.subjects.load(Ordering::SeqCst)
    }

    /// Handles of people that keys are held for, in their own (random) order: those greater than `after`, at most
    /// `count`.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn handles(&self, after: Option<Handle>, count: usize) -> Result<Vec<Handle>, VaultError> {
        let after = after.map(pages::handle_key);
        let found = recover::records_after(&self.key_tree, Trie::Handles, after.as_ref(), count)?;
        Ok(found.iter().filter_map(|record| record.key.first_chunk().copied().map(Handle)).collect())
    }

    /// Gives everybody fresh keys for what a log that went back has not: `next_version` says of a handle how many versions
    /// the log goes on from. What was destroyed stays destroyed, and no version is used twice under one key. Where
    /// something was destroyed that the log does not know of (what it held at `punctured`, or behind its end), late
    /// writes from before `fence_at_ms` are refused. Can be done again as long as nothing was written since.
    ///
    /// # Errors
    /// Of `next_version`; or the key store can't be read or written: then it is to be done again.
    pub async fn renew<E: From<VaultError>>(
        &self,
        punctured: &BTreeSet<Handle>,
        fence_at_ms: u64,
        next_version: impl Fn(Handle) -> Result<u64, E>,
    ) -> Result<(), E> {
        let mut after: Option<Hash> = None;
        loop {
            let found =
                recover::records_after(&self.key_tree, Trie::Subjects, after.as_ref(), RENEWALS_COUNT)?;
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(last.key);
            let mut renewals = Vec::with_capacity(found.len());
            for record in found {
                let (handle, _) = pages::decode_subject(&record.value)?;
                let (from, is_punctured) = (next_version(handle)?, punctured.contains(&handle));
                renewals.push(Renewal { subject: record.key, from, is_punctured, fence_at_ms });
            }
            self.writer.renew(renewals).await?;
        }
    }
}

/// The 16 bytes that a page is named by.
fn name_of(page: &[u8]) -> Result<[u8; 16], VaultError> {
    page.get(1..).and_then(|name| name.try_into().ok()).ok_or(VaultError::Page)
}
