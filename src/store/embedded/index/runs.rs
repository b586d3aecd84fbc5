//! Further records: those of neighbouring keys stand together in one record of sled's, a run. A leaf of sled's takes 16 records,
//! whatever their size, so one by one they were most of its pages.
//!
//! A run takes every key from the one that it is named after up to where the next run begins. One that is full begins a new one
//! where it is appended to, and is divided in the middle otherwise; both halves are written at once. Where the record that it
//! is named after is taken out, it is named after the next; an empty one is removed. The one before it takes the keys between.

use super::records;
use super::sled::Database;
use crate::store::{IndexRecord, StoreError};
use prost::encoding::{decode_varint, encode_varint};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Records in a run, at most.
const ITEMS_MAX: usize = if cfg!(test) { 4 } else { 32 };

/// A change of one record of sled's.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// Some further records, by key as they are found, without any run (`records::further_key`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run(BTreeMap<Vec<u8>, Vec<u8>>);

/// Whether a record of sled's is a run.
pub fn is_run(key: &[u8]) -> bool {
    key.first() == Some(&records::FURTHER)
}

/// Looks at each record of a run, as far as it can be read: what is missing shows in the sum over all.
pub fn for_each(mut value: &[u8], mut each: impl FnMut(&[u8], &[u8])) {
    let mut key = Vec::new();
    let mut next = || -> Option<()> {
        let shared = usize::try_from(decode_varint(&mut value).ok()?).ok()?;
        (shared <= key.len()).then_some(())?;
        key.truncate(shared);
        key.extend_from_slice(take(&mut value)?);
        each(&key, take(&mut value)?);
        Some(())
    };
    while next().is_some() {}
}

/// A length and so many bytes.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    encode_varint(part.len() as u64, bytes);
    bytes.extend_from_slice(part);
}

impl Run {
    /// As it is, as far as it can be read.
    pub fn decode(value: &[u8]) -> Self {
        let mut items = BTreeMap::new();
        for_each(value, |key, value| {
            items.insert(key.to_vec(), value.to_vec());
        });
        Self(items)
    }

    /// Of each record: how many bytes its key shares with the one before, the rest of it, the value. None where nothing is in it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let (mut bytes, mut before) = (Vec::new(), [].as_slice());
        for (key, value) in &self.0 {
            let shared = key.iter().zip(before).take_while(|(one, other)| one == other).count();
            encode_varint(shared as u64, &mut bytes);
            put(&mut bytes, key.get(shared..).unwrap_or_default());
            put(&mut bytes, value);
            before = key;
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Takes out what belongs to entries at this position and behind.
    pub fn cut(&mut self, position: u64) {
        self.0.retain(|_, value| records::number(value, 0) < position);
    }

    /// How it is written in the place of the run of this name: by the name of its first record, so that the key of one that was
    /// taken out stands nowhere.
    pub fn changes(&self, name: Vec<u8>) -> Vec<Change> {
        match self.0.first_key_value() {
            Some((first, _)) if *first != name => vec![(name, None), (first.clone(), self.encode())],
            _ => vec![(name, self.encode())],
        }
    }

    /// What it has too much, once a record with this key came: what was appended, or its second half.
    fn overflow(&mut self, added: &[u8]) -> Option<Overflow> {
        if self.0.len() <= ITEMS_MAX {
            return None;
        }
        let appended = self.0.last_key_value().is_some_and(|(last, _)| last == added);
        let middle = self.0.keys().nth(self.0.len() / 2).cloned()?;
        let from = if appended { added.to_vec() } else { middle };
        let run = Self(self.0.split_off(&from));
        Some(Overflow { from, run, appended })
    }
}

struct Overflow {
    from: Vec<u8>,
    run: Run,
    appended: bool,
}

/// One record.
pub fn get(database: &Database, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let found = at(database, key)?;
    Ok(found.and_then(|(_, mut run)| run.0.remove(key)))
}

/// The run that takes this key, with its name.
fn at(database: &Database, key: &[u8]) -> Result<Option<(Vec<u8>, Run)>, StoreError> {
    let found = database.last(&[records::FURTHER], &[key, &[0]].concat())?;
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
    // One that is divided meanwhile may be seen whole and in part: a key is found once.
    let mut take = |run: &Run| {
        let range = run.0.range::<[u8], _>((Bound::Included(start.as_slice()), Bound::Unbounded));
        let range = range.take_while(|(key, _)| key.starts_with(prefix));
        found.extend(range.map(|(key, value)| (key.clone(), value.clone())));
        found.len() < count
    };
    let first = at(database, &start)?;
    if first.as_ref().is_none_or(|(_, run)| take(run)) {
        let from = first.map_or_else(|| start.clone(), |(name, _)| [name.as_slice(), &[0]].concat());
        database.for_each_while(&from, None, |name, value| {
            (name < start.as_slice() || name.starts_with(prefix)) && take(&Run::decode(value))
        })?;
    }
    Ok(found.into_iter().take(count).collect())
}

/// A run that is about to change.
struct Loaded {
    run: Run,
    /// Where the next one begins.
    until: Option<Vec<u8>>,
    /// Runs that a record moved between are of one family: they are written at once.
    family: usize,
}

/// Runs that are about to change, read when they are first touched.
pub struct Runs<'a> {
    database: &'a Database,
    loaded: BTreeMap<Vec<u8>, Loaded>,
    families: usize,
}

impl<'a> Runs<'a> {
    /// Nothing has changed yet.
    pub fn of(database: &'a Database) -> Self {
        Self { database, loaded: BTreeMap::new(), families: 0 }
    }

    /// Puts a record in, or takes it out, and gives what was there.
    pub fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
        let name = self.load(key)?;
        let Some(Loaded { run, until, family }) = self.loaded.get_mut(&name) else { return Ok(None) };
        let before = match value {
            Some(value) => run.0.insert(key.to_vec(), value),
            None => run.0.remove(key),
        };
        if let Some(Overflow { from, run, appended }) = run.overflow(key) {
            let family = if appended { self.families } else { *family };
            self.families = self.families.saturating_add(usize::from(appended));
            let until = until.replace(from.clone());
            self.loaded.insert(from, Loaded { run, until, family });
        }
        Ok(before)
    }

    /// Reads the run that takes this key, or begins one, and gives its name.
    fn load(&mut self, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        let before = self.loaded.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back();
        if let Some((name, there)) = before
            && there.until.as_deref().is_none_or(|until| key < until)
        {
            return Ok(name.clone());
        }
        let (name, run) = at(self.database, key)?.unwrap_or_else(|| (key.to_vec(), Run::default()));
        let mut until = None;
        let behind = [name.as_slice(), &[0]].concat();
        self.database.for_each_while(&behind, None, |next, _| {
            until = is_run(next).then(|| next.to_vec());
            false
        })?;
        let begun = self.loaded.range::<[u8], _>((Bound::Excluded(name.as_slice()), Bound::Unbounded)).next();
        let begun = begun.map(|(next, _)| next.clone());
        let until = until.into_iter().chain(begun).min();
        self.loaded.insert(name.clone(), Loaded { run, until, family: self.families });
        self.families = self.families.saturating_add(1);
        Ok(name)
    }

    /// What is to be written; each of these lists at once.
    pub fn changes(self) -> impl Iterator<Item = Vec<Change>> {
        let mut families: BTreeMap<usize, Vec<Change>> = BTreeMap::new();
        for (name, Loaded { run, family, .. }) in self.loaded {
            families.entry(family).or_default().extend(run.changes(name));
        }
        families.into_values()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use sled::Batch;

    fn apply(database: &Database, runs: Runs<'_>) {
        for family in runs.changes() {
            let mut batch = Batch::default();
            for (key, value) in family {
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
            database.apply(batch).unwrap();
        }
    }

    /// Every record of sled's, and that each run has what is its own, and not too much of it.
    fn check(database: &Database, held: &BTreeMap<Vec<u8>, Vec<u8>>) {
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
            assert!((1..=ITEMS_MAX).contains(&run.0.len()));
            assert_eq!(run.0.keys().next(), Some(name), "what was taken out stands nowhere");
            assert!(run.0.keys().all(|key| key >= name && next.as_ref().is_none_or(|next| key < next)));
            assert_eq!(Run::decode(&run.encode().unwrap()), *run);
            all.extend(run.0.clone());
        }
        assert_eq!(all, *held);
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            (0..3_u8, 0..40_u64).prop_map(|(kind, at)| [b"x", [kind].as_slice(), &at.to_be_bytes()].concat()),
            prop::collection::vec(0..3_u8, 0..4).prop_map(|rest| [b"x".as_slice(), &rest].concat()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_put_in_is_found_in_order_until_it_is_taken_out(
            rounds in prop::collection::vec(
                prop::collection::vec((key(), prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 8..12))), 1..30),
                1..6,
            ),
            looks in prop::collection::vec((key(), prop::option::of(key()), 0..12_usize), 8),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let database = Database::open(dir.path(), 1 << 20, 1 << 16).unwrap();
            let mut held = BTreeMap::new();
            for round in rounds {
                let mut runs = Runs::of(&database);
                for (key, value) in round {
                    let before = match &value {
                        Some(value) => held.insert(key.clone(), value.clone()),
                        None => held.remove(&key),
                    };
                    prop_assert_eq!(runs.set(&key, value).unwrap(), before);
                }
                apply(&database, runs);
                check(&database, &held);
                for (prefix, after, count) in &looks {
                    prop_assert_eq!(get(&database, prefix).unwrap(), held.get(prefix).cloned());
                    let there = held.iter().filter(|(key, _)| key.starts_with(prefix));
                    let there = there.filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after)).take(*count);
                    let there: Vec<_> = there.map(|(key, value)| (key.clone(), value.clone())).collect();
                    prop_assert_eq!(scan(&database, prefix, after.as_deref(), *count).unwrap(), there);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_as_some_run(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let run = Run::decode(&value);
            prop_assert_eq!(Run::decode(&run.encode().unwrap_or_default()), run);
        }
    }
}
