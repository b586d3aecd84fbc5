//! The format of index records, and a sum over all of them that reveals missing ones. A *custom key* is a
//! key that the ledger chose; the store chose all others.
//!
//! | key | value |
//! | --- | --- |
//! | `s` handle, chunk | positions of the subject's entries for the versions in the chunk |
//! | `i` idempotency hash | position of the request's first entry, and number of positions up to its last |
//! | `x` custom key | positions and values of this and the following custom keys ([`super::runs`]) |
//! | `p` position / 64, part | for each entry at one of 64 positions, its custom keys ([`super::lists`]) |
//! | `q` | number of indexed entries; the sum over the records does not include this record |
//!
//! The number of indexed entries is written only when all these entries are durable in the segments. So a log
//! with fewer entries than this number has lost some.
//!
//! The *version* of an entry is its number among the subject's entries. The chunk is the version divided
//! by [`CHUNK_VERSIONS`], rounded down. If the subject has no entry with a certain version of a chunk, all
//! bits of the position for that version are set. An entry whose bytes were destroyed is *discarded*. In
//! an `i` record, a discarded entry does not count as the first or last entry of the request.
//!
//! Numbers are big-endian.

use crate::store::IndexRecord;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;

/// Key of the number of indexed entries.
///
/// Earlier formats had this number under another key: `m` when `s` had a record for each version, `n` when
/// `p` had one for each position, `o` when `x` had one for each key. So an index in an earlier format counts
/// as empty and is rebuilt.
pub const INDEXED: &[u8] = b"q";

/// The first byte of the keys of custom records, which the ledger chooses.
pub const CUSTOM: u8 = b'x';

/// Number of versions in one record of a subject. One lookup finds the whole history of most subjects, and
/// sled has fewer records to keep.
pub const CHUNK_VERSIONS: u64 = if cfg!(test) { 4 } else { 64 };

/// Marks a version without an entry.
const NONE: u64 = u64::MAX;

/// The number at an offset; 0 if the bytes are too short.
pub fn number(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..at.saturating_add(8)).and_then(|field| field.try_into().ok());
    field.map_or(0, u64::from_be_bytes)
}

/// Key of the record that holds a subject's entry of this version.
pub fn chunk_key(handle: Handle, version: u64) -> Vec<u8> {
    [b"s".as_slice(), &handle.0, &(version / CHUNK_VERSIONS).to_be_bytes()].concat()
}

/// The prefix of all keys of a subject.
pub fn subject_prefix(handle: Handle) -> Vec<u8> {
    [b"s".as_slice(), &handle.0].concat()
}

/// What a subject's entry adds to the sum over all records. A record with several entries adds as much as if
/// each entry had its own record.
pub fn subject_sum(handle: Handle, version: u64, position: u64) -> u64 {
    let mut key = *b"s........................";
    key[1..17].copy_from_slice(&handle.0);
    key[17..].copy_from_slice(&version.to_be_bytes());
    sum(&key, &position.to_be_bytes())
}

/// Positions of a subject's entries of consecutive versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The subject.
    pub handle: Handle,
    first: u64,
    positions: Vec<u64>,
}

impl Chunk {
    /// Decodes the record with this key. Without a record, the chunk is empty.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Self {
        let handle = key.get(1..17).and_then(|field| field.try_into().ok()).map(Handle);
        let words = value.unwrap_or_default().as_chunks::<8>().0;
        Self {
            handle: handle.unwrap_or(Handle::SYSTEM),
            first: number(key, 17).saturating_mul(CHUNK_VERSIONS),
            positions: words.iter().map(|word| u64::from_be_bytes(*word)).collect(),
        }
    }

    /// The value of the record; `None` if the chunk is empty.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let last = self.positions.iter().rposition(|position| *position != NONE)?;
        let positions = self.positions.iter().take(last.saturating_add(1));
        Some(positions.flat_map(|position| position.to_be_bytes()).collect())
    }

    /// (version, position) of the entries in this chunk.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        let numbered = self.positions.iter().enumerate();
        let present = numbered.filter(|(_, position)| **position != NONE);
        present.map(|(at, position)| (self.first.saturating_add(at as u64), *position))
    }

    /// Sets or removes the position of a version. Does nothing for a version of another chunk.
    pub fn set(&mut self, version: u64, position: Option<u64>) {
        let Some(at) = version.checked_sub(self.first).filter(|at| *at < CHUNK_VERSIONS) else { return };
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if self.positions.len() <= at {
            self.positions.resize(at.saturating_add(1), NONE);
        }
        if let Some(slot) = self.positions.get_mut(at) {
            *slot = position.unwrap_or(NONE);
        }
    }

    /// The position of a version.
    pub fn get(&self, version: u64) -> Option<u64> {
        self.entries().find(|(each, _)| *each == version).map(|(_, position)| position)
    }
}

/// Key of the record of a request.
pub fn idempotency_key(hash: &Hash) -> Vec<u8> {
    [b"i".as_slice(), hash].concat()
}

/// The positions of a request: the first, and their number.
pub type Span = (u64, u32);

/// Encodes a span as the value of a record.
pub fn encode_span((first, count): Span) -> Vec<u8> {
    [first.to_be_bytes().as_slice(), &count.to_be_bytes()].concat()
}

/// Decodes a span.
pub fn decode_span(value: &[u8]) -> Span {
    let count = value.get(8..12).and_then(|field| field.try_into().ok());
    (number(value, 0), count.map_or(0, u32::from_be_bytes))
}

/// Key of a custom record in the index.
pub fn custom_key(key: &[u8]) -> Vec<u8> {
    [&[CUSTOM], key].concat()
}

/// Value of a custom record in the index.
pub fn custom_value(position: u64, value: &[u8]) -> Vec<u8> {
    [&position.to_be_bytes(), value].concat()
}

/// A custom record as the ledger wrote it.
pub fn custom_record((key, value): IndexRecord) -> IndexRecord {
    (key.get(1..).unwrap_or_default().to_vec(), value.get(8..).unwrap_or_default().to_vec())
}

/// Encodes the keys of records, each with its length.
pub fn encode_keys<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for key in keys {
        bytes.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(key);
    }
    bytes
}

/// Decodes keys.
pub fn decode_keys(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let Some((key, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        keys.push(key.to_vec());
        bytes = rest;
    }
    keys
}

/// Whether a record is a chunk of a subject.
pub fn is_chunk(key: &[u8]) -> bool {
    key.first() == Some(&b's')
}

/// Position of the entry to which the record of a request belongs; `None` for any other record.
pub fn position_of(key: &[u8], value: &[u8]) -> Option<u64> {
    key.starts_with(b"i").then(|| number(value, 0))
}

/// What a record adds to the sum over all records: FNV-1a over key and value, then mixed.
///
/// The order of the records does not matter. A lost, duplicate or outdated record changes the sum. The sum
/// protects against accidents, not against attacks.
pub fn sum(key: &[u8], value: &[u8]) -> u64 {
    let length = (key.len() as u64).to_be_bytes();
    let bytes = length.iter().chain(key).chain(value);
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 33
}
