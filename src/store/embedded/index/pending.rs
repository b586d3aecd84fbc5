//! Index records that are not in sled yet: what was committed lately, kept in memory until a thread of its own writes it.
//!
//! Two generations: `fresh` takes what commits add, `leaving` is on its way into sled and stays until all of it is there.
//! A reader looks here first and in sled after that, so nothing is ever missed. None of it is lost in a crash: marks
//! only say what sled holds, and recovery reads the segments from the mark on.

use super::{lists, records};
use crate::store::IndexRecord;
use sayso_proof::entry::Handle;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// One generation.
#[derive(Default)]
pub struct Generation {
    /// Positions by handle and version.
    pub subjects: BTreeMap<(Handle, u64), u64>,
    /// By position the list of an entry's further keys.
    pub lists: BTreeMap<u64, Vec<u8>>,
    /// All other records, as they will stand in sled.
    pub others: BTreeMap<Vec<u8>, Vec<u8>>,
    /// So many entries are indexed once it is in sled; 0 where it says nothing about that.
    pub entries: u64,
}

impl Generation {
    /// Records held.
    pub fn len(&self) -> usize {
        self.subjects.len().saturating_add(self.lists.len()).saturating_add(self.others.len())
    }

    /// Whether there is nothing to bring into sled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.entries == 0
    }

    /// Takes a record, and gives its share of the sum.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> u64 {
        let sum = records::sum(&key, &value);
        self.others.insert(key, value);
        sum
    }

    /// Takes the list of an entry's further keys, and gives its share of the sum.
    pub fn put_list(&mut self, position: u64, list: Vec<u8>) -> u64 {
        let sum = lists::sum(position, &list);
        self.lists.insert(position, list);
        sum
    }

    /// Takes a subject's entry, and gives its share of the sum.
    pub fn put_subject(&mut self, handle: Handle, version: u64, position: u64) -> u64 {
        self.subjects.insert((handle, version), position);
        records::subject_sum(handle, version, position)
    }
}

/// Both generations.
#[derive(Default)]
struct Held {
    fresh: Generation,
    leaving: Arc<Generation>,
}

/// What is not in sled yet.
#[derive(Default)]
pub struct Pending {
    held: RwLock<Held>,
}

/// Whoever adds to the fresh generation; readers wait meanwhile.
pub struct Adding<'a>(RwLockWriteGuard<'a, Held>);

impl Adding<'_> {
    /// The generation that is added to.
    pub fn fresh(&mut self) -> &mut Generation {
        &mut self.0.fresh
    }
}

impl Pending {
    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to add.
    pub fn adding(&self) -> Adding<'_> {
        Adding(self.write())
    }

    /// Records that wait in the fresh generation.
    pub fn fresh_len(&self) -> usize {
        self.read().fresh.len()
    }

    /// What is to be brought into sled next; the fresh generation follows once this one is there. Whoever takes it is
    /// the only one until [`Pending::arrived`].
    pub fn leave(&self) -> Arc<Generation> {
        let mut held = self.write();
        if held.leaving.is_empty() {
            held.leaving = Arc::new(std::mem::take(&mut held.fresh));
        }
        Arc::clone(&held.leaving)
    }

    /// What was leaving is in sled.
    pub fn arrived(&self) {
        let gone = std::mem::take(&mut self.write().leaving);
        // Freed after readers were let on.
        drop(gone);
    }

    /// One record.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let held = self.read();
        held.fresh.others.get(key).or_else(|| held.leaving.others.get(key)).cloned()
    }

    /// Records whose key starts with `prefix` and is greater than `after`, at most `count`.
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let held = self.read();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let in_one = |generation: &Generation| -> Vec<IndexRecord> {
            let records = generation.others.range::<[u8], _>((start, Bound::Unbounded));
            let records = records.take_while(|(key, _)| key.starts_with(prefix)).take(count);
            records.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        in_one(&held.leaving).into_iter().chain(in_one(&held.fresh)).collect()
    }

    /// Positions of a subject's entries by version, from version `start` on, at most `count` of each generation.
    pub fn subject(&self, handle: Handle, start: u64, count: usize) -> BTreeMap<u64, u64> {
        let held = self.read();
        let in_one = |generation: &Generation| -> Vec<(u64, u64)> {
            let entries = generation.subjects.range((handle, start)..=(handle, u64::MAX)).take(count);
            entries.map(|((_, version), position)| (*version, *position)).collect()
        };
        in_one(&held.leaving).into_iter().chain(in_one(&held.fresh)).collect()
    }

    /// A subject's newest entry: (version, position).
    pub fn subject_head(&self, handle: Handle) -> Option<(u64, u64)> {
        let held = self.read();
        let in_one = |generation: &Generation| {
            let last = generation.subjects.range((handle, 0)..=(handle, u64::MAX)).next_back();
            last.map(|((_, version), position)| (*version, *position))
        };
        in_one(&held.fresh).max(in_one(&held.leaving))
    }
}
