//! Applies many changes to sled, the index's database, in small batches. A larger batch makes sled use more
//! memory.

use super::runs::Change;
use super::sled::{BATCH_OPERATIONS_MAX, Database};
use crate::store::StoreError;
use sled::Batch;
use std::time::Duration;

/// The pause between two batches. A batch takes about a millisecond, so other threads can use most of the
/// core's time.
const PAUSE: Duration = Duration::from_millis(3);

/// Changes on their way into sled.
pub struct Batches<'a> {
    database: &'a Database,
    batch: Batch,
    operations: usize,
    /// Whether to reserve space before each batch.
    reserves: bool,
    /// Called after each batch, to ask whether to pause.
    may_pause: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Batches<'a> {
    /// Applies changes for which the caller has reserved space.
    pub fn new(database: &'a Database) -> Self {
        Self { database, batch: Batch::default(), operations: 0, reserves: false, may_pause: None }
    }

    /// Reserves space before each batch, and pauses after each batch if `may_pause` returns true.
    pub fn reserving(database: &'a Database, may_pause: &'a dyn Fn() -> bool) -> Self {
        Self { reserves: true, may_pause: Some(may_pause), ..Self::new(database) }
    }

    /// Adds one change.
    pub fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        self.change_at_once(vec![(key, value)])
    }

    /// Adds changes that must be applied in one batch.
    pub fn change_at_once(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.operations = self.operations.saturating_add(changes.len());
        for (key, value) in changes {
            match value {
                Some(value) => self.batch.insert(key, value),
                None => self.batch.remove(key),
            }
        }
        if self.operations < BATCH_OPERATIONS_MAX {
            return Ok(());
        }
        self.apply()?;
        if self.may_pause.is_some_and(|may_pause| may_pause()) {
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Applies the changes that were added and not applied yet.
    pub fn apply(&mut self) -> Result<(), StoreError> {
        if self.reserves {
            self.database.reserve_for_batch()?;
        }
        self.operations = 0;
        self.database.apply(std::mem::take(&mut self.batch))
    }
}
