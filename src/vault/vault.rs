//! The vault's interface: finds, makes and destroys the keys of data subjects.

use super::batch::{Creation, Erasure, PendingErasure, Renewal};
use super::custody::RootCustody;
use super::error::VaultError;
use super::hashing::keyed_hash;
use super::key_tree::KeyTree;
use super::map_link::MapLink;
use super::pages::{self, SubjectSecrets};
use super::puncturable::Node;
use super::recover;
use super::seal::PageSeal;
use super::subject::SubjectKeys;
use super::tree_pages::Trie;
use super::writer::Writer;
use crate::clock::SharedClock;
use crate::domain::ids::SubjectId;
use crate::secret::{self, SecretBytes};
use crate::store::{KeyStore, Page};
use sayso_proof::certificate;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use sayso_proof::subject_map::{Label, VrfKey};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zeroize::Zeroizing;

/// Words of stack that are overwritten after a label or a key was computed.
const STACK_WORDS: usize = (32 << 10) / secret::STACK_WORD_BYTES;
/// Domain of the keyed hash that is the seed of the VRF's key.
const VRF_KEY: &str = "subject map vrf key v1";
/// Domain of the keyed hash that is the key of the sealed part of an intent.
const INTENT_KEY: &str = "intent of an erasure v1";
/// Intents of erasures in one read.
const READ_COUNT: usize = 256;
/// Subjects that get fresh keys in one write. They are taken in the order of their pages, so one write
/// changes only some dozens of pages.
const RENEWALS_COUNT: usize = if cfg!(test) { 16 } else { 1_024 };

/// Keys of a subject about whom nothing is recorded yet. They exist only in memory until [`Vault::create`]
/// stores them.
pub struct PendingSubject {
    /// The keys.
    pub keys: Arc<SubjectKeys>,
    key: SecretBytes,
    id: SubjectId,
}

/// The keys of one controller's data subjects.
///
/// Finding keys is synchronous. Making and destroying keys is asynchronous: it waits for the one writer,
/// which has its own thread. Dropping the vault waits until the writer has done everything submitted.
pub struct Vault {
    pub(super) key_tree: Arc<KeyTree>,
    hashing: SecretBytes,
    /// Makes the labels of the subject map.
    vrf: VrfKey,
    writer: Writer,
}

impl Vault {
    /// Opens the key tree with the root key. Completes or undoes an interrupted re-keying (replacement of the
    /// root key).
    ///
    /// # Errors
    /// The key store can't be read, or the keeper does not have the root key that opens it.
    pub fn open(
        store: Arc<dyn KeyStore>,
        custody: Arc<dyn RootCustody>,
        clock: SharedClock,
    ) -> Result<Self, VaultError> {
        let key_tree = Arc::new(recover::open(store, custody, clock)?);
        let secret = key_tree.own(&pages::id(pages::OWN, pages::HASHING))?.ok_or(VaultError::Page)?;
        let hashing = SecretBytes::copy_of(secret.as_slice().try_into().map_err(|_| VaultError::Page)?);
        let writer = Writer::start(Arc::clone(&key_tree))?;
        let seed = Zeroizing::new(keyed_hash(&hashing, VRF_KEY, &[]));
        let vrf = VrfKey::from_seed(&seed).map_err(|_| VaultError::Page)?;
        Ok(Self { key_tree, hashing, vrf, writer })
    }

    /// Returns the HMAC-SHA-256 of a domain and length-prefixed parts under a secret of the vault.
    #[must_use]
    pub fn keyed_hash(&self, domain: &'static str, parts: &[&[u8]]) -> Hash {
        keyed_hash(&self.hashing, domain, parts)
    }

    /// The public key of the log's VRF, which makes the labels of the subject map.
    #[must_use]
    pub fn vrf_public_key(&self) -> [u8; 32] {
        self.vrf.public()
    }

    /// The label of an id in the subject map, with the VRF's proof.
    ///
    /// # Errors
    /// Never; the VRF's interface allows an error.
    pub fn prove_label(&self, subject: &SubjectId) -> Result<(Label, Vec<u8>), VaultError> {
        // The hashes of the id, and the nonce of the proof.
        secret::with_cleared_stack::<STACK_WORDS, _>(|| {
            self.vrf.prove(subject.as_str()).map_err(|_| VaultError::Page)
        })
    }

    /// A new link between a subject and the subject map.
    fn new_link(&self, subject: &SubjectId) -> MapLink {
        // The label and the hashes of the id.
        secret::with_cleared_stack::<STACK_WORDS, _>(|| {
            let blinding = SecretBytes::random(self.key_tree.clock.as_ref());
            MapLink::new(&self.vrf.label(subject.as_str()), blinding)
        })
    }

    /// Links a subject to the subject map, if an earlier version of the ledger stored them without a link;
    /// durable when it returns.
    ///
    /// # Errors
    /// The keys were destroyed, too many changes wait, or the key store can't be written.
    pub async fn link(&self, subject: &SubjectId, keys: &SubjectKeys) -> Result<(), VaultError> {
        self.writer.link(keys.subject, keys.handle, self.new_link(subject)).await
    }

    fn hash_of(&self, subject: &SubjectId) -> Hash {
        self.keyed_hash("subject", &[subject.as_str().as_bytes()])
    }

    /// Finds the keys of a subject; `None` if nothing is recorded about the subject.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn subject(&self, subject: &SubjectId) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        self.key_tree.by_subject(&self.hash_of(subject))
    }

    /// Finds the keys of the subject with this handle; `None` if the subject no longer exists.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn by_handle(&self, handle: Handle) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        self.key_tree.by_handle(handle)
    }

    /// Draws a handle and a key for a new subject. Nothing is written.
    #[must_use]
    pub fn prepare(&self, subject: &SubjectId) -> PendingSubject {
        let clock = self.key_tree.clock.as_ref();
        let mut handle = Handle([0; 16]);
        clock.fill(&mut handle.0);
        let key = SecretBytes::random(clock);
        let hash = self.hash_of(subject);
        let keys = secret::with_cleared_stack::<STACK_WORDS, _>(|| {
            let secrets = SubjectSecrets { cover: vec![Node::root(&key)], link: None };
            Arc::new(SubjectKeys::new(hash, handle, secrets))
        });
        PendingSubject { keys, key, id: subject.clone() }
    }

    /// Stores a subject's prepared keys; durable when it returns.
    ///
    /// # Errors
    /// The subject has other keys ([`VaultError::Destroyed`]), too many changes wait, or the key store can't
    /// be read or written.
    pub async fn create(&self, pending: &PendingSubject) -> Result<(), VaultError> {
        let PendingSubject { keys, key, id } = pending;
        let link = match keys.link() {
            Some(link) => link,
            None => self.new_link(id),
        };
        keys.set_link(link.clone());
        // The cache adopts the keys before they are stored. Otherwise a reader could load them from the
        // store first. Then memory would hold two copies, and a destruction would reach only one.
        if !self.key_tree.cache.adopt(keys) {
            return Err(VaultError::Destroyed);
        }
        let creation = Creation { subject: keys.subject, handle: keys.handle, key: key.clone(), link };
        let created = self.writer.create(creation).await;
        created.inspect_err(|_| self.key_tree.cache.forget(keys))
    }

    /// Removes keys that were created and under which nothing was sealed; durable when it returns.
    ///
    /// # Errors
    /// The subject has other keys ([`VaultError::Destroyed`]), or the key store can't be written: then the
    /// keys stay.
    pub async fn take_back(&self, pending: &PendingSubject) -> Result<(), VaultError> {
        let keys = &pending.keys;
        self.writer.take_back(keys.subject, keys.handle).await?;
        self.key_tree.cache.forget(keys);
        Ok(())
    }

    /// Finds the keys of a subject, or makes them durably.
    #[cfg(test)]
    pub async fn subject_or_create(&self, subject: &SubjectId) -> Result<Arc<SubjectKeys>, VaultError> {
        let hash = self.hash_of(subject);
        if let Some(keys) = self.key_tree.by_subject(&hash)? {
            return Ok(keys);
        }
        let PendingSubject { keys, key, .. } = self.prepare(subject);
        let creation = Creation { subject: hash, handle: keys.handle, key, link: self.new_link(subject) };
        match self.writer.create(creation).await {
            // Another task has stored keys for the subject first.
            Ok(()) | Err(VaultError::Destroyed) => {}
            Err(error) => return Err(error),
        }
        self.key_tree.by_subject(&hash)?.ok_or(VaultError::Destroyed)
    }

    /// Destroys the keys of these versions: the subject's nodes are replaced by the smallest cover of the
    /// other versions. If the versions belong to a partial erasure, the same durable write stores the intent
    /// of that erasure, as in [`Vault::erase`].
    ///
    /// # Errors
    /// No subject has this handle ([`VaultError::Destroyed`]), or the key store can't be written. After a
    /// failed write, the store decides which keys were destroyed, and the keys in memory follow the store.
    pub async fn puncture(
        &self,
        handle: Handle,
        versions: &[u64],
        intent: Option<([u8; 16], &[u8])>,
    ) -> Result<(), VaultError> {
        let intent = intent.map(|(request, bytes)| (request, bytes.to_vec()));
        self.writer.puncture(handle, versions.to_vec(), intent).await
    }

    /// Destroys a subject's keys and its records of id and handle. The same durable write sets the fence,
    /// which protects against late writes. It also stores the intent, from which a restart can finish the
    /// erasure, and the details, which open only with the id of the request. Afterward nothing about the
    /// subject can be opened. The write completes even if the caller stops waiting.
    ///
    /// The page of the fence has the day (UTC). The exact time in it is sealed under a key that the first
    /// erasure of a later day destroys. So after that, a guessed id does not lead to the event of the erasure
    /// by its time.
    ///
    /// # Errors
    /// [`VaultError::Destroyed`] if these keys were destroyed before. Then nothing changes: if the subject
    /// was recorded again and has new keys, these stay. Any other error if the write to the key store fails.
    /// Such a write may still have taken effect. The next start finds out: if it finds the intent, the keys
    /// are destroyed, and otherwise nothing changed.
    pub async fn erase(
        &self,
        keys: &SubjectKeys,
        fence_at_ms: u64,
        request: [u8; 16],
        intent: &[u8],
        details: &[u8],
    ) -> Result<(), VaultError> {
        let (subject, handle) = (keys.subject, keys.handle);
        let (intent, details) = (intent.to_vec(), details.to_vec());
        self.writer.erase(Erasure { subject, handle, fence_at_ms, request, intent, details }).await
    }

    /// The details of a full erasure; `None` if no erasure of this request is known, or if an early version
    /// carried it out.
    ///
    /// # Errors
    /// The key store can't be read, or the details are damaged.
    pub fn details(&self, request: &[u8; 16]) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let name = pages::id(pages::DETAILS, &certificate::request_hash(request));
        let Some(sealed) = self.key_tree.own(&name)? else { return Ok(None) };
        secret::with_cleared_stack::<STACK_WORDS, _>(|| {
            PageSeal::new(&pages::details_key(request)).open(&name, &sealed).map(Some)
        })
    }

    /// The time of the subject's fence, milliseconds since the Unix epoch. An erasure sets the fence. If a
    /// key of the subject was destroyed since a backup, a renewal after the restore sets the fence, too.
    ///
    /// The time is exact until the first erasure of a later day. From then on, the fence of an erasure is the
    /// end of its day (UTC).
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn fenced_at(&self, subject: &SubjectId) -> Result<Option<u64>, VaultError> {
        self.key_tree.fence(&self.hash_of(subject))
    }

    /// Seals bytes of the intent of an erasure under the subject's secret.
    ///
    /// # Errors
    /// The keys were destroyed ([`VaultError::Destroyed`]).
    pub fn seal_intent(&self, keys: &SubjectKeys, bytes: &[u8]) -> Result<Vec<u8>, VaultError> {
        secret::with_cleared_stack::<STACK_WORDS, _>(|| {
            let key = Zeroizing::new(keys.keyed_hash(INTENT_KEY, &[])?);
            PageSeal::new(&key).seal(&[pages::INTENT], bytes, self.key_tree.clock.as_ref())
        })
    }

    /// Opens what [`Vault::seal_intent`] sealed.
    ///
    /// # Errors
    /// The keys were destroyed ([`VaultError::Destroyed`]), or the bytes are damaged.
    pub fn open_intent(&self, keys: &SubjectKeys, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        secret::with_cleared_stack::<STACK_WORDS, _>(|| {
            let key = Zeroizing::new(keys.keyed_hash(INTENT_KEY, &[])?);
            PageSeal::new(&key).open(&[pages::INTENT], sealed)
        })
    }

    /// Returns the erasures that have begun and are not known to be complete.
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

    /// Removes the intent of a completed erasure. `name` is the one that [`Vault::pending_erasures`] returns.
    ///
    /// # Errors
    /// The key store can't be written.
    pub async fn erasure_done(&self, name: [u8; 16]) -> Result<(), VaultError> {
        self.writer.complete(name).await
    }

    /// Returns a consistent copy of every sealed page of the key store, for a backup. It takes about 300
    /// bytes of memory for each subject.
    ///
    /// # Errors
    /// The key store can't be read.
    pub async fn pages(&self) -> Result<Vec<Page>, VaultError> {
        self.writer.copy().await
    }

    /// Whether keys can be made and destroyed. If a write of the key store or a re-keying fails and its
    /// outcome is unknown, the answer is false until the next start.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.key_tree.store.takes_writes() && !self.key_tree.halted.load(Ordering::SeqCst)
    }

    /// How often the root key was replaced. Keys destroyed in one batch count once.
    #[must_use]
    pub fn key_epoch(&self) -> u64 {
        self.key_tree.paths.root().epoch
    }

    /// Number of subjects that have keys.
    #[must_use]
    pub fn subject_count(&self) -> u64 {
        self.key_tree.subjects.load(Ordering::SeqCst)
    }

    /// Returns handles of subjects that have keys, in ascending order: those greater than `after`, at most
    /// `count`. Handles are random, so the order says nothing about the subjects.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn handles(&self, after: Option<Handle>, count: usize) -> Result<Vec<Handle>, VaultError> {
        let after = after.map(pages::handle_key);
        let found = recover::records_after(&self.key_tree, Trie::Handles, after.as_ref(), count)?;
        Ok(found.iter().filter_map(|record| record.key.first_chunk().copied().map(Handle)).collect())
    }

    /// Gives every subject fresh keys for the versions that a restored log lost. `next_version` returns the
    /// number of versions of a handle that the log has. Destroyed keys stay destroyed, and no version is used
    /// twice under one key.
    ///
    /// Keys may have been destroyed without a trace in the restored log: keys of the handles in `punctured`,
    /// or keys of versions that the log lost. For the subjects of these keys, late writes from before
    /// `fence_at_ms` are refused. The call may be repeated as long as nothing was written since.
    ///
    /// # Errors
    /// `next_version` fails, or the key store can't be read or written. After any of these errors, call
    /// `renew` again.
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

/// The name of an intent, which is the name of its page without the kind.
fn name_of(page: &[u8]) -> Result<[u8; 16], VaultError> {
    page.get(1..).and_then(|name| name.try_into().ok()).ok_or(VaultError::Page)
}
