//! sled, as this store uses it: own settings, one tree a database, small batches, and a flush that is durable.

use super::disk;
use crate::store::StoreError;
use sled::{Batch, Db, Tree};
use std::fs::File;
use std::path::Path;

/// Operations in one batch; sled's memory follows batch size.
pub const BATCH_OPERATIONS_MAX: usize = 256;

/// One sled database with one tree.
pub struct Database {
    db: Db,
    tree: Tree,
    /// Our own handle of sled's file: sled 0.34's flush ends in `sync_file_range`, which is not durable.
    file: File,
}

fn failed(error: sled::Error) -> StoreError {
    StoreError::Database(error.to_string())
}

impl Database {
    /// Opens or makes a database.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        disk::make_dir(dir)?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .use_compression(false)
            // Flushed by us alone, where it is waited for.
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        // sled panics on some damaged files; that must read as damage, not as a crash of the daemon.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            config.open().and_then(|db| Ok((db.open_tree("records")?, db)))
        }));
        let (tree, db) = opened
            .map_err(|_| StoreError::Damaged { what: "database", place: "sled could not open it".into() })?
            .map_err(failed)?;
        let file = File::open(dir.join("db")).map_err(disk::io("opening a database's file"))?;
        disk::sync_dir(dir)?;
        Ok(Self { db, tree, file })
    }

    /// One value.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tree.get(key).map_err(failed)?.map(|value| value.to_vec()))
    }

    /// Applies a batch: all or nothing. Durable only after [`Database::flush`].
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.tree.apply_batch(batch).map_err(failed)
    }

    /// Makes everything applied so far durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(failed)?;
        self.file.sync_data().map_err(disk::io("syncing a database"))
    }

    /// Records whose key starts with `prefix` and is greater than `after`, in order.
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let start = after.map_or_else(|| prefix.to_vec(), |after| [after, &[0]].concat());
        self.tree
            .range(start..)
            .take_while(|item| item.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
            .take(count)
            .map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(failed))
            .collect()
    }

    /// The last record whose key starts with `prefix` (`after_prefix` is the first key beyond).
    pub fn last(&self, prefix: &[u8], after_prefix: &[u8]) -> Result<Option<(Vec<u8>, Vec<u8>)>, StoreError> {
        let last = self.tree.range(prefix.to_vec()..after_prefix.to_vec()).next_back().transpose();
        Ok(last.map_err(failed)?.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}
