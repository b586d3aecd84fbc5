//! The further keys that were written with each entry, so that they are found when it is discarded: of consecutive positions
//! together, for sled holds few large records better than many small ones.

use super::records;
use super::sled::Database;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Positions in one record.
const POSITIONS: u64 = if cfg!(test) { 4 } else { 64 };

/// Of some entries at consecutive positions, each one's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    first: u64,
    lists: BTreeMap<u64, Vec<u8>>,
}

/// Key of the record that holds the list of the entry at this position.
pub fn key(position: u64) -> Vec<u8> {
    [b"p".as_slice(), &(position / POSITIONS).to_be_bytes()].concat()
}

/// Whether a record is one of lists.
pub fn is_lists(key: &[u8]) -> bool {
    key.first() == Some(&b'p')
}

/// The share of the sum of one entry's list: as if it had a record of its own.
pub fn sum(position: u64, list: &[u8]) -> u64 {
    let mut key = *b"p........";
    key[1..].copy_from_slice(&position.to_be_bytes());
    records::sum(&key, list)
}

/// Looks at each position in a record with its list, as far as they can be read.
pub fn for_each<'a>(key: &[u8], mut value: &'a [u8], mut each: impl FnMut(u64, &'a [u8])) {
    let first = records::number(key, 1).saturating_mul(POSITIONS);
    while let Some(([at, length @ ..], behind)) = value.split_first_chunk::<5>() {
        let Some((list, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
            break;
        };
        each(first.saturating_add(u64::from(*at)), list);
        value = behind;
    }
}

impl Lists {
    /// The record with this key, as it is, or where there is none, with nothing in it.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Self {
        let first = records::number(key, 1).saturating_mul(POSITIONS);
        let mut lists = BTreeMap::new();
        for_each(key, value.unwrap_or_default(), |position, list| {
            lists.insert(position, list.to_vec());
        });
        Self { first, lists }
    }

    /// The value; none where nothing is left in it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut value = Vec::new();
        for (position, list) in &self.lists {
            value.push(u8::try_from(position.saturating_sub(self.first)).unwrap_or(u8::MAX));
            value.extend_from_slice(&u32::try_from(list.len()).unwrap_or(u32::MAX).to_be_bytes());
            value.extend_from_slice(list);
        }
        (!value.is_empty()).then_some(value)
    }

    /// Whether the list of this position belongs here.
    pub fn has_place_for(&self, position: u64) -> bool {
        position / POSITIONS == self.first / POSITIONS
    }

    /// Puts a position's list in, or takes it out, and gives what was there; positions of other records are left alone.
    pub fn set(&mut self, position: u64, list: Option<Vec<u8>>) -> Option<Vec<u8>> {
        if !self.has_place_for(position) {
            return None;
        }
        match list {
            Some(list) => self.lists.insert(position, list),
            None => self.lists.remove(&position),
        }
    }

    /// Takes those of this position and all behind it out.
    pub fn cut(&mut self, position: u64) {
        self.lists.split_off(&position);
    }
}

/// Lists that are about to change, read when they are first touched.
pub struct Touched<'a> {
    database: &'a Database,
    lists: BTreeMap<Vec<u8>, Lists>,
}

impl<'a> Touched<'a> {
    /// Nothing has changed yet.
    pub fn of(database: &'a Database) -> Self {
        Self { database, lists: BTreeMap::new() }
    }

    /// Puts a position's list in, or takes it out, and gives what was there.
    pub fn set(&mut self, position: u64, list: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
        let lists = match self.lists.entry(key(position)) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => {
                let value = self.database.get(free.key())?;
                let lists = Lists::decode(free.key(), value.as_deref());
                free.insert(lists)
            }
        };
        Ok(lists.set(position, list))
    }

    /// What is to be written.
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
        fn what_is_put_in_is_found_until_it_is_taken_out(
            start in 0_u64..1_000,
            changes in prop::collection::vec((0_u64..POSITIONS, prop::option::of(prop::collection::vec(any::<u8>(), 0..40))), 0..20),
        ) {
            let first = start * POSITIONS;
            let (key, mut held) = (key(first), BTreeMap::new());
            let mut lists = Lists::decode(&key, None);
            for (at, list) in changes {
                let position = first + at;
                let before = match &list {
                    Some(list) => held.insert(position, list.clone()),
                    None => held.remove(&position),
                };
                prop_assert_eq!(lists.set(position, list), before);
                prop_assert_eq!(lists.set(first + POSITIONS, Some(vec![1])), None);
                let value = lists.encode();
                prop_assert_eq!(value.is_none(), held.is_empty());
                lists = Lists::decode(&key, value.as_deref());
                let mut there = BTreeMap::new();
                for_each(&key, value.as_deref().unwrap_or_default(), |position, list| {
                    there.insert(position, list.to_vec());
                });
                prop_assert_eq!(&there, &held);
            }
            let cut = first + POSITIONS / 2;
            lists.cut(cut);
            held.split_off(&cut);
            prop_assert_eq!(lists.lists, held);
        }
    }
}
