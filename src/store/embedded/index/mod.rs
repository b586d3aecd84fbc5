//! What finds entries: in memory while it is new (`pending`), then in sled, one tree, prefixes (`records`). Commits only
//! write to memory; [`Index::settle`] brings what came since into sled. All of it is rebuilt from the segments where it
//! lags, but for further records, which only their owner can give back.

mod batches;
mod lists;
mod pending;
mod records;
mod runs;
mod sled;
mod verify;

pub use records::Span;

use self::sled::Database;
use crate::store::embedded::watermark::Extent;
use crate::store::{IndexRecord, NewEntry, StoreError};
use batches::Batches;
use pending::{Generation, Pending};
use records::{Chunk, DONE};
use runs::Runs;
use sayso_proof::entry::{Handle, Header};
use sayso_proof::merkle::Hash;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The index.
pub struct Index {
    database: Database,
    pending: Pending,
    /// Held by whoever brings records into sled.
    settling: Mutex<()>,
    /// How many wait for it to be done.
    hurried: AtomicUsize,
}

/// What of an entry is indexed.
pub struct Clear<'a> {
    /// Whose it is.
    pub handle: Handle,
    /// Which of theirs.
    pub version: u64,
    /// The request.
    pub idempotency: Option<Hash>,
    /// Further records.
    pub further: &'a [IndexRecord],
}

impl<'a> From<&'a NewEntry> for Clear<'a> {
    fn from(entry: &'a NewEntry) -> Self {
        let NewEntry { handle, version, idempotency, ref index, .. } = *entry;
        Self { handle, version, idempotency, further: index }
    }
}

/// With more records waiting than this, bringing them into sled does not pause.
const PAUSING_RECORDS_MAX: usize = 65_536;

/// Chunks of a subject read at once.
const CHUNKS_READ: usize = 16;

/// A change of the sum, by the position of the entry that it belongs to: what was taken out.
pub type Forgotten = (u64, u64);

/// Frames on their way into the index, by whoever commits and by recovery alike.
pub struct Adding<'a> {
    to: pending::Adding<'a>,
    sum: u64,
}

impl Adding<'_> {
    /// Adds the entries of one frame, the first of which stands at `first`; `None` for those that were discarded.
    pub fn frame<'b>(&mut self, first: u64, entries: impl Iterator<Item = Option<Clear<'b>>>) {
        let fresh = self.to.fresh();
        let mut sum = 0_u64;
        let mut spans: BTreeMap<Hash, (u64, u64)> = BTreeMap::new();
        for (entry, position) in entries.zip(first..) {
            let Some(entry) = entry else { continue };
            sum = sum.wrapping_add(fresh.put_subject(entry.handle, entry.version, position));
            if let Some(hash) = entry.idempotency {
                spans.entry(hash).or_insert((position, position)).1 = position;
            }
            if !entry.further.is_empty() {
                sum = sum.wrapping_add(fresh.put_list(position, records::encode_keys(entry.further)));
            }
            for (key, value) in further(position, entry.further) {
                sum = sum.wrapping_add(fresh.put(key, value));
            }
        }
        for (hash, (from, to)) in spans {
            let value = records::encode_span(span(from, to));
            sum = sum.wrapping_add(fresh.put(records::idempotency_key(&hash), value));
        }
        self.sum = self.sum.wrapping_add(sum);
    }

    /// Lets readers on, with the number of entries that the log holds by now. Gives the sum of what was added.
    pub fn finish(mut self, entries: u64) -> u64 {
        self.to.fresh().entries = entries;
        self.sum
    }
}

/// From the first to the last position.
pub fn span(from: u64, to: u64) -> Span {
    (from, u32::try_from(to.saturating_sub(from).saturating_add(1)).unwrap_or(u32::MAX))
}

/// Further records as they stand in sled.
fn further(position: u64, index: &[IndexRecord]) -> impl Iterator<Item = IndexRecord> {
    index.iter().map(move |(key, value)| (records::further_key(key), records::further_value(position, value)))
}

impl Index {
    /// Opens or makes the index.
    pub fn open(dir: &Path, cache_bytes: u64, step: u64) -> Result<Self, StoreError> {
        let database = Database::open(dir, cache_bytes, step)?;
        Ok(Self {
            database,
            pending: Pending::default(),
            settling: Mutex::default(),
            hurried: AtomicUsize::new(0),
        })
    }

    /// Has the system read the index of this folder, for whoever opens it and reads it through.
    pub fn read_ahead(dir: &Path) {
        Database::read_ahead(dir);
    }

    /// So many entries were indexed, thus durable, at least.
    pub fn entries(&self) -> Result<u64, StoreError> {
        Ok(self.database.get(DONE)?.map_or(0, |value| records::number(&value, 0)))
    }

    /// Begins to add frames.
    pub fn adding(&self) -> Adding<'_> {
        Adding { to: self.pending.adding(), sum: 0 }
    }

    /// Records that wait to be brought into sled.
    pub fn waiting(&self) -> usize {
        self.pending.fresh_len()
    }

    /// Whether every record of the entries in `extent` is there, as it was; forgets those of any entry behind it. Only
    /// while nothing is pending.
    pub fn holds(&self, extent: &Extent) -> Result<bool, StoreError> {
        verify::holds(&self.database, extent)
    }

    /// Brings into sled what was added until now. Not durable before [`Index::flush`]. Where there is no room, what is
    /// not in sled yet stays where it is and goes on being found.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.hurried.fetch_add(1, Ordering::Relaxed);
        let settled = self.bring_all(false);
        self.hurried.fetch_sub(1, Ordering::Relaxed);
        settled
    }

    /// As [`Index::settle`], where nobody waits for it: with rests, so that what others do meanwhile is not held up for long.
    pub fn settle_at_leisure(&self) -> Result<(), StoreError> {
        self.bring_all(true)
    }

    fn bring_all(&self, rests: bool) -> Result<(), StoreError> {
        let _one_at_a_time = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        // Twice: what an earlier attempt could not bring goes first.
        for _ in 0..2 {
            let leaving = self.pending.leave();
            if leaving.is_empty() {
                break;
            }
            self.bring(&leaving, rests)?;
            self.pending.arrived();
        }
        Ok(())
    }

    fn bring(&self, leaving: &Generation, rests: bool) -> Result<(), StoreError> {
        let may_pause = || rests && self.may_pause();
        let mut batches = Batches::making_room(&self.database, &may_pause);
        let mut entries = leaving.subjects.iter().peekable();
        while let Some(((handle, version), position)) = entries.next() {
            let key = records::chunk_key(*handle, *version);
            let mut chunk = self.chunk(&key)?;
            chunk.set(*version, Some(*position));
            let same = |other: &(&(Handle, u64), &u64)| {
                let (handle_of, version_of) = other.0;
                handle_of == handle && version_of / records::CHUNK == version / records::CHUNK
            };
            while let Some(((_, version), position)) = entries.next_if(same) {
                chunk.set(*version, Some(*position));
            }
            batches.change(key, chunk.encode())?;
        }
        let mut lists = lists::Touched::of(&self.database);
        for (position, list) in &leaving.lists {
            lists.set(*position, Some(list.clone()))?;
        }
        lists.changes().try_for_each(|(key, value)| batches.change(key, value))?;
        // After the lists: whatever record is there can be found by its position.
        let mut runs = Runs::of(&self.database);
        for (key, value) in &leaving.others {
            if runs::is_run(key) {
                runs.set(key, Some(value.clone()))?;
            } else {
                batches.change(key.clone(), Some(value.clone()))?;
            }
        }
        runs.changes().try_for_each(|family| batches.change_at_once(family))?;
        // Last: it says that all of them are there.
        if leaving.entries > 0 {
            batches.change(DONE.to_vec(), Some(leaving.entries.to_be_bytes().to_vec()))?;
        }
        batches.apply()
    }

    fn may_pause(&self) -> bool {
        self.hurried.load(Ordering::Relaxed) == 0 && self.waiting() < PAUSING_RECORDS_MAX
    }

    fn chunk(&self, key: &[u8]) -> Result<Chunk, StoreError> {
        Ok(Chunk::decode(key, self.database.get(key)?.as_deref()))
    }

    /// Gives further records back. Not durable yet. Only while nothing is pending.
    pub fn restore(&self, records: &[(u64, Vec<IndexRecord>)]) -> Result<Vec<Forgotten>, StoreError> {
        let mut batches = Batches::new(&self.database);
        let mut changed = Vec::new();
        let mut lists = lists::Touched::of(&self.database);
        for (position, index) in records.iter().filter(|(_, index)| !index.is_empty()) {
            let list = records::encode_keys(index);
            let added = lists::sum(*position, &list);
            let before = lists.set(*position, Some(list))?;
            let taken_out = before.map_or(0, |before| lists::sum(*position, &before));
            changed.push((*position, taken_out.wrapping_sub(added)));
        }
        lists.changes().try_for_each(|(key, value)| batches.change(key, value))?;
        let mut runs = Runs::of(&self.database);
        for (position, index) in records {
            let mut taken_out = 0_u64;
            for (key, value) in further(*position, index) {
                let added = records::sum(&key, &value);
                let before = runs.set(&key, Some(value))?.map_or(0, |before| records::sum(&key, &before));
                taken_out = taken_out.wrapping_add(before).wrapping_sub(added);
            }
            changed.push((*position, taken_out));
        }
        runs.changes().try_for_each(|family| batches.change_at_once(family))?;
        batches.apply()?;
        Ok(changed)
    }

    /// Forgets entries, and leaves of each of these requests what is left, if anything. Durable. Only while nothing is
    /// pending.
    pub fn remove(
        &self,
        entries: &[(u64, Header)],
        requests: &BTreeMap<Hash, Option<Span>>,
    ) -> Result<Vec<Forgotten>, StoreError> {
        let mut batches = Batches::new(&self.database);
        let mut changed = Vec::new();
        let mut chunks: BTreeMap<Vec<u8>, Chunk> = BTreeMap::new();
        let mut lists = lists::Touched::of(&self.database);
        let mut runs = Runs::of(&self.database);
        for (position, header) in entries {
            let key = records::chunk_key(header.handle, header.version);
            let chunk = match chunks.get_mut(&key) {
                Some(chunk) => chunk,
                None => chunks.entry(key.clone()).or_insert(self.chunk(&key)?),
            };
            let mut taken_out = 0_u64;
            if let Some(there) = chunk.get(header.version) {
                taken_out = records::subject_sum(header.handle, header.version, there);
                chunk.set(header.version, None);
            }
            let list = lists.set(*position, None)?.unwrap_or_default();
            if !list.is_empty() {
                taken_out = taken_out.wrapping_add(lists::sum(*position, &list));
            }
            for key in records::decode_keys(&list) {
                let key = records::further_key(&key);
                let there = runs.set(&key, None)?.map_or(0, |there| records::sum(&key, &there));
                taken_out = taken_out.wrapping_add(there);
            }
            changed.push((*position, taken_out));
        }
        runs.changes().try_for_each(|family| batches.change_at_once(family))?;
        // Lists go last: while any record is there, it is found.
        lists.changes().try_for_each(|(key, value)| batches.change(key, value))?;
        for (key, chunk) in chunks {
            batches.change(key, chunk.encode())?;
        }
        for (hash, left) in requests {
            let key = records::idempotency_key(hash);
            let Some((first, _)) = self.idempotent(hash)? else { continue };
            let value = left.map(records::encode_span);
            let added = value.as_ref().map_or(0, |value| records::sum(&key, value));
            let there = self.database.get(&key)?.map_or(0, |there| records::sum(&key, &there));
            changed.push((first, there.wrapping_sub(added)));
            batches.change(key, value)?;
        }
        batches.apply()?;
        self.database.flush()?;
        Ok(changed)
    }

    /// (version, position) of a subject's entries.
    pub fn subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        // First what is pending: from there records only move into sled.
        let mut found = self.pending.subject(handle, start, count);
        let prefix = records::subject_prefix(handle);
        let before = start.checked_sub(records::CHUNK).map(|before| records::chunk_key(handle, before));
        let (mut after, mut in_sled) = (before, 0_usize);
        while in_sled < count {
            let chunks = self.database.scan(&prefix, after.as_deref(), CHUNKS_READ)?;
            for (key, value) in &chunks {
                let chunk = Chunk::decode(key, Some(value));
                let entries = chunk.entries().filter(|(version, _)| *version >= start);
                let before = found.len();
                found.extend(entries);
                in_sled = in_sled.saturating_add(found.len().saturating_sub(before));
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

    /// First position and count of a request.
    pub fn idempotent(&self, hash: &Hash) -> Result<Option<Span>, StoreError> {
        let key = records::idempotency_key(hash);
        let value = match self.pending.get(&key) {
            Some(value) => Some(value),
            None => self.database.get(&key)?,
        };
        Ok(value.as_deref().map(records::decode_span))
    }

    /// One further value.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = records::further_key(key);
        let value = match self.pending.get(&key) {
            Some(value) => Some(value),
            None => runs::get(&self.database, &key)?,
        };
        Ok(value.map(|value| records::further_record((key, value)).1))
    }

    /// Further records in order.
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        let (prefix, after) = (records::further_key(prefix), after.map(records::further_key));
        let mut found = self.pending.scan(&prefix, after.as_deref(), count);
        found.extend(runs::scan(&self.database, &prefix, after.as_deref(), count)?);
        Ok(found.into_iter().take(count).map(records::further_record).collect())
    }

    /// Holds room on the device for what is added next.
    pub fn make_room(&self) -> Result<(), StoreError> {
        self.database.make_room()
    }

    /// Makes everything durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.database.flush()
    }
}
