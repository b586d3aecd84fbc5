//! The state that the parts of the embedded log share: its options, its files, and the writer's state behind
//! one lock.

use super::flat::{Locations, Tree};
use super::folder_lock::FolderLock;
use super::index::Index;
use super::intent::Intent;
use super::progress::ProgressFile;
use super::segment::{Segments, Tail};
use super::watermark::{Extent, Watermark, WatermarkFile};
use crate::store::{Head, StoreError, StoredEntry};
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Options of the embedded log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Maximum size of a segment, bytes. A batch that would exceed it goes into a new segment.
    pub segment_bytes_max: u64,
    /// Space for segments and for the index is reserved ahead in steps of this many bytes.
    pub room_bytes: u64,
    /// Size of sled's cache for the index, bytes.
    pub index_cache_bytes: u64,
    /// Number of pending index records at which they are moved into sled, the index's database. The default
    /// is large enough that several records share a page of sled, and small enough that an erasure does not
    /// wait long for the move.
    pub settle_records: usize,
    /// Maximum number of pending index records, about 150 bytes of memory each. At the maximum, commits wait.
    pub pending_records_max: usize,
    /// Number of entries after which a new watermark is written in the background. Recovery replays at most
    /// about this number of entries.
    pub watermark_entries: u64,
    /// Number of entries that are known from another source to be durable. A shorter log is reported as
    /// damaged, and recovery cuts nothing off as a torn write.
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
            watermark_entries: 32_768,
            entries_min: 0,
        }
    }
}

/// Whether the log takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Running {
    /// It takes writes.
    Yes,
    /// It was closed.
    Closed,
    /// A write failed with an unknown outcome.
    Stopped,
}

/// The writer's state, behind one lock.
#[derive(Default)]
pub struct Writer {
    /// Where the next frame goes.
    pub tail: Tail,
    /// A buffer that is reused from commit to commit.
    pub buffer: Vec<u8>,
    /// All committed entries.
    pub committed: Extent,
    /// The watermark on disk.
    pub watermark: Watermark,
    /// The entries that the watermark being written will cover: those committed before it began.
    pub next_watermark: Option<Extent>,
}

/// The embedded log, shared with its background thread.
pub struct Shared {
    pub(super) options: Options,
    pub(super) segments: Segments,
    pub(super) locations: Locations,
    pub(super) tree: Tree,
    pub(super) index: Index,
    pub(super) intent: Intent,
    pub(super) watermark_file: WatermarkFile,
    pub(super) progress_file: ProgressFile,
    /// Where the log ends. Only the writer advances it, as the last step of a commit.
    pub(super) head: RwLock<Head>,
    /// Number of entries that can be read. It is ahead of the head while a commit adds entries to the index.
    /// So a reader can read every entry that it finds.
    pub(super) readable: AtomicU64,
    /// All entries before this position have their custom index records.
    pub(super) custom_complete_to: AtomicU64,
    pub(super) entry_bytes: AtomicU64,
    writer: Mutex<Writer>,
    /// Locked while a watermark is written, so there is one at a time.
    pub(super) watermark_lock: Mutex<()>,
    running: AtomicU8,
    /// Locks the folder while the log is open.
    _lock: FolderLock,
}

impl Shared {
    /// Opens the files in `dir` that are not open yet. The head is 0 until recovery has found the end of the
    /// log.
    pub fn open(
        dir: &Path,
        options: Options,
        index: Index,
        watermark_file: WatermarkFile,
        lock: FolderLock,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            segments: Segments::open(&dir.join("segments"), options.room_bytes)?,
            locations: Locations::open(&dir.join("locations"))?,
            tree: Tree::open(&dir.join("tree"))?,
            intent: Intent::open(dir)?,
            progress_file: ProgressFile::open(dir)?,
            index,
            watermark_file,
            options,
            head: RwLock::default(),
            readable: AtomicU64::new(0),
            custom_complete_to: AtomicU64::new(0),
            entry_bytes: AtomicU64::new(0),
            writer: Mutex::default(),
            watermark_lock: Mutex::default(),
            running: AtomicU8::new(Running::Yes as u8),
            _lock: lock,
        })
    }

    /// Where the log ends.
    pub fn head(&self) -> Head {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the writer's state.
    pub fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the log takes writes. The answer can change at any time unless the caller holds the writer's
    /// lock.
    pub fn running(&self) -> Running {
        match self.running.load(Ordering::Acquire) {
            0 => Running::Yes,
            1 => Running::Closed,
            _ => Running::Stopped,
        }
    }

    /// Sets whether the log takes writes.
    pub fn set_running(&self, running: Running) {
        self.running.store(running as u8, Ordering::Release);
    }

    /// # Errors
    /// [`StoreError::Stopped`] if the log takes no writes.
    pub fn check_running(&self) -> Result<(), StoreError> {
        if self.running() == Running::Yes { Ok(()) } else { Err(StoreError::Stopped) }
    }

    /// Does work that must not fail halfway. If the work fails or panics, its outcome is unknown, and the log
    /// stops. The caller holds the writer's lock.
    pub fn all_or_stop<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.set_running(Running::Stopped);
        let done = work()?;
        self.set_running(Running::Yes);
        Ok(done)
    }

    /// Reads one entry.
    pub fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        if position >= self.readable.load(Ordering::Acquire) {
            return Err(StoreError::Missing("entry"));
        }
        self.segments.read(position, self.locations.get(position)?)
    }

    /// Makes the flat files (arrays of fixed-size items) and the index durable.
    pub fn sync_derived(&self) -> Result<(), StoreError> {
        self.index.settle()?;
        self.tree.sync()?;
        self.locations.sync()?;
        self.index.flush()
    }

    /// Writes a watermark: the flat files and the index are durable for the entries in `extent`.
    pub fn write_watermark(&self, writer: &mut Writer, extent: Extent) -> Result<(), StoreError> {
        self.put_watermark(writer, Watermark { extent, ..Watermark::default() })
    }

    /// As [`Shared::write_watermark`], for a log that is closed. Nothing is written to it afterwards.
    fn write_last_watermark(&self, writer: &mut Writer, extent: Extent) -> Result<(), StoreError> {
        self.put_watermark(writer, Watermark { extent, clean: true, ..Watermark::default() })
    }

    fn put_watermark(&self, writer: &mut Writer, watermark: Watermark) -> Result<(), StoreError> {
        let Watermark { extent, clean, .. } = watermark;
        let custom = self.custom_complete_to.load(Ordering::Acquire).min(extent.size);
        writer.watermark = Watermark { extent, flat: extent.size, custom, indexed: true, clean };
        self.watermark_file.write(&writer.watermark)
    }

    /// Writes the watermark again, after entries that it covers were discarded or their records were
    /// restored.
    pub fn rewrite_watermark(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let extent = writer.watermark.extent;
        self.write_watermark(writer, extent)
    }

    /// Implements [`crate::store::LogStore::close`].
    pub fn close(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.watermark_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut writer = self.writer();
        match self.running() {
            Running::Closed => return Ok(()),
            Running::Stopped => return Err(StoreError::Stopped),
            Running::Yes => {}
        }
        self.all_or_stop(|| {
            self.sync_derived()?;
            let extent = writer.committed;
            self.write_last_watermark(&mut writer, extent)
        })?;
        self.set_running(Running::Closed);
        Ok(())
    }
}
