//! Batches that are applied in pieces: sled's memory follows their size.

use super::Index;
use crate::store::StoreError;
use crate::store::embedded::database::BATCH_OPERATIONS_MAX;
use crate::store::embedded::runs;
use sled::Batch;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two pieces, which take about a millisecond each: so others have most of the core.
const REST: Duration = Duration::from_millis(3);
/// With more records waiting than this there is no rest.
const RESTING_RECORDS_MAX: usize = 65_536;

/// A batch that is applied in pieces.
pub(super) struct Pieces<'a> {
    index: &'a Index,
    batch: Batch,
    operations: usize,
    /// Makes room before each piece, where nobody did for all of them.
    makes_room: bool,
    /// Rests between pieces, unless somebody waits.
    rests: bool,
}

impl Pieces<'_> {
    pub(super) fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        self.change_at_once(vec![(key, value)])
    }

    /// All of these in one piece.
    pub(super) fn change_at_once(&mut self, changes: Vec<runs::Change>) -> Result<(), StoreError> {
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
        if self.rests && self.index.may_rest() {
            std::thread::sleep(REST);
        }
        Ok(())
    }

    pub(super) fn apply(&mut self) -> Result<(), StoreError> {
        if self.makes_room {
            self.index.database.make_room_or_use_held()?;
        }
        self.operations = 0;
        self.index.database.apply(std::mem::take(&mut self.batch))
    }
}

impl Index {
    pub(super) fn pieces(&self) -> Pieces<'_> {
        Pieces { index: self, batch: Batch::default(), operations: 0, makes_room: false, rests: false }
    }

    /// That make room for themselves.
    pub(super) fn pieces_with_room(&self, rests: bool) -> Pieces<'_> {
        Pieces { makes_room: true, rests, ..self.pieces() }
    }

    fn may_rest(&self) -> bool {
        self.hurried.load(Ordering::Relaxed) == 0 && self.waiting() < RESTING_RECORDS_MAX
    }
}
