//! The embedded key store: opening, reading and writing pages, and compaction.

use super::batch::{self, Change};
use super::compact;
use super::copies::{self, CopyHeader, NAMES, Walked};
use super::pages::{Pages, RESERVE_STEP_BYTES, Tail};
use super::repair::{Copies, Found};
use crate::store::embedded::disk;
use crate::store::embedded::folder_lock::FolderLock;
use crate::store::embedded::frame::ALIGN;
use crate::store::{KeyStore, Page, StoreError};
use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

/// The copies are compacted once they are longer than twice their current pages plus this many bytes.
const SLACK_BYTES: u64 = if cfg!(test) { 16 << 10 } else { 16 << 20 };
/// Changes in one batch of staged pages. After a crash a batch is there as a whole or not at all.
const BATCH_CHANGES_MAX: usize = 128;
/// Maximum number of damaged ranges that are listed one by one.
const RANGES_MAX: usize = 1_024;
/// Bytes of the write count: the number and its CRC-32.
const WRITE_COUNT_BYTES: usize = 12;

/// The embedded key store.
pub struct EmbeddedKeys {
    dir: PathBuf,
    pages: RwLock<Pages>,
    /// Locked for the whole of a write, so there is one write at a time.
    tail: Mutex<Tail>,
    /// The number of durable batches, kept in a file beside the copies. Copies with fewer batches have lost
    /// some. The file is updated after each write and not synced. So its number may be too low, but never too
    /// high.
    write_count: Option<File>,
    /// Set during a write. It stays set if the write fails, because the outcome of that write is then
    /// unknown.
    stopped: AtomicBool,
    /// What was wrong when the store was opened.
    found: Found,
    /// Locks the folder while the store is open.
    _lock: Option<FolderLock>,
}

impl EmbeddedKeys {
    /// Opens or creates the key store. What one copy lost is restored from the other, with a warning in the
    /// log.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another daemon has the folder open. [`StoreError::Damaged`] if something is
    /// intact in neither copy, or writes are missing. Otherwise an error of the operating system. On an
    /// error, the store is not changed.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let lock = FolderLock::acquire(disk::open(&dir.join("lock"))?)?;
        let files = NAMES.iter().map(|name| disk::open(&dir.join(name))).collect::<Result<_, _>>()?;
        let copies = Copies::read_headers(files)?;
        let Some(header) = copies.header else { return Self::create(dir, copies.files, lock) };
        let (walked, mut found) = copies.walk(header)?;
        let write_count = disk::open(&dir.join("writes"))?;
        check_write_count(&write_count, walked.number)?;
        compact::clear(dir)?;
        copies.repair(header, &walked, &found)?;
        if let Some(copy) = found.missing {
            tracing::warn!(copy, "a copy of the key pages was missing and was restored from the other");
        } else if !found.mended.is_empty() {
            let ranges = found.mended.len();
            tracing::warn!(ranges, "a copy of the key pages was damaged and was repaired from the other");
        }
        found.mended.truncate(RANGES_MAX);
        disk::reserve(&write_count, disk::length(&write_count)?, WRITE_COUNT_BYTES as u64, 1)?;
        Self::new(dir, copies.files, header, walked, Some(write_count), found, Some(lock))
    }

    /// Whether a folder has a key store with pages. A store that was created and never written to has none.
    /// Opens and creates nothing.
    #[must_use]
    pub fn has_pages(dir: &Path) -> bool {
        // Each copy begins with a header, and the pages follow it.
        let length = |name: &&str| std::fs::metadata(dir.join(name)).map_or(0, |metadata| metadata.len());
        NAMES.iter().any(|name| length(name) > ALIGN as u64)
    }

    /// Opens the key store for inspection: it takes no writes and repairs nothing.
    ///
    /// # Errors
    /// As for [`EmbeddedKeys::open`]; [`StoreError::Missing`] if there is no key store.
    pub fn inspect(dir: &Path) -> Result<Self, StoreError> {
        let paths = NAMES.iter().map(|name| dir.join(name));
        let existing: Vec<PathBuf> = paths.filter(|path| path.exists()).collect();
        let missing = NAMES.iter().position(|name| !dir.join(name).exists());
        let open = |path: &PathBuf| File::open(path).map_err(disk::io("opening a copy of the key pages"));
        let copies = Copies::read_headers(existing.iter().map(open).collect::<Result<_, _>>()?)?;
        let header = copies.header.ok_or(StoreError::Missing("key store"))?;
        let (walked, mut found) = copies.walk(header)?;
        if let Some(missing) = missing {
            found.missing = missing.checked_add(1);
        }
        if let Ok(write_count) = File::open(dir.join("writes")) {
            check_write_count(&write_count, walked.number)?;
        }
        let keys = Self::new(dir, copies.files, header, walked, None, found, None)?;
        keys.stopped.store(true, Ordering::Release);
        Ok(keys)
    }

    /// What was wrong when the store was opened.
    #[must_use]
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Creates a store without pages.
    fn create(dir: &Path, files: Vec<File>, lock: FolderLock) -> Result<Self, StoreError> {
        let write_count = disk::open(&dir.join("writes"))?;
        check_write_count(&write_count, 0)?;
        for file in &files {
            disk::write(file, 0, &CopyHeader::default().encode())?;
            disk::sync(file)?;
        }
        disk::reserve(&write_count, disk::length(&write_count)?, WRITE_COUNT_BYTES as u64, 1)?;
        let walked = Walked { offset: ALIGN as u64, ..Walked::default() };
        let (header, found) = (CopyHeader::default(), Found::default());
        Self::new(dir, files, header, walked, Some(write_count), found, Some(lock))
    }

    fn new(
        dir: &Path,
        files: Vec<File>,
        header: CopyHeader,
        walked: Walked,
        write_count: Option<File>,
        found: Found,
        lock: Option<FolderLock>,
    ) -> Result<Self, StoreError> {
        let reserved = files.iter().map(disk::length).collect::<Result<_, _>>()?;
        let Walked { catalog, offset, number, live, .. } = walked;
        Ok(Self {
            dir: dir.to_owned(),
            pages: RwLock::new(Pages { files, catalog }),
            tail: Mutex::new(Tail { header, offset, number, synced: number, reserved, live }),
            write_count,
            stopped: AtomicBool::new(false),
            found,
            _lock: lock,
        })
    }

    fn pages(&self) -> RwLockReadGuard<'_, Pages> {
        self.pages.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch to both copies. It is not durable yet.
    fn append(&self, tail: &mut Tail, changes: &[Change]) -> Result<(), StoreError> {
        let invalid = || StoreError::LimitExceeded(batch::LIMITS);
        let bytes = batch::encode(tail.number, tail.synced, changes).ok_or_else(invalid)?;
        let batch = batch::parse(&bytes, tail.offset).ok_or_else(invalid)?;
        let end = tail.offset.saturating_add(bytes.len() as u64);
        {
            // A full device is noticed here, before a byte is written, so the store stays usable.
            let pages = self.pages();
            for (file, reserved) in pages.files.iter().zip(&mut tail.reserved) {
                *reserved = disk::reserve(file, *reserved, end, RESERVE_STEP_BYTES)?;
            }
            self.stopped.store(true, Ordering::Release);
            pages.files.iter().try_for_each(|file| disk::write(file, tail.offset, &bytes))?;
        }
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        for (id, place) in batch.records {
            let previous = match place {
                Some(place) => pages.catalog.insert(id, place),
                None => pages.catalog.remove(&id),
            };
            let added = place.map_or(0, |place| u64::from(place.length));
            let replaced = previous.map_or(0, |place| u64::from(place.length));
            tail.live = tail.live.saturating_add(added).saturating_sub(replaced);
        }
        tail.offset = end;
        tail.number = tail.number.saturating_add(1);
        Ok(())
    }

    /// Makes everything appended durable in both copies.
    fn sync(&self, tail: &mut Tail) -> Result<(), StoreError> {
        self.pages().sync()?;
        tail.synced = tail.number;
        let Some(write_count) = &self.write_count else { return Ok(()) };
        disk::write(write_count, 0, &encode_write_count(tail.number))
    }

    /// Compacts the copies if they are longer than twice their current pages plus [`SLACK_BYTES`]. If there
    /// is no space for the compacted copies, the old ones keep growing.
    fn compact_if_due(&self, tail: &mut Tail) -> Result<(), StoreError> {
        if tail.offset <= tail.live.saturating_mul(2).saturating_add(SLACK_BYTES) {
            return Ok(());
        }
        let generation = tail.header.generation.saturating_add(1);
        let header = CopyHeader { generation, first: tail.number };
        let written = compact::write_next(&self.dir, &self.pages(), tail, header);
        let files = match written {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(%error, "the key pages could not be compacted; their files keep growing");
                return compact::clear(&self.dir);
            }
        };
        // Once a copy is replaced, only recovery can undo a failure.
        self.stopped.store(true, Ordering::Release);
        compact::replace(&self.dir)?;
        let walked = copies::walk(&files.iter().collect::<Vec<_>>(), header)?;
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        if walked.catalog.len() != pages.catalog.len() || !walked.damaged.is_empty() {
            let place = "while it was being compacted".into();
            return Err(StoreError::Damaged { what: "key store", place });
        }
        tail.reserved = files.iter().map(disk::length).collect::<Result<_, _>>()?;
        (tail.header, tail.offset, tail.live) = (header, walked.offset, walked.live);
        (tail.number, tail.synced) = (walked.number, walked.number);
        *pages = Pages { files, catalog: walked.catalog };
        self.stopped.store(false, Ordering::Release);
        Ok(())
    }
}

fn encode_write_count(writes: u64) -> Vec<u8> {
    let number = writes.to_be_bytes();
    [number.as_slice(), &crc32fast::hash(&number).to_be_bytes()].concat()
}

/// Checks that the copies have as many batches as had been durable. A damaged count is ignored.
///
/// # Errors
/// [`StoreError::Damaged`] if batches are missing.
fn check_write_count(write_count: &File, number: u64) -> Result<(), StoreError> {
    let bytes = disk::read(write_count, 0, WRITE_COUNT_BYTES)?;
    let durable = bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    if encode_write_count(durable) == bytes && number < durable {
        let place = format!("write {number} of {durable}");
        return Err(StoreError::Damaged { what: "key store", place });
    }
    Ok(())
}

impl KeyStore for EmbeddedKeys {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let pages = self.pages();
        pages.catalog.get(id).map(|place| pages.read(id, *place)).transpose()
    }

    fn write_pages(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreError::Stopped);
        }
        self.append(&mut tail, changes)?;
        self.sync(&mut tail)?;
        self.stopped.store(false, Ordering::Release);
        self.compact_if_due(&mut tail)
    }

    fn stage_pages(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Acquire) {
            return Err(StoreError::Stopped);
        }
        for batch in changes.chunks(BATCH_CHANGES_MAX) {
            self.append(&mut tail, batch)?;
            self.stopped.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError> {
        let pages = self.pages();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let found = pages.catalog.range::<[u8], _>((start, Bound::Unbounded));
        let found = found.take_while(|(id, _)| id.starts_with(prefix)).take(count);
        found.map(|(id, place)| Ok((id.clone(), pages.read(id, *place)?))).collect()
    }

    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let pages = self.pages();
        let found = pages.catalog.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        Ok(found.take_while(|(id, _)| id.starts_with(prefix)).count() as u64)
    }

    fn takes_writes(&self) -> bool {
        // While a write is running, its outcome is not known yet. The store then counts as writable.
        self.tail.try_lock().is_err() || !self.stopped.load(Ordering::Acquire)
    }
}
