//! The index. It finds entries by subject and by request. It also keeps custom index records: keys and
//! values that the ledger stores together with an entry.
//!
//! A commit adds records in memory (`pending`). [`Index::settle`] moves them into sled, an embedded database,
//! where one tree holds all kinds of records (`records`). After a crash the index is brought up to date from
//! the segments, except for custom records: only the ledger can restore them.

mod batches;
mod lists;
mod pending;
mod records;
mod runs;
mod sled;
mod verify;

pub use records::Span;

use self::sled::Database;
use super::watermark::Extent;
use crate::store::{IndexRecord, NewEntry, StoreError};
use batches::Batches;
use lists::ListChanges;
use pending::{Generation, Pending};
use records::{Chunk, INDEXED};
use runs::RunChanges;
use sayso_proof::entry::{Handle, Header};
use sayso_proof::merkle::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// With more pending records than this, settling does not pause.
const PAUSING_RECORDS_MAX: usize = 65_536;

/// Number of chunks of a subject in one read. A chunk is a record with the positions of consecutive versions.
const CHUNKS_READ: usize = 16;

/// Whether the records are settled with pauses between batches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pauses {
    Never,
    Allowed,
}

/// The index.
pub struct Index {
    database: Database,
    pending: Pending,
    /// Locked while records are brought into sled.
    settle_lock: Mutex<()>,
    /// Number of callers that wait for [`Index::settle`].
    waiting: AtomicUsize,
}

/// The indexed fields of an entry.
pub struct IndexedEntry<'a> {
    /// The subject.
    pub handle: Handle,
    /// Version within the subject.
    pub version: u64,
    /// Keyed hash of the request's idempotency key.
    pub idempotency: Option<Hash>,
    /// Custom records.
    pub custom: &'a [IndexRecord],
}

impl<'a> From<&'a NewEntry> for IndexedEntry<'a> {
    fn from(entry: &'a NewEntry) -> Self {
        let NewEntry { handle, version, idempotency, ref index, .. } = *entry;
        Self { handle, version, idempotency, custom: index }
    }
}

/// A removal of records: the position of the entry that they belong to, and the amount to subtract from the
/// sum over all records.
pub type RemovedSum = (u64, u64);

/// Adds frames (each the entries of one request) to the index, both for commits and for recovery.
pub struct Adding<'a> {
    pending: pending::Adding<'a>,
    sum: u64,
}

impl Adding<'_> {
    /// Adds the entries of one frame; `first` is the position of the first entry. Discarded entries are
    /// `None`.
    pub fn frame<'b>(&mut self, first: u64, entries: impl Iterator<Item = Option<IndexedEntry<'b>>>) {
        let fresh = self.pending.fresh();
        let mut sum = 0_u64;
        let mut spans: BTreeMap<Hash, (u64, u64)> = BTreeMap::new();
        for (entry, position) in entries.zip(first..) {
            let Some(entry) = entry else { continue };
            sum = sum.wrapping_add(fresh.put_subject(entry.handle, entry.version, position));
            if let Some(hash) = entry.idempotency {
                spans.entry(hash).or_insert((position, position)).1 = position;
            }
            if !entry.custom.is_empty() {
                sum = sum.wrapping_add(fresh.put_list(
                    position,
                    records::encode_keys(entry.custom.iter().map(|(key, _)| key.as_slice())),
                ));
            }
            for (key, value) in encode_custom(position, entry.custom) {
                sum = sum.wrapping_add(fresh.put(key, value));
            }
        }
        for (hash, (from, to)) in spans {
            let value = records::encode_span(span(from, to));
            sum = sum.wrapping_add(fresh.put(records::idempotency_key(&hash), value));
        }
        self.sum = self.sum.wrapping_add(sum);
    }

    /// Makes the added records visible to readers, and returns their sum. `entries` is the number of indexed
    /// entries to store in sled with these records; with 0, the number in sled stays.
    pub fn finish(mut self, entries: u64) -> u64 {
        self.pending.fresh().entries = entries;
        self.sum
    }
}

/// The span from one position to another, both included.
pub fn span(from: u64, to: u64) -> Span {
    (from, u32::try_from(to.saturating_sub(from).saturating_add(1)).unwrap_or(u32::MAX))
}

/// The custom records of the entry at a position, encoded as in sled.
fn encode_custom(position: u64, index: &[IndexRecord]) -> impl Iterator<Item = IndexRecord> {
    index.iter().map(move |(key, value)| (records::custom_key(key), records::custom_value(position, value)))
}

impl Index {
    /// Opens or creates the index. It reserves space in steps of `step` bytes.
    pub fn open(dir: &Path, cache_bytes: u64, step: u64) -> Result<Self, StoreError> {
        let database = Database::open(dir, cache_bytes, step)?;
        Ok(Self {
            database,
            pending: Pending::default(),
            settle_lock: Mutex::default(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Makes the system read the index in this folder into its cache, before the index is opened and
    /// verified.
    pub fn read_ahead(dir: &Path) {
        Database::read_ahead(dir);
    }

    /// The number of indexed entries in sled. At least this many entries had been durable.
    pub fn entries(&self) -> Result<u64, StoreError> {
        Ok(self.database.get(INDEXED)?.map_or(0, |value| records::number(&value, 0)))
    }

    /// Starts to add frames.
    pub fn begin_adding(&self) -> Adding<'_> {
        Adding { pending: self.pending.begin_adding(), sum: 0 }
    }

    /// Number of added records, without those that are being brought into sled already.
    pub fn pending_records(&self) -> usize {
        self.pending.fresh_len()
    }

    /// Whether the index is correct for the entries in `extent`: it has all of their records and no wrong
    /// ones. If so, removes the records of later entries. The caller makes sure that no records are pending.
    pub fn verify_up_to(&self, extent: &Extent) -> Result<bool, StoreError> {
        verify::verify_up_to(&self.database, extent)
    }

    /// Brings the pending records into sled. They are durable only after [`Index::flush`].
    ///
    /// On a full device, records that are not in sled yet stay in memory and can still be found.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let settled = self.settle_all(Pauses::Never);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        settled
    }

    /// Does the same as [`Index::settle`], for a background thread. It pauses between batches while no caller
    /// waits, so that other threads can run.
    pub fn settle_with_pauses(&self) -> Result<(), StoreError> {
        self.settle_all(Pauses::Allowed)
    }

    fn settle_all(&self, pauses: Pauses) -> Result<(), StoreError> {
        let _one_at_a_time = self.settle_lock.lock().unwrap_or_else(PoisonError::into_inner);
        // This takes two rounds if an earlier attempt failed. The first round settles the records that were
        // left over, and the second settles those added since.
        for _ in 0..2 {
            let settling = self.pending.begin_settling();
            if settling.is_empty() {
                break;
            }
            self.settle_generation(&settling, pauses)?;
            self.pending.finish_settling();
        }
        Ok(())
    }

    fn settle_generation(&self, settling: &Generation, pauses: Pauses) -> Result<(), StoreError> {
        let may_pause = || pauses == Pauses::Allowed && self.may_pause();
        let mut batches = Batches::reserving(&self.database, &may_pause);
        let mut entries = settling.subjects.iter().peekable();
        while let Some(((handle, version), position)) = entries.next() {
            let key = records::chunk_key(*handle, *version);
            let mut chunk = self.chunk(&key)?;
            chunk.set(*version, Some(*position));
            let in_same_chunk = |other: &(&(Handle, u64), &u64)| {
                let (other_handle, other_version) = other.0;
                let number = |version: &u64| version / records::CHUNK_VERSIONS;
                other_handle == handle && number(other_version) == number(version)
            };
            while let Some(((_, version), position)) = entries.next_if(in_same_chunk) {
                chunk.set(*version, Some(*position));
            }
            batches.change(key, chunk.encode())?;
        }
        let mut lists = ListChanges::new(&self.database);
        for (position, list) in &settling.lists {
            lists.set(*position, Some(list.clone()))?;
        }
        lists.changes().try_for_each(|group| batches.change_at_once(group))?;
        // Each entry has a list of the keys of its custom records, stored by its position. The lists are
        // written before the records, so a discard finds every custom record that is in sled.
        let mut runs = RunChanges::new(&self.database);
        for (key, value) in &settling.others {
            if runs::is_run(key) {
                runs.set(key, Some(value.clone()))?;
            } else {
                batches.change(key.clone(), Some(value.clone()))?;
            }
        }
        runs.changes().try_for_each(|group| batches.change_at_once(group))?;
        // This number is written last, since it says that all records of these entries are in sled.
        if settling.entries > 0 {
            batches.change(INDEXED.to_vec(), Some(settling.entries.to_be_bytes().to_vec()))?;
        }
        batches.apply()
    }

    fn may_pause(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0 && self.pending_records() < PAUSING_RECORDS_MAX
    }

    fn chunk(&self, key: &[u8]) -> Result<Chunk, StoreError> {
        Ok(Chunk::decode(key, self.database.get(key)?.as_deref()))
    }

    /// Restores custom records, and returns the changes of the sum. Records that are there already stay. The
    /// restored records are not durable yet. The caller makes sure that no records are pending.
    pub fn restore(&self, records: &[(u64, Vec<IndexRecord>)]) -> Result<Vec<RemovedSum>, StoreError> {
        let mut batches = Batches::new(&self.database);
        let mut removed = Vec::new();
        let mut lists = ListChanges::new(&self.database);
        for (position, index) in records.iter().filter(|(_, index)| !index.is_empty()) {
            // The list keeps the records that it named before. Otherwise a discard would miss them.
            let previous = lists.set(*position, None)?;
            let keys = previous.as_deref().map(records::decode_keys).unwrap_or_default();
            let all: BTreeSet<&[u8]> =
                keys.iter().chain(index.iter().map(|(key, _)| key)).map(Vec::as_slice).collect();
            let list = records::encode_keys(all);
            let added = lists::sum(*position, &list);
            lists.set(*position, Some(list))?;
            let replaced = previous.map_or(0, |previous| lists::sum(*position, &previous));
            removed.push((*position, replaced.wrapping_sub(added)));
        }
        lists.changes().try_for_each(|group| batches.change_at_once(group))?;
        let mut runs = RunChanges::new(&self.database);
        for (position, index) in records {
            let mut sum = 0_u64;
            for (key, value) in encode_custom(*position, index) {
                let added = records::sum(&key, &value);
                let previous = runs.set(&key, Some(value))?;
                let replaced = previous.map_or(0, |previous| records::sum(&key, &previous));
                sum = sum.wrapping_add(replaced).wrapping_sub(added);
            }
            removed.push((*position, sum));
        }
        runs.changes().try_for_each(|group| batches.change_at_once(group))?;
        batches.apply()?;
        Ok(removed)
    }

    /// Removes all records of these entries, durably, and returns the changes of the sum.
    ///
    /// `requests` has the remaining span of each request that loses entries, or `None` if no entry of the
    /// request remains. The caller makes sure that no records are pending.
    pub fn remove(
        &self,
        entries: &[(u64, Header)],
        requests: &BTreeMap<Hash, Option<Span>>,
    ) -> Result<Vec<RemovedSum>, StoreError> {
        let mut batches = Batches::new(&self.database);
        let mut removed = Vec::new();
        let mut chunks: BTreeMap<Vec<u8>, Chunk> = BTreeMap::new();
        let mut lists = ListChanges::new(&self.database);
        let mut runs = RunChanges::new(&self.database);
        for (position, header) in entries {
            let key = records::chunk_key(header.handle, header.version);
            let chunk = match chunks.get_mut(&key) {
                Some(chunk) => chunk,
                None => chunks.entry(key.clone()).or_insert(self.chunk(&key)?),
            };
            let mut sum = 0_u64;
            if let Some(indexed) = chunk.get(header.version) {
                sum = records::subject_sum(header.handle, header.version, indexed);
                chunk.set(header.version, None);
            }
            let list = lists.set(*position, None)?.unwrap_or_default();
            if !list.is_empty() {
                sum = sum.wrapping_add(lists::sum(*position, &list));
            }
            for key in records::decode_keys(&list) {
                let key = records::custom_key(&key);
                let value = runs.set(&key, None)?;
                sum = sum.wrapping_add(value.map_or(0, |value| records::sum(&key, &value)));
            }
            removed.push((*position, sum));
        }
        runs.changes().try_for_each(|group| batches.change_at_once(group))?;
        // The lists are removed after the custom records, since only the lists lead to the custom records.
        lists.changes().try_for_each(|group| batches.change_at_once(group))?;
        for (key, chunk) in chunks {
            batches.change(key, chunk.encode())?;
        }
        for (hash, remaining) in requests {
            let key = records::idempotency_key(hash);
            let Some((first, _)) = self.idempotent(hash)? else { continue };
            let value = remaining.map(records::encode_span);
            let added = value.as_ref().map_or(0, |value| records::sum(&key, value));
            let replaced = self.database.get(&key)?.map_or(0, |previous| records::sum(&key, &previous));
            removed.push((first, replaced.wrapping_sub(added)));
            batches.change(key, value)?;
        }
        batches.apply()?;
        self.database.flush()?;
        Ok(removed)
    }

    /// (version, position) of a subject's entries, as [`crate::store::LogStore::read_subject`] returns them.
    pub fn subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        // Pending records are read before sled. Records only move from memory into sled, so this read misses
        // none.
        let mut found = self.pending.subject(handle, start, count);
        let prefix = records::subject_prefix(handle);
        let previous = start.checked_sub(records::CHUNK_VERSIONS);
        let mut after = previous.map(|version| records::chunk_key(handle, version));
        let mut in_sled = 0_usize;
        while in_sled < count {
            let chunks = self.database.scan(&prefix, after.as_deref(), CHUNKS_READ)?;
            for (key, value) in &chunks {
                let chunk = Chunk::decode(key, Some(value));
                let entries = chunk.entries().filter(|(version, _)| *version >= start);
                let found_before = found.len();
                found.extend(entries);
                in_sled = in_sled.saturating_add(found.len().saturating_sub(found_before));
            }
            if chunks.len() < CHUNKS_READ {
                break;
            }
            after = chunks.into_iter().next_back().map(|(key, _)| key);
        }
        Ok(found.into_iter().take(count).collect())
    }

    /// (version, position) of a subject's newest entry.
    pub fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        if let Some(newest) = self.pending.subject_head(handle) {
            return Ok(Some(newest));
        }
        let (first, last) = (records::chunk_key(handle, 0), records::chunk_key(handle, u64::MAX));
        let end = [last, vec![0]].concat();
        let record = self.database.last(&first, &end)?;
        let chunk = record.map(|(key, value)| Chunk::decode(&key, Some(&value)));
        Ok(chunk.and_then(|chunk| chunk.entries().next_back()))
    }

    /// The positions of a request.
    pub fn idempotent(&self, hash: &Hash) -> Result<Option<Span>, StoreError> {
        let key = records::idempotency_key(hash);
        let value = match self.pending.get(&key) {
            Some(value) => Some(value),
            None => self.database.get(&key)?,
        };
        Ok(value.as_deref().map(records::decode_span))
    }

    /// The value of a custom record.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = records::custom_key(key);
        let value = match self.pending.get(&key) {
            Some(value) => Some(value),
            None => runs::get(&self.database, &key)?,
        };
        Ok(value.map(|value| records::custom_record((key, value)).1))
    }

    /// Custom records, as [`crate::store::LogStore::index_scan`] returns them.
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        let (prefix, after) = (records::custom_key(prefix), after.map(records::custom_key));
        let mut found = self.pending.scan(&prefix, after.as_deref(), count);
        found.extend(runs::scan(&self.database, &prefix, after.as_deref(), count)?);
        Ok(found.into_iter().take(count).map(records::custom_record).collect())
    }

    /// Reserves space for the next records.
    pub fn reserve(&self) -> Result<(), StoreError> {
        self.database.reserve()
    }

    /// Makes the records in sled durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.database.flush()
    }
}
