//! The sled database as the index uses it: with the settings of this store, one tree, small batches, and a
//! flush that is durable.

use crate::store::embedded::disk;
use crate::store::{IndexRecord, StoreError};
use sled::{Batch, Db, Tree};
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The most bytes that a value should have. Sled writes a page of more than 128 KiB into a file of its own
/// instead of its log, which is slower and has no reserved space. A page has up to 17 records.
pub const VALUE_BYTES_MAX: usize = 4 << 10;

/// Maximum number of operations in a batch. A larger batch makes sled use more memory.
pub const BATCH_OPERATIONS_MAX: usize = 128;

/// Roughly the most bytes that sled writes for one batch. This assumes that each operation rewrites a page of
/// 16 records with half of [`VALUE_BYTES_MAX`] each.
const BATCH_BYTES_MAX: u64 = 4 << 20;

/// How many times to try for sled's lock, and the time between tries.
const LOCK_TRIES_MAX: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// The name of sled's file.
const FILE: &str = "db";

/// One sled database with one tree.
///
/// After an error of the operating system or a panic in sled, every call fails until the database is opened
/// by another process. See [`Database::guarded`].
pub struct Database {
    db: Db,
    tree: Tree,
    has_failed: AtomicBool,
    /// Our own handle of sled's file, to sync it: the flush of sled 0.34 ends in `sync_file_range`, which is
    /// not durable.
    file: File,
    reserved: Mutex<Reserved>,
}

/// Space that is reserved for sled after the end of its file.
struct Reserved {
    /// Space is reserved in steps of this many bytes.
    step: u64,
    /// The last known length of the file.
    length: u64,
    /// The end of the reserved space.
    end: u64,
}

/// Whether another user holds sled's lock. sled says so only in the text of its error.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(source) if source.to_string().starts_with("could not acquire lock"))
}

fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => disk::io("using a database")(source),
        sled::Error::Corruption { .. } => {
            StoreError::Damaged { what: "database", place: "reported by sled".into() }
        }
        other => StoreError::Database(other.to_string()),
    }
}

/// Reports a panic as damage. sled panics on some damaged files, and that must not crash the daemon.
fn unless_panicked<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let panicked = |_| StoreError::Damaged { what: "database", place: "sled panicked".into() };
    catch_unwind(AssertUnwindSafe(work)).map_err(panicked)?
}

impl Database {
    /// Opens or creates a database with a cache of `cache_bytes`. It reserves space in steps of `step` bytes.
    pub fn open(dir: &Path, cache_bytes: u64, step: u64) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .use_compression(false)
            // sled does not flush by timer. Only `flush` flushes, and it waits until the data is
            // durable.
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        let open = || config.open().and_then(|db| Ok((db.open_tree("records")?, db)));
        let (tree, db) = unless_panicked(|| {
            let mut opened = open();
            // sled's threads may hold its lock for a moment after a database was closed in this process.
            // Another process can't hold it, since the lock on the folder keeps it out.
            for _ in 0..LOCK_TRIES_MAX {
                match opened {
                    Err(error) if is_locked(&error) => std::thread::sleep(LOCK_WAIT),
                    other => return other.map_err(failed),
                }
                opened = open();
            }
            opened.map_err(failed)
        })?;
        let file = File::options().read(true).write(true).open(dir.join(FILE));
        let file = file.map_err(disk::io("opening a database's file"))?;
        disk::sync_dir(dir)?;
        let length = disk::length(&file)?;
        let reserved = Mutex::new(Reserved { step, length, end: length });
        Ok(Self { db, tree, has_failed: AtomicBool::new(false), file, reserved })
    }

    /// Calls sled. Once sled has failed, it is never called again, and it stays in memory until the process
    /// ends.
    ///
    /// When sled 0.34 can't write the file of a page that is too large for its log, it leaves a part of its
    /// log open. From then on, a flush waits forever, even the flush when the database is closed. Meanwhile
    /// it keeps a lock that all sled databases of the process share.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StoreError> {
        if self.has_failed.load(Ordering::Acquire) {
            return Err(StoreError::Database("it failed earlier; restart to reopen it".into()));
        }
        let result = unless_panicked(|| Ok(work()));
        match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if !matches!(error, sled::Error::Io(_)) => return Err(failed(error)),
            _ => {}
        }
        if !self.has_failed.swap(true, Ordering::AcqRel) {
            // Without these two, closing the database would flush it.
            std::mem::forget((self.db.clone(), self.tree.clone()));
        }
        // Not `StoreError::Full`, which would mean that the database stays usable.
        result?.map_err(|error| StoreError::Database(error.to_string()))
    }

    /// Reserves space for sled's next writes, so that a full device is noticed before anything is written. A
    /// failed write would make the sled database unusable until it is reopened.
    pub fn reserve(&self) -> Result<(), StoreError> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let length = disk::length(&self.file)?;
        if length < reserved.length {
            // sled truncated its file, and with it the reserved space.
            reserved.end = length;
        }
        reserved.length = length;
        if reserved.end < length.saturating_add(reserved.step / 2) {
            disk::reserve_past_end(&self.file, length, reserved.step)?;
            reserved.end = length.saturating_add(reserved.step);
        }
        Ok(())
    }

    /// Does the same as [`Database::reserve`], except on a full device. Then it succeeds if a batch fits in
    /// the space that is already reserved. So an operation can still move pending records into sled.
    pub fn reserve_for_batch(&self) -> Result<(), StoreError> {
        match self.reserve() {
            Err(StoreError::Full) => {
                let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
                let available = reserved.end.saturating_sub(reserved.length);
                if available >= BATCH_BYTES_MAX { Ok(()) } else { Err(StoreError::Full) }
            }
            other => other,
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.guarded(|| Ok(self.tree.get(key)?.map(|value| value.to_vec())))
    }

    /// Applies a batch, all of it or nothing. It is durable only after [`Database::flush`].
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.guarded(|| self.tree.apply_batch(batch))
    }

    /// Makes the system read a database's file into its cache, before all records are read by their keys.
    pub fn read_ahead(dir: &Path) {
        if let Ok(file) = File::open(dir.join(FILE)) {
            disk::read_ahead(&file);
        }
    }

    /// Makes everything applied so far durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.guarded(|| self.db.flush())?;
        self.file.sync_data().map_err(disk::io("syncing a database"))
    }

    /// Records whose key starts with `prefix` and is greater than `after`, in order.
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        let start = after.map_or_else(Vec::new, |after| [after, &[0]].concat()).max(prefix.to_vec());
        self.guarded(|| {
            self.tree
                .range(start..)
                .take_while(|item| item.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
                .take(count)
                .map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect()
        })
    }

    /// Calls `each` with the records whose keys are at least `from` and less than `to`, in order, until
    /// `each` returns false.
    pub fn for_each_while(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        mut each: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        self.guarded(|| {
            for item in self.tree.range::<&[u8], _>((Bound::Included(from), to)) {
                let (key, value) = item?;
                if !each(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The last record whose key is at least `from` and less than `to`.
    pub fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<IndexRecord>, StoreError> {
        self.guarded(|| {
            let last = self.tree.range(from.to_vec()..to.to_vec()).next_back().transpose()?;
            Ok(last.map(|(key, value)| (key.to_vec(), value.to_vec())))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::mpsc::channel;

    fn batch(value_bytes: usize) -> Batch {
        let mut batch = Batch::default();
        batch.insert(b"key", vec![1; value_bytes]);
        batch
    }

    #[test]
    fn after_a_failed_write_no_call_and_no_other_database_waits() {
        let (done, finished) = channel();
        // A thread of its own, so that the test fails if a call waits forever.
        std::thread::spawn(move || {
            let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let database = Database::open(dir.path(), 1 << 20, 1 << 16).unwrap();
            database.apply(batch(10)).unwrap();
            database.flush().unwrap();
            // sled writes a large page into a file in this folder, so it can't write the page now.
            std::fs::remove_dir_all(dir.path().join("blobs")).unwrap();
            assert!(matches!(database.apply(batch(1 << 20)), Err(StoreError::Database(_))));
            assert!(matches!(database.flush(), Err(StoreError::Database(_))));
            assert!(matches!(database.get(b"key"), Err(StoreError::Database(_))));
            drop(database);
            let other = Database::open(other_dir.path(), 1 << 20, 1 << 16).unwrap();
            other.apply(batch(10)).unwrap();
            other.flush().unwrap();
            done.send(()).unwrap();
        });
        finished.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
