//! What happens at open: find the end, tell a torn end from damage, bring everything that can be rebuilt up to it.

use super::disk;
use super::flat::Locations;
use super::frame::{Parsed, Record, State};
use super::index::{Clear, Index};
use super::scan::{self, End, Walked};
use super::segment::{Location, Segment, Tail};
use super::shared::{Options, Shared};
use super::watermark::{Extent, Watermark};
use crate::store::{Head, StoreError};
use sayso_proof::entry;
use sayso_proof::merkle::Hash;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Entries whose flat items are checked or written at once.
const FLAT_ENTRIES: usize = if cfg!(test) { 16 } else { 4096 };

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last end was clean, and nothing was missing.
    pub clean: bool,
    /// A torn write was cut off here: (segment, offset). Nothing of it had been acknowledged.
    pub cut: Option<(u32, u64)>,
    /// Flat files or index were brought up from this position on.
    pub rebuilt_from: Option<u64>,
    /// Entries of a discard that a crash had interrupted, and that was finished.
    pub discarded: u64,
}

/// What the index was found to be.
#[derive(Clone, Copy, Debug)]
pub struct IndexState {
    /// It holds everything that the mark says. It is empty otherwise.
    pub good: bool,
    /// It had held so many entries, so these had been durable.
    pub entries: u64,
}

/// An opened index.
pub struct FoundIndex {
    /// The index.
    pub index: Index,
    /// What it was found to be.
    pub state: IndexState,
}

/// Opens the index; one that can't be used is made anew, for it can be rebuilt.
///
/// After a clean end it is what it was. After any other it is read through: sled reuses room that it freed since the
/// last mark, so that a power cut can take records that were durable at that mark.
pub fn open_index(dir: &Path, options: &Options, mark: &Watermark) -> Result<FoundIndex, StoreError> {
    let path = dir.join("index");
    let open = || Index::open(&path, options.index_cache_bytes, options.room_bytes);
    let mut entries = 0;
    let mut check = || {
        let index = open()?;
        entries = index.entries()?;
        let good = match (mark.clean, mark.extent.size) {
            (_, 0) => entries == 0,
            (true, size) => mark.indexed && entries == size,
            (false, _) => mark.indexed && entries > 0 && index.holds(&mark.extent)?,
        };
        Ok(good.then_some(index))
    };
    let opened = std::thread::scope(|scope| {
        if !mark.clean && mark.extent.size > 0 {
            // From the beginning: sled reads for seconds before its records can be looked at.
            scope.spawn(|| Index::read_ahead(&path));
        }
        check()
    });
    match opened {
        Ok(Some(index)) => Ok(FoundIndex { index, state: IndexState { good: true, entries } }),
        Ok(None) | Err(StoreError::Database(_) | StoreError::Damaged { .. }) => {
            if mark.extent.size > 0 {
                tracing::warn!("the index is not what it was and is rebuilt from the segments");
            }
            std::fs::remove_dir_all(&path).map_err(disk::io("removing an index"))?;
            Ok(FoundIndex { index: open()?, state: IndexState { good: false, entries } })
        }
        Err(error) => Err(error),
    }
}

/// Walks what may have changed since the mark and brings everything up to the end of the log.
pub fn run(shared: &Shared, mark: Watermark, index: IndexState) -> Result<Recovery, StoreError> {
    let reaches = shared.tree.reaches(mark.flat) && shared.locations.capacity() >= mark.flat;
    let mut known = Known {
        flat: if reaches { mark.flat } else { 0 },
        index: if index.good { mark.extent.size } else { 0 },
    };
    let complete = mark.clean && index.good && reaches;
    let mut recovery = Recovery { clean: complete, ..Recovery::default() };
    let durable = mark.extent.size.max(index.entries).max(shared.options.entries_min);
    let (head, now) = loop {
        // Before anything changes: half a rebuilt file is none. What else is known stays, so that what is refused
        // now is refused again.
        shared.watermark_file.write(&Watermark { flat: known.flat, indexed: index.good, ..mark })?;
        let mut walk = Walk::begin(shared, &mark, known, durable, &mut recovery)?;
        walk.segments()?;
        let (head, now, flat_agrees) = walk.finish()?;
        if flat_agrees {
            break (head, now);
        }
        tracing::warn!("the tree's files are not what they were and are rebuilt from the segments");
        recovery.clean = false;
        known.flat = 0;
    };
    if head.size < durable {
        let place = format!("position {}: {durable} entries had been durable", head.size);
        return Err(StoreError::Damaged { what: "log end", place });
    }
    *shared.head.write().unwrap_or_else(PoisonError::into_inner) = head;
    shared.readable.store(head.size, Ordering::Release);
    shared.entry_bytes.store(now.bytes, Ordering::Relaxed);
    shared.further.store(mark.further.min(known.index), Ordering::Release);
    {
        let mut writer = shared.writer();
        writer.now = now;
        shared.sync_derived()?;
        shared.write_watermark(&mut writer, now, false)?;
    }
    let interrupted: Vec<u64> =
        shared.intent.pending()?.into_iter().filter(|position| *position < head.size).collect();
    shared.discard(&interrupted)?;
    recovery.discarded = interrupted.len() as u64;
    Ok(recovery)
}

/// Up to where what can be rebuilt is taken to be good.
#[derive(Clone, Copy, Debug)]
struct Known {
    flat: u64,
    index: u64,
}

/// One way through the segments.
struct Walk<'a> {
    shared: &'a Shared,
    recovery: &'a mut Recovery,
    known: Known,
    /// So many entries had been durable.
    durable: u64,
    /// The log was closed, so its end can't be torn.
    closed: bool,
    /// The first segment that is walked.
    start: u32,
    head: Head,
    /// What is counted, and from where on.
    now: Extent,
    count_from: u64,
    /// Of the index records that were added.
    added: u64,
    flat: FlatItems,
}

impl<'a> Walk<'a> {
    fn begin(
        shared: &'a Shared,
        mark: &Watermark,
        known: Known,
        durable: u64,
        recovery: &'a mut Recovery,
    ) -> Result<Self, StoreError> {
        // The last segment with an entry that is known, so that its time is, or the first.
        let mut start = 0;
        for number in 1..shared.segments.count() {
            let segment = shared.segments.get(number)?;
            if segment.first < known.flat.min(known.index) && scan::begins(&segment)? {
                start = number;
            }
        }
        let bytes = if start == 0 { 0 } else { mark.extent.bytes };
        let sum = if known.index == 0 { 0 } else { mark.extent.sum };
        Ok(Self {
            shared,
            recovery,
            known,
            durable,
            closed: mark.clean,
            start,
            head: Head::default(),
            now: Extent { size: 0, bytes, sum },
            count_from: if start == 0 { 0 } else { mark.extent.size },
            added: 0,
            flat: FlatItems { agrees: true, ..FlatItems::default() },
        })
    }

    fn segments(&mut self) -> Result<(), StoreError> {
        let count = self.shared.segments.count();
        for number in self.start..count {
            let segment = self.shared.segments.get(number)?;
            let last = number.saturating_add(1) == count;
            if number == self.start {
                self.head.size = segment.first;
            }
            let before = self.head.size;
            let follows = segment.first == before;
            let walked = scan::walk(&segment, |at, frame, bytes| {
                if follows { self.take(number, at, frame, bytes) } else { Err(damaged(before)) }
            })?;
            if !follows && last && segment.first < before && walked.end == End::Quiet {
                // Started for a batch that was then refused, and nothing was ever written into it.
                self.shared.segments.remove_last()?;
                break;
            }
            if !follows {
                return Err(damaged(before));
            }
            let end = self.judge(&segment, number, last, &walked)?;
            self.shared.writer().tail = end;
        }
        Ok(())
    }

    /// A torn end is cut off; damage refuses to open.
    fn judge(
        &mut self,
        segment: &Segment,
        number: u32,
        last: bool,
        walked: &Walked,
    ) -> Result<Tail, StoreError> {
        let Walked { at, next, end } = *walked;
        if let End::Broken { later_commit } = end {
            if later_commit || !last || self.closed || next < self.durable {
                return Err(damaged(next));
            }
            tracing::warn!(
                segment = number,
                offset = at,
                position = next,
                "a torn write was cut off; none of it was acknowledged"
            );
            scan::cut(segment, at)?;
            self.recovery.cut = Some((number, at));
        }
        Ok(Tail { at, reserved: disk::length(&segment.file)? })
    }

    fn take(&mut self, number: u32, start: u64, frame: &Parsed, bytes: &[u8]) -> Result<(), StoreError> {
        let first = frame.header.first;
        let place = |record: &Record| Location {
            segment: number,
            offset: start.saturating_add(record.offset as u64),
        };
        let unfinished: Vec<Location> =
            frame.records.iter().filter(|record| record.unfinished).map(place).collect();
        if !unfinished.is_empty() {
            // A crash came between the mark of a discard and its zeros.
            self.shared.segments.discard(&unfinished)?;
        }
        self.head.size = first.saturating_add(frame.records.len() as u64);
        if let Some(newest) = frame.records.last() {
            self.head.recorded_at_ms = newest.header.recorded_at_ms;
        }
        if first >= self.count_from {
            let present = frame.records.iter().filter(|record| record.header.state == State::Present);
            let held: u64 = present.map(|record| u64::from(record.header.length)).sum();
            self.now.bytes = self.now.bytes.saturating_add(held);
        }
        let known = first < self.known.flat;
        if self.flat.known != known || self.flat.leaves.len() >= FLAT_ENTRIES {
            self.flat.settle(self.shared, first, known)?;
        }
        self.flat.places.extend(frame.records.iter().map(|record| place(record).encode()));
        self.flat.leaves.extend(frame.records.iter().map(|record| record.header.leaf_hash));
        if first >= self.known.flat.min(self.known.index) {
            let from = self.recovery.rebuilt_from.map_or(first, |from| from.min(first));
            self.recovery.rebuilt_from = Some(from);
        }
        if first >= self.known.index { self.index(first, frame, bytes) } else { Ok(()) }
    }

    fn index(&mut self, first: u64, frame: &Parsed, bytes: &[u8]) -> Result<(), StoreError> {
        let mut entries = Vec::with_capacity(frame.records.len());
        for (record, position) in frame.records.iter().zip(first..) {
            let header = record.bytes(bytes).map(entry::parse_header).transpose();
            entries.push(header.map_err(|_| damaged(position))?);
        }
        let clear = |header: &entry::Header| Clear {
            handle: header.handle,
            version: header.version,
            idempotency: header.idempotency,
            further: &[],
        };
        let index = &self.shared.index;
        let mut adding = index.adding();
        adding.frame(first, entries.iter().map(|header| header.as_ref().map(clear)));
        // Not yet said to be there: an index that was half rebuilt must not look whole.
        self.added = self.added.wrapping_add(adding.finish(0));
        if index.waiting() < self.shared.options.settle_records { Ok(()) } else { index.settle() }
    }

    /// The end, what is counted of it, and whether the flat files agree with it as far as they were trusted.
    fn finish(mut self) -> Result<(Head, Extent, bool), StoreError> {
        self.flat.settle(self.shared, self.head.size, false)?;
        self.shared.index.adding().finish(self.head.size.max(self.durable));
        self.shared.index.settle()?;
        self.now.size = self.head.size;
        self.now.sum = self.now.sum.wrapping_add(self.added);
        Ok((self.head, self.now, self.flat.agrees))
    }
}

/// Items of the flat files, gathered.
#[derive(Default)]
struct FlatItems {
    first: u64,
    /// They should be there already.
    known: bool,
    places: Vec<[u8; 8]>,
    leaves: Vec<Hash>,
    agrees: bool,
}

impl FlatItems {
    /// Checks or writes what was gathered, and begins anew.
    fn settle(&mut self, shared: &Shared, first: u64, known: bool) -> Result<(), StoreError> {
        let end = self.first.saturating_add(self.leaves.len() as u64);
        if self.known {
            let locations: &Locations = &shared.locations;
            self.agrees = self.agrees
                && locations.holds(self.first, &self.places)?
                && shared.tree.holds(self.first, &self.leaves)?;
        } else if !self.leaves.is_empty() {
            shared.locations.reserve(end)?;
            shared.tree.reserve(end)?;
            shared.locations.write(self.first, &self.places)?;
            shared.tree.write(self.first, &self.leaves)?;
        }
        self.places.clear();
        self.leaves.clear();
        (self.first, self.known) = (first, known);
        Ok(())
    }
}

fn damaged(position: u64) -> StoreError {
    StoreError::Damaged { what: "segment", place: format!("position {position}") }
}
