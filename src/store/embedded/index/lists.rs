//! For each entry, a list of the keys of its custom records (index records that the ledger chose). A
//! discard finds the records by these keys.
//!
//! The lists of consecutive positions share one record of sled, the index's database. Sled handles a few
//! large records better than many small ones.

use super::records;
use super::sled::Database;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Number of positions in one record.
const RECORD_POSITIONS: u64 = if cfg!(test) { 4 } else { 64 };

/// The lists of the entries at consecutive positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    first: u64,
    lists: BTreeMap<u64, Vec<u8>>,
}

/// Key of the record with the list of the entry at this position.
pub fn key(position: u64) -> Vec<u8> {
    [b"p".as_slice(), &(position / RECORD_POSITIONS).to_be_bytes()].concat()
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

/// Calls `each` with each position in a record and the list of that position. Stops at the first list that
/// can't be decoded.
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
    /// Decodes the record with this key. Without a record, there are no lists.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Self {
        let first = records::number(key, 1).saturating_mul(RECORD_POSITIONS);
        let mut lists = BTreeMap::new();
        for_each(key, value.unwrap_or_default(), |position, list| {
            lists.insert(position, list.to_vec());
        });
        Self { first, lists }
    }

    /// The value of the record; `None` if there are no lists.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        for (position, list) in &self.lists {
            value.push(u8::try_from(position.saturating_sub(self.first)).unwrap_or(u8::MAX));
            value.extend_from_slice(&u32::try_from(list.len()).unwrap_or(u32::MAX).to_be_bytes());
            value.extend_from_slice(list);
        }
        (!value.is_empty()).then_some(value)
    }

    /// Whether the list of this position belongs to this record.
    pub fn covers(&self, position: u64) -> bool {
        position / RECORD_POSITIONS == self.first / RECORD_POSITIONS
    }

    /// Sets or removes the list of a position, and returns the previous one. Does nothing for a position of
    /// another record.
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

/// Lists to change; each record is read when one of its lists is first changed.
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
                let value = self.database.get(vacant.key())?;
                let lists = Lists::decode(vacant.key(), value.as_deref());
                vacant.insert(lists)
            }
        };
        Ok(lists.set(position, list))
    }

    /// The changes to write.
    pub fn changes(self) -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
        self.lists.into_iter().map(|(key, lists)| (key, lists.encode()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_is_found_until_it_is_removed(
            start in 0_u64..1_000,
            changes in prop::collection::vec(
                (0_u64..RECORD_POSITIONS, prop::option::of(prop::collection::vec(any::<u8>(), 0..40))),
                0..20,
            ),
        ) {
            let first = start * RECORD_POSITIONS;
            let (key, mut expected) = (key(first), BTreeMap::new());
            let mut lists = Lists::decode(&key, None);
            for (at, list) in changes {
                let position = first + at;
                let before = match &list {
                    Some(list) => expected.insert(position, list.clone()),
                    None => expected.remove(&position),
                };
                prop_assert_eq!(lists.set(position, list), before);
                prop_assert_eq!(lists.set(first + RECORD_POSITIONS, Some(vec![1])), None);
                let value = lists.encode();
                prop_assert_eq!(value.is_none(), expected.is_empty());
                lists = Lists::decode(&key, value.as_deref());
                let mut found = BTreeMap::new();
                for_each(&key, value.as_deref().unwrap_or_default(), |position, list| {
                    found.insert(position, list.to_vec());
                });
                prop_assert_eq!(&found, &expected);
            }
            let cut = first + RECORD_POSITIONS / 2;
            lists.truncate(cut);
            expected.split_off(&cut);
            prop_assert_eq!(lists.lists, expected);
        }
    }
}
