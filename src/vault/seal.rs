//! Seals pages of the key store: a header in the clear, then AES-256-GCM.
//!
//! The header is recognizable on purpose. So a search of a disk image, as in the test
//! `tests/it/forensics.rs`, finds every old page that is left.

use super::error::VaultError;
use crate::clock::Clock;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use zeroize::Zeroizing;

/// The first bytes of every sealed page.
pub const MAGIC: &[u8; 8] = b"saysoKP1";
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// Seals and opens pages under one key.
pub struct PageSeal {
    cipher: Aes256Gcm,
}

impl PageSeal {
    /// A seal under this key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)) }
    }

    /// Seals a page; it opens only under its name.
    pub fn seal(&self, id: &[u8], page: &[u8], clock: &dyn Clock) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        clock.fill(&mut nonce);
        let mut sealed = header(id, page.len().saturating_add(TAG_BYTES))?;
        let payload = Payload { msg: page, aad: &sealed };
        let cipher = self.cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| VaultError::Page)?;
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&cipher);
        Ok(sealed)
    }

    /// Opens the page of this name.
    pub fn open(&self, id: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let cipher_bytes =
            sealed.len().checked_sub(header_bytes(id) + NONCE_BYTES).ok_or(VaultError::Page)?;
        let header = header(id, cipher_bytes)?;
        let rest = sealed.strip_prefix(header.as_slice()).ok_or(VaultError::Page)?;
        let (nonce, cipher) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Page)?;
        let payload = Payload { msg: cipher, aad: &header };
        let page = self.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| VaultError::Page)?;
        Ok(Zeroizing::new(page))
    }
}

fn header_bytes(id: &[u8]) -> usize {
    MAGIC.len() + 1 + id.len() + 4
}

/// Encodes the header: magic, length of the name, name, length of the ciphertext with its tag.
fn header(id: &[u8], cipher_bytes: usize) -> Result<Vec<u8>, VaultError> {
    let mut header = Vec::with_capacity(header_bytes(id) + NONCE_BYTES + cipher_bytes);
    header.extend_from_slice(MAGIC);
    header.push(u8::try_from(id.len()).map_err(|_| VaultError::Page)?);
    header.extend_from_slice(id);
    header.extend_from_slice(&u32::try_from(cipher_bytes).map_err(|_| VaultError::Page)?.to_be_bytes());
    Ok(header)
}
