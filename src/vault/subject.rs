//! The keys of one data subject.

use super::error::VaultError;
use super::hashing::keyed_hash;
use super::map_link::MapLink;
use super::pages::SubjectSecrets;
use super::puncturable::{PuncturableTree, SECRET_VERSION};
use crate::secret;
use sayso_proof::entry::{EventKey, Handle};
use sayso_proof::merkle::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    secrets: Mutex<Secrets>,
}

/// What is left of a subject's secrets.
struct Secrets {
    tree: PuncturableTree,
    link: Option<MapLink>,
}

impl From<SubjectSecrets> for Secrets {
    fn from(secrets: SubjectSecrets) -> Self {
        Self { tree: PuncturableTree::new(secrets.cover), link: secrets.link }
    }
}

impl std::fmt::Debug for SubjectKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SubjectKeys({}, ..)", self.handle)
    }
}

impl SubjectKeys {
    pub(super) fn new(subject: Hash, handle: Handle, secrets: SubjectSecrets) -> Self {
        Self { handle, subject, secrets: Mutex::new(secrets.into()) }
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of one event.
    ///
    /// # Errors
    /// The key was destroyed ([`VaultError::Destroyed`]).
    pub fn event_key(&self, version: u64, event_id: &[u8; 16]) -> Result<EventKey, VaultError> {
        if version >= SECRET_VERSION {
            return Err(VaultError::Destroyed);
        }
        secret::with_cleared_stack::<STACK_WORDS, _>(|| {
            let key = self.secrets().tree.key(version).ok_or(VaultError::Destroyed)?;
            Ok(EventKey::derive(&key, event_id))
        })
    }

    /// What links the subject to the subject map. `None` if it was destroyed, or if an earlier version of the
    /// ledger stored the subject, and their id was not seen since.
    #[must_use]
    pub fn link(&self) -> Option<MapLink> {
        self.secrets().link.clone()
    }

    /// Whether the subject is linked to the subject map.
    #[must_use]
    pub fn is_linked(&self) -> bool {
        self.secrets().link.is_some()
    }

    /// Sets the link of keys that are not stored yet.
    pub(super) fn set_link(&self, link: MapLink) {
        self.secrets().link = Some(link);
    }

    /// Replaces what is left of the subject's secrets.
    pub(super) fn replace(&self, secrets: SubjectSecrets) {
        *self.secrets() = secrets.into();
    }

    /// Returns the HMAC-SHA-256 of a domain and length-prefixed parts under the subject's secret. After the
    /// destruction of all their keys, it cannot be compared with a guess.
    ///
    /// # Errors
    /// The keys were destroyed ([`VaultError::Destroyed`]).
    pub fn keyed_hash(&self, domain: &'static str, parts: &[&[u8]]) -> Result<Hash, VaultError> {
        secret::with_cleared_stack::<STACK_WORDS, _>(|| {
            let secret = self.secrets().tree.secret().ok_or(VaultError::Destroyed)?;
            Ok(keyed_hash(&secret, domain, parts))
        })
    }
}
