//! For each entry, a list of the keys of its custom records (index records whose keys and values the
//! ledger chose). When an entry is discarded, its custom records are found by these keys.
//!
//! The lists of neighboring positions are encoded together in one record of sled, the index's database. Sled
//! handles a few large records better than many small ones. A record has at most [`VALUE_BYTES_MAX`] bytes,
//! so a longer encoding is split into several records. Each of these records is a *part*. The key of a later
//! part is the key of the first part, followed by the number 1, 2, and so on. Earlier versions put all bytes
//! into the first part, regardless of its size.

use super::records;
use super::runs::Change;
use super::sled::{Database, VALUE_BYTES_MAX};
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Number of consecutive positions whose lists are encoded together.
const RECORD_POSITIONS: u64 = if cfg!(test) { 4 } else { 64 };

/// The lists of the entries at consecutive positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    first: u64,
    lists: BTreeMap<u64, Vec<u8>>,
    /// Number of parts in sled.
    stored_parts: usize,
}

/// Length of the key of a first part.
const KEY_LENGTH: usize = 9;

/// Key of the first part of the lists to which the list of this position belongs.
pub fn key(position: u64) -> Vec<u8> {
    [b"p".as_slice(), &(position / RECORD_POSITIONS).to_be_bytes()].concat()
}

/// Key of a later part. Its number follows the key of the first part.
fn part_key(first: &[u8], part: usize) -> Vec<u8> {
    match u32::try_from(part).unwrap_or(u32::MAX) {
        0 => first.to_vec(),
        part => [first, &part.to_be_bytes()].concat(),
    }
}

/// Whether a record has lists.
pub fn is_lists(key: &[u8]) -> bool {
    key.first() == Some(&b'p')
}

/// What a list adds to the sum over all index records ([`records::sum`]). A record with several lists adds as
/// much as if each list had its own record.
pub fn sum(position: u64, list: &[u8]) -> u64 {
    let mut key = *b"p........";
    key[1..].copy_from_slice(&position.to_be_bytes());
    records::sum(&key, list)
}

/// Joins the parts of lists that are read in the order of their keys.
#[derive(Default)]
pub struct Joining {
    /// The key of the first part.
    key: Vec<u8>,
    bytes: Vec<u8>,
    parts: usize,
}

/// Lists whose parts were joined.
pub struct Joined {
    /// The key of the first part.
    pub key: Vec<u8>,
    /// The encoded lists.
    pub bytes: Vec<u8>,
    /// Number of parts in sled.
    pub parts: usize,
}

impl Joining {
    /// Adds a part. If it is the first part of other lists, returns the lists whose parts were added before.
    pub fn add(&mut self, key: &[u8], part: &[u8]) -> Option<Joined> {
        let first = key.get(..KEY_LENGTH).unwrap_or(key);
        let before = (self.key != first).then(|| self.finish()).flatten();
        self.key = first.to_vec();
        self.bytes.extend_from_slice(part);
        self.parts = self.parts.saturating_add(1);
        before
    }

    /// Returns the lists whose parts were added last.
    pub fn finish(&mut self) -> Option<Joined> {
        let Self { key, bytes, parts } = std::mem::take(self);
        (parts > 0).then_some(Joined { key, bytes, parts })
    }
}

/// Calls `each` with each position in encoded lists and the list of that position. Stops at the first list
/// that can't be decoded.
pub fn for_each<'a>(key: &[u8], mut value: &'a [u8], mut each: impl FnMut(u64, &'a [u8])) {
    let first = records::number(key, 1).saturating_mul(RECORD_POSITIONS);
    while let Some(([at, length @ ..], behind)) = value.split_first_chunk::<5>() {
        let Some((list, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            break;
        };
        each(first.saturating_add(u64::from(*at)), list);
        value = behind;
    }
}

impl Lists {
    /// Reads the lists whose first part has this key.
    fn read(database: &Database, key: &[u8]) -> Result<Self, StoreError> {
        let mut joining = Joining::default();
        let end = (records::number(key, 1).saturating_add(1)).to_be_bytes();
        let end = [b"p".as_slice(), &end].concat();
        database.for_each_while(key, Some(&end), |key, part| joining.add(key, part).is_none())?;
        let none = || Joined { key: key.to_vec(), bytes: Vec::new(), parts: 0 };
        Ok(Self::decode(&joining.finish().unwrap_or_else(none)))
    }

    /// Decodes lists.
    pub fn decode(Joined { key, bytes, parts }: &Joined) -> Self {
        let first = records::number(key, 1).saturating_mul(RECORD_POSITIONS);
        let mut lists = BTreeMap::new();
        for_each(key, bytes, |position, list| {
            lists.insert(position, list.to_vec());
        });
        Self { first, lists, stored_parts: *parts }
    }

    /// The changes that write the lists over those in sled. They have to be applied in one batch.
    pub fn changes(&self) -> Vec<Change> {
        let (bytes, first) = (self.encode(), key(self.first));
        let parts = bytes.chunks(VALUE_BYTES_MAX).map(|part| Some(part.to_vec()));
        let removed = std::iter::repeat(None);
        let count = bytes.len().div_ceil(VALUE_BYTES_MAX).max(self.stored_parts);
        let changes = parts.chain(removed).take(count).enumerate();
        changes.map(|(number, part)| (part_key(&first, number), part)).collect()
    }

    fn encode(&self) -> Vec<u8> {
        let mut value = Vec::new();
        for (position, list) in &self.lists {
            value.push(u8::try_from(position.saturating_sub(self.first)).unwrap_or(u8::MAX));
            value.extend_from_slice(&u32::try_from(list.len()).unwrap_or(u32::MAX).to_be_bytes());
            value.extend_from_slice(list);
        }
        value
    }

    /// Whether the list of this position belongs to these lists.
    pub fn covers(&self, position: u64) -> bool {
        position / RECORD_POSITIONS == self.first / RECORD_POSITIONS
    }

    /// Sets or removes the list of a position, and returns the previous one. Does nothing for a position
    /// that does not belong to these lists.
    pub fn set(&mut self, position: u64, list: Option<Vec<u8>>) -> Option<Vec<u8>> {
        if !self.covers(position) {
            return None;
        }
        match list {
            Some(list) => self.lists.insert(position, list),
            None => self.lists.remove(&position),
        }
    }

    /// Removes the lists from this position on.
    pub fn truncate(&mut self, position: u64) {
        self.lists.split_off(&position);
    }
}

/// Lists to change. Lists that are encoded together are read when the first of them is changed.
pub struct ListChanges<'a> {
    database: &'a Database,
    lists: BTreeMap<Vec<u8>, Lists>,
}

impl<'a> ListChanges<'a> {
    /// Starts without changes.
    pub fn new(database: &'a Database) -> Self {
        Self { database, lists: BTreeMap::new() }
    }

    /// Sets or removes the list of a position, and returns the previous one.
    pub fn set(&mut self, position: u64, list: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
        let lists = match self.lists.entry(key(position)) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(vacant) => {
                let lists = Lists::read(self.database, vacant.key())?;
                vacant.insert(lists)
            }
        };
        Ok(lists.set(position, list))
    }

    /// The changes to write, grouped by batch.
    pub fn changes(self) -> impl Iterator<Item = Vec<Change>> {
        self.lists.into_values().map(|lists| lists.changes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The parts in `stored`, joined.
    fn joined(first: &[u8], stored: &BTreeMap<Vec<u8>, Vec<u8>>) -> Joined {
        let mut joining = Joining::default();
        stored.iter().for_each(|(key, part)| assert!(joining.add(key, part).is_none()));
        let none = || Joined { key: first.to_vec(), bytes: Vec::new(), parts: 0 };
        joining.finish().unwrap_or_else(none)
    }

    proptest! {
        #[test]
        fn a_list_is_found_until_it_is_removed(
            start in 0_u64..1_000,
            changes in prop::collection::vec(
                (0_u64..RECORD_POSITIONS, prop::option::of((any::<u8>(), 0..VALUE_BYTES_MAX * 2))),
                0..20,
            ),
        ) {
            let first = start * RECORD_POSITIONS;
            let (key, mut expected) = (key(first), BTreeMap::new());
            let mut stored = BTreeMap::new();
            for (at, list) in changes {
                let list = list.map(|(byte, length)| vec![byte; length]);
                let position = first + at;
                let mut lists = Lists::decode(&joined(&key, &stored));
                let before = match &list {
                    Some(list) => expected.insert(position, list.clone()),
                    None => expected.remove(&position),
                };
                prop_assert_eq!(lists.set(position, list), before);
                prop_assert_eq!(lists.set(first + RECORD_POSITIONS, Some(vec![1])), None);
                for (key, part) in lists.changes() {
                    match part {
                        Some(part) => stored.insert(key, part),
                        None => stored.remove(&key),
                    };
                }
                prop_assert!(stored.values().all(|part| part.len() <= VALUE_BYTES_MAX));
                prop_assert_eq!(stored.is_empty(), expected.is_empty());
                let mut found = BTreeMap::new();
                for_each(&key, &joined(&key, &stored).bytes, |position, list| {
                    found.insert(position, list.to_vec());
                });
                prop_assert_eq!(&found, &expected);
            }
            let cut = first + RECORD_POSITIONS / 2;
            let mut lists = Lists::decode(&joined(&key, &stored));
            lists.truncate(cut);
            expected.split_off(&cut);
            prop_assert_eq!(lists.lists, expected);
        }
    }
}
