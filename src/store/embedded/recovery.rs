//! Recovery, which runs when the log is opened. It finds the end of the log, and distinguishes a torn
//! write (one that a crash interrupted) from damage. Then it brings the flat files (`tree`, `locations`)
//! and the index up to date.

use super::disk;
use super::flat::Locations;
use super::frame::{Parsed, Record, State};
use super::index::{Index, IndexedEntry};
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

/// Number of entries whose items in the flat files are compared or written together.
const FLAT_BATCH_ENTRIES: usize = if cfg!(test) { 16 } else { 4096 };

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the log had been closed and nothing was missing.
    pub clean: bool,
    /// Where a torn write was cut off: (segment, offset). The torn write had not been acknowledged.
    pub cut: Option<(u32, u64)>,
    /// The position from which the flat files or the index were rebuilt.
    pub rebuilt_from: Option<u64>,
    /// Number of entries whose interrupted discard was finished.
    pub discarded: u64,
}

/// The state in which the index was found.
#[derive(Clone, Copy, Debug)]
pub struct IndexState {
    /// Whether the index has everything that the watermark covers. If not, it was replaced by an empty one.
    pub intact: bool,
    /// The number of entries in the index as it was found. At least this many entries had been durable.
    pub entries: u64,
}

/// An opened index.
pub struct OpenedIndex {
    /// The index.
    pub index: Index,
    /// The state in which it was found.
    pub state: IndexState,
}

/// Opens the index. If the index can't be used, an empty one replaces it, since recovery can rebuild it.
///
/// After a close the index is trusted. After a crash all of it is read and verified, for this reason: sled
/// reuses space that it freed since the last watermark. So a power cut can destroy records that were durable
/// at that watermark.
pub fn open_index(dir: &Path, options: &Options, watermark: &Watermark) -> Result<OpenedIndex, StoreError> {
    let path = dir.join("index");
    let open = || Index::open(&path, options.index_cache_bytes, options.room_bytes);
    let mut entries = 0;
    let mut open_intact = || {
        let index = open()?;
        entries = index.entries()?;
        let intact = match (watermark.clean, watermark.extent.size) {
            (_, 0) => entries == 0,
            (true, size) => watermark.indexed && entries == size,
            (false, _) => watermark.indexed && entries > 0 && index.verify_up_to(&watermark.extent)?,
        };
        Ok(intact.then_some(index))
    };
    let opened = std::thread::scope(|scope| {
        if !watermark.clean && watermark.extent.size > 0 {
            // This starts right away, since sled reads for seconds before its records can be verified.
            scope.spawn(|| Index::read_ahead(&path));
        }
        open_intact()
    });
    match opened {
        Ok(Some(index)) => Ok(OpenedIndex { index, state: IndexState { intact: true, entries } }),
        Ok(None) | Err(StoreError::Database(_) | StoreError::Damaged { .. }) => {
            if watermark.extent.size > 0 {
                tracing::warn!("the index is damaged or outdated and is rebuilt from the segments");
            }
            std::fs::remove_dir_all(&path).map_err(disk::io("removing an index"))?;
            Ok(OpenedIndex { index: open()?, state: IndexState { intact: false, entries } })
        }
        Err(error) => Err(error),
    }
}

/// Reads the segments that may have changed since the watermark, and brings everything up to the end of the
/// log.
///
/// # Errors
/// [`StoreError::Damaged`] if a segment is damaged, or the log is shorter than what had been durable; or an
/// error of the operating system.
pub fn run(shared: &Shared, watermark: Watermark, index: IndexState) -> Result<Recovery, StoreError> {
    let flat_complete =
        shared.tree.has_capacity(watermark.flat) && shared.locations.capacity() >= watermark.flat;
    let mut trusted = Trusted {
        flat: if flat_complete { watermark.flat } else { 0 },
        index: if index.intact { watermark.extent.size } else { 0 },
    };
    let complete = watermark.clean && index.intact && flat_complete;
    let mut recovery = Recovery { clean: complete, ..Recovery::default() };
    let durable = watermark.extent.size.max(index.entries).max(shared.options.entries_min);
    let (head, totals) = loop {
        // This watermark is written before anything changes, so that a half-rebuilt file is not trusted after
        // a crash. The other fields stay the same, so that the next start also stops at damage found now.
        let rebuilding = Watermark { flat: trusted.flat, indexed: index.intact, ..watermark };
        shared.watermark_file.write(&rebuilding)?;
        let mut walk = Walk::begin(shared, &watermark, trusted, durable, &mut recovery)?;
        walk.segments()?;
        let (head, totals, flat_matches) = walk.finish()?;
        if flat_matches {
            break (head, totals);
        }
        tracing::warn!("the flat files are damaged or outdated and are rebuilt from the segments");
        recovery.clean = false;
        trusted.flat = 0;
    };
    if head.size < durable {
        let place = format!("position {}: {durable} entries had been durable", head.size);
        return Err(StoreError::Damaged { what: "log end", place });
    }
    *shared.head.write().unwrap_or_else(PoisonError::into_inner) = head;
    shared.skip_discarded_end(&|position| position.saturating_add(1) == head.size)?;
    shared.readable.store(head.size, Ordering::Release);
    shared.entry_bytes.store(totals.bytes, Ordering::Relaxed);
    shared.custom_complete_to.store(watermark.custom.min(trusted.index), Ordering::Release);
    {
        let mut writer = shared.writer();
        writer.committed = totals;
        shared.sync_derived()?;
        shared.write_watermark(&mut writer, totals)?;
    }
    let interrupted: Vec<u64> =
        shared.intent.pending()?.into_iter().filter(|position| *position < head.size).collect();
    shared.discard(&interrupted)?;
    recovery.discarded = interrupted.len() as u64;
    Ok(recovery)
}

/// The positions up to which the flat files and the index are trusted. Recovery rebuilds them from there on.
#[derive(Clone, Copy, Debug)]
struct Trusted {
    flat: u64,
    index: u64,
}

/// One pass over the segments.
struct Walk<'a> {
    shared: &'a Shared,
    recovery: &'a mut Recovery,
    trusted: Trusted,
    /// The number of entries that had been durable.
    durable: u64,
    /// Whether the log had been closed. Then its end can't be torn.
    closed: bool,
    /// Number of the first segment to read.
    first_segment: u32,
    head: Head,
    /// The totals over the entries, without the index records that this pass adds.
    totals: Extent,
    /// The position from which this pass counts bytes. The bytes of earlier entries are in `totals` already.
    count_from: u64,
    /// Sum of the index records that this pass adds.
    added_sum: u64,
    flat: FlatItems,
}

impl<'a> Walk<'a> {
    fn begin(
        shared: &'a Shared,
        watermark: &Watermark,
        trusted: Trusted,
        durable: u64,
        recovery: &'a mut Recovery,
    ) -> Result<Self, StoreError> {
        // The pass starts at the last segment that begins with a trusted entry, or else at the first segment.
        // So it always reads the time of the last entry.
        let mut first_segment = 0;
        for number in 1..shared.segments.count() {
            let segment = shared.segments.get(number)?;
            if segment.first < trusted.flat.min(trusted.index) && scan::has_frames(&segment)? {
                first_segment = number;
            }
        }
        let bytes = if first_segment == 0 { 0 } else { watermark.extent.bytes };
        let sum = if trusted.index == 0 { 0 } else { watermark.extent.sum };
        Ok(Self {
            shared,
            recovery,
            trusted,
            durable,
            closed: watermark.clean,
            first_segment,
            head: Head::default(),
            totals: Extent { size: 0, bytes, sum },
            count_from: if first_segment == 0 { 0 } else { watermark.extent.size },
            added_sum: 0,
            flat: FlatItems { matches: true, ..FlatItems::default() },
        })
    }

    fn segments(&mut self) -> Result<(), StoreError> {
        let count = self.shared.segments.count();
        for number in self.first_segment..count {
            let segment = self.shared.segments.get(number)?;
            let is_last = number.saturating_add(1) == count;
            if number == self.first_segment {
                self.head.size = segment.first;
            }
            let size_before = self.head.size;
            let continues = segment.first == size_before;
            let walked = scan::walk(&segment, |offset, frame, bytes| {
                if continues { self.take(number, offset, frame, bytes) } else { Err(damaged(size_before)) }
            })?;
            if !continues && is_last && segment.first < size_before && walked.end == End::Unwritten {
                // The segment was started for a batch that was then rejected. It has no frames (groups of
                // entries, each written by one request).
                self.shared.segments.remove_last()?;
                break;
            }
            if !continues {
                return Err(damaged(size_before));
            }
            let tail = self.check_end(&segment, number, is_last, &walked)?;
            self.shared.writer().tail = tail;
        }
        Ok(())
    }

    /// Cuts off a torn write at the end of a segment, and returns where the next frame goes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the end is damaged and not torn.
    fn check_end(
        &mut self,
        segment: &Segment,
        number: u32,
        is_last: bool,
        walked: &Walked,
    ) -> Result<Tail, StoreError> {
        let Walked { offset, next, end } = *walked;
        if let End::Broken { later_commit } = end {
            if later_commit || !is_last || self.closed || next < self.durable {
                return Err(damaged(next));
            }
            tracing::warn!(
                segment = number,
                offset,
                position = next,
                "a torn write was cut off; none of it was acknowledged"
            );
            scan::cut(segment, offset)?;
            self.recovery.cut = Some((number, offset));
        }
        Ok(Tail { offset, reserved: disk::length(&segment.file)? })
    }

    /// Processes the next frame, which starts at `start` in segment `number`.
    fn take(&mut self, number: u32, start: u64, frame: &Parsed, bytes: &[u8]) -> Result<(), StoreError> {
        let first = frame.header.first;
        let location = |record: &Record| Location {
            segment: number,
            offset: start.saturating_add(record.offset as u64),
        };
        let unfinished: Vec<Location> =
            frame.records.iter().filter(|record| record.unfinished).map(location).collect();
        if !unfinished.is_empty() {
            // A crash interrupted a discard: these records are marked as discarded, but their bytes are not
            // all overwritten yet.
            self.shared.segments.discard(&unfinished)?;
        }
        self.head.size = first.saturating_add(frame.records.len() as u64);
        if let Some(newest) = frame.records.last() {
            self.head.recorded_at_ms = newest.header.recorded_at_ms;
        }
        if first >= self.count_from {
            let present = frame.records.iter().filter(|record| record.header.state == State::Present);
            let present_bytes: u64 = present.map(|record| u64::from(record.header.length)).sum();
            self.totals.bytes = self.totals.bytes.saturating_add(present_bytes);
        }
        let trusted = first < self.trusted.flat;
        if self.flat.trusted != trusted || self.flat.leaves.len() >= FLAT_BATCH_ENTRIES {
            self.flat.finish_batch(self.shared, first, trusted)?;
        }
        self.flat.locations.extend(frame.records.iter().map(|record| location(record).encode()));
        self.flat.leaves.extend(frame.records.iter().map(|record| record.header.leaf_hash));
        if first >= self.trusted.flat.min(self.trusted.index) {
            let from = self.recovery.rebuilt_from.map_or(first, |from| from.min(first));
            self.recovery.rebuilt_from = Some(from);
        }
        if first >= self.trusted.index { self.index(first, frame, bytes) } else { Ok(()) }
    }

    /// Adds the entries of a frame to the index.
    fn index(&mut self, first: u64, frame: &Parsed, bytes: &[u8]) -> Result<(), StoreError> {
        let mut headers = Vec::with_capacity(frame.records.len());
        for (record, position) in frame.records.iter().zip(first..) {
            let header = record.bytes(bytes).map(entry::parse_header).transpose();
            headers.push(header.map_err(|_| damaged(position))?);
        }
        let indexed = |header: &entry::Header| IndexedEntry {
            handle: header.handle,
            version: header.version,
            idempotency: header.idempotency,
            custom: &[],
        };
        let index = &self.shared.index;
        let mut adding = index.begin_adding();
        adding.frame(first, headers.iter().map(|header| header.as_ref().map(indexed)));
        // The index does not record these entries as indexed yet, since a half-rebuilt index must not look
        // complete.
        self.added_sum = self.added_sum.wrapping_add(adding.finish(0));
        if index.pending_records() < self.shared.options.settle_records { Ok(()) } else { index.settle() }
    }

    /// Returns the end of the log, the totals, and whether the trusted parts of the flat files match the
    /// segments.
    fn finish(mut self) -> Result<(Head, Extent, bool), StoreError> {
        self.flat.finish_batch(self.shared, self.head.size, false)?;
        self.shared.index.begin_adding().finish(self.head.size.max(self.durable));
        self.shared.index.settle()?;
        self.totals.size = self.head.size;
        self.totals.sum = self.totals.sum.wrapping_add(self.added_sum);
        Ok((self.head, self.totals, self.flat.matches))
    }
}

/// A batch of items of the flat files.
#[derive(Default)]
struct FlatItems {
    /// Position of the first item.
    first: u64,
    /// Whether the files should have these items already.
    trusted: bool,
    locations: Vec<[u8; 8]>,
    leaves: Vec<Hash>,
    /// Whether the files have matched all trusted batches so far.
    matches: bool,
}

impl FlatItems {
    /// Compares or writes the batch, and starts the next one at `first`.
    fn finish_batch(&mut self, shared: &Shared, first: u64, trusted: bool) -> Result<(), StoreError> {
        let end = self.first.saturating_add(self.leaves.len() as u64);
        if self.trusted {
            let locations: &Locations = &shared.locations;
            self.matches = self.matches
                && locations.matches(self.first, &self.locations)?
                && shared.tree.matches(self.first, &self.leaves)?;
        } else if !self.leaves.is_empty() {
            shared.locations.reserve(end)?;
            shared.tree.reserve(end)?;
            shared.locations.write(self.first, &self.locations)?;
            shared.tree.write(self.first, &self.leaves)?;
        }
        self.locations.clear();
        self.leaves.clear();
        (self.first, self.trusted) = (first, trusted);
        Ok(())
    }
}

fn damaged(position: u64) -> StoreError {
    StoreError::Damaged { what: "segment", place: format!("position {position}") }
}
