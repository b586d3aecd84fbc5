//! Destroying keys. Runs on the writer's thread, so that nothing is made or destroyed at the same time, and so that it
//! goes on to the end even where whoever asked has gone away.

use super::VaultError;
use super::pages;
use super::shelf::{Page, Shelf};
use super::subjects::PendingErasure;
use super::tree::Tree;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::sync::atomic::Ordering;

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

impl Shelf {
    /// Removes the subject's pages, sets the fence and keeps the intent, in one durable write.
    pub fn erase(&self, erasure: &Erasure) -> Result<(), VaultError> {
        let Erasure { subject, handle, .. } = erasure;
        if self.held(subject)?.is_none_or(|(held, _)| held != *handle) {
            return Err(VaultError::Destroyed);
        }
        // A clock that went back must not move the fence back.
        let fence = self.number(pages::FENCE, subject)?.unwrap_or(0).max(erasure.fence_at_ms);
        let changes = vec![
            (pages::id(pages::SUBJECT, subject), None),
            (pages::id(pages::HANDLE, &handle.0), None),
            self.page(pages::FENCE, subject, &fence.to_be_bytes())?,
            self.page(pages::INTENT, &erasure.request, &erasure.intent)?,
        ];
        self.destroy(subject, *handle, changes)
    }

    /// Replaces the subject's key by the smallest cover without these versions, and keeps the intent with it.
    pub fn puncture(
        &self,
        handle: Handle,
        versions: &[u64],
        intent: Option<PendingErasure>,
    ) -> Result<(), VaultError> {
        let subject = self.subject_of(handle)?.ok_or(VaultError::Destroyed)?;
        let (held, cover) = self.held(&subject)?.ok_or(VaultError::Destroyed)?;
        if held != handle {
            return Err(VaultError::Destroyed);
        }
        let cover = Tree::new(cover).without(versions);
        let mut changes =
            vec![self.page(pages::SUBJECT, &subject, &pages::encode_subject(handle, &cover))?];
        if let Some((request, intent)) = intent {
            changes.push(self.page(pages::INTENT, &request, &intent)?);
        }
        self.destroy(&subject, handle, changes)
    }

    fn destroy(&self, subject: &Hash, handle: Handle, mut changes: Vec<Page>) -> Result<(), VaultError> {
        let epoch = self.epoch.load(Ordering::SeqCst).saturating_add(1);
        changes.push(self.page(pages::OWN, pages::EPOCH, &epoch.to_be_bytes())?);
        let written = self.store.write_pages(&changes);
        if written.is_ok() {
            self.epoch.store(epoch, Ordering::SeqCst);
        }
        // Also where writing failed: what counts then is what the store holds, and nobody knows before asking it.
        let held = self.held(subject).ok().flatten().filter(|(held, _)| *held == handle);
        self.cache.follow(subject, &handle, held.map(|(_, cover)| cover));
        Ok(written?)
    }
}
