//! The embedded log: commits, reads, discards.

use super::disk;
use super::flat::{Locations, Tree};
use super::frame;
use super::index::{Done, Index};
use super::recovery::{self, Recovery};
use super::segment::{Location, Segments, Tail};
use crate::store::{CommitError, Frame, Head, IndexRecord, LogStore, StoreError, StoredEntry};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Settings of the embedded log.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed when the next batch would take it beyond this, bytes.
    pub segment_bytes_max: u64,
    /// sled's cache for the index, bytes.
    pub index_cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes_max: 64 << 20, index_cache_bytes: 64 << 20 }
    }
}

/// The embedded log.
pub struct EmbeddedLog {
    pub(super) dir: PathBuf,
    pub(super) options: Options,
    pub(super) segments: Segments,
    pub(super) locations: Locations,
    pub(super) tree: Tree,
    pub(super) index: Index,
    /// Written by the committer alone, after everything else is done.
    pub(super) head: RwLock<Head>,
    /// Owned by the committer.
    pub(super) tail: Mutex<Tail>,
    pub(super) entry_bytes: AtomicU64,
    pub(super) recovery: Recovery,
    stopped: AtomicBool,
    /// Held for as long as the folder is ours.
    _lock: File,
}

impl EmbeddedLog {
    /// Opens the folder, recovering what a crash left.
    ///
    /// # Errors
    /// Another daemon has it open, it is damaged, or the system refuses.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let lock = disk::open(&dir.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Database("another daemon has this folder open".into()),
            TryLockError::Error(source) => disk::io("locking the folder")(source),
        })?;
        let mut log = Self {
            dir: dir.to_owned(),
            segments: Segments::open(&dir.join("segments"))?,
            locations: Locations::open(&dir.join("locations"))?,
            tree: Tree::open(&dir.join("tree"))?,
            index: recovery::open_index(dir, options.index_cache_bytes)?,
            options,
            head: RwLock::default(),
            tail: Mutex::default(),
            entry_bytes: AtomicU64::new(0),
            recovery: Recovery::default(),
            stopped: AtomicBool::new(false),
            _lock: lock,
        };
        recovery::run(&mut log)?;
        Ok(log)
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    fn stop<T>(&self, error: StoreError) -> Result<T, CommitError> {
        self.stopped.store(true, Ordering::Release);
        Err(CommitError::Unknown(error))
    }

    fn check_running(&self) -> Result<(), StoreError> {
        if self.stopped.load(Ordering::Acquire) { Err(StoreError::Stopped) } else { Ok(()) }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for everything that a batch writes, so that writing itself can't run out of it.
    fn make_room(&self, tail: &mut Tail, head: u64, count: u64, bytes: u64) -> Result<(), StoreError> {
        let size = head.saturating_add(count);
        self.locations.reserve(size)?;
        self.tree.reserve(size)?;
        if self.segments.count() == 0 || tail.at.saturating_add(bytes) > self.options.segment_bytes_max {
            if self.segments.count() > 0 {
                self.mark(head)?;
            }
            *tail = self.segments.start(head, bytes)?;
        } else {
            self.segments.reserve(tail, bytes)?;
        }
        Ok(())
    }

    /// Makes everything that can be rebuilt durable up to `size`, so that recovery need not look further back.
    pub(super) fn mark(&self, size: u64) -> Result<(), StoreError> {
        self.tree.sync()?;
        self.locations.sync()?;
        self.index.flush()?;
        recovery::write_mark(&self.dir, size, false)
    }

    /// What follows the flush: the flat files and the index, which readers need and recovery can rebuild.
    fn publish(&self, start: u64, frames: &[Frame], places: &[Location]) -> Result<Head, StoreError> {
        let encoded: Vec<[u8; 8]> = places.iter().map(|place| place.encode()).collect();
        self.locations.write(start, &encoded)?;
        let leaves: Vec<Hash> = frames.iter().flatten().map(|entry| entry.leaf_hash).collect();
        self.tree.write(start, &leaves)?;
        let mut head = self.head();
        let further_complete = self.index.done()?.further == start;
        for frame in frames {
            self.index.add(head.size, frame, further_complete)?;
            head.size = head.size.saturating_add(frame.len() as u64);
            head.recorded_at_ms = frame.last().map_or(head.recorded_at_ms, |entry| entry.recorded_at_ms);
        }
        Ok(head)
    }
}

impl LogStore for EmbeddedLog {
    fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        self.check_running().map_err(CommitError::Unknown)?;
        let mut tail = self.tail();
        let start = self.head().size;
        if start != expected {
            return Err(CommitError::Conflict { expected, actual: start });
        }
        let too_large = || CommitError::Rejected(StoreError::Missing("room in one frame"));
        let (mut buffer, mut offsets, mut next) = (Vec::new(), Vec::new(), start);
        for frame in frames {
            let added = frame::append(&mut buffer, start, next, frame).ok_or_else(too_large)?;
            offsets.extend(added);
            next = next.saturating_add(frame.len() as u64);
        }
        if frames.is_empty() {
            return Ok(self.head());
        }
        let count = next.saturating_sub(start);
        self.make_room(&mut tail, start, count, buffer.len() as u64).map_err(CommitError::Rejected)?;
        let number = self.segments.count().saturating_sub(1);
        let segment = self.segments.get(number).map_err(CommitError::Rejected)?;
        let written = disk::write(&segment.file, tail.at, &buffer).and_then(|()| disk::sync(&segment.file));
        if let Err(error) = written {
            return self.stop(error);
        }
        let at = tail.at;
        let place = |offset: &usize| Location { segment: number, offset: at.saturating_add(*offset as u64) };
        let places: Vec<Location> = offsets.iter().map(place).collect();
        let head = match self.publish(start, frames, &places) {
            Ok(head) => head,
            Err(error) => return self.stop(error),
        };
        tail.at = at.saturating_add(buffer.len() as u64);
        let bytes: usize = frames.iter().flatten().map(|entry| entry.bytes.len()).sum();
        self.entry_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        Ok(head)
    }

    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        if position >= self.head().size {
            return Err(StoreError::Missing("entry"));
        }
        self.segments.read(position, self.locations.get(position)?)
    }

    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError> {
        let end = self.head().size.min(start.saturating_add(count as u64));
        let count = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let places = self.locations.read(start, count)?;
        let read = |(position, place)| self.segments.read(position, Location::decode(place));
        (start..).zip(places).map(read).collect()
    }

    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        self.index.subject(handle, start, count)
    }

    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        self.index.subject_head(handle)
    }

    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError> {
        self.index.idempotent(hash)
    }

    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        let complete = self.head().size.checked_shr(u32::from(level)).unwrap_or(0);
        if start.saturating_add(count as u64) > complete {
            return Err(StoreError::Missing("complete node"));
        }
        self.tree.read(level, start, count)
    }

    fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        self.check_running()?;
        let _no_commit_meanwhile = self.tail();
        let mut present = Vec::new();
        let mut places = Vec::new();
        for position in positions {
            let stored = self.read_entry(*position)?;
            places.push(self.locations.get(*position)?);
            if let Some(bytes) = stored.bytes {
                present.push((*position, bytes));
            }
        }
        // The index first: from the bytes it is known what to forget, so they must still be there after a crash.
        self.index.remove(&present)?;
        self.segments.discard(&places)?;
        let bytes: usize = present.iter().map(|(_, bytes)| bytes.len()).sum();
        self.entry_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.index.get(key)
    }

    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        self.index.scan(prefix, after, count)
    }

    fn unindexed_from(&self) -> Option<u64> {
        let further = self.index.done().map_or(0, |done: Done| done.further);
        (further < self.head().size).then_some(further)
    }

    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError> {
        let _no_commit_meanwhile = self.tail();
        self.index.restore(records, done_to)
    }

    fn entry_bytes(&self) -> u64 {
        self.entry_bytes.load(Ordering::Relaxed)
    }

    fn close(&self) -> Result<(), StoreError> {
        let _no_commit_meanwhile = self.tail();
        if self.stopped.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let size = self.head().size;
        self.mark(size)?;
        recovery::write_mark(&self.dir, size, true)
    }
}
