//! Pages of the key store, sealed under the root key: what is in them and how they are named.

use super::tree::Node;
use super::{RootKey, VaultError};
use crate::clock::Clock;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use zeroize::Zeroizing;

/// Page of one subject, by the keyed hash of its id.
pub const SUBJECT: u8 = b's';
/// Which subject a handle is, sealed.
pub const HANDLE: u8 = b'h';
/// When a subject was last erased, by the keyed hash of its id.
pub const FENCE: u8 = b'f';
/// An erasure that has begun, by its request.
pub const INTENT: u8 = b'e';
/// The vault's own: the hashing secret, the key epoch.
pub const OWN: u8 = b'v';
/// Name of the page with the key epoch.
pub const EPOCH: &[u8] = b"epoch";
/// Name of the page with the hashing secret.
pub const HASHING: &[u8] = b"hashing";

const NONCE_BYTES: usize = 12;
/// Depth, index, key.
const NODE_BYTES: usize = 1 + 8 + 32;

/// Name of a page.
pub fn id(kind: u8, name: &[u8]) -> Vec<u8> {
    [&[kind], name].concat()
}

/// Seals and opens pages.
pub struct PageSeal {
    cipher: Aes256Gcm,
}

impl PageSeal {
    /// Under this root key.
    pub fn new(root: &RootKey) -> Self {
        let key = root.derive(b"sayso key pages v1");
        Self { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key)) }
    }

    /// Seals a page; its name is bound to it.
    pub fn seal(&self, id: &[u8], page: &[u8], clock: &dyn Clock) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        clock.fill(&mut nonce);
        let payload = Payload { msg: page, aad: id };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| VaultError::Page)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens a page.
    pub fn open(&self, id: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::Page)?;
        let payload = Payload { msg: sealed, aad: id };
        let page = self.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| VaultError::Page)?;
        Ok(Zeroizing::new(page))
    }
}

/// A subject's page: handle, then the nodes that are held (depth, index, key).
pub fn encode_subject(handle: Handle, cover: &[Node]) -> Zeroizing<Vec<u8>> {
    // Made as large as it gets: a vector that moves leaves its old bytes behind.
    let bytes = cover.len().saturating_mul(NODE_BYTES).saturating_add(handle.0.len());
    let mut page = Zeroizing::new(Vec::with_capacity(bytes));
    page.extend_from_slice(&handle.0);
    for node in cover {
        page.push(node.depth);
        page.extend_from_slice(&node.index.to_be_bytes());
        page.extend_from_slice(&node.key);
    }
    page
}

/// Reads a subject's page.
pub fn decode_subject(page: &[u8]) -> Result<(Handle, Vec<Node>), VaultError> {
    let (handle, rest) = page.split_first_chunk::<16>().ok_or(VaultError::Page)?;
    let (nodes, leftover) = rest.as_chunks::<NODE_BYTES>();
    if !leftover.is_empty() {
        return Err(VaultError::Page);
    }
    let node = |bytes: &[u8; NODE_BYTES]| {
        let (depth, rest) = bytes.split_first()?;
        let (index, key) = rest.split_first_chunk::<8>()?;
        let node = Node { depth: *depth, index: u64::from_be_bytes(*index), key: key.try_into().ok()? };
        node.is_in_tree().then_some(node)
    };
    let cover: Option<Vec<Node>> = nodes.iter().map(node).collect();
    Ok((Handle(*handle), cover.ok_or(VaultError::Page)?))
}

/// A number as it stands in a page.
pub fn decode_number(page: &[u8]) -> Result<u64, VaultError> {
    page.try_into().map(u64::from_be_bytes).map_err(|_| VaultError::Page)
}

/// A keyed hash as it stands in a page.
pub fn decode_hash(page: &[u8]) -> Result<Hash, VaultError> {
    page.try_into().map_err(|_| VaultError::Page)
}
