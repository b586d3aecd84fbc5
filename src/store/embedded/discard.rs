//! Discards entries: overwrites their bytes in the segments (the files with the entries) with zeros, and
//! removes their index records.
//!
//! This file also restores custom index records. Such a record is a key and a value that the ledger stores
//! in the index together with an entry. After a crash or a rebuild of the index, custom index records can
//! be missing. The ledger then passes them to the store again.

use super::frame::State;
use super::index::{self, RemovedSum, Span};
use super::segment::Location;
use super::shared::{Shared, Writer};
use crate::store::{Head, IndexRecord, StoreError};
use sayso_proof::entry::{self, Header};
use sayso_proof::merkle::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// An entry that is going to be discarded.
struct Candidate {
    position: u64,
    header: Header,
    length: u64,
}

impl Shared {
    /// Implements [`crate::store::LogStore::discard`].
    pub(super) fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        let mut writer = self.writer();
        self.check_running()?;
        if positions.is_empty() {
            return Ok(());
        }
        let positions: BTreeSet<u64> = positions.iter().copied().collect();
        let list: Vec<u64> = positions.iter().copied().collect();
        // All records to remove must be in sled. The writer's lock keeps new ones from being added.
        self.index.settle()?;
        let candidates = self.read_present(&positions)?;
        let requests = self.remaining_requests(&candidates, &positions)?;
        let locations: Vec<Location> =
            list.iter().map(|position| self.locations.get(*position)).collect::<Result<_, _>>()?;
        self.intent.reserve(list.len())?;
        self.all_or_stop(|| {
            self.intent.begin(&list)?;
            // The index records are removed before the bytes of the entries, because only the bytes tell
            // which records to remove.
            let entries: Vec<(u64, Header)> =
                candidates.iter().map(|entry| (entry.position, entry.header.clone())).collect();
            let removed = self.index.remove(&entries, &requests)?;
            self.segments.discard(&locations)?;
            self.skip_discarded_end(&|position| positions.contains(&position))?;
            self.subtract(&mut writer, &candidates, removed);
            self.rewrite_watermark(&mut writer)?;
            self.intent.end()
        })
    }

    /// Corrects the recorded time of the head if `changed` includes the newest record: a discarded record has
    /// no time, so the newest record that was not discarded counts.
    pub(super) fn skip_discarded_end(&self, changed: &dyn Fn(u64) -> bool) -> Result<(), StoreError> {
        let size = self.head().size;
        if !size.checked_sub(1).is_some_and(changed) {
            return Ok(());
        }
        let mut recorded_at_ms = 0;
        for position in (0..size).rev() {
            let header = self.segments.read_header(self.locations.get(position)?)?;
            if header.state == State::Present {
                recorded_at_ms = header.recorded_at_ms;
                break;
            }
        }
        let mut head = self.head.write().unwrap_or_else(PoisonError::into_inner);
        *head = Head { recorded_at_ms, ..*head };
        Ok(())
    }

    /// Reads the entries at these positions, except those that were discarded already.
    fn read_present(&self, positions: &BTreeSet<u64>) -> Result<Vec<Candidate>, StoreError> {
        let mut present = Vec::new();
        for position in positions {
            if let Some(bytes) = self.read_entry(*position)?.bytes {
                let header = parse(*position, &bytes)?;
                present.push(Candidate { position: *position, header, length: bytes.len() as u64 });
            }
        }
        Ok(present)
    }

    /// For each request that loses entries, the span from its first to its last remaining entry.
    fn remaining_requests(
        &self,
        candidates: &[Candidate],
        positions: &BTreeSet<u64>,
    ) -> Result<BTreeMap<Hash, Option<Span>>, StoreError> {
        let mut requests = BTreeMap::new();
        for candidate in candidates {
            let Some(hash) = candidate.header.idempotency else { continue };
            if requests.contains_key(&hash) {
                continue;
            }
            let Some((first, count)) = self.index.idempotent(&hash)? else { continue };
            let end = first.saturating_add(u64::from(count));
            if !(first..end).contains(&candidate.position) {
                continue;
            }
            let remains = |position: &u64| self.remains(*position, &hash, positions);
            let span = match try_find(first..end, remains)? {
                None => None,
                Some(from) => try_find((from..end).rev(), remains)?.map(|to| index::span(from, to)),
            };
            requests.insert(hash, span);
        }
        Ok(requests)
    }

    /// Whether the entry at a position belongs to this request and is not going to be discarded.
    fn remains(&self, position: u64, hash: &Hash, discarding: &BTreeSet<u64>) -> Result<bool, StoreError> {
        if discarding.contains(&position) {
            return Ok(false);
        }
        let Some(bytes) = self.read_entry(position)?.bytes else { return Ok(false) };
        Ok(parse(position, &bytes)?.idempotency.as_ref() == Some(hash))
    }

    /// Subtracts discarded entries and their index records from the totals.
    fn subtract(&self, writer: &mut Writer, discarded: &[Candidate], removed: Vec<RemovedSum>) {
        for entry in discarded {
            writer.subtract(entry.position, entry.length, 0);
        }
        for (position, sum) in removed {
            writer.subtract(position, 0, sum);
        }
        self.entry_bytes.store(writer.committed.bytes, Ordering::Relaxed);
    }

    /// Implements [`crate::store::LogStore::index_restore`].
    pub(super) fn index_restore(
        &self,
        records: &[(u64, Vec<IndexRecord>)],
        done_to: u64,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer();
        self.check_running()?;
        let mut present = Vec::new();
        for (position, records) in records {
            if *position >= self.head().size {
                return Err(StoreError::Missing("entry"));
            }
            // The ledger read the entries before this call. An entry that was discarded since then gets
            // no records.
            if self.segments.read_header(self.locations.get(*position)?)?.state == State::Present {
                present.push((*position, records.clone()));
            }
        }
        self.index.reserve()?;
        self.index.settle()?;
        self.all_or_stop(|| {
            let removed = self.index.restore(&present)?;
            removed.into_iter().for_each(|(position, sum)| writer.subtract(position, 0, sum));
            self.index.flush()?;
            self.custom_complete_to.fetch_max(done_to.min(self.head().size), Ordering::AcqRel);
            self.rewrite_watermark(&mut writer)
        })
    }
}

impl Writer {
    fn subtract(&mut self, position: u64, bytes: u64, sum: u64) {
        self.committed.subtract(position, bytes, sum);
        self.watermark.extent.subtract(position, bytes, sum);
        if let Some(next) = &mut self.next_watermark {
            next.subtract(position, bytes, sum);
        }
    }
}

fn parse(position: u64, bytes: &[u8]) -> Result<Header, StoreError> {
    let damaged = |_| StoreError::Damaged { what: "entry", place: format!("position {position}") };
    entry::parse_header(bytes).map_err(damaged)
}

fn try_find(
    positions: impl Iterator<Item = u64>,
    matches: impl Fn(&u64) -> Result<bool, StoreError>,
) -> Result<Option<u64>, StoreError> {
    for position in positions {
        if matches(&position)? {
            return Ok(Some(position));
        }
    }
    Ok(None)
}
