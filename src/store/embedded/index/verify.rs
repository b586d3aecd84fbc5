//! Verifies the index. The watermark says up to which position the index is known to be durable, and has a
//! checksum of the index records up to that position. This module reads all records, computes the checksum
//! of those up to that position, and compares it with the one in the watermark.

use super::batches::Batches;
use super::lists::{self, Joined, Joining, Lists};
use super::records::{self, Chunk};
use super::runs::{self, Change, Run};
use super::sled::Database;
use crate::store::StoreError;
use crate::store::embedded::watermark::Extent;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a pass over index records found.
#[derive(Default)]
struct Summed {
    /// Sum of the records of the entries to verify.
    sum: u64,
    /// Changes that remove the records of later entries, grouped by batch.
    removals: Vec<Vec<Change>>,
    /// Lists whose parts are being read.
    lists: Joining,
}

impl Summed {
    /// Adds a record of sled; `size` is the number of entries to verify.
    fn add(&mut self, key: &[u8], value: &[u8], size: u64) {
        if lists::is_lists(key) {
            if let Some(joined) = self.lists.add(key, value) {
                self.add_lists(&joined, size);
            }
            return;
        }
        if records::is_chunk(key) {
            let mut chunk = Chunk::decode(key, Some(value));
            let (verified, later): (Vec<_>, Vec<_>) =
                chunk.entries().partition(|(_, position)| *position < size);
            for (version, position) in verified {
                self.sum = self.sum.wrapping_add(records::subject_sum(chunk.handle, version, position));
            }
            if !later.is_empty() {
                later.iter().for_each(|(version, _)| chunk.set(*version, None));
                self.removals.push(vec![(key.to_vec(), chunk.encode())]);
            }
            return;
        }
        // A start reads millions of records. To save time, a record is decoded into a map only if a part of
        // it must be removed.
        let (mut sum, mut has_later) = (0_u64, false);
        let mut take = |position: u64, share: &dyn Fn() -> u64| {
            if position < size { sum = sum.wrapping_add(share()) } else { has_later = true }
        };
        if runs::is_run(key) {
            runs::for_each(value, |key, value| {
                take(records::number(value, 0), &|| records::sum(key, value));
            });
        } else if let Some(position) = records::position_of(key, value) {
            take(position, &|| records::sum(key, value));
        }
        self.sum = self.sum.wrapping_add(sum);
        if has_later {
            self.removals.push(truncated(key, value, size));
        }
    }

    /// Adds lists whose parts were joined.
    fn add_lists(&mut self, joined: &Joined, size: u64) {
        let (mut sum, mut has_later) = (0_u64, false);
        lists::for_each(&joined.key, &joined.bytes, |position, list| {
            if position < size {
                sum = sum.wrapping_add(lists::sum(position, list));
            } else {
                has_later = true;
            }
        });
        self.sum = self.sum.wrapping_add(sum);
        if has_later {
            let mut lists = Lists::decode(joined);
            lists.truncate(size);
            self.removals.push(lists.changes());
        }
    }

    /// Adds the lists that were read last.
    fn finish(mut self, size: u64) -> Self {
        if let Some(joined) = self.lists.finish() {
            self.add_lists(&joined, size);
        }
        self
    }
}

/// The changes that remove from a record everything that belongs to entries from position `size` on.
fn truncated(key: &[u8], value: &[u8], size: u64) -> Vec<Change> {
    if runs::is_run(key) {
        let mut run = Run::decode(value);
        run.truncate(size);
        return run.changes(key.to_vec());
    }
    vec![(key.to_vec(), None)]
}

/// Whether the index is correct for the entries in `extent`: it has all of their records and no wrong ones.
/// If so, removes the records of later entries.
///
/// The caller makes sure that no records are pending. All cores read in parallel.
pub fn verify_up_to(database: &Database, extent: &Extent) -> Result<bool, StoreError> {
    let parts = parts(extent.size);
    let next = AtomicUsize::new(0);
    let sum_parts = || -> Result<Summed, StoreError> {
        let mut summed = Summed::default();
        while let Some((from, to)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let each = |key: &[u8], value: &[u8]| {
                summed.add(key, value, extent.size);
                true
            };
            database.for_each_while(from, to.as_deref(), each)?;
        }
        Ok(summed.finish(extent.size))
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..cores).map(|_| scope.spawn(sum_parts)).collect();
        let own = sum_parts();
        let panicked =
            |_| Err(StoreError::Damaged { what: "database", place: "while it was being verified".into() });
        let others = workers.into_iter().map(|worker| worker.join().unwrap_or_else(panicked));
        others.chain([own]).collect::<Result<Vec<_>, _>>()
    })?;
    let sum = all.iter().fold(0_u64, |sum, part| sum.wrapping_add(part.sum));
    if sum != extent.sum {
        return Ok(false);
    }
    let mut batches = Batches::new(database);
    let mut removals = all.into_iter().flat_map(|part| part.removals);
    removals.try_for_each(|removal| batches.change_at_once(removal))?;
    batches.apply()?;
    Ok(true)
}

/// A part of the index: its first key, and the first key after it.
type Part = (Vec<u8>, Option<Vec<u8>>);

/// Divides all keys that an index of so many entries can have into parts to read in parallel, the largest
/// first.
///
/// Handles and hashes are random, so the parts divide them by their first byte. Positions have no gaps, so
/// the parts divide them by number.
fn parts(entries: u64) -> Vec<Part> {
    let mut starts = vec![Vec::new()];
    for tag in *b"is" {
        starts.extend((0..=u8::MAX).step_by(16).map(|byte| vec![tag, byte]));
    }
    let lists = (0..16).map(|part| lists::key(entries / 16 * part));
    starts.extend([records::INDEXED.to_vec(), vec![records::CUSTOM]].into_iter().chain(lists));
    starts.sort();
    let ends: Vec<Option<Vec<u8>>> = starts.iter().skip(1).cloned().map(Some).chain([None]).collect();
    starts.into_iter().zip(ends).rev().collect()
}
