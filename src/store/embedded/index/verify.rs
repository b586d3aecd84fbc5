//! Reads the index through: whether it holds what the log says that it does.

use super::batches::Batches;
use super::lists::{self, Lists};
use super::records::{self, Chunk};
use super::runs::{self, Run};
use super::sled::Database;
use crate::store::StoreError;
use crate::store::embedded::watermark::Extent;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What was found of the records of some entries.
#[derive(Default)]
struct Summed {
    sum: u64,
    /// For each record with something of entries behind those, how only the rest is left; each at once.
    behind: Vec<Vec<runs::Change>>,
}

impl Summed {
    fn add(&mut self, key: &[u8], value: &[u8], size: u64) {
        if records::is_chunk(key) {
            let mut chunk = Chunk::decode(key, Some(value));
            let (held, over): (Vec<_>, Vec<_>) = chunk.entries().partition(|(_, position)| *position < size);
            for (version, position) in held {
                self.sum = self.sum.wrapping_add(records::subject_sum(chunk.handle, version, position));
            }
            if !over.is_empty() {
                over.iter().for_each(|(version, _)| chunk.set(*version, None));
                self.behind.push(vec![(key.to_vec(), chunk.encode())]);
            }
            return;
        }
        // By the million at a start: not taken apart unless something of it goes.
        let (mut sum, mut over) = (0_u64, false);
        let mut take = |position: u64, share: &dyn Fn() -> u64| {
            if position < size { sum = sum.wrapping_add(share()) } else { over = true }
        };
        if lists::is_lists(key) {
            lists::for_each(key, value, |position, list| take(position, &|| lists::sum(position, list)));
        } else if runs::is_run(key) {
            runs::for_each(value, |key, value| {
                take(records::number(value, 0), &|| records::sum(key, value));
            });
        } else if let Some(position) = records::position_of(key, value) {
            take(position, &|| records::sum(key, value));
        }
        self.sum = self.sum.wrapping_add(sum);
        if over {
            self.behind.push(rest_of(key, value, size));
        }
    }
}

/// Leaves of a record what does not belong to entries at position `size` and behind.
fn rest_of(key: &[u8], value: &[u8], size: u64) -> Vec<runs::Change> {
    if lists::is_lists(key) {
        let mut lists = Lists::decode(key, Some(value));
        lists.cut(size);
        return vec![(key.to_vec(), lists.encode())];
    }
    if runs::is_run(key) {
        let mut run = Run::decode(value);
        run.cut(size);
        return run.changes(key.to_vec());
    }
    vec![(key.to_vec(), None)]
}

/// Whether every record of the entries in `extent` is there, as it was; forgets those of any entry behind it. Only
/// while nothing is pending. All cores share in reading.
pub fn holds(database: &Database, extent: &Extent) -> Result<bool, StoreError> {
    let parts = parts(extent.size);
    let next = AtomicUsize::new(0);
    let some = || -> Result<Summed, StoreError> {
        let mut summed = Summed::default();
        while let Some((from, to)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let each = |key: &[u8], value: &[u8]| {
                summed.add(key, value, extent.size);
                true
            };
            database.for_each_while(from, to.as_deref(), each)?;
        }
        Ok(summed)
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..cores).map(|_| scope.spawn(some)).collect();
        let own = some();
        let stopped = |_| Err(StoreError::Damaged { what: "database", place: "while it was read".into() });
        let others = workers.into_iter().map(|worker| worker.join().unwrap_or_else(stopped));
        others.chain([own]).collect::<Result<Vec<_>, _>>()
    })?;
    let sum = all.iter().fold(0_u64, |sum, part| sum.wrapping_add(part.sum));
    if sum != extent.sum {
        return Ok(false);
    }
    let mut batches = Batches::new(database);
    let behind = all.into_iter().flat_map(|part| part.behind);
    behind.into_iter().try_for_each(|rest| batches.change_at_once(rest))?;
    batches.apply()?;
    Ok(true)
}

/// A part of the index: its first key, and the first beyond.
type Part = (Vec<u8>, Option<Vec<u8>>);

/// Every key there may be for so many entries, in parts that can be read side by side, the largest first: handles and hashes
/// are random, positions dense.
fn parts(entries: u64) -> Vec<Part> {
    let mut starts = vec![Vec::new()];
    for tag in *b"is" {
        starts.extend((0..=u8::MAX).step_by(16).map(|byte| vec![tag, byte]));
    }
    let lists = (0..16).map(|part| lists::key(entries / 16 * part));
    starts.extend([records::DONE.to_vec(), vec![records::FURTHER]].into_iter().chain(lists));
    starts.sort();
    let ends: Vec<Option<Vec<u8>>> = starts.iter().skip(1).cloned().map(Some).chain([None]).collect();
    starts.into_iter().zip(ends).rev().collect()
}
