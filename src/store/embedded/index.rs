//! What finds entries, in sled: one tree, prefixes. Everything here is rebuilt from the segments where it lags.
//!
//! | key | value |
//! | --- | --- |
//! | `s` handle version | position |
//! | `i` idempotency hash | first position, count |
//! | `x` further key | further value |
//! | `p` position | the further keys written with that entry |
//! | `m` | positions done: entries indexed, further records complete |

use super::database::{BATCH_OPERATIONS_MAX, Database};
use crate::store::{IndexRecord, NewEntry, StoreError};
use sayso_proof::entry::{self, Handle};
use sayso_proof::merkle::Hash;
use sled::Batch;
use std::path::Path;

const DONE: &[u8] = b"m";

/// The index.
pub struct Index {
    database: Database,
}

/// How far the index reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Entries below are found.
    pub entries: u64,
    /// Further records of entries below are there.
    pub further: u64,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..at.saturating_add(8)).and_then(|field| field.try_into().ok());
    field.map_or(0, u64::from_be_bytes)
}

fn subject_key(handle: Handle, version: u64) -> Vec<u8> {
    [b"s".as_slice(), &handle.0, &version.to_be_bytes()].concat()
}

fn idempotency_key(hash: &Hash) -> Vec<u8> {
    [b"i".as_slice(), hash].concat()
}

fn further_key(key: &[u8]) -> Vec<u8> {
    [b"x", key].concat()
}

fn keys_of_key(position: u64) -> Vec<u8> {
    [b"p".as_slice(), &position.to_be_bytes()].concat()
}

/// Keys as length-prefixed strings.
fn encode_keys(records: &[IndexRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, _) in records {
        bytes.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(key);
    }
    bytes
}

fn decode_keys(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let Some((key, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        keys.push(key.to_vec());
        bytes = rest;
    }
    keys
}

/// A batch that is applied in pieces, each of which leaves a true `done` behind.
struct Pieces<'a> {
    database: &'a Database,
    batch: Batch,
    operations: usize,
}

impl Pieces<'_> {
    fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.batch.insert(key, value);
        self.operations = self.operations.saturating_add(1);
    }

    fn remove(&mut self, key: Vec<u8>) {
        self.batch.remove(key);
        self.operations = self.operations.saturating_add(1);
    }

    fn apply(&mut self, done: Option<Done>) -> Result<(), StoreError> {
        if let Some(done) = done {
            let value = [done.entries.to_be_bytes(), done.further.to_be_bytes()].concat();
            self.batch.insert(DONE, value);
        }
        self.operations = 0;
        self.database.apply(std::mem::take(&mut self.batch))
    }

    fn apply_if_full(&mut self, done: Option<Done>) -> Result<(), StoreError> {
        if self.operations >= BATCH_OPERATIONS_MAX { self.apply(done) } else { Ok(()) }
    }
}

impl Index {
    /// Opens or makes the index.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        Ok(Self { database: Database::open(dir, cache_bytes)? })
    }

    fn pieces(&self) -> Pieces<'_> {
        Pieces { database: &self.database, batch: Batch::default(), operations: 0 }
    }

    /// How far it reaches.
    pub fn done(&self) -> Result<Done, StoreError> {
        let value = self.database.get(DONE)?.unwrap_or_default();
        Ok(Done { entries: number(&value, 0), further: number(&value, 8) })
    }

    /// Says how far it reaches.
    pub fn set_done(&self, done: Done) -> Result<(), StoreError> {
        self.pieces().apply(Some(done))
    }

    /// Adds a committed frame's entries, the first of which stands at `first`.
    pub fn add(&self, first: u64, entries: &[NewEntry], further_complete: bool) -> Result<(), StoreError> {
        let before = self.done()?.further;
        let mut pieces = self.pieces();
        let count = entries.len();
        let mut idempotent: Option<(&Hash, u64, u32)> = None;
        for (entry, position) in entries.iter().zip(first..) {
            pieces.insert(subject_key(entry.handle, entry.version), position.to_be_bytes().to_vec());
            if let Some(hash) = &entry.idempotency {
                let (_, start, length) =
                    idempotent.filter(|(same, ..)| *same == hash).unwrap_or((hash, position, 0));
                idempotent = Some((hash, start, length.saturating_add(1)));
                let value =
                    [start.to_be_bytes().as_slice(), &length.saturating_add(1).to_be_bytes()].concat();
                pieces.insert(idempotency_key(hash), value);
            }
            self.add_further(&mut pieces, position, &entry.index);
            let end = position.saturating_add(1);
            let further = if further_complete { end } else { before };
            pieces.apply_if_full(Some(Done { entries: end, further }))?;
        }
        let end = first.saturating_add(count as u64);
        pieces.apply(Some(Done { entries: end, further: if further_complete { end } else { before } }))
    }

    /// Adds one entry that was committed before, without its further records.
    pub fn add_again(&self, position: u64, entry: &NewEntry, further: u64) -> Result<(), StoreError> {
        let mut pieces = self.pieces();
        pieces.insert(subject_key(entry.handle, entry.version), position.to_be_bytes().to_vec());
        if let Some(hash) = &entry.idempotency {
            let (first, count) = match self.idempotent(hash)? {
                Some((first, count)) if first.saturating_add(u64::from(count)) == position => (first, count),
                _ => (position, 0),
            };
            let value = [first.to_be_bytes().as_slice(), &count.saturating_add(1).to_be_bytes()].concat();
            pieces.insert(idempotency_key(hash), value);
        }
        pieces.apply(Some(Done { entries: position.saturating_add(1), further }))
    }

    fn add_further(&self, pieces: &mut Pieces<'_>, position: u64, records: &[IndexRecord]) {
        for (key, value) in records {
            pieces.insert(further_key(key), value.clone());
        }
        if !records.is_empty() {
            pieces.insert(keys_of_key(position), encode_keys(records));
        }
    }

    /// Gives further records back.
    pub fn restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError> {
        let mut pieces = self.pieces();
        for (position, records) in records {
            self.add_further(&mut pieces, *position, records);
            pieces.apply_if_full(None)?;
        }
        let entries = self.done()?.entries;
        pieces.apply(Some(Done { entries, further: done_to }))?;
        self.database.flush()
    }

    /// Forgets entries (position and bytes), durably.
    pub fn remove(&self, entries: &[(u64, Vec<u8>)]) -> Result<(), StoreError> {
        let mut pieces = self.pieces();
        for (position, bytes) in entries {
            let header = entry::parse_header(bytes)
                .map_err(|_| StoreError::Damaged { what: "entry", place: format!("position {position}") })?;
            pieces.remove(subject_key(header.handle, header.version));
            if let Some(hash) = &header.idempotency {
                pieces.remove(idempotency_key(hash));
            }
            for key in decode_keys(&self.database.get(&keys_of_key(*position))?.unwrap_or_default()) {
                pieces.remove(further_key(&key));
            }
            pieces.remove(keys_of_key(*position));
            pieces.apply_if_full(None)?;
        }
        pieces.apply(None)?;
        self.database.flush()
    }

    /// (version, position) of a subject's entries.
    pub fn subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        let prefix = [b"s".as_slice(), &handle.0].concat();
        let after = start.checked_sub(1).map(|before| subject_key(handle, before));
        let found = self.database.scan(&prefix, after.as_deref(), count)?;
        Ok(found.iter().map(|(key, value)| (number(key, 17), number(value, 0))).collect())
    }

    /// (version, position) of a subject's newest entry.
    pub fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        let start = subject_key(handle, 0);
        let end = [subject_key(handle, u64::MAX), vec![0]].concat();
        let last = self.database.last(&start, &end)?;
        Ok(last.map(|(key, value)| (number(&key, 17), number(&value, 0))))
    }

    /// First position and count of a request.
    pub fn idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError> {
        let value = self.database.get(&idempotency_key(hash))?;
        Ok(value.map(|value| {
            let count =
                value.get(8..12).and_then(|field| field.try_into().ok()).map_or(0, u32::from_be_bytes);
            (number(&value, 0), count)
        }))
    }

    /// One further value.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get(&further_key(key))
    }

    /// Further records in order.
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        let after = after.map(further_key);
        let found = self.database.scan(&further_key(prefix), after.as_deref(), count)?;
        let strip = |(key, value): (Vec<u8>, _)| (key.get(1..).unwrap_or_default().to_vec(), value);
        Ok(found.into_iter().map(strip).collect())
    }

    /// Makes everything durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.database.flush()
    }
}
