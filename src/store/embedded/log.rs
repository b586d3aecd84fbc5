//! The embedded log: how it is opened, and how it implements the contract of a log.

use super::background::Background;
use super::disk;
use super::folder_lock::FolderLock;
use super::recovery::{self, Recovery};
use super::segment::Location;
use super::shared::{Options, Shared};
use super::watermark::WatermarkFile;
use crate::store::{CommitError, Frame, Head, IndexRecord, LogStore, StoreError, StoredEntry};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The embedded log.
pub struct EmbeddedLog {
    pub(super) shared: Arc<Shared>,
    background: Background,
    recovery: Recovery,
}

impl EmbeddedLog {
    /// Opens or creates the log in a folder, and recovers from a crash.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another daemon has the folder open, [`StoreError::Damaged`] if the log is
    /// damaged, or an error of the operating system.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let lock = FolderLock::acquire(disk::open(&dir.join("lock"))?)?;
        let (watermark_file, watermark) = WatermarkFile::open(dir)?;
        let opened = recovery::open_index(dir, &options, &watermark)?;
        let shared = Arc::new(Shared::open(dir, options, opened.index, watermark_file, lock)?);
        let recovery = recovery::run(&shared, watermark, opened.state)?;
        let background = Background::start(&shared)?;
        Ok(Self { shared, background, recovery })
    }

    /// What recovery found and did.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }
}

impl LogStore for EmbeddedLog {
    fn head(&self) -> Head {
        self.shared.head()
    }

    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        let head = self.shared.commit(expected, frames)?;
        self.background.wake_if_due(&self.shared, head.size);
        Ok(head)
    }

    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        self.shared.read_entry(position)
    }

    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError> {
        let end = self.shared.readable.load(Ordering::Acquire).min(start.saturating_add(count as u64));
        let count = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let locations = self.shared.locations.read(start, count)?;
        let locations: Vec<Location> = locations.into_iter().map(Location::decode).collect();
        self.shared.segments.read_run(start, &locations)
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
        // The head is read first, since a commit advances the head only after the custom records of its
        // entries are in the index.
        let size = self.head().size;
        let complete_to = self.shared.custom_complete_to.load(Ordering::Acquire);
        (complete_to < size).then_some(complete_to)
    }

    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError> {
        self.shared.index_restore(records, done_to)
    }

    fn read_progress(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.shared.progress_file.read())
    }

    fn write_progress(&self, progress: &[u8]) -> Result<(), StoreError> {
        self.shared.check_running()?;
        self.shared.progress_file.write(progress)
    }

    fn entry_bytes(&self) -> u64 {
        self.shared.entry_bytes.load(Ordering::Relaxed)
    }

    fn close(&self) -> Result<(), StoreError> {
        self.shared.close()
    }
}
