//! Writing: one write and one flush a batch, then what readers need and recovery can rebuild; the index in memory only.

use super::disk;
use super::frame;
use super::index::Clear;
use super::segment::Location;
use super::shared::{Running, Shared, Writer};
use crate::store::{CommitError, Frame, Head, StoreError};
use sayso_proof::merkle::Hash;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// A larger buffer than this is not kept for the next commit.
const BUFFER_KEPT_BYTES_MAX: usize = 4 << 20;

/// What a batch comes to.
struct Extents {
    entries: u64,
    /// On disk, headers and padding included.
    length: u64,
    /// Of the entries alone.
    bytes: u64,
}

fn measure(frames: &[Frame]) -> Option<Extents> {
    let mut extents = Extents { entries: 0, length: 0, bytes: 0 };
    for frame in frames {
        extents.entries = extents.entries.saturating_add(frame.len() as u64);
        extents.length = extents.length.saturating_add(u64::from(frame::length(frame)?));
        let bytes: usize = frame.iter().map(|entry| entry.bytes.len()).sum();
        extents.bytes = extents.bytes.saturating_add(bytes as u64);
    }
    Some(extents)
}

impl Shared {
    /// As [`crate::store::LogStore::commit`].
    pub(super) fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        let mut writer = self.writer();
        self.check_running().map_err(CommitError::Unknown)?;
        let head = self.head();
        if head.size != expected {
            return Err(CommitError::Conflict { expected, actual: head.size });
        }
        let too_large = || CommitError::Rejected(StoreError::OutOfBounds("a frame's size"));
        let extents = measure(frames).ok_or_else(too_large)?;
        if frames.is_empty() {
            return Ok(head);
        }
        self.make_room(&mut writer, head.size, &extents).map_err(|error| match self.running() {
            Running::Yes => CommitError::Rejected(error),
            _ => CommitError::Unknown(error),
        })?;
        let mut buffer = std::mem::take(&mut writer.buffer);
        buffer.clear();
        buffer.reserve(usize::try_from(extents.length).unwrap_or(0));
        let (mut offsets, mut next) = (Vec::new(), head.size);
        for frame in frames {
            offsets.extend(frame::append(&mut buffer, head.size, next, frame).ok_or_else(too_large)?);
            next = next.saturating_add(frame.len() as u64);
        }
        let written = self.all_or_stop(|| {
            let places = self.write(&writer, &buffer, &offsets)?;
            self.publish(head, frames, &places)
        });
        let (head, sum) = written.map_err(CommitError::Unknown)?;
        if buffer.capacity() <= BUFFER_KEPT_BYTES_MAX {
            writer.buffer = buffer;
        }
        writer.tail.at = writer.tail.at.saturating_add(extents.length);
        writer.now.size = head.size;
        writer.now.bytes = writer.now.bytes.saturating_add(extents.bytes);
        writer.now.sum = writer.now.sum.wrapping_add(sum);
        self.entry_bytes.store(writer.now.bytes, Ordering::Relaxed);
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(head)
    }

    /// Makes room for everything that a batch writes, so that writing itself can't run out of it.
    fn make_room(&self, writer: &mut Writer, head: u64, extents: &Extents) -> Result<(), StoreError> {
        let size = head.saturating_add(extents.entries);
        self.locations.reserve(size)?;
        self.tree.reserve(size)?;
        self.index.make_room()?;
        if self.index.waiting() >= self.options.pending_records_max {
            // Whoever brings records into sled can't follow: wait for it.
            self.index.settle()?;
        }
        let full = writer.tail.at.saturating_add(extents.length) > self.options.segment_bytes_max;
        if self.segments.count() == 0 || full {
            writer.tail = self.segments.start(head, extents.length)?;
        } else {
            self.segments.reserve(&mut writer.tail, extents.length)?;
        }
        Ok(())
    }

    /// The one write and the one flush.
    fn write(&self, writer: &Writer, buffer: &[u8], offsets: &[usize]) -> Result<Vec<Location>, StoreError> {
        let number = self.segments.count().saturating_sub(1);
        let segment = self.segments.get(number)?;
        let at = writer.tail.at;
        disk::write(&segment.file, at, buffer)?;
        disk::sync(&segment.file)?;
        let place = |offset: &usize| Location { segment: number, offset: at.saturating_add(*offset as u64) };
        Ok(offsets.iter().map(place).collect())
    }

    /// What follows the flush: the flat files, then the index, then the head. Whoever finds an entry can read it.
    fn publish(&self, head: Head, frames: &[Frame], places: &[Location]) -> Result<(Head, u64), StoreError> {
        let start = head.size;
        let encoded: Vec<[u8; 8]> = places.iter().map(|place| place.encode()).collect();
        self.locations.write(start, &encoded)?;
        let leaves: Vec<Hash> = frames.iter().flatten().map(|entry| entry.leaf_hash).collect();
        self.tree.write(start, &leaves)?;
        let end = start.saturating_add(leaves.len() as u64);
        self.readable.store(end, Ordering::Release);
        let mut adding = self.index.adding();
        let mut first = start;
        for frame in frames {
            adding.frame(first, frame.iter().map(|entry| Some(Clear::from(entry))));
            first = first.saturating_add(frame.len() as u64);
        }
        let sum = adding.finish(end);
        // Where further records are missing before this batch, their owner gives these back as well.
        let _behind = self.further.compare_exchange(start, end, Ordering::AcqRel, Ordering::Acquire);
        let newest = frames.iter().flatten().next_back();
        let recorded_at_ms = newest.map_or(head.recorded_at_ms, |entry| entry.recorded_at_ms);
        Ok((Head { size: end, recorded_at_ms }, sum))
    }
}
