//! The embedded log: what it consists of, how it is opened, and its contract.

use super::disk;
use super::flat::{Locations, Tree};
use super::index::Index;
use super::intent::Intent;
use super::mark::{Extent, Mark, MarkFile};
use super::marker::Marker;
use super::recovery::{self, Recovery};
use super::segment::{Location, Segments, Tail};
use crate::store::{CommitError, Frame, Head, IndexRecord, LogStore, StoreError, StoredEntry};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Settings of the embedded log.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed when the next batch would take it beyond this, bytes.
    pub segment_bytes_max: u64,
    /// Room is made ahead in steps of this many bytes, in segments and for the index.
    pub room_bytes: u64,
    /// sled's cache for the index, bytes.
    pub index_cache_bytes: u64,
    /// Index records are brought into sled once so many wait in memory: enough of them to touch a page of sled's for
    /// several at once, few enough to be gone in a moment when an erasure has to wait for it.
    pub settle_records: usize,
    /// No more index records wait in memory than this; then commits wait. About 150 bytes each.
    pub pending_records_max: usize,
    /// A mark is written behind the commits once so many entries came since the last: so many recovery replays.
    pub mark_entries: u64,
    /// So many entries are known from elsewhere to have been durable: a log that ends before is damaged, and nothing of it
    /// is cut off as torn.
    pub entries_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            room_bytes: 16 << 20,
            index_cache_bytes: 64 << 20,
            settle_records: 16_384,
            pending_records_max: 131_072,
            mark_entries: 32_768,
            entries_min: 0,
        }
    }
}

/// Whether the log takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Running {
    /// It does.
    Yes,
    /// It was closed.
    Closed,
    /// A write failed, and what became of it is unknown.
    Stopped,
}

/// What whoever writes owns: one at a time, under one lock.
#[derive(Default)]
pub struct Writer {
    /// Where the next frame goes.
    pub tail: Tail,
    /// Kept from one commit to the next.
    pub buffer: Vec<u8>,
    /// Everything committed.
    pub now: Extent,
    /// The mark on disk.
    pub marked: Mark,
    /// A mark that is about to be written: what came until it began.
    pub pending: Option<Extent>,
}

/// The embedded log, shared with the thread that writes marks.
pub struct Shared {
    pub(super) options: Options,
    pub(super) segments: Segments,
    pub(super) locations: Locations,
    pub(super) tree: Tree,
    pub(super) index: Index,
    pub(super) intent: Intent,
    pub(super) mark_file: MarkFile,
    /// Moved by the writer alone, after everything else is done.
    pub(super) head: RwLock<Head>,
    /// Entries that can be read: ahead of the head while the index takes them, so that what is found can be read.
    pub(super) readable: AtomicU64,
    /// Further index records are complete below.
    pub(super) further: AtomicU64,
    pub(super) entry_bytes: AtomicU64,
    pub(super) writer: Mutex<Writer>,
    /// One mark at a time.
    pub(super) marking: Mutex<()>,
    running: AtomicU8,
    /// Held for as long as the folder is ours.
    _lock: File,
}

/// The embedded log.
pub struct EmbeddedLog {
    pub(super) shared: Arc<Shared>,
    pub(super) marker: Marker,
    recovery: Recovery,
}

impl EmbeddedLog {
    /// Opens the folder, recovering what a crash left.
    ///
    /// # Errors
    /// [`StoreError::Busy`] where another daemon has it open, [`StoreError::Damaged`] where it is not what was
    /// written, or whatever the system refuses.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let lock = disk::lock(dir)?;
        let (mark_file, mark) = MarkFile::open(dir)?;
        let found = recovery::open_index(dir, &options, &mark)?;
        let shared = Arc::new(Shared {
            segments: Segments::open(&dir.join("segments"), options.room_bytes)?,
            locations: Locations::open(&dir.join("locations"))?,
            tree: Tree::open(&dir.join("tree"))?,
            intent: Intent::open(dir)?,
            index: found.index,
            mark_file,
            options,
            head: RwLock::default(),
            readable: AtomicU64::new(0),
            further: AtomicU64::new(0),
            entry_bytes: AtomicU64::new(0),
            writer: Mutex::default(),
            marking: Mutex::default(),
            running: AtomicU8::new(Running::Yes as u8),
            _lock: lock,
        });
        let recovery = recovery::run(&shared, mark, found.state)?;
        let marker = Marker::start(&shared)?;
        Ok(Self { shared, marker, recovery })
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }
}

impl Shared {
    /// Where the log ends.
    pub fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn to write.
    pub fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the log takes writes; only under the writer's lock is the answer good for longer than a moment.
    pub fn running(&self) -> Running {
        match self.running.load(Ordering::Acquire) {
            0 => Running::Yes,
            1 => Running::Closed,
            _ => Running::Stopped,
        }
    }

    /// Says whether the log takes writes.
    pub fn set_running(&self, running: Running) {
        self.running.store(running as u8, Ordering::Release);
    }

    /// # Errors
    /// The log takes no writes.
    pub fn check_running(&self) -> Result<(), StoreError> {
        if self.running() == Running::Yes { Ok(()) } else { Err(StoreError::Stopped) }
    }

    /// Does what must not fail halfway: if it does, or panics, nobody can say what was written, and no later write is
    /// taken. Only under the writer's lock.
    pub fn all_or_stop<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.set_running(Running::Stopped);
        let done = work()?;
        self.set_running(Running::Yes);
        Ok(done)
    }

    /// One entry.
    pub fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        if position >= self.readable.load(Ordering::Acquire) {
            return Err(StoreError::Missing("entry"));
        }
        self.segments.read(position, self.locations.get(position)?)
    }

    fn close(&self) -> Result<(), StoreError> {
        let _one_mark_at_a_time = self.marking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = self.writer();
        match self.running() {
            Running::Closed => return Ok(()),
            Running::Stopped => return Err(StoreError::Stopped),
            Running::Yes => {}
        }
        self.all_or_stop(|| {
            self.sync_derived()?;
            let extent = writer.now;
            self.write_mark(&mut writer, extent, true)
        })?;
        self.set_running(Running::Closed);
        Ok(())
    }
}

impl LogStore for EmbeddedLog {
    fn head(&self) -> Head {
        self.shared.head()
    }

    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        let head = self.shared.commit(expected, frames)?;
        self.marker.wake_if_due(&self.shared, head.size);
        Ok(head)
    }

    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        self.shared.read_entry(position)
    }

    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError> {
        let end = self.shared.readable.load(Ordering::Acquire).min(start.saturating_add(count as u64));
        let count = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let places = self.shared.locations.read(start, count)?;
        let places: Vec<Location> = places.into_iter().map(Location::decode).collect();
        self.shared.segments.read_run(start, &places)
    }

    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        self.shared.index.subject(handle, start, count)
    }

    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        self.shared.index.subject_head(handle)
    }

    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError> {
        self.shared.index.idempotent(hash)
    }

    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        let complete = self.head().size.checked_shr(u32::from(level)).unwrap_or(0);
        if start.saturating_add(count as u64) > complete {
            return Err(StoreError::Missing("complete node"));
        }
        self.shared.tree.read(level, start, count)
    }

    fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        self.shared.discard(positions)
    }

    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared.index.get(key)
    }

    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        self.shared.index.scan(prefix, after, count)
    }

    fn unindexed_from(&self) -> Option<u64> {
        // The head first: a commit completes further records before it moves the head.
        let size = self.head().size;
        let further = self.shared.further.load(Ordering::Acquire);
        (further < size).then_some(further)
    }

    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError> {
        self.shared.index_restore(records, done_to)
    }

    fn entry_bytes(&self) -> u64 {
        self.shared.entry_bytes.load(Ordering::Relaxed)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.shared.close()
    }
}
