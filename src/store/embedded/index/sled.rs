//! A sled database as this store uses it: our settings, one tree, small batches, and a flush that is durable.

use crate::store::embedded::disk;
use crate::store::{IndexRecord, StoreError};
use sled::{Batch, Db, Tree};
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Maximum number of operations in a batch. A larger batch makes sled use more memory.
pub const BATCH_OPERATIONS_MAX: usize = 128;

/// Roughly the most bytes that sled writes for one batch. This assumes that each operation rewrites a page of
/// 16 records with 2 KiB each.
const BATCH_BYTES_MAX: u64 = 4 << 20;

/// How many times to try for sled's lock, and the time between tries.
const LOCK_TRIES_MAX: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// The name of sled's file.
const FILE: &str = "db";

/// One sled database with one tree.
pub struct Database {
    db: Db,
    tree: Tree,
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
        Ok(Self { db, tree, file, reserved })
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
        unless_panicked(|| Ok(self.tree.get(key).map_err(failed)?.map(|value| value.to_vec())))
    }

    /// Applies a batch, all of it or nothing. It is durable only after [`Database::flush`].
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        unless_panicked(|| self.tree.apply_batch(batch).map_err(failed))
    }

    /// Makes the system read a database's file into its cache, before all records are read by their keys.
    pub fn read_ahead(dir: &Path) {
        if let Ok(file) = File::open(dir.join(FILE)) {
            disk::read_ahead(&file);
        }
    }

    /// Makes everything applied so far durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        unless_panicked(|| self.db.flush().map_err(failed))?;
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
        unless_panicked(|| {
            self.tree
                .range(start..)
                .take_while(|item| item.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
                .take(count)
                .map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(failed))
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
        unless_panicked(|| {
            for item in self.tree.range::<&[u8], _>((Bound::Included(from), to)) {
                let (key, value) = item.map_err(failed)?;
                if !each(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The last record whose key is at least `from` and less than `to`.
    pub fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<IndexRecord>, StoreError> {
        unless_panicked(|| {
            let last = self.tree.range(from.to_vec()..to.to_vec()).next_back().transpose();
            Ok(last.map_err(failed)?.map(|(key, value)| (key.to_vec(), value.to_vec())))
        })
    }
}
