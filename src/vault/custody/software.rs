//! Encrypts one key with the root key, in software: the key of the top page of the key tree (the encrypted
//! pages with people's keys). The top page leads to the keys of all people's data. The keepers of root
//! keys ([`RootCustody`](super::RootCustody)) use this if they hold the root key's bytes themselves.

use super::root_custody::{CustodyError, KeyEpoch};
use crate::clock::Clock;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

pub(super) const NONCE_BYTES: usize = 12;
const WRAPPING: &[u8] = b"sayso top page key v1";

/// Wraps a key with AES-256-GCM under HKDF-SHA-256 (RFC 5869) of the root key. The key epoch is
/// authenticated.
pub(super) fn wrap_in_software(
    root: &[u8; 32],
    epoch: KeyEpoch,
    key: &[u8; 32],
    clock: &dyn Clock,
) -> Result<Vec<u8>, CustodyError> {
    let mut nonce = [0; NONCE_BYTES];
    clock.fill(&mut nonce);
    let payload = Payload { msg: key, aad: &epoch.to_be_bytes() };
    let wrapped = cipher(root).encrypt(&Nonce::from(nonce), payload).map_err(|_| CustodyError::Unwrap)?;
    Ok([nonce.as_slice(), &wrapped].concat())
}

/// Unwraps a key that [`wrap_in_software`] wrapped.
pub(super) fn unwrap_in_software(
    root: &[u8; 32],
    epoch: KeyEpoch,
    wrapped: &[u8],
) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
    let (nonce, wrapped) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or(CustodyError::Unwrap)?;
    let payload = Payload { msg: wrapped, aad: &epoch.to_be_bytes() };
    let opened = cipher(root).decrypt(&Nonce::from(*nonce), payload).map_err(|_| CustodyError::Unwrap)?;
    let opened = Zeroizing::new(opened);
    opened.as_slice().try_into().map(Zeroizing::new).map_err(|_| CustodyError::Unwrap)
}

fn cipher(root: &[u8; 32]) -> Aes256Gcm {
    let mut key = Zeroizing::new([0; 32]);
    let hkdf = Hkdf::<Sha256>::new(None, root);
    hkdf.expand(WRAPPING, key.as_mut()).expect("32 bytes are within HKDF's limit");
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
}
