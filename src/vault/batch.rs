//! A batch changes the keys of many data subjects together. All changes are made in one working copy of
//! the key tree (the encrypted pages with people's keys, see `mod.rs`). One durable write and at most one
//! re-keying (replacement of the root key) carry them out.
//!
//! [`Batch::apply`] collects changes in memory. [`Batch::commit`] makes them durable together; if any
//! change destroys a key, it also re-keys the tree.

use super::error::VaultError;
use super::fences::{self, MomentsKey};
use super::key_tree::{KeyTree, PageWrite};
use super::map_link::MapLink;
use super::pages::{self, SubjectSecrets};
use super::path_cache::TreeRoot;
use super::puncturable::{Node, PuncturableTree};
use super::seal::PageSeal;
use super::tree_pages::{Record, Trie};
use super::working_copy::WorkingCopy;
use crate::secret::SecretBytes;
use sayso_proof::certificate;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zeroize::Zeroizing;

/// An erasure that has begun: the name of its intent, and the intent, which its caller needs to finish it.
pub type PendingErasure = ([u8; 16], Vec<u8>);

/// The erasure of a whole subject.
pub struct Erasure {
    /// Keyed hash of the subject's id.
    pub subject: Hash,
    /// The handle whose keys are to be destroyed. A subject that now has another handle was erased and
    /// recorded again.
    pub handle: Handle,
    /// Time of the fence, milliseconds since the Unix epoch. Writes from before this time are refused.
    pub fence_at_ms: u64,
    /// The id of the request for erasure. No page has it.
    pub request: [u8; 16],
    /// What the caller needs to finish the erasure; opaque to the vault.
    pub intent: Vec<u8>,
    /// What only the certificate states; opaque to the vault. Its length is the same for all erasures, or
    /// tells little.
    pub details: Vec<u8>,
}

/// A handle and a key drawn for a new subject.
pub struct Creation {
    /// Keyed hash of the subject's id.
    pub subject: Hash,
    /// The subject's handle in the log.
    pub handle: Handle,
    /// The root of the subject's puncturable tree.
    pub key: SecretBytes,
    /// What links the subject to the subject map.
    pub link: MapLink,
}

/// One change that the writer carries out.
pub enum Work {
    /// Stores a subject's first handle and key; [`VaultError::Destroyed`] if the subject has another handle.
    Create(Box<Creation>),
    /// Removes a new subject's handle and key, if nothing was sealed under the key.
    TakeBack(Hash, Handle),
    /// Erases a subject.
    Erase(Box<Erasure>),
    /// Destroys the keys of some versions. If a partial erasure requested this, stores its intent.
    Puncture(Handle, Vec<u64>, Option<PendingErasure>),
    /// Removes the intent of a completed erasure.
    Complete([u8; 16]),
    /// Gives fresh keys to subjects of a log that was restored from a backup.
    Renew(Vec<Renewal>),
    /// Links a subject (keyed hash of the id, handle) to the subject map, if nothing links them yet.
    Link(Hash, Handle, MapLink),
}

/// Fresh keys for one subject of a log that was restored from a backup.
pub struct Renewal {
    /// Keyed hash of the subject's id.
    pub subject: Hash,
    /// The first version with a fresh key.
    pub from: u64,
    /// Whether a key of the subject is known to have been destroyed since the backup.
    pub is_punctured: bool,
    /// Time of the fence, milliseconds since the Unix epoch. If a key was destroyed since the backup, writes
    /// from before this time are refused.
    pub fence_at_ms: u64,
}

/// A change of stored keys, to be applied to the keys in memory as well.
pub struct Changed {
    pub subject: Hash,
    pub handle: Handle,
    /// The secrets that remain. `None` if all were destroyed.
    pub secrets: Option<SubjectSecrets>,
}

/// Changes that one write makes durable.
pub struct Batch<'a> {
    pub(super) key_tree: &'a KeyTree,
    pub(super) tree_root: Arc<TreeRoot>,
    pub(super) copy: WorkingCopy<'a>,
    /// Pages outside the key tree to write or remove, by name: intents, fences and the number of subjects.
    pub(super) own: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(super) changed: Vec<Changed>,
    pub(super) subjects: u64,
    fences: BTreeMap<Hash, u64>,
    /// The moments key of the new top page.
    pub(super) moments: Option<MomentsKey>,
}

/// The name of the intent of the erasure with this hash of its request.
pub fn intent_name(request_hash: &Hash) -> [u8; 16] {
    request_hash.first_chunk().copied().unwrap_or_default()
}

impl<'a> Batch<'a> {
    /// Starts an empty batch on the current tree.
    pub fn new(key_tree: &'a KeyTree) -> Self {
        let tree_root = key_tree.paths.root();
        let copy = WorkingCopy::new(key_tree, &tree_root.top);
        let subjects = key_tree.subjects.load(Ordering::SeqCst);
        let (own, fences) = (BTreeMap::new(), BTreeMap::new());
        let moments = tree_root.top.moments.clone();
        Self { key_tree, tree_root, copy, own, changed: Vec::new(), subjects, fences, moments }
    }

    /// Applies a change in memory. [`VaultError::Destroyed`] concerns this change alone and leaves the batch
    /// as it was. After any other error the batch must be dropped.
    pub fn apply(&mut self, work: &Work) -> Result<(), VaultError> {
        match work {
            Work::Create(creation) => self.create(creation),
            Work::TakeBack(subject, handle) => self.take_back(subject, *handle),
            Work::Erase(erasure) => self.erase(erasure),
            Work::Puncture(handle, versions, intent) => self.puncture(*handle, versions, intent.as_ref()),
            Work::Complete(request) => {
                self.own.insert(pages::id(pages::INTENT, request), None);
                Ok(())
            }
            Work::Renew(renewals) => renewals.iter().try_for_each(|renewal| self.renew(renewal)),
            Work::Link(subject, handle, link) => self.link(subject, *handle, link),
        }
    }

    fn create(&mut self, creation: &Creation) -> Result<(), VaultError> {
        let Creation { subject, handle, key, link } = creation;
        if self.copy.get(Trie::Subjects, subject)?.is_some() {
            return self.secrets_of(subject, *handle).map(drop);
        }
        let secrets = SubjectSecrets { cover: vec![Node::root(key)], link: Some(link.clone()) };
        let value = pages::encode_subject(*handle, &secrets);
        self.copy.insert(Trie::Subjects, Record { key: *subject, value })?;
        let value = Zeroizing::new(subject.to_vec());
        self.copy.insert(Trie::Handles, Record { key: pages::handle_key(*handle), value })?;
        self.subjects = self.subjects.saturating_add(1);
        Ok(())
    }

    fn take_back(&mut self, subject: &Hash, handle: Handle) -> Result<(), VaultError> {
        self.secrets_of(subject, handle)?;
        self.copy.remove(Trie::Subjects, subject)?;
        self.copy.remove(Trie::Handles, &pages::handle_key(handle))?;
        self.subjects = self.subjects.saturating_sub(1);
        Ok(())
    }

    /// The secrets that remain of the subject. [`VaultError::Destroyed`] unless the subject still has this
    /// handle.
    fn secrets_of(&mut self, subject: &Hash, handle: Handle) -> Result<SubjectSecrets, VaultError> {
        let record = self.copy.get(Trie::Subjects, subject)?.ok_or(VaultError::Destroyed)?;
        let (found, secrets) = pages::decode_subject(&record)?;
        if found == handle { Ok(secrets) } else { Err(VaultError::Destroyed) }
    }

    fn link(&mut self, subject: &Hash, handle: Handle, link: &MapLink) -> Result<(), VaultError> {
        let mut secrets = self.secrets_of(subject, handle)?;
        if secrets.link.is_none() {
            secrets.link = Some(link.clone());
            self.copy.replace(Trie::Subjects, subject, pages::encode_subject(handle, &secrets))?;
            self.changed.push(Changed { subject: *subject, handle, secrets: Some(secrets) });
        }
        Ok(())
    }

    fn erase(&mut self, erasure: &Erasure) -> Result<(), VaultError> {
        let Erasure { subject, handle, request, intent, details, .. } = erasure;
        self.secrets_of(subject, *handle)?;
        self.copy.destroy(Trie::Subjects, subject, None)?;
        self.copy.destroy(Trie::Handles, &pages::handle_key(*handle), None)?;
        let fence_ms = self.fence_ms(subject, erasure.fence_at_ms)?;
        let clock = self.key_tree.clock.as_ref();
        let moments = MomentsKey::for_time(self.moments.as_ref(), fence_ms, clock);
        let fence = fences::encode(subject, fence_ms, &moments, clock)?;
        self.own.extend([self.key_tree.own_page(pages::FENCE, subject, &fence)?]);
        self.moments = Some(moments);
        let hash = certificate::request_hash(request);
        self.own.extend([self.key_tree.own_page(pages::INTENT, &intent_name(&hash), intent)?]);
        let name = pages::id(pages::DETAILS, &hash);
        let sealed = PageSeal::new(&pages::details_key(request)).seal(&name, details, clock)?;
        self.own.extend([self.key_tree.own_page(pages::DETAILS, &hash, &sealed)?]);
        self.subjects = self.subjects.saturating_sub(1);
        self.changed.push(Changed { subject: *subject, handle: *handle, secrets: None });
        Ok(())
    }

    /// The time of a subject's new fence.
    fn fence_ms(&mut self, subject: &Hash, at_ms: u64) -> Result<u64, VaultError> {
        let before = match self.fences.get(subject) {
            Some(fence) => *fence,
            None => self.key_tree.fence(subject)?.unwrap_or(0),
        };
        // If the clock went back, the fence must not move back with it.
        let fence = before.max(at_ms);
        self.fences.insert(*subject, fence);
        Ok(fence)
    }

    fn renew(&mut self, renewal: &Renewal) -> Result<(), VaultError> {
        let Renewal { subject, from, .. } = renewal;
        let Some(record) = self.copy.get(Trie::Subjects, subject)? else { return Ok(()) };
        let (handle, SubjectSecrets { cover, link }) = pages::decode_subject(&record)?;
        let tree = PuncturableTree::new(cover);
        // The event that caused the destruction is in the lost part of the log. So writes from before
        // `fence_at_ms` are refused.
        if renewal.is_punctured || tree.is_punctured_from(*from) {
            // It is no erasure of the subject, so the page has the exact time.
            let fence = self.fence_ms(subject, renewal.fence_at_ms)?.to_be_bytes();
            self.own.extend([self.key_tree.own_page(pages::FENCE, subject, &fence)?]);
        }
        let key = SecretBytes::random(self.key_tree.clock.as_ref());
        let secrets = SubjectSecrets { cover: tree.renewed(*from, &key), link };
        self.copy.replace(Trie::Subjects, subject, pages::encode_subject(handle, &secrets))?;
        self.changed.push(Changed { subject: *subject, handle, secrets: Some(secrets) });
        Ok(())
    }

    fn puncture(
        &mut self,
        handle: Handle,
        versions: &[u64],
        intent: Option<&PendingErasure>,
    ) -> Result<(), VaultError> {
        let subject =
            self.copy.get(Trie::Handles, &pages::handle_key(handle))?.ok_or(VaultError::Destroyed)?;
        let subject = pages::decode_hash(&subject)?;
        let SubjectSecrets { cover, link } = self.secrets_of(&subject, handle)?;
        let secrets = SubjectSecrets { cover: PuncturableTree::new(cover).without(versions), link };
        let record = pages::encode_subject(handle, &secrets);
        self.copy.destroy(Trie::Subjects, &subject, Some(record))?;
        if let Some((request, intent)) = intent {
            self.own.extend([self.key_tree.own_page(pages::INTENT, request, intent)?]);
        }
        self.changed.push(Changed { subject, handle, secrets: Some(secrets) });
        Ok(())
    }

    /// The pages outside the key tree to write with this batch, including the number of subjects if it
    /// changed.
    pub(super) fn own_pages(&mut self) -> Result<Vec<PageWrite>, VaultError> {
        if self.subjects != self.key_tree.subjects.load(Ordering::SeqCst) {
            self.own.extend([self.key_tree.own_page(
                pages::OWN,
                pages::COUNT,
                &self.subjects.to_be_bytes(),
            )?]);
        }
        Ok(std::mem::take(&mut self.own).into_iter().collect())
    }
}
