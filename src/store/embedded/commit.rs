//! Commits entries to the log. A commit writes its entries to the newest segment (a file with entries)
//! with one write and one flush. Then it updates the flat files (arrays of fixed-size items) and the
//! index, which recovery can rebuild.
//!
//! A commit adds index records in memory only. A background thread (`background.rs`) moves them into sled,
//! the index's database.

use super::disk;
use super::frame;
use super::index::IndexedEntry;
use super::segment::Location;
use super::shared::{Running, Shared, Writer};
use crate::store::{CommitError, Frame, Head, StoreError};
use sayso_proof::merkle::Hash;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// A larger buffer is not reused for the next commit.
const REUSED_BUFFER_BYTES_MAX: usize = 4 << 20;

/// The size of a batch.
struct BatchSize {
    entries: u64,
    /// Bytes on disk, with headers and padding.
    length: u64,
    /// Bytes of the entries alone.
    entry_bytes: u64,
}

/// Measures a batch. Returns `None` if a frame exceeds a limit.
fn measure(frames: &[Frame]) -> Option<BatchSize> {
    let mut size = BatchSize { entries: 0, length: 0, entry_bytes: 0 };
    for frame in frames {
        size.entries = size.entries.saturating_add(frame.len() as u64);
        size.length = size.length.saturating_add(u64::from(frame::length(frame)?));
        let bytes: usize = frame.iter().map(|entry| entry.bytes.len()).sum();
        size.entry_bytes = size.entry_bytes.saturating_add(bytes as u64);
    }
    Some(size)
}

impl Shared {
    /// Implements [`crate::store::LogStore::commit`].
    pub(super) fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        let mut writer = self.writer();
        self.check_running().map_err(CommitError::Unknown)?;
        let head = self.head();
        if head.size != expected {
            return Err(CommitError::Conflict { expected, actual: head.size });
        }
        let invalid = || CommitError::Rejected(StoreError::LimitExceeded(frame::LIMITS));
        let batch = measure(frames).ok_or_else(invalid)?;
        if frames.is_empty() {
            return Ok(head);
        }
        self.reserve(&mut writer, head.size, &batch).map_err(|error| match self.running() {
            Running::Yes => CommitError::Rejected(error),
            _ => CommitError::Unknown(error),
        })?;
        let mut buffer = std::mem::take(&mut writer.buffer);
        buffer.clear();
        buffer.reserve(usize::try_from(batch.length).unwrap_or(0));
        let (mut offsets, mut next) = (Vec::new(), head.size);
        for frame in frames {
            offsets.extend(frame::append(&mut buffer, head.size, next, frame).ok_or_else(invalid)?);
            next = next.saturating_add(frame.len() as u64);
        }
        let written = self.all_or_stop(|| {
            let locations = self.write(&writer, &buffer, &offsets)?;
            self.publish(head, frames, &locations)
        });
        let (head, added_sum) = written.map_err(CommitError::Unknown)?;
        if buffer.capacity() <= REUSED_BUFFER_BYTES_MAX {
            writer.buffer = buffer;
        }
        writer.tail.offset = writer.tail.offset.saturating_add(batch.length);
        writer.committed.size = head.size;
        writer.committed.bytes = writer.committed.bytes.saturating_add(batch.entry_bytes);
        writer.committed.sum = writer.committed.sum.wrapping_add(added_sum);
        self.entry_bytes.store(writer.committed.bytes, Ordering::Relaxed);
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(head)
    }

    /// Reserves space for everything that a batch writes, so that the write itself can't run out of space.
    fn reserve(&self, writer: &mut Writer, head: u64, batch: &BatchSize) -> Result<(), StoreError> {
        let size = head.saturating_add(batch.entries);
        self.locations.reserve(size)?;
        self.tree.reserve(size)?;
        self.index.reserve()?;
        if self.index.pending_records() >= self.options.pending_records_max {
            // The background thread can't keep up: wait until its records are in sled.
            self.index.settle()?;
        }
        let is_full = writer.tail.offset.saturating_add(batch.length) > self.options.segment_bytes_max;
        if self.segments.count() == 0 || is_full {
            writer.tail = self.segments.start(head, batch.length)?;
        } else {
            self.segments.reserve(&mut writer.tail, batch.length)?;
        }
        Ok(())
    }

    /// Writes the batch and flushes it, and returns where its records are.
    fn write(&self, writer: &Writer, buffer: &[u8], offsets: &[usize]) -> Result<Vec<Location>, StoreError> {
        let number = self.segments.count().saturating_sub(1);
        let segment = self.segments.get(number)?;
        let start = writer.tail.offset;
        disk::write(&segment.file, start, buffer)?;
        disk::sync(&segment.file)?;
        let location =
            |offset: &usize| Location { segment: number, offset: start.saturating_add(*offset as u64) };
        Ok(offsets.iter().map(location).collect())
    }

    /// Makes a flushed batch visible to readers. The flat files are updated before the index, so a reader can
    /// read every entry that it finds in the index.
    ///
    /// Returns the new head, and the sum of the added index records.
    fn publish(
        &self,
        head: Head,
        frames: &[Frame],
        locations: &[Location],
    ) -> Result<(Head, u64), StoreError> {
        let start = head.size;
        let encoded: Vec<[u8; 8]> = locations.iter().map(|location| location.encode()).collect();
        self.locations.write(start, &encoded)?;
        let leaves: Vec<Hash> = frames.iter().flatten().map(|entry| entry.leaf_hash).collect();
        self.tree.write(start, &leaves)?;
        let end = start.saturating_add(leaves.len() as u64);
        self.readable.store(end, Ordering::Release);
        let mut adding = self.index.begin_adding();
        let mut first = start;
        for frame in frames {
            adding.frame(first, frame.iter().map(|entry| Some(IndexedEntry::from(entry))));
            first = first.saturating_add(frame.len() as u64);
        }
        let added_sum = adding.finish(end);
        // If custom records (index records that the ledger chose) of earlier entries are missing, this
        // exchange fails. The ledger then restores the records of this batch, too.
        let _incomplete =
            self.custom_complete_to.compare_exchange(start, end, Ordering::AcqRel, Ordering::Acquire);
        let newest = frames.iter().flatten().next_back();
        let recorded_at_ms = newest.map_or(head.recorded_at_ms, |entry| entry.recorded_at_ms);
        Ok((Head { size: end, recorded_at_ms }, added_sum))
    }
}
