//! The keys of one data subject.

use super::error::VaultError;
use super::puncturable::{Node, PuncturableTree};
use crate::secret;
use sayso_proof::entry::{EventKey, Handle};
use sayso_proof::merkle::Hash;
use std::sync::{Mutex, PoisonError};

/// Words of stack that are overwritten after a key was derived.
const STACK_WORDS: usize = (8 << 10) / secret::STACK_WORD_BYTES;

/// Keys that seal and open one subject's events.
///
/// They are zeroized when the last reference is dropped. Destroying them takes effect immediately for every
/// reference.
pub struct SubjectKeys {
    /// The subject's handle in the log.
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
    /// The key was destroyed ([`VaultError::Destroyed`]).
    pub fn event_key(&self, version: u64, event_id: &[u8; 16]) -> Result<EventKey, VaultError> {
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        let key = tree.key(version).ok_or(VaultError::Destroyed).map(|key| EventKey::derive(&key, event_id));
        secret::clear_stack::<STACK_WORDS>();
        key
    }

    /// Replaces the nodes that are left of the subject's tree.
    pub(super) fn replace(&self, cover: Vec<Node>) {
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = PuncturableTree::new(cover);
    }
}
