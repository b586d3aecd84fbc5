//! Applies a long row of changes to sled in batches, since sled's memory follows the size of a batch.

use super::runs::Change;
use super::sled::{BATCH_OPERATIONS_MAX, Database};
use crate::store::StoreError;
use sled::Batch;
use std::time::Duration;

/// Between two batches, which take about a millisecond each: so others have most of the core.
const PAUSE: Duration = Duration::from_millis(3);

/// Changes on their way into sled.
pub struct Batches<'a> {
    database: &'a Database,
    batch: Batch,
    operations: usize,
    /// Makes room before each batch, where nobody did for all of them.
    makes_room: bool,
    /// Asked after each batch whether to pause.
    may_pause: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Batches<'a> {
    /// For changes that there is room for already.
    pub fn new(database: &'a Database) -> Self {
        Self { database, batch: Batch::default(), operations: 0, makes_room: false, may_pause: None }
    }

    /// That make room for themselves, and pause after each batch where `may_pause` says so.
    pub fn making_room(database: &'a Database, may_pause: &'a dyn Fn() -> bool) -> Self {
        Self { makes_room: true, may_pause: Some(may_pause), ..Self::new(database) }
    }

    /// Adds one change.
    pub fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        self.change_at_once(vec![(key, value)])
    }

    /// Adds changes that go into one batch together.
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

    /// Applies what has not been applied yet.
    pub fn apply(&mut self) -> Result<(), StoreError> {
        if self.makes_room {
            self.database.make_room_or_use_held()?;
        }
        self.operations = 0;
        self.database.apply(std::mem::take(&mut self.batch))
    }
}
