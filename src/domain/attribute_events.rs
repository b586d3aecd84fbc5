//! The events about the attributes of a data subject, in groups: those about one key, and those about keys
//! that a correction connects. Which attribute is current under a key follows from the events of its group.

use super::event::{Event, Recorded};
use super::event_references::subject_of;
use super::ids::EventId;
use std::collections::{BTreeMap, BTreeSet};

/// The events about attribute keys that corrections connect.
#[derive(Default)]
pub(super) struct Group<'a> {
    /// Oldest first.
    pub events: Vec<&'a Recorded>,
}

/// The number of a group.
pub(super) type GroupNumber = usize;

/// The events that record attributes or are about them.
pub(super) struct AttributeEvents<'a> {
    groups: Vec<Group<'a>>,
    group_of: BTreeMap<u64, GroupNumber>,
}

impl<'a> AttributeEvents<'a> {
    /// Reads a history, oldest first.
    pub(super) fn of(history: &'a [Recorded]) -> Self {
        let mut parents: BTreeMap<&str, &str> = BTreeMap::new();
        let mut key_of: BTreeMap<EventId, &str> = BTreeMap::new();
        for event in history {
            let (key, corrects) = match &event.event {
                Event::AttributeRecorded(of) | Event::EarlierAttributeRecorded(of) => (of.key.as_str(), None),
                Event::AttributeCorrected { corrects, attribute } => (attribute.key.as_str(), Some(corrects)),
                _ => continue,
            };
            key_of.insert(event.event_id, key);
            if let Some(other) = corrects.and_then(|corrects| key_of.get(corrects)) {
                let (one, other) = (root(&mut parents, key), root(&mut parents, other));
                if one != other {
                    parents.insert(one, other);
                }
            }
        }
        let (mut groups, mut numbers) = (Vec::<Group<'_>>::new(), BTreeMap::<&str, GroupNumber>::new());
        let mut group_of = BTreeMap::new();
        for event in history {
            let own = key_of.get(&event.event_id).copied();
            let Some(key) = own.or_else(|| key_of.get(&subject_of(&event.event)?).copied()) else { continue };
            let number = *numbers.entry(root(&mut parents, key)).or_insert_with(|| {
                groups.push(Group::default());
                groups.len().saturating_sub(1)
            });
            group_of.insert(event.version, number);
            if let Some(group) = groups.get_mut(number) {
                group.events.push(event);
            }
        }
        Self { groups, group_of }
    }

    pub(super) fn group(&self, number: GroupNumber) -> Option<&Group<'a>> {
        self.groups.get(number)
    }

    /// The groups of the events with these versions.
    pub(super) fn groups_of(&self, versions: &BTreeSet<u64>) -> BTreeSet<GroupNumber> {
        versions.iter().filter_map(|version| self.group_of.get(version).copied()).collect()
    }
}

/// The key that stands for all keys that are connected with this one. Shortens the way to it.
fn root<'a>(parents: &mut BTreeMap<&'a str, &'a str>, mut key: &'a str) -> &'a str {
    while let Some(parent) = parents.get(key).copied() {
        if let Some(next) = parents.get(parent).copied() {
            parents.insert(key, next);
        }
        key = parent;
    }
    key
}
