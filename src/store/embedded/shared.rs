//! What the parts of the embedded log share: its options, its files, and the writer's state behind one lock.

use super::flat::{Locations, Tree};
use super::index::Index;
use super::intent::Intent;
use super::segment::{Segments, Tail};
use super::watermark::{Extent, Watermark, WatermarkFile};
use crate::store::{Head, StoreError, StoredEntry};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

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
    pub marked: Watermark,
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
    pub(super) watermark_file: WatermarkFile,
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

impl Shared {
    /// Opens the files in `dir` that are not open yet. The head is at 0 until recovery has found the end of the log.
    pub fn open(
        dir: &Path,
        options: Options,
        index: Index,
        watermark_file: WatermarkFile,
        lock: File,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            segments: Segments::open(&dir.join("segments"), options.room_bytes)?,
            locations: Locations::open(&dir.join("locations"))?,
            tree: Tree::open(&dir.join("tree"))?,
            intent: Intent::open(dir)?,
            index,
            watermark_file,
            options,
            head: RwLock::default(),
            readable: AtomicU64::new(0),
            further: AtomicU64::new(0),
            entry_bytes: AtomicU64::new(0),
            writer: Mutex::default(),
            marking: Mutex::default(),
            running: AtomicU8::new(Running::Yes as u8),
            _lock: lock,
        })
    }

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

    /// Makes everything durable that can be rebuilt.
    pub fn sync_derived(&self) -> Result<(), StoreError> {
        self.index.settle()?;
        self.tree.sync()?;
        self.locations.sync()?;
        self.index.flush()
    }

    /// Says that everything that can be rebuilt is durable for these entries.
    pub fn write_watermark(
        &self,
        writer: &mut Writer,
        extent: Extent,
        clean: bool,
    ) -> Result<(), StoreError> {
        let further = self.further.load(Ordering::Acquire).min(extent.size);
        writer.marked = Watermark { extent, flat: extent.size, further, indexed: true, clean };
        self.watermark_file.write(&writer.marked)
    }

    /// Says again what is durable, after something of it was taken away or given back.
    pub fn rewrite_watermark(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let extent = writer.marked.extent;
        self.write_watermark(writer, extent, false)
    }

    /// As [`crate::store::LogStore::close`].
    pub fn close(&self) -> Result<(), StoreError> {
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
            self.write_watermark(&mut writer, extent, true)
        })?;
        self.set_running(Running::Closed);
        Ok(())
    }
}
