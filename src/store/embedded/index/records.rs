//! The index's records: their bytes, whose they are, and a sum that tells whether any is missing.
//!
//! | key | value |
//! | --- | --- |
//! | `s` handle chunk | positions of the subject's entries of these versions, in order; all ones where there is none |
//! | `i` idempotency hash | position of the first entry of the request that is there, and how many up to the last |
//! | `x` further key | position, further value: of this key and those that follow ([`super::runs`]) |
//! | `p` positions | the further keys written with each of these entries ([`super::lists`]) |
//! | `q` | entries indexed: not in the sum, it only says that so many had been durable |
//!
//! Numbers are big-endian.

use crate::store::IndexRecord;
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;

/// Key of the number of entries indexed. Another letter than when `s` had a record for each version (`m`), `p` for each
/// position (`n`), or `x` for each key (`o`): an index of then counts as empty and is rebuilt.
pub const DONE: &[u8] = b"q";

/// What keys of further records begin with.
pub const FURTHER: u8 = b'x';

/// Versions in one record of a subject: one look-up finds most people's whole history, and sled holds a record for so
/// many entries.
pub const CHUNK: u64 = if cfg!(test) { 4 } else { 64 };

/// Stands for a version that is not there.
const NONE: u64 = u64::MAX;

/// The number at an offset, 0 where there is none.
pub fn number(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..at.saturating_add(8)).and_then(|field| field.try_into().ok());
    field.map_or(0, u64::from_be_bytes)
}

/// Key of the record that holds a subject's entry of this version.
pub fn chunk_key(handle: Handle, version: u64) -> Vec<u8> {
    [b"s".as_slice(), &handle.0, &(version / CHUNK).to_be_bytes()].concat()
}

/// What all keys of a subject begin with.
pub fn subject_prefix(handle: Handle) -> Vec<u8> {
    [b"s".as_slice(), &handle.0].concat()
}

/// The share of the sum of a subject's entry: as if it had a record of its own.
pub fn subject_sum(handle: Handle, version: u64, position: u64) -> u64 {
    let mut key = *b"s........................";
    key[1..17].copy_from_slice(&handle.0);
    key[17..].copy_from_slice(&version.to_be_bytes());
    sum(&key, &position.to_be_bytes())
}

/// Positions of a subject's entries of consecutive versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Whose.
    pub handle: Handle,
    first: u64,
    positions: Vec<u64>,
}

impl Chunk {
    /// The record with this key, as it is, or where there is none, with nothing in it.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Self {
        let handle = key.get(1..17).and_then(|field| field.try_into().ok()).map(Handle);
        let words = value.unwrap_or_default().as_chunks::<8>().0;
        Self {
            handle: handle.unwrap_or(Handle::SYSTEM),
            first: number(key, 17).saturating_mul(CHUNK),
            positions: words.iter().map(|word| u64::from_be_bytes(*word)).collect(),
        }
    }

    /// The value; none where nothing is left in it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let last = self.positions.iter().rposition(|position| *position != NONE)?;
        let positions = self.positions.iter().take(last.saturating_add(1));
        Some(positions.flat_map(|position| position.to_be_bytes()).collect())
    }

    /// (version, position) of what is there.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        let numbered = self.positions.iter().enumerate();
        let there = numbered.filter(|(_, position)| **position != NONE);
        there.map(|(at, position)| (self.first.saturating_add(at as u64), *position))
    }

    /// Puts the position of a version in, or takes it out; versions of other chunks are left alone.
    pub fn set(&mut self, version: u64, position: Option<u64>) {
        let Some(at) = version.checked_sub(self.first).filter(|at| *at < CHUNK) else { return };
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

/// Key of a request.
pub fn idempotency_key(hash: &Hash) -> Vec<u8> {
    [b"i".as_slice(), hash].concat()
}

/// First position and number of positions of a request.
pub type Span = (u64, u32);

/// A span's value.
pub fn encode_span((first, count): Span) -> Vec<u8> {
    [first.to_be_bytes().as_slice(), &count.to_be_bytes()].concat()
}

/// A span from its value.
pub fn decode_span(value: &[u8]) -> Span {
    let count = value.get(8..12).and_then(|field| field.try_into().ok());
    (number(value, 0), count.map_or(0, u32::from_be_bytes))
}

/// Key of a further record.
pub fn further_key(key: &[u8]) -> Vec<u8> {
    [&[FURTHER], key].concat()
}

/// Value of a further record.
pub fn further_value(position: u64, value: &[u8]) -> Vec<u8> {
    [&position.to_be_bytes(), value].concat()
}

/// A further record as its owner gave it.
pub fn further_record((key, value): IndexRecord) -> IndexRecord {
    (key.get(1..).unwrap_or_default().to_vec(), value.get(8..).unwrap_or_default().to_vec())
}

/// Keys as length-prefixed strings.
pub fn encode_keys(records: &[IndexRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, _) in records {
        bytes.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(key);
    }
    bytes
}

/// Keys from length-prefixed strings.
pub fn decode_keys(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let Some((key, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        keys.push(key.to_vec());
        bytes = rest;
    }
    keys
}

/// Whether a record is a subject's chunk.
pub fn is_chunk(key: &[u8]) -> bool {
    key.first() == Some(&b's')
}

/// Position of the entry that the record of a request belongs to; `None` for the index's own.
pub fn position_of(key: &[u8], value: &[u8]) -> Option<u64> {
    key.starts_with(b"i").then(|| number(value, 0))
}

/// One record's share of the sum over all: FNV-1a over key and value, then spread, so that shares add up without order
/// and a lost, doubled or outdated record shows. Guards against accidents, not against design.
pub fn sum(key: &[u8], value: &[u8]) -> u64 {
    let length = (key.len() as u64).to_be_bytes();
    let bytes = length.iter().chain(key).chain(value);
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 33
}
