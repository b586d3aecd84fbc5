//! The embedded engine on a simulated disk that loses sectors. After a power cut or a failed flush, the disk
//! has only a random selection of the sectors that were written but not synced, regardless of the order in
//! which they were written. After any other failed write, the store stops, and the next process finds the
//! files as the write left them. The exception is a full disk: it refuses the write, and the store goes on.

use sayso::store::embedded::{EmbeddedKeys, EmbeddedLog, Options};
use sayso::store::faulty::{Fault, Power, sectors};
use sayso::store::{
    CommitError, Frame, Head, IndexRecord, KeyStore, LogStore, Page, StoreError, StoredEntry,
};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The length of a segment's header in bytes. It is durable before anything is written after it.
const SEGMENT_HEADER_BYTES: usize = 64;

/// A data folder with its open stores.
pub struct Folder {
    disk: Arc<Disk>,
    log: Arc<FolderLog>,
    keys: Arc<FolderKeys>,
}

/// The files of a folder, and copies of their durable contents.
struct Disk {
    power: Arc<Power>,
    current: TempDir,
    /// The files that can be rebuilt, as they were when they were last made durable. Commits do not sync
    /// these files.
    rebuildable: Mutex<TempDir>,
    /// The segments (files of the log) as of the last commit, and the files of keys as of the last write.
    synced: Mutex<TempDir>,
    /// The files that the next process finds, if they differ from the current ones.
    after_cut: Mutex<Option<TempDir>>,
    stopped: AtomicBool,
}

pub fn scratch() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

fn files(dir: &Path, under: &Path, found: &mut Vec<PathBuf>) {
    let Ok(items) = fs::read_dir(dir.join(under)) else { return };
    for item in items {
        let item = item.unwrap();
        let name = under.join(item.file_name());
        if item.file_type().unwrap().is_dir() { files(dir, &name, found) } else { found.push(name) }
    }
    // The names are sorted, so that the seed and not the file system decides what happens to each file.
    found.sort();
}

fn copy_files(from: &Path, under: &str, to: &Path) {
    let mut names = Vec::new();
    files(from, Path::new(under), &mut names);
    for name in names {
        let target = to.join(&name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(from.join(&name), target).unwrap();
    }
}

fn is_segment(name: &Path) -> bool {
    name.starts_with("log/segments")
}

impl Disk {
    fn copy(&self) -> TempDir {
        let copy = scratch();
        copy_files(self.current.path(), "", copy.path());
        copy
    }

    /// Makes everything that was written so far durable.
    fn sync_all(&self) {
        *self.rebuildable.lock().unwrap() = self.copy();
        self.sync();
    }

    /// Makes everything that was written so far durable, except files that can be rebuilt.
    fn sync(&self) {
        let copy = scratch();
        copy_files(self.current.path(), "log/segments", copy.path());
        copy_files(self.current.path(), "keys", copy.path());
        *self.synced.lock().unwrap() = copy;
    }

    /// Cuts the power. Each file keeps a random part of the sectors that were written since the file was last
    /// made durable.
    fn cut(&self) {
        let (copy, mut names) = (scratch(), Vec::new());
        files(self.current.path(), Path::new(""), &mut names);
        let (synced, rebuildable) = (self.synced.lock().unwrap(), self.rebuildable.lock().unwrap());
        for name in names {
            let durable = if is_segment(&name) || name.starts_with("keys") { &synced } else { &rebuildable };
            let is = fs::read(self.current.path().join(&name)).unwrap();
            let mut was = fs::read(durable.path().join(&name)).unwrap_or_default();
            if was.is_empty() && is_segment(&name) {
                was.clone_from(&is);
                was[SEGMENT_HEADER_BYTES..].fill(0);
            }
            let after_cut = match name.ends_with("keys/writes") {
                // The store writes this count only after both copies of a page are durable, so the old count
                // is kept.
                true => was,
                false => sectors(&was, &is, &self.power),
            };
            let target = copy.path().join(&name);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, after_cut).unwrap();
        }
        *self.after_cut.lock().unwrap() = Some(copy);
    }

    /// Runs a durable step, with the fault that is planned for it. The fault decides whether the step is
    /// done, which of its writes are durable, and whether the caller gets an error. If `is_torn`, an
    /// interrupted step may be durable in part. Otherwise it is done completely or not at all.
    fn step<T, E>(
        &self,
        is_torn: bool,
        unknown: impl Fn(StoreError) -> E,
        full: impl Fn(StoreError) -> E,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(unknown(StoreError::Stopped));
        }
        let fault = match self.power.step().map_err(&unknown)? {
            None => return work(),
            Some(Fault::Full) => return Err(full(StoreError::Full)),
            Some(fault) => fault,
        };
        self.stopped.store(true, Ordering::SeqCst);
        let is_persisted = match fault {
            Fault::Persisted => true,
            Fault::Crash | Fault::Flush => is_torn || self.power.below(2) == 0,
            Fault::Lost | Fault::Full => false,
        };
        if is_persisted {
            work()?;
            if !is_torn {
                self.sync_all();
            }
        }
        if matches!(fault, Fault::Crash | Fault::Flush) {
            self.cut();
        }
        let source = std::io::Error::other("a planned fault");
        Err(unknown(StoreError::Io { doing: "writing", source }))
    }
}

impl Folder {
    /// Creates stores in an empty folder.
    pub fn new(power: &Arc<Power>) -> Self {
        Self::open(Arc::clone(power), scratch())
    }

    fn open(power: Arc<Power>, current: TempDir) -> Self {
        // There is one segment. The watermark is the position up to which the files that can be rebuilt are
        // known to be durable. With these options it advances only when the log is opened, so a restart must
        // recover everything after that position.
        let options = Options {
            segment_bytes_max: 64 << 10,
            room_bytes: 4 << 10,
            index_cache_bytes: 1 << 20,
            settle_records: usize::MAX,
            pending_records_max: usize::MAX,
            watermark_entries: u64::MAX,
            entries_min: 0,
        };
        let log = EmbeddedLog::open(&current.path().join("log"), options).unwrap();
        let keys = EmbeddedKeys::open(&current.path().join("keys")).unwrap();
        let (rebuildable, synced) = (Mutex::new(scratch()), Mutex::new(scratch()));
        let (after_cut, stopped) = (Mutex::default(), AtomicBool::new(false));
        let disk = Arc::new(Disk { power, current, rebuildable, synced, after_cut, stopped });
        disk.sync_all();
        Self {
            log: Arc::new(FolderLog { disk: Arc::clone(&disk), log }),
            keys: Arc::new(FolderKeys { disk: Arc::clone(&disk), keys }),
            disk,
        }
    }

    pub fn log(&self) -> Arc<dyn LogStore> {
        Arc::clone(&self.log) as _
    }

    pub fn keys(&self) -> Arc<dyn KeyStore> {
        Arc::clone(&self.keys) as _
    }

    pub fn restart(self) -> Self {
        Self::open(Arc::clone(&self.disk.power), self.after_cut())
    }

    /// Restarts without the subfolder `folder`, which was lost.
    pub fn restart_without(self, folder: &str) -> Self {
        let after_cut = self.after_cut();
        fs::remove_dir_all(after_cut.path().join(folder)).unwrap();
        Self::open(Arc::clone(&self.disk.power), after_cut)
    }

    fn after_cut(&self) -> TempDir {
        self.disk.stopped.store(true, Ordering::SeqCst);
        self.disk.after_cut.lock().unwrap().take().unwrap_or_else(|| self.disk.copy())
    }
}

struct FolderLog {
    disk: Arc<Disk>,
    log: EmbeddedLog,
}

impl FolderLog {
    /// Runs a change for which the engine takes several steps and syncs each before the next. In the
    /// simulation, the change is done completely or not at all.
    fn change(&self, work: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let is = |error| error;
        self.disk.step(false, is, is, work)?;
        self.disk.sync_all();
        Ok(())
    }
}

impl LogStore for FolderLog {
    fn head(&self) -> Head {
        self.log.head()
    }

    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        let work = || self.log.commit(expected, frames);
        let head = self.disk.step(true, CommitError::Unknown, CommitError::Rejected, work)?;
        self.disk.sync();
        Ok(head)
    }

    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        self.log.read_entry(position)
    }

    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError> {
        self.log.read_entries(start, count)
    }

    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        self.log.read_subject(handle, start, count)
    }

    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        self.log.subject_head(handle)
    }

    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError> {
        self.log.find_idempotent(hash)
    }

    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        self.log.read_hashes(level, start, count)
    }

    fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        self.change(|| self.log.discard(positions))
    }

    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.log.index_get(key)
    }

    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        self.log.index_scan(prefix, after, count)
    }

    fn unindexed_from(&self) -> Option<u64> {
        self.log.unindexed_from()
    }

    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError> {
        self.change(|| self.log.index_restore(records, done_to))
    }

    fn read_progress(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.log.read_progress()
    }

    fn write_progress(&self, progress: &[u8]) -> Result<(), StoreError> {
        self.change(|| self.log.write_progress(progress))
    }

    fn entry_bytes(&self) -> u64 {
        self.log.entry_bytes()
    }

    fn close(&self) -> Result<(), StoreError> {
        if self.disk.stopped.swap(true, Ordering::SeqCst) {
            return Err(StoreError::Stopped);
        }
        self.log.close()
    }
}

struct FolderKeys {
    disk: Arc<Disk>,
    keys: EmbeddedKeys,
}

impl KeyStore for FolderKeys {
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.keys.read_page(id)
    }

    fn write_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let is = |error| error;
        self.disk.step(true, is, is, || self.keys.write_pages(pages))?;
        self.disk.sync();
        Ok(())
    }

    fn stage_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError> {
        let is = |error| error;
        self.disk.step(true, is, is, || self.keys.stage_pages(pages))
    }

    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError> {
        self.keys.scan_pages(prefix, after, count)
    }

    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        self.keys.count_pages(prefix)
    }

    fn takes_writes(&self) -> bool {
        !self.disk.stopped.load(Ordering::SeqCst) && self.keys.takes_writes()
    }
}
