//! The key that seals one event's body.

use crate::merkle::Hash;
use aes_gcm::aead::KeyInit;
use aes_gcm::{Aes256Gcm, Key};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// HKDF info of event keys; the event id follows it.
const EVENT_KEY_INFO: &[u8] = b"sayso event key v1";
/// Precedes the event key in its commitment.
const COMMITMENT_TAG: &[u8] = b"sayso key commitment v1";

/// The key of one event. It seals exactly one message.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct EventKey([u8; 32]);

impl std::fmt::Debug for EventKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventKey(..)")
    }
}

impl EventKey {
    /// Derives the key from the subject's key at the event's version, with HKDF-SHA-256 (RFC 5869). There is
    /// no salt; the info is a tag and the event id.
    #[must_use]
    pub fn derive(version_key: &[u8; 32], event_id: &[u8; 16]) -> Self {
        let mut key = Self([0; 32]);
        let hkdf = Hkdf::<Sha256>::new(None, version_key);
        hkdf.expand_multi_info(&[EVENT_KEY_INFO, event_id], &mut key.0)
            .expect("32 bytes are within HKDF's limit");
        key
    }

    /// Wraps a key that was read from an export.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw key, for an export that discloses the event.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 of a tag and the key. It is needed because AES-GCM does not commit to its key.
    #[must_use]
    pub fn commitment(&self) -> Hash {
        Sha256::new().chain_update(COMMITMENT_TAG).chain_update(self.0).finalize().into()
    }

    pub(super) fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(self.0))
    }
}
