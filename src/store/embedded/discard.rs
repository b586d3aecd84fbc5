//! Destroying entries in place, and giving further index records back.

use super::frame::State;
use super::index::{self, Forgotten, Span};
use super::segment::Location;
use super::shared::{Shared, Writer};
use crate::store::{IndexRecord, StoreError};
use sayso_proof::entry::{self, Header};
use sayso_proof::merkle::Hash;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// An entry that is to go, as it was.
struct Going {
    position: u64,
    header: Header,
    length: u64,
}

impl Shared {
    /// As [`crate::store::LogStore::discard`].
    pub(super) fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        let mut writer = self.writer();
        self.check_running()?;
        if positions.is_empty() {
            return Ok(());
        }
        let positions: BTreeSet<u64> = positions.iter().copied().collect();
        let list: Vec<u64> = positions.iter().copied().collect();
        // So that what is forgotten stands in one place. Nothing is added meanwhile.
        self.index.settle()?;
        let going = self.read_present(&positions)?;
        let requests = self.requests(&going, &positions)?;
        let places: Vec<Location> =
            list.iter().map(|at| self.locations.get(*at)).collect::<Result<_, _>>()?;
        self.intent.make_room(list.len())?;
        self.all_or_stop(|| {
            self.intent.begin(&list)?;
            // The index first: from the bytes it is known what to forget.
            let entries: Vec<(u64, Header)> =
                going.iter().map(|gone| (gone.position, gone.header.clone())).collect();
            let mut changed = self.index.remove(&entries, &requests)?;
            self.segments.discard(&places)?;
            self.forget(&mut writer, &going, &mut changed);
            self.rewrite_watermark(&mut writer)?;
            self.intent.end()
        })
    }

    /// What of these entries is still there.
    fn read_present(&self, positions: &BTreeSet<u64>) -> Result<Vec<Going>, StoreError> {
        let mut going = Vec::new();
        for position in positions {
            if let Some(bytes) = self.read_entry(*position)?.bytes {
                let header = parse(*position, &bytes)?;
                going.push(Going { position: *position, header, length: bytes.len() as u64 });
            }
        }
        Ok(going)
    }

    /// What is left of each request of which something goes: from its first to its last entry that stays.
    fn requests(
        &self,
        going: &[Going],
        positions: &BTreeSet<u64>,
    ) -> Result<BTreeMap<Hash, Option<Span>>, StoreError> {
        let mut requests = BTreeMap::new();
        for gone in going {
            let Some(hash) = gone.header.idempotency else { continue };
            if requests.contains_key(&hash) {
                continue;
            }
            let Some((first, count)) = self.index.idempotent(&hash)? else { continue };
            let end = first.saturating_add(u64::from(count));
            if !(first..end).contains(&gone.position) {
                continue;
            }
            let stays = |position: &u64| self.stays(*position, &hash, positions);
            let left = match try_find(first..end, stays)? {
                None => None,
                Some(from) => try_find((from..end).rev(), stays)?.map(|to| index::span(from, to)),
            };
            requests.insert(hash, left);
        }
        Ok(requests)
    }

    fn stays(&self, position: u64, hash: &Hash, going: &BTreeSet<u64>) -> Result<bool, StoreError> {
        if going.contains(&position) {
            return Ok(false);
        }
        let Some(bytes) = self.read_entry(position)?.bytes else { return Ok(false) };
        Ok(parse(position, &bytes)?.idempotency.as_ref() == Some(hash))
    }

    fn forget(&self, writer: &mut Writer, going: &[Going], changed: &mut Vec<Forgotten>) {
        let bytes = going.iter().map(|gone| (gone.position, gone.length, 0));
        let sums = changed.drain(..).map(|(position, sum)| (position, 0, sum));
        for (position, bytes, sum) in bytes.chain(sums) {
            writer.forget(position, bytes, sum);
        }
        self.entry_bytes.store(writer.now.bytes, Ordering::Relaxed);
    }

    /// As [`crate::store::LogStore::index_restore`].
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
            // What was discarded since its owner read it stays forgotten.
            if self.segments.read_header(self.locations.get(*position)?)?.state == State::Present {
                present.push((*position, records.clone()));
            }
        }
        self.index.make_room()?;
        self.index.settle()?;
        self.all_or_stop(|| {
            let changed = self.index.restore(&present)?;
            changed.into_iter().for_each(|(position, sum)| writer.forget(position, 0, sum));
            self.index.flush()?;
            self.further.fetch_max(done_to.min(self.head().size), Ordering::AcqRel);
            self.rewrite_watermark(&mut writer)
        })
    }
}

impl Writer {
    fn forget(&mut self, position: u64, bytes: u64, sum: u64) {
        self.now.forget(position, bytes, sum);
        self.marked.extent.forget(position, bytes, sum);
        if let Some(pending) = &mut self.pending {
            pending.forget(position, bytes, sum);
        }
    }
}

fn parse(position: u64, bytes: &[u8]) -> Result<Header, StoreError> {
    let damaged = |_| StoreError::Damaged { what: "entry", place: format!("position {position}") };
    entry::parse_header(bytes).map_err(damaged)
}

fn try_find(
    positions: impl Iterator<Item = u64>,
    found: impl Fn(&u64) -> Result<bool, StoreError>,
) -> Result<Option<u64>, StoreError> {
    for position in positions {
        if found(&position)? {
            return Ok(Some(position));
        }
    }
    Ok(None)
}
