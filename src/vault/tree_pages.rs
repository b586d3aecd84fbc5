//! The pages of the key tree, which holds people's keys (see `mod.rs`): one top page, interior pages, leaf
//! pages, and the links between them.
//!
//! The top page links to two tries (search trees in which each level uses the next four bits of the hash
//! or handle that is looked up). An interior page has up to 16 children. One trie finds data subjects by
//! the keyed hash of their id, the other by their handle. These hashes and handles are random, so the
//! tries stay balanced by themselves.

use super::error::VaultError;
use super::fences::MomentsKey;
use super::pages::{self, PAGE_ID_BYTES, PageId, RecordKey};
use crate::clock::Clock;
use crate::secret::SecretBytes;
use zeroize::Zeroizing;

/// Children of an interior page: one for each value of four bits.
pub const FANOUT: usize = 16;
/// A leaf page with more bytes than this is split, unless it has only one record.
pub const LEAF_BYTES_MAX: usize = 4_096;
/// Levels of a trie at most: each consumes four bits of a 256-bit key.
pub const LEVELS_MAX: usize = 64;

const LINK_BYTES: usize = PAGE_ID_BYTES + 32;
const TOP: u8 = 1;
const INTERIOR: u8 = 2;
const LEAF: u8 = 3;
const TOP_WITH_MOMENTS: u8 = 4;
/// Bytes of a moments key and its day.
const MOMENTS_BYTES: usize = 32 + 8;
/// Bytes of a record besides its value: key and length.
const RECORD_BYTES: usize = 32 + 4;

/// Number of a page and the key that opens it. Only the parent page stores it.
#[derive(Clone)]
pub struct Link {
    /// Number of the page.
    pub id: PageId,
    /// Key that opens the page.
    pub key: SecretBytes,
}

impl Link {
    /// A link to a new page, with a fresh number and a fresh key.
    pub fn fresh(clock: &dyn Clock) -> Self {
        let mut link = Self { id: [0; PAGE_ID_BYTES], key: SecretBytes::random(clock) };
        clock.fill(&mut link.id);
        link
    }

    /// The page's name in the key store.
    pub fn name(&self) -> Vec<u8> {
        pages::tree_page(&self.id)
    }
}

/// The two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trie {
    /// From the keyed hash of a subject's id to its handle and keys.
    Subjects,
    /// From a handle to the keyed hash of the subject's id.
    Handles,
}

/// The top page, the only page whose key the root key wraps.
#[derive(Clone)]
pub struct TopPage {
    /// Seals the exact times of the newest erasures. `None` before the first erasure of a subject.
    pub moments: Option<MomentsKey>,
    /// Key that seals the vault's own pages. A re-keying (replacement of the root key) keeps this key, but
    /// not the keys of tree pages above a destroyed record.
    pub own: SecretBytes,
    /// The trie of subjects; `None` while it is empty.
    pub subjects: Option<Link>,
    /// The trie of handles; `None` while it is empty.
    pub handles: Option<Link>,
}

impl TopPage {
    /// The top page of an empty tree.
    pub fn fresh(clock: &dyn Clock) -> Self {
        Self { moments: None, own: SecretBytes::random(clock), subjects: None, handles: None }
    }

    /// The first page of a trie.
    pub fn root(&self, trie: Trie) -> Option<&Link> {
        match trie {
            Trie::Subjects => self.subjects.as_ref(),
            Trie::Handles => self.handles.as_ref(),
        }
    }

    /// Encodes the page: kind, own key, moments key with its day if there is one, one bit for each trie that
    /// is not empty, links.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut page = Zeroizing::new(Vec::with_capacity(1 + 32 + MOMENTS_BYTES + 1 + 2 * LINK_BYTES));
        page.push(if self.moments.is_some() { TOP_WITH_MOMENTS } else { TOP });
        page.extend_from_slice(self.own.as_slice());
        if let Some(moments) = &self.moments {
            page.extend_from_slice(moments.key.as_slice());
            page.extend_from_slice(&moments.day_ms.to_be_bytes());
        }
        let present = u8::from(self.subjects.is_some()) | u8::from(self.handles.is_some()) << 1;
        page.push(present);
        for link in [&self.subjects, &self.handles].into_iter().flatten() {
            push_link(&mut page, link);
        }
        page
    }

    /// Decodes the page.
    pub fn decode(page: &[u8]) -> Result<Self, VaultError> {
        let (kind, rest) = page.split_first().ok_or(VaultError::Page)?;
        let (own, rest) = rest.split_first_chunk::<32>().ok_or(VaultError::Page)?;
        let (moments, rest) = match *kind {
            TOP => (None, rest),
            TOP_WITH_MOMENTS => take_moments(rest).map(|(moments, rest)| (Some(moments), rest))?,
            _ => return Err(VaultError::Page),
        };
        let (present, mut rest) = rest.split_first().ok_or(VaultError::Page)?;
        let mut link = |bit: u8| if present & bit == 0 { Ok(None) } else { take_link(&mut rest).map(Some) };
        let (subjects, handles) = (link(1)?, link(2)?);
        if *present > 3 || !rest.is_empty() {
            return Err(VaultError::Page);
        }
        Ok(Self { moments, own: SecretBytes::copy_of(own), subjects, handles })
    }
}

/// Decodes a moments key and its day at the start of bytes. Returns the rest of the bytes too.
fn take_moments(page: &[u8]) -> Result<(MomentsKey, &[u8]), VaultError> {
    let (key, rest) = page.split_first_chunk::<32>().ok_or(VaultError::Page)?;
    let (day, rest) = rest.split_first_chunk().ok_or(VaultError::Page)?;
    Ok((MomentsKey { day_ms: u64::from_be_bytes(*day), key: SecretBytes::copy_of(key) }, rest))
}

/// An interior page: links to the pages below.
#[derive(Clone, Default)]
pub struct Interior {
    /// Links by the next four bits of a record's key.
    pub children: [Option<Link>; FANOUT],
}

/// A record of one subject or one handle.
pub struct Record {
    /// The record's key.
    pub key: RecordKey,
    /// The record's value.
    pub value: Zeroizing<Vec<u8>>,
}

/// A page of a trie.
pub enum Page {
    /// Links to the pages below.
    Interior(Box<Interior>),
    /// Records in ascending order of their keys.
    Leaf(Vec<Record>),
}

impl Page {
    /// Decodes an interior or leaf page.
    pub fn decode(page: &[u8]) -> Result<Self, VaultError> {
        match page.split_first().ok_or(VaultError::Page)? {
            (&INTERIOR, rest) => decode_interior(rest).map(|interior| Self::Interior(Box::new(interior))),
            (&LEAF, rest) => decode_leaf(rest).map(Self::Leaf),
            _ => Err(VaultError::Page),
        }
    }
}

/// Encodes an interior page: kind, one bit a child (the lowest bit is the first child), links of the children
/// present.
pub fn encode_interior(interior: &Interior) -> Zeroizing<Vec<u8>> {
    let mut page = Zeroizing::new(Vec::with_capacity(1 + 2 + FANOUT * LINK_BYTES));
    let present = interior.children.iter().enumerate().filter(|(_, child)| child.is_some());
    let present = present.fold(0_u16, |bits, (place, _)| bits | 1 << place);
    page.push(INTERIOR);
    page.extend_from_slice(&present.to_be_bytes());
    for link in interior.children.iter().flatten() {
        push_link(&mut page, link);
    }
    page
}

fn decode_interior(page: &[u8]) -> Result<Interior, VaultError> {
    let (present, mut rest) = page.split_first_chunk::<2>().ok_or(VaultError::Page)?;
    let present = u16::from_be_bytes(*present);
    let mut interior = Interior::default();
    for (place, child) in interior.children.iter_mut().enumerate() {
        if present >> place & 1 == 1 {
            *child = Some(take_link(&mut rest)?);
        }
    }
    if rest.is_empty() { Ok(interior) } else { Err(VaultError::Page) }
}

/// Size of a leaf page with these records, bytes.
pub fn leaf_bytes(records: &[Record]) -> usize {
    records.iter().map(|record| RECORD_BYTES + record.value.len()).sum::<usize>() + 1
}

/// Encodes a leaf page: kind, then key, length and value of each record.
pub fn encode_leaf(records: &[Record]) -> Zeroizing<Vec<u8>> {
    let mut page = Zeroizing::new(Vec::with_capacity(leaf_bytes(records)));
    page.push(LEAF);
    for record in records {
        page.extend_from_slice(&record.key);
        // A page is far below 4 GiB: the store refuses larger ones.
        page.extend_from_slice(&u32::try_from(record.value.len()).unwrap_or(u32::MAX).to_be_bytes());
        page.extend_from_slice(&record.value);
    }
    page
}

fn decode_leaf(mut rest: &[u8]) -> Result<Vec<Record>, VaultError> {
    let mut records: Vec<Record> = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_first_chunk::<32>().ok_or(VaultError::Page)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or(VaultError::Page)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| VaultError::Page)?;
        let (value, after) = after.split_at_checked(length).ok_or(VaultError::Page)?;
        if records.last().is_some_and(|last| last.key >= *key) {
            return Err(VaultError::Page);
        }
        records.push(Record { key: *key, value: Zeroizing::new(value.to_vec()) });
        rest = after;
    }
    Ok(records)
}

fn push_link(page: &mut Vec<u8>, link: &Link) {
    page.extend_from_slice(&link.id);
    page.extend_from_slice(link.key.as_slice());
}

fn take_link(rest: &mut &[u8]) -> Result<Link, VaultError> {
    let (id, after) = rest.split_first_chunk::<PAGE_ID_BYTES>().ok_or(VaultError::Page)?;
    let (key, after) = after.split_first_chunk::<32>().ok_or(VaultError::Page)?;
    *rest = after;
    Ok(Link { id: *id, key: SecretBytes::copy_of(key) })
}

/// Returns the four bits of a key at a level.
pub fn nibble(key: &RecordKey, level: usize) -> usize {
    let byte = key.get(level / 2).copied().unwrap_or_default();
    usize::from(if level.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f })
}
