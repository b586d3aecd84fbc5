//! Runs of custom records. Custom records are index records whose keys and values the caller of the store
//! chooses; the store makes all other index records itself. In a run, neighboring keys share one record of
//! sled, the index's database.
//!
//! A leaf page of sled takes 16 records, regardless of their size. If each key that the caller chooses had
//! its own record, these records would use most of sled's pages.
//!
//! A run is stored under the first of its keys. It takes every key from its own first key up to the first key
//! of the next run. If a key is appended to a full run, it begins a new run. If a key falls inside a full
//! run, the run is divided in the middle, and both halves are written in one batch. If the first key of a run
//! is removed, the run is stored under its next key. An empty run is removed; the run before it then takes
//! its keys.
//!
//! A run is full when it has 32 records or exceeds [`RUN_BYTES_MAX`].

use super::records;
use super::sled::{Database, VALUE_BYTES_MAX};
use crate::store::{IndexRecord, StoreError};
use prost::encoding::{decode_varint, encode_varint};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Maximum number of records in a run.
const RUN_RECORDS_MAX: usize = if cfg!(test) { 4 } else { 32 };

/// A run of more bytes than this is divided. Earlier versions had no such limit. See
/// [`super::sled::VALUE_BYTES_MAX`].
const RUN_BYTES_MAX: usize = VALUE_BYTES_MAX / 2;

/// A change of one record in sled: its key, and its new value or `None` to remove it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A run of custom records, by their keys (`records::custom_key`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run(BTreeMap<Vec<u8>, Vec<u8>>);

/// Whether a record in sled is a run.
pub fn is_run(key: &[u8]) -> bool {
    key.first() == Some(&records::CUSTOM)
}

/// Calls `each` with each record of a run, up to the first that can't be decoded. The sum over all records
/// reveals a record that is lost in this way.
pub fn for_each(mut value: &[u8], mut each: impl FnMut(&[u8], &[u8])) {
    let mut key = Vec::new();
    let mut decode_next = || -> Option<()> {
        let shared = usize::try_from(decode_varint(&mut value).ok()?).ok()?;
        (shared <= key.len()).then_some(())?;
        key.truncate(shared);
        key.extend_from_slice(take(&mut value)?);
        each(&key, take(&mut value)?);
        Some(())
    };
    while decode_next().is_some() {}
}

/// Takes a length from the front, and then that many bytes.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Appends the length of `part`, and then `part`.
fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    encode_varint(part.len() as u64, bytes);
    bytes.extend_from_slice(part);
}

impl Run {
    /// Decodes a run, up to the first record that can't be decoded.
    pub fn decode(value: &[u8]) -> Self {
        let mut records = BTreeMap::new();
        for_each(value, |key, value| {
            records.insert(key.to_vec(), value.to_vec());
        });
        Self(records)
    }

    /// Encodes the run: for each record the number of bytes that its key shares with the previous key, the
    /// rest of its key, and its value. `None` if the run is empty.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let (mut bytes, mut previous) = (Vec::new(), [].as_slice());
        for (key, value) in &self.0 {
            let shared = key.iter().zip(previous).take_while(|(one, other)| one == other).count();
            encode_varint(shared as u64, &mut bytes);
            put(&mut bytes, key.get(shared..).unwrap_or_default());
            put(&mut bytes, value);
            previous = key;
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Removes the records of entries from this position on.
    pub fn truncate(&mut self, position: u64) {
        self.0.retain(|_, value| records::number(value, 0) < position);
    }

    /// The changes that write this run in place of the one that is stored under `name`. The run is stored
    /// under its first key, so the key of a removed record is kept nowhere.
    pub fn changes(&self, name: Vec<u8>) -> Vec<Change> {
        match self.0.first_key_value() {
            Some((first, _)) if *first != name => vec![(name, None), (first.clone(), self.encode())],
            _ => vec![(name, self.encode())],
        }
    }

    /// Splits off a new run if this run has become too long because `added` was added. If `added` is the last
    /// key, the new run has only that record. Otherwise it has the second half of the records.
    fn split_off(&mut self, added: &[u8]) -> Option<NewRun> {
        let bytes: usize = self.0.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum();
        if self.0.len() <= RUN_RECORDS_MAX && (bytes <= RUN_BYTES_MAX || self.0.len() < 2) {
            return None;
        }
        let appended = self.0.last_key_value().is_some_and(|(last, _)| last == added);
        let middle = self.0.keys().nth(self.0.len() / 2).cloned()?;
        let first = if appended { added.to_vec() } else { middle };
        let run = Self(self.0.split_off(&first));
        Some(NewRun { first, run, appended })
    }
}

/// A run that was split off.
struct NewRun {
    /// The first key.
    first: Vec<u8>,
    run: Run,
    /// Whether the run is a single appended record.
    appended: bool,
}

/// The value of one record.
pub fn get(database: &Database, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let found = run_of(database, key)?;
    Ok(found.and_then(|(_, mut run)| run.0.remove(key)))
}

/// The run that takes this key, and the key that the run is stored under.
fn run_of(database: &Database, key: &[u8]) -> Result<Option<(Vec<u8>, Run)>, StoreError> {
    let found = database.last(&[records::CUSTOM], &[key, &[0]].concat())?;
    Ok(found.map(|(name, value)| (name, Run::decode(&value))))
}

/// Records whose key starts with `prefix` and is greater than `after`, in order.
pub fn scan(
    database: &Database,
    prefix: &[u8],
    after: Option<&[u8]>,
    count: usize,
) -> Result<Vec<IndexRecord>, StoreError> {
    let start = after.map_or_else(Vec::new, |after| [after, &[0]].concat()).max(prefix.to_vec());
    let mut found = BTreeMap::new();
    // If a run is divided during the scan, it may be read both before and after the division. The map keeps
    // each key once.
    let mut collect = |run: &Run| {
        let range = run.0.range::<[u8], _>((Bound::Included(start.as_slice()), Bound::Unbounded));
        let range = range.take_while(|(key, _)| key.starts_with(prefix));
        found.extend(range.map(|(key, value)| (key.clone(), value.clone())));
        found.len() < count
    };
    let first = run_of(database, &start)?;
    if first.as_ref().is_none_or(|(_, run)| collect(run)) {
        let from = first.map_or_else(|| start.clone(), |(name, _)| [name.as_slice(), &[0]].concat());
        database.for_each_while(&from, None, |name, value| {
            (name < start.as_slice() || name.starts_with(prefix)) && collect(&Run::decode(value))
        })?;
    }
    Ok(found.into_iter().take(count).collect())
}

/// A run to change.
struct Loaded {
    run: Run,
    /// Where the next run begins.
    until: Option<Vec<u8>>,
    /// Number of the run's group. Records were moved between the runs of a group, so these runs are written
    /// in one batch.
    group: usize,
}

/// Runs to change; each is read when one of its records is first changed.
pub struct RunChanges<'a> {
    database: &'a Database,
    loaded: BTreeMap<Vec<u8>, Loaded>,
    groups: usize,
}

impl<'a> RunChanges<'a> {
    /// Starts without changes.
    pub fn new(database: &'a Database) -> Self {
        Self { database, loaded: BTreeMap::new(), groups: 0 }
    }

    /// Sets or removes a record, and returns its previous value.
    pub fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
        let name = self.load(key)?;
        let Some(Loaded { run, until, group }) = self.loaded.get_mut(&name) else { return Ok(None) };
        let previous = match value {
            Some(value) => run.0.insert(key.to_vec(), value),
            None => run.0.remove(key),
        };
        if let Some(NewRun { first, run, appended }) = run.split_off(key) {
            let group = if appended { self.groups } else { *group };
            self.groups = self.groups.saturating_add(usize::from(appended));
            let until = until.replace(first.clone());
            self.loaded.insert(first, Loaded { run, until, group });
        }
        Ok(previous)
    }

    /// Loads the run that takes this key, or begins a new run. Returns the key that the run is stored under.
    fn load(&mut self, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        let nearest = self.loaded.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        if let Some((name, loaded)) = nearest
            && loaded.until.as_deref().is_none_or(|until| key < until)
        {
            return Ok(name.clone());
        }
        let (name, run) = run_of(self.database, key)?.unwrap_or_else(|| (key.to_vec(), Run::default()));
        let mut until = None;
        let after_name = [name.as_slice(), &[0]].concat();
        self.database.for_each_while(&after_name, None, |next, _| {
            until = is_run(next).then(|| next.to_vec());
            false
        })?;
        let new = self.loaded.range::<[u8], _>((Bound::Excluded(name.as_slice()), Bound::Unbounded)).next();
        let new = new.map(|(next, _)| next.clone());
        let until = until.into_iter().chain(new).min();
        self.loaded.insert(name.clone(), Loaded { run, until, group: self.groups });
        self.groups = self.groups.saturating_add(1);
        Ok(name)
    }

    /// The changes to write, grouped by batch.
    pub fn changes(self) -> impl Iterator<Item = Vec<Change>> {
        let mut groups: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
        for (name, Loaded { run, group, .. }) in self.loaded {
            groups.entry(group).or_default().extend(run.changes(name));
        }
        groups.into_values()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use sled::Batch;

    fn apply(database: &Database, runs: RunChanges<'_>) {
        for group in runs.changes() {
            let mut batch = Batch::default();
            for (key, value) in group {
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
            database.apply(batch).unwrap();
        }
    }

    /// Asserts that sled has exactly these records, each in the run that takes its key, and that no run is
    /// too long.
    fn check(database: &Database, expected: &BTreeMap<Vec<u8>, Vec<u8>>) {
        let mut runs = Vec::new();
        database
            .for_each_while(&[], None, |name, value| {
                runs.push((name.to_vec(), Run::decode(value)));
                true
            })
            .unwrap();
        let mut all = BTreeMap::new();
        let names: Vec<_> = runs.iter().skip(1).map(|(name, _)| Some(name.clone())).chain([None]).collect();
        for ((name, run), next) in runs.iter().zip(names) {
            assert!((1..=RUN_RECORDS_MAX).contains(&run.0.len()));
            assert_eq!(run.0.keys().next(), Some(name), "a run is stored under its first key");
            assert!(run.0.keys().all(|key| key >= name && next.as_ref().is_none_or(|next| key < next)));
            assert_eq!(Run::decode(&run.encode().unwrap()), *run);
            all.extend(run.0.clone());
        }
        assert_eq!(all, *expected);
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            (0..3_u8, 0..40_u64).prop_map(|(kind, at)| [b"x", [kind].as_slice(), &at.to_be_bytes()].concat()),
            prop::collection::vec(0..3_u8, 0..4).prop_map(|rest| [b"x".as_slice(), &rest].concat()),
        ]
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 8..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn records_are_found_in_order_until_they_are_removed(
            rounds in prop::collection::vec(
                prop::collection::vec((key(), prop::option::weighted(0.7, value())), 1..30),
                1..6,
            ),
            scans in prop::collection::vec((key(), prop::option::of(key()), 0..12_usize), 8),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let database = Database::open(dir.path(), 1 << 20, 1 << 16).unwrap();
            let mut expected = BTreeMap::new();
            for round in rounds {
                let mut runs = RunChanges::new(&database);
                for (key, value) in round {
                    let previous = match &value {
                        Some(value) => expected.insert(key.clone(), value.clone()),
                        None => expected.remove(&key),
                    };
                    prop_assert_eq!(runs.set(&key, value).unwrap(), previous);
                }
                apply(&database, runs);
                check(&database, &expected);
                for (prefix, after, count) in &scans {
                    prop_assert_eq!(get(&database, prefix).unwrap(), expected.get(prefix).cloned());
                    let records = expected.iter().filter(|(key, _)| key.starts_with(prefix));
                    let records = records.filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after));
                    let records = records.take(*count);
                    let records: Vec<_> = records.map(|(key, value)| (key.clone(), value.clone())).collect();
                    prop_assert_eq!(scan(&database, prefix, after.as_deref(), *count).unwrap(), records);
                }
            }
        }

        #[test]
        fn any_bytes_are_decoded_as_a_run(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let run = Run::decode(&value);
            prop_assert_eq!(Run::decode(&run.encode().unwrap_or_default()), run);
        }
    }
}
