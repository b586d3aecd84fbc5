//! What waited together, carried out together: changes of many people in one working copy, one durable write, and, where
//! something is destroyed, one re-keying.

use super::error::VaultError;
use super::key_tree::{KeyTree, PageWrite};
use super::pages;
use super::path_cache::TreeRoot;
use super::puncturable::{Node, PuncturableTree};
use super::tree_pages::{Record, Trie};
use super::working_copy::WorkingCopy;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zeroize::Zeroizing;

/// An erasure that has begun: the id of its request, and the intent that its caller needs to finish it.
pub type PendingErasure = ([u8; 16], Vec<u8>);

/// An erasure as it is handed to the writer.
pub struct Erasure {
    /// Keyed hash of the subject's id.
    pub subject: Hash,
    /// Under which the subject is known now; another one means that it has come back since.
    pub handle: Handle,
    /// Milliseconds since the Unix epoch.
    pub fence_at_ms: u64,
    /// Who asked.
    pub request: [u8; 16],
    /// The caller's own, opaque.
    pub intent: Vec<u8>,
}

/// A handle and a key that were drawn for a subject.
pub struct Creation {
    /// Keyed hash of the subject's id.
    pub subject: Hash,
    /// What it will be known under.
    pub handle: Handle,
    /// The root of its tree.
    pub key: Zeroizing<[u8; 32]>,
}

/// What the writer can be asked for.
pub enum Work {
    /// A handle and a key for a subject; where it has others, [`VaultError::Destroyed`].
    Create(Box<Creation>),
    /// Takes a creation back under which nothing was ever sealed.
    TakeBack(Hash, Handle),
    /// A subject's end.
    Erase(Box<Erasure>),
    /// The end of some versions, and the intent that it belongs to.
    Puncture(Handle, Vec<u64>, Option<PendingErasure>),
    /// The end of an intent: an erasure is complete.
    Complete([u8; 16]),
    /// Fresh keys for subjects of a log that went back.
    Renew(Vec<Renewal>),
}

/// A subject of a log that went back to a backup.
pub struct Renewal {
    /// Keyed hash of the subject's id.
    pub subject: Hash,
    /// From this version on, keys are fresh.
    pub from: u64,
    /// Whether something of theirs is known to have been destroyed since the backup.
    pub is_punctured: bool,
    /// What is from before, milliseconds since the Unix epoch, is refused where something was destroyed since.
    pub fence_at_ms: u64,
}

/// What becomes of a subject's keys in memory: those of this handle now hold this much, or nothing.
pub struct Changed {
    pub subject: Hash,
    pub handle: Handle,
    pub cover: Option<Vec<Node>>,
}

/// Changes on their way to one write.
pub struct Batch<'a> {
    pub(super) key_tree: &'a KeyTree,
    pub(super) tree_root: Arc<TreeRoot>,
    pub(super) copy: WorkingCopy<'a>,
    /// The vault's own pages to write or to remove, by name.
    pub(super) own: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(super) changed: Vec<Changed>,
    pub(super) subjects: u64,
    fences: BTreeMap<Hash, u64>,
}

impl<'a> Batch<'a> {
    /// Nothing yet.
    pub fn new(key_tree: &'a KeyTree) -> Self {
        let tree_root = key_tree.paths.root();
        let copy = WorkingCopy::new(key_tree, &tree_root.top);
        let subjects = key_tree.subjects.load(Ordering::SeqCst);
        let (own, fences) = (BTreeMap::new(), BTreeMap::new());
        Self { key_tree, tree_root, copy, own, changed: Vec::new(), subjects, fences }
    }

    /// Takes a change in. [`VaultError::Destroyed`] is its own and changes nothing; after any other error the batch is
    /// not to be used any more.
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
        }
    }

    fn create(&mut self, creation: &Creation) -> Result<(), VaultError> {
        let Creation { subject, handle, key } = creation;
        if self.copy.get(Trie::Subjects, subject)?.is_some() {
            return self.held(subject, *handle).map(drop);
        }
        let value = pages::encode_subject(*handle, &[Node::root(key)]);
        self.copy.insert(Trie::Subjects, Record { key: *subject, value })?;
        let value = Zeroizing::new(subject.to_vec());
        self.copy.insert(Trie::Handles, Record { key: pages::handle_key(*handle), value })?;
        self.subjects = self.subjects.saturating_add(1);
        Ok(())
    }

    fn take_back(&mut self, subject: &Hash, handle: Handle) -> Result<(), VaultError> {
        self.held(subject, handle)?;
        self.copy.remove(Trie::Subjects, subject)?;
        self.copy.remove(Trie::Handles, &pages::handle_key(handle))?;
        self.subjects = self.subjects.saturating_sub(1);
        Ok(())
    }

    fn held(&mut self, subject: &Hash, handle: Handle) -> Result<Vec<Node>, VaultError> {
        let record = self.copy.get(Trie::Subjects, subject)?.ok_or(VaultError::Destroyed)?;
        let (held, cover) = pages::decode_subject(&record)?;
        if held == handle { Ok(cover) } else { Err(VaultError::Destroyed) }
    }

    fn erase(&mut self, erasure: &Erasure) -> Result<(), VaultError> {
        let Erasure { subject, handle, request, .. } = erasure;
        self.held(subject, *handle)?;
        self.copy.destroy(Trie::Subjects, subject, None)?;
        self.copy.destroy(Trie::Handles, &pages::handle_key(*handle), None)?;
        self.fence(subject, erasure.fence_at_ms)?;
        self.own.extend([self.key_tree.own_page(pages::INTENT, request, &erasure.intent)?]);
        self.subjects = self.subjects.saturating_sub(1);
        self.changed.push(Changed { subject: *subject, handle: *handle, cover: None });
        Ok(())
    }

    fn fence(&mut self, subject: &Hash, at_ms: u64) -> Result<(), VaultError> {
        let before = match self.fences.get(subject) {
            Some(fence) => *fence,
            None => self.key_tree.number(pages::FENCE, subject)?.unwrap_or(0),
        };
        // A clock that went back must not move the fence back.
        let fence = before.max(at_ms);
        self.fences.insert(*subject, fence);
        self.own.extend([self.key_tree.own_page(pages::FENCE, subject, &fence.to_be_bytes())?]);
        Ok(())
    }

    fn renew(&mut self, renewal: &Renewal) -> Result<(), VaultError> {
        let Renewal { subject, from, .. } = renewal;
        let Some(record) = self.copy.get(Trie::Subjects, subject)? else { return Ok(()) };
        let (handle, cover) = pages::decode_subject(&record)?;
        let tree = PuncturableTree::new(cover);
        // What was destroyed was destroyed for a reason that the lost log knew: what is from before stays out.
        if renewal.is_punctured || tree.is_punctured_from(*from) {
            self.fence(subject, renewal.fence_at_ms)?;
        }
        let mut key = Zeroizing::new([0; 32]);
        self.key_tree.clock.fill(key.as_mut());
        let cover = tree.renewed(*from, &key);
        self.copy.replace(Trie::Subjects, subject, pages::encode_subject(handle, &cover))?;
        self.changed.push(Changed { subject: *subject, handle, cover: Some(cover) });
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
        let cover = PuncturableTree::new(self.held(&subject, handle)?).without(versions);
        let record = pages::encode_subject(handle, &cover);
        self.copy.destroy(Trie::Subjects, &subject, Some(record))?;
        if let Some((request, intent)) = intent {
            self.own.extend([self.key_tree.own_page(pages::INTENT, request, intent)?]);
        }
        self.changed.push(Changed { subject, handle, cover: Some(cover) });
        Ok(())
    }

    /// The vault's own pages that go along, the number of subjects among them.
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
