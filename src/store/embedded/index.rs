//! What finds entries, in sled: one tree, prefixes (`records`). All of it is rebuilt from the segments where it lags,
//! but for further records, which only their owner can give back.

use super::database::{BATCH_OPERATIONS_MAX, Database};
use super::mark::Extent;
use super::records::{self, DONE, Span};
use crate::store::{IndexRecord, NewEntry, StoreError};
use sayso_proof::entry::{Handle, Header};
use sayso_proof::merkle::Hash;
use sled::Batch;
use std::collections::BTreeMap;
use std::path::Path;

/// The index.
pub struct Index {
    database: Database,
}

/// What of an entry is indexed.
pub struct Clear<'a> {
    /// Whose it is.
    pub handle: Handle,
    /// Which of theirs.
    pub version: u64,
    /// The request.
    pub idempotency: Option<Hash>,
    /// Further records.
    pub further: &'a [IndexRecord],
}

impl<'a> From<&'a NewEntry> for Clear<'a> {
    fn from(entry: &'a NewEntry) -> Self {
        let NewEntry { handle, version, idempotency, ref index, .. } = *entry;
        Self { handle, version, idempotency, further: index }
    }
}

/// A change of the sum, by the position of the entry that it belongs to: what was taken out.
pub type Forgotten = (u64, u64);

/// A batch that is applied in pieces.
struct Pieces<'a> {
    database: &'a Database,
    batch: Batch,
    operations: usize,
}

impl Pieces<'_> {
    fn change(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), StoreError> {
        match value {
            Some(value) => self.batch.insert(key, value),
            None => self.batch.remove(key),
        }
        self.operations = self.operations.saturating_add(1);
        if self.operations < BATCH_OPERATIONS_MAX { Ok(()) } else { self.apply() }
    }

    fn apply(&mut self) -> Result<(), StoreError> {
        self.operations = 0;
        self.database.apply(std::mem::take(&mut self.batch))
    }
}

/// Frames on their way into the index, by whoever commits and by recovery alike.
pub struct Adding<'a> {
    pieces: Pieces<'a>,
    sum: u64,
}

impl Adding<'_> {
    fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.sum = self.sum.wrapping_add(records::sum(&key, &value));
        self.pieces.change(key, Some(value))
    }

    /// Adds the entries of one frame, the first of which stands at `first`; `None` for those that were discarded.
    pub fn frame<'b>(
        &mut self,
        first: u64,
        entries: impl Iterator<Item = Option<Clear<'b>>>,
    ) -> Result<(), StoreError> {
        let mut spans: BTreeMap<Hash, (u64, u64)> = BTreeMap::new();
        for (entry, position) in entries.zip(first..) {
            let Some(entry) = entry else { continue };
            let key = records::subject_key(entry.handle, entry.version);
            self.insert(key, position.to_be_bytes().to_vec())?;
            if let Some(hash) = entry.idempotency {
                spans.entry(hash).or_insert((position, position)).1 = position;
            }
            for (key, value) in further(position, entry.further) {
                self.insert(key, value)?;
            }
        }
        for (hash, (from, to)) in spans {
            self.insert(records::idempotency_key(&hash), records::encode_span(span(from, to)))?;
        }
        Ok(())
    }

    /// Applies what is left, with the number of entries that the log holds by now. Gives the sum of what was added.
    pub fn finish(mut self, entries: u64) -> Result<u64, StoreError> {
        self.pieces.change(DONE.to_vec(), Some(entries.to_be_bytes().to_vec()))?;
        self.pieces.apply()?;
        Ok(self.sum)
    }
}

/// From the first to the last position.
pub fn span(from: u64, to: u64) -> Span {
    (from, u32::try_from(to.saturating_sub(from).saturating_add(1)).unwrap_or(u32::MAX))
}

/// The list of keys before the records, so that whatever record is there can be found by its position.
fn further(position: u64, index: &[IndexRecord]) -> impl Iterator<Item = IndexRecord> {
    let keys = (!index.is_empty()).then(|| (records::keys_of_key(position), records::encode_keys(index)));
    let record = move |(key, value): &IndexRecord| {
        (records::further_key(key), records::further_value(position, value))
    };
    keys.into_iter().chain(index.iter().map(record))
}

impl Index {
    /// Opens or makes the index.
    pub fn open(dir: &Path, cache_bytes: u64, step: u64) -> Result<Self, StoreError> {
        Ok(Self { database: Database::open(dir, cache_bytes, step)? })
    }

    fn pieces(&self) -> Pieces<'_> {
        Pieces { database: &self.database, batch: Batch::default(), operations: 0 }
    }

    /// So many entries were indexed, thus durable, at least.
    pub fn entries(&self) -> Result<u64, StoreError> {
        Ok(self.database.get(DONE)?.map_or(0, |value| records::number(&value, 0)))
    }

    /// Begins to add frames.
    pub fn adding(&self) -> Adding<'_> {
        Adding { pieces: self.pieces(), sum: 0 }
    }

    /// Whether every record of the entries in `extent` is there, as it was; forgets those of any entry behind it.
    pub fn holds(&self, extent: &Extent) -> Result<bool, StoreError> {
        let mut sum = 0_u64;
        let mut behind = Vec::new();
        self.database.for_each(&[], |key, value| match records::position_of(key, value) {
            Some(position) if position < extent.size => sum = sum.wrapping_add(records::sum(key, value)),
            Some(_) => behind.push(key.to_vec()),
            None => {}
        })?;
        if sum != extent.sum {
            return Ok(false);
        }
        let mut pieces = self.pieces();
        behind.into_iter().try_for_each(|key| pieces.change(key, None))?;
        pieces.apply()?;
        Ok(true)
    }

    /// Gives further records back. Not durable yet.
    pub fn restore(&self, records: &[(u64, Vec<IndexRecord>)]) -> Result<Vec<Forgotten>, StoreError> {
        let mut pieces = self.pieces();
        let mut changed = Vec::new();
        for (position, index) in records {
            let mut taken_out = 0_u64;
            for (key, value) in further(*position, index) {
                taken_out =
                    taken_out.wrapping_add(self.sum_of(&key)?).wrapping_sub(records::sum(&key, &value));
                pieces.change(key, Some(value))?;
            }
            changed.push((*position, taken_out));
        }
        pieces.apply()?;
        Ok(changed)
    }

    /// Forgets entries, and leaves of each of these requests what is left, if anything. Durable.
    pub fn remove(
        &self,
        entries: &[(u64, Header)],
        requests: &BTreeMap<Hash, Option<Span>>,
    ) -> Result<Vec<Forgotten>, StoreError> {
        let mut pieces = self.pieces();
        let mut changed = Vec::new();
        for (position, header) in entries {
            let list = records::keys_of_key(*position);
            let further = self.database.get(&list)?.unwrap_or_default();
            let mut keys: Vec<Vec<u8>> =
                records::decode_keys(&further).iter().map(|key| records::further_key(key)).collect();
            // The list goes last: while any record is there, it is found.
            keys.extend([records::subject_key(header.handle, header.version), list]);
            let mut taken_out = 0_u64;
            for key in keys {
                taken_out = taken_out.wrapping_add(self.sum_of(&key)?);
                pieces.change(key, None)?;
            }
            changed.push((*position, taken_out));
        }
        for (hash, left) in requests {
            let key = records::idempotency_key(hash);
            let Some((first, _)) = self.idempotent(hash)? else { continue };
            let value = left.map(records::encode_span);
            let added = value.as_ref().map_or(0, |value| records::sum(&key, value));
            changed.push((first, self.sum_of(&key)?.wrapping_sub(added)));
            pieces.change(key, value)?;
        }
        pieces.apply()?;
        self.database.flush()?;
        Ok(changed)
    }

    fn sum_of(&self, key: &[u8]) -> Result<u64, StoreError> {
        Ok(self.database.get(key)?.map_or(0, |value| records::sum(key, &value)))
    }

    /// (version, position) of a subject's entries.
    pub fn subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        let after = start.checked_sub(1).map(|before| records::subject_key(handle, before));
        let found = self.database.scan(&records::subject_prefix(handle), after.as_deref(), count)?;
        Ok(found.iter().map(records::subject_entry).collect())
    }

    /// (version, position) of a subject's newest entry.
    pub fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        let start = records::subject_key(handle, 0);
        let end = [records::subject_key(handle, u64::MAX), vec![0]].concat();
        Ok(self.database.last(&start, &end)?.as_ref().map(records::subject_entry))
    }

    /// First position and count of a request.
    pub fn idempotent(&self, hash: &Hash) -> Result<Option<Span>, StoreError> {
        let value = self.database.get(&records::idempotency_key(hash))?;
        Ok(value.as_deref().map(records::decode_span))
    }

    /// One further value.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let key = records::further_key(key);
        let value = self.database.get(&key)?;
        Ok(value.map(|value| records::further_record((key, value)).1))
    }

    /// Further records in order.
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        let after = after.map(records::further_key);
        let found = self.database.scan(&records::further_key(prefix), after.as_deref(), count)?;
        Ok(found.into_iter().map(records::further_record).collect())
    }

    /// Holds room on the device for what is added next.
    pub fn make_room(&self) -> Result<(), StoreError> {
        self.database.make_room()
    }

    /// Makes everything durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.database.flush()
    }
}
