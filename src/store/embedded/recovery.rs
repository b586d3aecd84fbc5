//! What happens at open: find the end, tell a torn end from damage, bring everything that can be rebuilt up to it.
//!
//! The mark file says up to which position flat files and index are known to be durable, and whether the end was
//! clean. Without it, or after deletion of an index, everything is rebuilt from the first segment on.

use super::disk;
use super::frame::{Parsed, State};
use super::index::{Done, Index};
use super::log::EmbeddedLog;
use super::segment::{Location, Scanned};
use crate::store::{Head, NewEntry, StoreError};
use sayso_proof::entry;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last end was clean.
    pub clean: bool,
    /// A torn write was cut off here: (segment, offset). Nothing of it had been acknowledged.
    pub cut: Option<(u32, u64)>,
    /// Flat files and index were brought up from this position on.
    pub rebuilt_from: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    size: u64,
    clean: bool,
}

/// Replaces the mark, durably.
pub fn write_mark(dir: &Path, size: u64, clean: bool) -> Result<(), StoreError> {
    let mut bytes = size.to_be_bytes().to_vec();
    bytes.push(u8::from(clean));
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    let temporary = dir.join("mark.new");
    let file = disk::open(&temporary)?;
    file.set_len(0).map_err(disk::io("writing the mark"))?;
    disk::write(&file, 0, &bytes)?;
    disk::sync(&file)?;
    std::fs::rename(&temporary, dir.join("mark")).map_err(disk::io("writing the mark"))?;
    disk::sync_dir(dir)
}

/// The mark; as if nothing were known where it is missing or damaged.
fn read_mark(dir: &Path) -> Mark {
    let Ok(bytes) = std::fs::read(dir.join("mark")) else { return Mark::default() };
    let Some((content, checksum)) = bytes.split_last_chunk::<4>() else { return Mark::default() };
    let Some((size, [clean])) = content.split_first_chunk::<8>() else { return Mark::default() };
    if crc32fast::hash(content).to_be_bytes() != *checksum {
        return Mark::default();
    }
    Mark { size: u64::from_be_bytes(*size), clean: *clean == 1 }
}

/// Opens the index; one that can't be opened is set aside and made anew, for it can be rebuilt.
pub fn open_index(dir: &Path, cache_bytes: u64) -> Result<Index, StoreError> {
    let path = dir.join("index");
    let opened = Index::open(&path, cache_bytes).and_then(|index| index.done().map(|_| index));
    match opened {
        Err(StoreError::Database(_) | StoreError::Damaged { .. }) => {
            tracing::warn!("the index can't be opened and is rebuilt from the segments");
            std::fs::remove_dir_all(&path).map_err(disk::io("removing a damaged index"))?;
            Index::open(&path, cache_bytes)
        }
        other => other,
    }
}

/// Walks what may have changed since the mark and brings everything up to the end of the log.
pub fn run(log: &mut EmbeddedLog) -> Result<(), StoreError> {
    let mark = read_mark(&log.dir);
    let done = log.index.done()?;
    let reaches = log.tree.reaches(mark.size) && log.locations.capacity() >= mark.size;
    let known = if reaches && done.entries >= mark.size { mark.size } else { 0 };
    if done.entries > 0 && known == 0 {
        log.index.set_done(Done::default())?;
    }
    // Of an unclean end, further records since the mark are not trusted either.
    let further = if mark.clean { done.further } else { done.further.min(known) };
    log.recovery.clean = mark.clean && known == mark.size;
    let first = first_segment(log, known)?;
    let further = further.min(known);
    let mut walk = Walk { log, further, head: Head::default(), known, durable: mark.size.max(done.entries) };
    walk.run(first)?;
    let (head, durable) = (walk.head, walk.durable);
    *log.head.write().unwrap_or_else(PoisonError::into_inner) = head;
    if head.size < durable {
        return Err(StoreError::Damaged {
            what: "log end",
            place: format!("position {}: {durable} entries had been durable", head.size),
        });
    }
    log.index.set_done(Done { entries: head.size, further })?;
    // From here on a crash is an unclean end, and need not look further back than here.
    log.mark(head.size)
}

/// The last segment that begins at or before `known`.
fn first_segment(log: &EmbeddedLog, known: u64) -> Result<u32, StoreError> {
    let mut first = 0;
    for number in 0..log.segments.count() {
        if log.segments.get(number)?.first <= known {
            first = number;
        }
    }
    Ok(first)
}

struct Walk<'a> {
    log: &'a mut EmbeddedLog,
    further: u64,
    head: Head,
    /// Flat files and index are good up to here.
    known: u64,
    /// So many entries had been durable.
    durable: u64,
}

impl Walk<'_> {
    fn run(&mut self, first: u32) -> Result<(), StoreError> {
        let count = self.log.segments.count();
        for number in first..count {
            let segment = self.log.segments.get(number)?;
            if number == first {
                self.head.size = segment.first;
            } else if segment.first != self.head.size {
                return Err(damaged(self.head.size));
            }
            let mut found = Vec::new();
            let tail = self.log.segments.scan(number, |item| {
                found.push(item);
                Ok(())
            })?;
            let mut at = tail.at;
            for item in found {
                match item {
                    Scanned::Frame(start, frame) => self.take(number, start, frame)?,
                    Scanned::Broken(start, position) => {
                        self.judge(number, start, position)?;
                        at = start;
                    }
                }
            }
            let mut kept = self.log.tail.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = super::segment::Tail { at, reserved: tail.reserved };
        }
        Ok(())
    }

    /// A torn end is cut off; damage refuses to open.
    fn judge(&mut self, number: u32, at: u64, position: u64) -> Result<(), StoreError> {
        let durable = position < self.durable || self.log.recovery.clean;
        if durable || self.log.segments.later_commit(number, at, position)? {
            return Err(damaged(position));
        }
        tracing::warn!(
            segment = number,
            offset = at,
            position,
            "a torn write was cut off; none of it was acknowledged"
        );
        self.log.segments.cut(number, at)?;
        self.log.recovery.cut = Some((number, at));
        Ok(())
    }

    fn take(&mut self, number: u32, start: u64, frame: Parsed) -> Result<(), StoreError> {
        let first = frame.header.first;
        let places: Vec<Location> = frame
            .records
            .iter()
            .map(|(offset, _)| Location { segment: number, offset: start.saturating_add(*offset as u64) })
            .collect();
        if !frame.unfinished.is_empty() {
            // A crash came between the mark of a discard and its zeros: finish it.
            let unfinished = |place: &&Location| {
                frame.unfinished.iter().any(|offset| start.saturating_add(*offset as u64) == place.offset)
            };
            let places: Vec<Location> = places.iter().filter(unfinished).copied().collect();
            self.log.segments.discard(&places)?;
        }
        let end = first.saturating_add(places.len() as u64);
        let bytes: u64 = frame
            .records
            .iter()
            .filter(|(_, record)| record.state == State::Present)
            .map(|(_, record)| u64::from(record.length))
            .sum();
        self.log.entry_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.head.size = end;
        self.head.recorded_at_ms =
            frame.records.last().map_or(self.head.recorded_at_ms, |(_, record)| record.recorded_at_ms);
        if end <= self.known {
            return Ok(());
        }
        self.log.recovery.rebuilt_from.get_or_insert(first);
        self.rebuild(first, &frame, &places)
    }

    fn rebuild(&self, first: u64, frame: &Parsed, places: &[Location]) -> Result<(), StoreError> {
        let log = &self.log;
        let end = first.saturating_add(places.len() as u64);
        log.locations.reserve(end)?;
        log.tree.reserve(end)?;
        let encoded: Vec<[u8; 8]> = places.iter().map(|place| place.encode()).collect();
        log.locations.write(first, &encoded)?;
        let leaves: Vec<_> = frame.records.iter().map(|(_, record)| record.leaf_hash).collect();
        log.tree.write(first, &leaves)?;
        for (place, position) in places.iter().zip(first..) {
            let stored = log.segments.read(position, *place)?;
            let Some(bytes) = stored.bytes else { continue };
            let header = entry::parse_header(&bytes).map_err(|_| damaged(position))?;
            let entry = NewEntry {
                bytes,
                leaf_hash: stored.leaf_hash,
                handle: header.handle,
                version: header.version,
                idempotency: header.idempotency,
                recorded_at_ms: stored.recorded_at_ms,
                index: Vec::new(),
            };
            log.index.add_again(position, &entry, self.further)?;
        }
        Ok(())
    }
}

fn damaged(position: u64) -> StoreError {
    StoreError::Damaged { what: "segment", place: format!("position {position}") }
}
