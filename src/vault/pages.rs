//! Names of the pages in the key store, and the encodings of records and of pages outside the tree.
//!
//! A page's name is one byte for its kind, then what tells it apart from other pages of that kind, such as
//! a page number. Integers are big-endian.

use super::custody::KeyEpoch;
use super::error::VaultError;
use super::map_link::MapLink;
use super::puncturable::Node;
use crate::secret::SecretBytes;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use sayso_proof::subject_map::Label;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Kind of the pages of the key tree; named by page number.
pub const TREE: u8 = b't';
/// Kind of the fences: times before which writes about a subject are refused, named by the keyed hash of the
/// subject's id.
pub const FENCE: u8 = b'f';
/// Kind of the intents. An intent describes an erasure that has begun; its page is named by the first 16
/// bytes of the hash of the request's id. Early versions named it by the id.
pub const INTENT: u8 = b'e';
/// Kind of the details of full erasures, which only certificates state. A page is named by the hash of the
/// request's id. Its content is a page again, sealed under a key that follows from the id ([`details_key`]).
pub const DETAILS: u8 = b'c';
/// Kind of the vault's own pages: the hashing secret and the number of subjects.
pub const OWN: u8 = b'v';
/// Name of the page with the hashing secret.
pub const HASHING: &[u8] = b"hashing";
/// Name of the page with the number of subjects.
pub const COUNT: &[u8] = b"count";
/// Name of the root page. The root page is outside the tree and says which page is the top page of the tree.
/// It is in the clear, except for the key of the top page, which is wrapped.
pub const ROOT: &[u8] = b"r";
/// Name of the page with the numbers of the pages that the last re-keying (replacement of the root key)
/// replaced, in the clear.
pub const DEAD: &[u8] = b"d";

const ROOT_MAGIC: &[u8; 8] = b"saysoKR1";
/// Bytes of an encoded node: depth, index, key.
const NODE_BYTES: usize = 1 + 8 + 32;
/// Marks an encoded node as a renewal, which covers all versions from a first one on. This byte takes the
/// place of the depth, and the first version takes the place of the index.
const RENEWAL: u8 = 0xff;
/// Marks the label of the subject in the subject map. It takes the place of a node's key; the index is 0.
const LABEL: u8 = 0xfe;
/// Marks the secret of the subject's commitment in the subject map, in the same way. It follows the label.
const BLINDING: u8 = 0xfd;

/// Bytes of a page number.
pub const PAGE_ID_BYTES: usize = 16;

/// Number of a page of the key tree: random, and never used twice.
pub type PageId = [u8; PAGE_ID_BYTES];

/// Key of a record in a trie: a keyed hash, or a handle padded with zeros.
pub type RecordKey = [u8; 32];

/// Name of a page of the key tree.
pub fn tree_page(number: &PageId) -> Vec<u8> {
    id(TREE, number)
}

/// Name of a page of another kind.
pub fn id(kind: u8, name: &[u8]) -> Vec<u8> {
    [&[kind], name].concat()
}

/// Key of a handle's record.
pub fn handle_key(handle: Handle) -> RecordKey {
    let mut key = [0; 32];
    for (byte, part) in key.iter_mut().zip(handle.0) {
        *byte = part;
    }
    key
}

/// The root page: which top page the tree has, and which root key opens it.
pub struct RootPage {
    /// The root key under which the top page's key is wrapped.
    pub epoch: KeyEpoch,
    /// Number of the top page.
    pub top: PageId,
    /// The top page's key, wrapped.
    pub wrapped: Vec<u8>,
}

impl RootPage {
    /// Encodes the page: magic, epoch, number of the top page, its wrapped key.
    pub fn encode(&self) -> Vec<u8> {
        [ROOT_MAGIC.as_slice(), &self.epoch.to_be_bytes(), &self.top, &self.wrapped].concat()
    }

    /// Decodes the page.
    pub fn decode(page: &[u8]) -> Result<Self, VaultError> {
        let rest = page.strip_prefix(ROOT_MAGIC).ok_or(VaultError::Page)?;
        let (epoch, rest) = rest.split_first_chunk::<8>().ok_or(VaultError::Page)?;
        let (top, wrapped) = rest.split_first_chunk::<16>().ok_or(VaultError::Page)?;
        let epoch = u64::from_be_bytes(*epoch);
        Ok(Self { epoch, top: *top, wrapped: wrapped.to_vec() })
    }
}

/// The secrets of a subject that are left.
#[derive(Clone, Default)]
pub struct SubjectSecrets {
    /// The nodes that remain of the subject's puncturable tree, oldest first.
    pub cover: Vec<Node>,
    /// `None` if an earlier version of the ledger stored the subject, and their id was not seen since.
    pub link: Option<MapLink>,
}

/// Encodes a subject's record: the handle, the link to the subject map, then each node of the cover (depth,
/// index, key), oldest first.
pub fn encode_subject(handle: Handle, secrets: &SubjectSecrets) -> Zeroizing<Vec<u8>> {
    let SubjectSecrets { cover, link } = secrets;
    // Allocated with its full capacity: a vector that grows leaves copies of the keys in memory.
    let nodes = cover.len().saturating_add(2);
    let bytes = nodes.saturating_mul(NODE_BYTES).saturating_add(handle.0.len());
    let mut page = Zeroizing::new(Vec::with_capacity(bytes));
    page.extend_from_slice(&handle.0);
    if let Some(link) = link {
        for (mark, part) in [(LABEL, &link.label().0), (BLINDING, link.blinding())] {
            page.push(mark);
            page.extend_from_slice(&0_u64.to_be_bytes());
            page.extend_from_slice(part);
        }
    }
    for node in cover {
        page.push(node.renewed_from.map_or(node.depth, |_| RENEWAL));
        page.extend_from_slice(&node.renewed_from.unwrap_or(node.index).to_be_bytes());
        page.extend_from_slice(&node.key);
    }
    page
}

/// Decodes a subject's record.
pub fn decode_subject(page: &[u8]) -> Result<(Handle, SubjectSecrets), VaultError> {
    let (handle, rest) = page.split_first_chunk::<16>().ok_or(VaultError::Page)?;
    let (nodes, leftover) = rest.as_chunks::<NODE_BYTES>();
    let (link, nodes) = match nodes {
        [label, blinding, nodes @ ..] if label.first() == Some(&LABEL) => {
            let (label, blinding) = (marked(label, LABEL)?, marked(blinding, BLINDING)?);
            (Some(MapLink::new(&Label(*label), SecretBytes::copy_of(blinding))), nodes)
        }
        nodes => (None, nodes),
    };
    if !leftover.is_empty() {
        return Err(VaultError::Page);
    }
    let node = |bytes: &[u8; NODE_BYTES]| {
        let (depth, rest) = bytes.split_first()?;
        let (index, key) = rest.split_first_chunk::<8>()?;
        let (number, key) = (u64::from_be_bytes(*index), key.try_into().ok()?);
        let node = match *depth {
            RENEWAL => Node::renewal(number, &key),
            depth => Node { depth, index: number, key, renewed_from: None },
        };
        node.is_valid().then_some(node)
    };
    let cover: Option<Vec<Node>> = nodes.iter().map(node).collect();
    Ok((Handle(*handle), SubjectSecrets { cover: cover.ok_or(VaultError::Page)?, link }))
}

/// The 32 bytes after a mark and an index of 0.
fn marked(bytes: &[u8; NODE_BYTES], mark: u8) -> Result<&[u8; 32], VaultError> {
    match bytes {
        [found, 0, 0, 0, 0, 0, 0, 0, 0, part @ ..] if *found == mark => {
            part.first_chunk().ok_or(VaultError::Page)
        }
        _ => Err(VaultError::Page),
    }
}

/// The key that seals the details of an erasure. The store does not have the id of the request, so only those
/// who were given it can open them.
pub fn details_key(request: &[u8; 16]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(
        Sha256::new_with_prefix("sayso erasure details v1").chain_update(request).finalize().into(),
    )
}

/// Decodes a number.
pub fn decode_number(page: &[u8]) -> Result<u64, VaultError> {
    page.try_into().map(u64::from_be_bytes).map_err(|_| VaultError::Page)
}

/// Decodes a keyed hash.
pub fn decode_hash(page: &[u8]) -> Result<Hash, VaultError> {
    page.try_into().map_err(|_| VaultError::Page)
}
