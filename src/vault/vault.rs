//! The vault: finds, makes and destroys the keys of subjects.

use super::RootKey;
use super::pages::{self, PageSeal};
use super::tree::Tree;
use super::writer::{Page, Writer};
use crate::clock::SharedClock;
use crate::domain::ids::SubjectId;
use crate::store::{KeyStore, StoreError};
use hmac::{Hmac, KeyInit, Mac};
use lru::LruCache;
use sayso_proof::entry::{EventKey, Handle};
use sayso_proof::merkle::Hash;
use sha2::Sha256;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

const CACHED_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Why a key can't be had, made or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The root key's file.
    #[error("root key: {0}")]
    RootKey(std::io::Error),
    /// The key store.
    #[error("key store: {0}")]
    Store(#[from] StoreError),
    /// A page does not open: another root key, or damage.
    #[error("a key page does not open with this root key")]
    Page,
    /// The key was destroyed.
    #[error("the key was destroyed")]
    Destroyed,
    /// Making a subject's key failed.
    #[error("making a key: {0}")]
    Creation(String),
    /// Too many new subjects at once.
    #[error("too many new subjects at once")]
    Overloaded,
    /// The writer has ended.
    #[error("the vault has stopped")]
    Stopped,
}

/// What opens and seals one subject's events. Zeroized when the last holder lets go.
pub struct SubjectKeys {
    /// Stands for the subject in the log.
    pub handle: Handle,
    subject: Hash,
    tree: Mutex<Tree>,
}

impl SubjectKeys {
    /// The key of one event.
    ///
    /// # Errors
    /// It was destroyed.
    pub fn event_key(&self, version: u64, event_id: &[u8; 16]) -> Result<EventKey, VaultError> {
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Zeroizing::new(tree.key(version).ok_or(VaultError::Destroyed)?);
        Ok(EventKey::derive(&key, event_id))
    }
}

#[derive(Clone)]
struct Cached {
    by_subject: Arc<Mutex<LruCache<Hash, Arc<SubjectKeys>>>>,
    by_handle: Arc<Mutex<LruCache<Handle, Arc<SubjectKeys>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keys of one controller's subjects.
pub struct Vault {
    store: Arc<dyn KeyStore>,
    seal: Arc<PageSeal>,
    clock: SharedClock,
    hashing: Zeroizing<[u8; 32]>,
    writer: Writer,
    cached: Cached,
    /// How often keys were destroyed. Odd steps do not exist: a reader that sees it change reads again.
    epoch: AtomicU64,
    /// One destruction at a time.
    destroying: tokio::sync::Mutex<()>,
}

impl Vault {
    /// Opens the key store with the root key.
    ///
    /// # Errors
    /// The key store can't be read, or was sealed under another root key.
    pub fn open(store: Arc<dyn KeyStore>, root: &RootKey, clock: SharedClock) -> Result<Self, VaultError> {
        let seal = Arc::new(PageSeal::new(root));
        let hashing = hashing_secret(store.as_ref(), &seal, &clock)?;
        let epoch_page = pages::id(pages::OWN, b"epoch");
        let epoch = match store.read_page(&epoch_page)? {
            Some(sealed) => number(&seal.open(&epoch_page, &sealed)?)?,
            None => 0,
        };
        let writer = Writer::start(Arc::clone(&store), Arc::clone(&seal), Arc::clone(&clock))?;
        let cached = Cached {
            by_subject: Arc::new(Mutex::new(LruCache::new(CACHED_MAX))),
            by_handle: Arc::new(Mutex::new(LruCache::new(CACHED_MAX))),
        };
        let destroying = tokio::sync::Mutex::new(());
        Ok(Self { store, seal, clock, hashing, writer, cached, epoch: AtomicU64::new(epoch), destroying })
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
        self.by_hash(self.hash_of(subject))
    }

    /// The keys of whoever stands behind a handle.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn by_handle(&self, handle: Handle) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        if let Some(keys) = lock(&self.cached.by_handle).get(&handle) {
            return Ok(Some(Arc::clone(keys)));
        }
        let page = pages::id(pages::HANDLE, &handle.0);
        let Some(sealed) = self.store.read_page(&page)? else { return Ok(None) };
        let subject = pages::decode_hash(&self.seal.open(&page, &sealed)?)?;
        Ok(self.by_hash(subject)?.filter(|keys| keys.handle == handle))
    }

    fn by_hash(&self, subject: Hash) -> Result<Option<Arc<SubjectKeys>>, VaultError> {
        loop {
            if let Some(keys) = lock(&self.cached.by_subject).get(&subject) {
                return Ok(Some(Arc::clone(keys)));
            }
            let epoch = self.epoch.load(Ordering::SeqCst);
            let page = pages::id(pages::SUBJECT, &subject);
            let Some(sealed) = self.store.read_page(&page)? else { return Ok(None) };
            let (handle, cover) = pages::decode_subject(&self.seal.open(&page, &sealed)?)?;
            let keys = Arc::new(SubjectKeys { handle, subject, tree: Mutex::new(Tree::new(cover)) });
            let mut by_subject = lock(&self.cached.by_subject);
            // A destruction meanwhile may have been of these keys: read again rather than bring them back.
            if self.epoch.load(Ordering::SeqCst) == epoch {
                by_subject.put(subject, Arc::clone(&keys));
                lock(&self.cached.by_handle).put(handle, Arc::clone(&keys));
                return Ok(Some(keys));
            }
        }
    }

    /// The keys of a person; made, and durable, where there are none.
    ///
    /// # Errors
    /// The key store can't be read or written, or too many wait.
    pub async fn subject_or_create(&self, subject: &SubjectId) -> Result<Arc<SubjectKeys>, VaultError> {
        let hash = self.hash_of(subject);
        if let Some(keys) = self.by_hash(hash)? {
            return Ok(keys);
        }
        self.writer.create(hash).await?;
        self.by_hash(hash)?.ok_or(VaultError::Destroyed)
    }

    /// Destroys the keys of these versions: the subject's key is replaced by the smallest cover of what remains.
    ///
    /// # Errors
    /// The subject is unknown, or the key store can't be written.
    pub async fn puncture(&self, handle: Handle, versions: &[u64]) -> Result<(), VaultError> {
        let _one_at_a_time = self.destroying.lock().await;
        let keys = self.by_handle(handle)?.ok_or(VaultError::Destroyed)?;
        let cover = lock(&keys.tree).without(versions);
        let page = pages::id(pages::SUBJECT, &keys.subject);
        let sealed = self.seal.seal(&page, &pages::encode_subject(handle, &cover), self.clock.as_ref())?;
        self.destroy(vec![(page, Some(sealed))]).await?;
        *lock(&keys.tree) = Tree::new(cover);
        self.forget(&keys);
        Ok(())
    }

    /// Destroys a person's keys and their place in the id map, sets the fence and keeps the intent of the erasure, all
    /// in one durable write: from here on nothing about the person can be opened, and the erasure can be finished.
    ///
    /// # Errors
    /// The key store can't be written; then nothing happened, or after a crash the intent says so.
    pub async fn erase(
        &self,
        keys: &SubjectKeys,
        fence_at_ms: u64,
        request: [u8; 16],
        intent: &[u8],
    ) -> Result<(), VaultError> {
        let _one_at_a_time = self.destroying.lock().await;
        let fence = pages::id(pages::FENCE, &keys.subject);
        let sealed_fence = self.seal.seal(&fence, &fence_at_ms.to_be_bytes(), self.clock.as_ref())?;
        let kept = pages::id(pages::INTENT, &request);
        let sealed_intent = self.seal.seal(&kept, intent, self.clock.as_ref())?;
        let gone = [(pages::SUBJECT, keys.subject.as_slice()), (pages::HANDLE, keys.handle.0.as_slice())];
        let mut changes: Vec<Page> = gone.map(|(kind, name)| (pages::id(kind, name), None)).to_vec();
        changes.push((fence, Some(sealed_fence)));
        changes.push((kept, Some(sealed_intent)));
        self.destroy(changes).await?;
        self.forget(keys);
        *lock(&keys.tree) = Tree::default();
        Ok(())
    }

    async fn destroy(&self, mut changes: Vec<Page>) -> Result<(), VaultError> {
        let page = pages::id(pages::OWN, b"epoch");
        let next = self.epoch.load(Ordering::SeqCst).saturating_add(1);
        let sealed = self.seal.seal(&page, &next.to_be_bytes(), self.clock.as_ref())?;
        changes.push((page, Some(sealed)));
        let written = self.writer.write(changes).await;
        // Even where writing failed nobody may trust what was read before.
        self.epoch.store(next, Ordering::SeqCst);
        written
    }

    fn forget(&self, keys: &SubjectKeys) {
        lock(&self.cached.by_subject).pop(&keys.subject);
        lock(&self.cached.by_handle).pop(&keys.handle);
    }

    /// When the person was last erased, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn fenced_at(&self, subject: &SubjectId) -> Result<Option<u64>, VaultError> {
        let page = pages::id(pages::FENCE, &self.hash_of(subject));
        let Some(sealed) = self.store.read_page(&page)? else { return Ok(None) };
        number(&self.seal.open(&page, &sealed)?).map(Some)
    }

    /// Erasures that have begun and are not known to be complete: request and intent.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn pending_erasures(&self) -> Result<Vec<([u8; 16], Vec<u8>)>, VaultError> {
        let found = self.store.scan_pages(&[pages::INTENT], None, usize::MAX)?;
        let open = |(page, sealed): (Vec<u8>, Vec<u8>)| {
            let request = page.get(1..).and_then(|name| name.try_into().ok()).ok_or(VaultError::Page)?;
            Ok((request, self.seal.open(&page, &sealed)?.to_vec()))
        };
        found.into_iter().map(open).collect()
    }

    /// The erasure is complete: its intent is not needed any more.
    ///
    /// # Errors
    /// The key store can't be written.
    pub async fn erasure_done(&self, request: [u8; 16]) -> Result<(), VaultError> {
        self.writer.write(vec![(pages::id(pages::INTENT, &request), None)]).await
    }

    /// How often keys were destroyed.
    #[must_use]
    pub fn key_epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Number of people that keys are held for.
    ///
    /// # Errors
    /// The key store can't be read.
    pub fn subject_count(&self) -> Result<u64, VaultError> {
        Ok(self.store.count_pages(&[pages::SUBJECT])?)
    }
}

fn number(page: &[u8]) -> Result<u64, VaultError> {
    page.try_into().map(u64::from_be_bytes).map_err(|_| VaultError::Page)
}

/// The secret of keyed hashes: its own page, so that it outlives a change of the root key.
fn hashing_secret(
    store: &dyn KeyStore,
    seal: &PageSeal,
    clock: &SharedClock,
) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let page = pages::id(pages::OWN, b"hashing");
    if let Some(sealed) = store.read_page(&page)? {
        return pages::decode_hash(&seal.open(&page, &sealed)?).map(Zeroizing::new);
    }
    let mut secret = Zeroizing::new([0; 32]);
    clock.fill(secret.as_mut());
    store.write_pages(&[(page.clone(), Some(seal.seal(&page, secret.as_ref(), clock.as_ref())?))])?;
    Ok(secret)
}
