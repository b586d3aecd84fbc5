//! The further keys that were written with each entry, so that they are found when it is discarded: of consecutive positions
//! together, for sled holds few large records better than many small ones.

use super::database::Database;
use super::records;
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
    records::sum(&[b"p".as_slice(), &position.to_be_bytes()].concat(), list)
}

impl Lists {
    /// The record with this key, as it is, or where there is none, with nothing in it.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Self {
        let first = records::number(key, 1).saturating_mul(POSITIONS);
        let mut lists = BTreeMap::new();
        let mut rest = value.unwrap_or_default();
        while let Some(([at, length @ ..], behind)) = rest.split_first_chunk::<5>() {
            let Some((list, behind)) = behind.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                break;
            };
            lists.insert(first.saturating_add(u64::from(*at)), list.to_vec());
            rest = behind;
        }
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

    /// Each position with its list.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.lists.iter().map(|(position, list)| (*position, list.as_slice()))
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

    /// Takes those of this position and all behind it out; whether there were any.
    pub fn cut(&mut self, position: u64) -> bool {
        !self.lists.split_off(&position).is_empty()
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
                let there: Vec<_> = lists.entries().map(|(position, list)| (position, list.to_vec())).collect();
                prop_assert_eq!(there, held.clone().into_iter().collect::<Vec<_>>());
            }
            let cut = first + POSITIONS / 2;
            prop_assert_eq!(lists.cut(cut), held.keys().any(|position| *position >= cut));
            prop_assert!(lists.entries().all(|(position, _)| position < cut));
        }
    }
}
