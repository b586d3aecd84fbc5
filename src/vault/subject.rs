//! The keys of one subject.

use super::error::VaultError;
use super::puncturable::{Node, PuncturableTree};
use crate::secret;
use sayso_proof::entry::{EventKey, Handle};
use sayso_proof::merkle::Hash;
use std::sync::{Mutex, PoisonError};

/// What deriving a key leaves on the stack is overwritten this deep.
const STACK_WORDS: usize = (8 << 10) / secret::STACK_WORD_BYTES;

/// What opens and seals one subject's events. Zeroized when the last holder lets go, and at once when destroyed,
/// whoever holds it.
pub struct SubjectKeys {
    /// Stands for the subject in the log.
    pub handle: Handle,
    /// Keyed hash of the subject's id.
    pub(super) subject: Hash,
    tree: Mutex<PuncturableTree>,
}

impl std::fmt::Debug for SubjectKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SubjectKeys({}, ..)", self.handle)
    }
}

impl SubjectKeys {
    pub(super) fn new(subject: Hash, handle: Handle, cover: Vec<Node>) -> Self {
        Self { handle, subject, tree: Mutex::new(PuncturableTree::new(cover)) }
    }

    /// The key of one event.
    ///
    /// # Errors
    /// It was destroyed.
    pub fn event_key(&self, version: u64, event_id: &[u8; 16]) -> Result<EventKey, VaultError> {
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        let key = tree.key(version).ok_or(VaultError::Destroyed).map(|key| EventKey::derive(&key, event_id));
        secret::clear_stack::<STACK_WORDS>();
        key
    }

    /// From now on only this is held.
    pub(super) fn replace(&self, cover: Vec<Node>) {
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = PuncturableTree::new(cover);
    }
}
