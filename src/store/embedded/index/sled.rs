//! sled, as this store uses it: own settings, one tree a database, small batches, and a flush that is durable.

use crate::store::embedded::disk;
use crate::store::{IndexRecord, StoreError};
use sled::{Batch, Db, Tree};
use std::fs::File;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Operations in one batch; sled's memory follows batch size.
pub const BATCH_OPERATIONS_MAX: usize = 128;

/// What a batch makes sled write, about, at most: as many of its pages, with 16 records of 2 KiB each.
const BATCH_BYTES_MAX: u64 = 4 << 20;

/// How often, and how far apart, sled is asked for its lock again.
const LOCK_TRIES_MAX: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// What sled calls its file.
const FILE: &str = "db";

/// One sled database with one tree.
pub struct Database {
    db: Db,
    tree: Tree,
    /// Our own handle of sled's file: sled 0.34's flush ends in `sync_file_range`, which is not durable.
    file: File,
    room: Mutex<Room>,
}

/// Blocks held for sled behind the end of its file.
struct Room {
    step: u64,
    length: u64,
    reserved: u64,
}

/// sled names a lock that is taken only in the text of its error.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(source) if source.to_string().starts_with("could not acquire lock"))
}

fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => disk::io("using a database")(source),
        sled::Error::Corruption { .. } => {
            StoreError::Damaged { what: "database", place: "found by sled".into() }
        }
        other => StoreError::Database(other.to_string()),
    }
}

/// sled panics on some damaged files; that must read as damage, not as a crash of the daemon.
fn unless_panicked<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let panicked = |_| StoreError::Damaged { what: "database", place: "sled gave up on it".into() };
    catch_unwind(AssertUnwindSafe(work)).map_err(panicked)?
}

impl Database {
    /// Opens or makes a database that keeps `cache_bytes` in memory and makes room in steps of `step` bytes.
    pub fn open(dir: &Path, cache_bytes: u64, step: u64) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .use_compression(false)
            // Flushed by us alone, where it is waited for.
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        let open = || config.open().and_then(|db| Ok((db.open_tree("records")?, db)));
        let (tree, db) = unless_panicked(|| {
            let mut opened = open();
            // sled's own threads may hold its lock for a moment after its end in this very process. Of any other
            // process the folder's own lock has told already.
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
        Ok(Self { db, tree, file, room: Mutex::new(Room { step, length, reserved: length }) })
    }

    /// Holds blocks for what sled writes next, so that a full device shows before anything is written. A sled that
    /// failed to write is lost until it is reopened.
    pub fn make_room(&self) -> Result<(), StoreError> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let length = disk::length(&self.file)?;
        if length < room.length {
            // sled cut its file, and with it what was held behind.
            room.reserved = length;
        }
        room.length = length;
        if room.reserved < length.saturating_add(room.step / 2) {
            disk::reserve_behind(&self.file, length, room.step)?;
            room.reserved = length.saturating_add(room.step);
        }
        Ok(())
    }

    /// As [`Database::make_room`]; but where the device is full, what is held already will do if that is enough for a batch:
    /// so that what waits in memory can be brought in when somebody needs it to be.
    pub fn make_room_or_use_held(&self) -> Result<(), StoreError> {
        match self.make_room() {
            Err(StoreError::Full) => {
                let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
                let held = room.reserved.saturating_sub(room.length);
                if held >= BATCH_BYTES_MAX { Ok(()) } else { Err(StoreError::Full) }
            }
            other => other,
        }
    }

    /// One value.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        unless_panicked(|| Ok(self.tree.get(key).map_err(failed)?.map(|value| value.to_vec())))
    }

    /// Applies a batch: all or nothing. Durable only after [`Database::flush`].
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        unless_panicked(|| self.tree.apply_batch(batch).map_err(failed))
    }

    /// Has the system read the file of a database in order, for whoever opens it and reads all records by their keys.
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

    /// Looks at the records whose keys are at or behind `from` and before `to`, in order, for as long as it is told to go on.
    pub fn for_each_while(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        mut goes_on: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        unless_panicked(|| {
            for item in self.tree.range::<&[u8], _>((Bound::Included(from), to)) {
                let (key, value) = item.map_err(failed)?;
                if !goes_on(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The last record whose key starts with `prefix` (`after_prefix` is the first key beyond).
    pub fn last(&self, prefix: &[u8], after_prefix: &[u8]) -> Result<Option<IndexRecord>, StoreError> {
        unless_panicked(|| {
            let last = self.tree.range(prefix.to_vec()..after_prefix.to_vec()).next_back().transpose();
            Ok(last.map_err(failed)?.map(|(key, value)| (key.to_vec(), value.to_vec())))
        })
    }
}
