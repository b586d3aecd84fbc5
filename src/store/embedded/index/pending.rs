//! Pending index records: committed recently, and kept in memory until they are moved into sled, the index's
//! database.
//!
//! There are two generations of records. Commits add to `fresh`. The records in `settling` are being moved
//! into sled, and stay in memory until all of them are there. A reader looks in memory first and in sled
//! second, so it misses no record.
//!
//! A crash loses the records in memory. Recovery adds them again: it replays the segments from the
//! watermark on, and a watermark covers only entries whose records are in sled. Only custom records (those
//! that the ledger chose) stay missing until the ledger restores them.

use super::{lists, records};
use crate::store::IndexRecord;
use sayso_proof::entry::Handle;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A generation of pending records.
#[derive(Default)]
pub struct Generation {
    /// Positions by handle and version.
    pub subjects: BTreeMap<(Handle, u64), u64>,
    /// Lists of the keys of custom records (chosen by the ledger), by the position of their entry.
    pub lists: BTreeMap<u64, Vec<u8>>,
    /// All other records, encoded as in sled.
    pub others: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Number of indexed entries once this generation is in sled. If it is 0, the number in sled does not
    /// change.
    pub entries: u64,
}

impl Generation {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.subjects.len().saturating_add(self.lists.len()).saturating_add(self.others.len())
    }

    /// Whether there is nothing to bring into sled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.entries == 0
    }

    /// Adds a record, and returns what it adds to the sum over all records.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> u64 {
        let sum = records::sum(&key, &value);
        self.others.insert(key, value);
        sum
    }

    /// Adds the list of an entry's custom keys, and returns what it adds to the sum.
    pub fn put_list(&mut self, position: u64, list: Vec<u8>) -> u64 {
        let sum = lists::sum(position, &list);
        self.lists.insert(position, list);
        sum
    }

    /// Adds a subject's entry, and returns what it adds to the sum.
    pub fn put_subject(&mut self, handle: Handle, version: u64, position: u64) -> u64 {
        self.subjects.insert((handle, version), position);
        records::subject_sum(handle, version, position)
    }
}

/// Both generations.
#[derive(Default)]
struct Generations {
    fresh: Generation,
    settling: Arc<Generation>,
}

/// Records that are not in sled yet.
#[derive(Default)]
pub struct Pending {
    generations: RwLock<Generations>,
}

/// Adds to the fresh generation. Readers wait until this is dropped.
pub struct Adding<'a>(RwLockWriteGuard<'a, Generations>);

impl Adding<'_> {
    /// The fresh generation.
    pub fn fresh(&mut self) -> &mut Generation {
        &mut self.0.fresh
    }
}

impl Pending {
    fn read(&self) -> RwLockReadGuard<'_, Generations> {
        self.generations.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Generations> {
        self.generations.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to add records.
    pub fn begin_adding(&self) -> Adding<'_> {
        Adding(self.write())
    }

    /// Number of records in the fresh generation.
    pub fn fresh_len(&self) -> usize {
        self.read().fresh.len()
    }

    /// The generation to move into sled next: the one that is settling already, or else the fresh one.
    ///
    /// Only one caller at a time may have this generation, until it calls [`Pending::finish_settling`].
    pub fn begin_settling(&self) -> Arc<Generation> {
        let mut generations = self.write();
        if generations.settling.is_empty() {
            generations.settling = Arc::new(std::mem::take(&mut generations.fresh));
        }
        Arc::clone(&generations.settling)
    }

    /// Drops the settling generation, all of which is in sled.
    pub fn finish_settling(&self) {
        let settled = std::mem::take(&mut self.write().settling);
        // Freed after the lock is released, so that readers don't wait for it.
        drop(settled);
    }

    /// The value of a record.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let generations = self.read();
        generations.fresh.others.get(key).or_else(|| generations.settling.others.get(key)).cloned()
    }

    /// Records whose key starts with `prefix` and is greater than `after`, at most `count`.
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let generations = self.read();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let in_generation = |generation: &Generation| -> Vec<IndexRecord> {
            let records = generation.others.range::<[u8], _>((start, Bound::Unbounded));
            let records = records.take_while(|(key, _)| key.starts_with(prefix)).take(count);
            records.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        in_generation(&generations.settling).into_iter().chain(in_generation(&generations.fresh)).collect()
    }

    /// Positions of a subject's entries by version, from version `start` on, at most `count` from each
    /// generation.
    pub fn subject(&self, handle: Handle, start: u64, count: usize) -> BTreeMap<u64, u64> {
        let generations = self.read();
        let in_generation = |generation: &Generation| -> Vec<(u64, u64)> {
            let entries = generation.subjects.range((handle, start)..=(handle, u64::MAX)).take(count);
            entries.map(|((_, version), position)| (*version, *position)).collect()
        };
        in_generation(&generations.settling).into_iter().chain(in_generation(&generations.fresh)).collect()
    }

    /// A subject's newest entry: (version, position).
    pub fn subject_head(&self, handle: Handle) -> Option<(u64, u64)> {
        let generations = self.read();
        let in_generation = |generation: &Generation| {
            let last = generation.subjects.range((handle, 0)..=(handle, u64::MAX)).next_back();
            last.map(|((_, version), position)| (*version, *position))
        };
        in_generation(&generations.fresh).max(in_generation(&generations.settling))
    }
}
