//! Finds the newest attribute with the same content (key, value, category and sources) as a given
//! attribute. If an attribute of a grant was replaced by one with the same content, the grant is judged by
//! the newer attribute.

use crate::entry::EventId;
use crate::event::Attribute;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// The content of an attribute.
struct Content {
    /// The number of the attribute, in the order of recording.
    number: usize,
    /// The hash of its key, value and category.
    itself: u64,
    /// The attributes that it was derived from, as hashes.
    sources: BTreeSet<u64>,
    /// The sum of these hashes, so that a source is added in a short time, however many there are.
    sum: u64,
}

impl Content {
    fn add_sources(&mut self, sources: &[Vec<u8>]) {
        for source in sources {
            let hashed = HASHER.hash_one(source);
            if self.sources.insert(hashed) {
                self.sum = self.sum.wrapping_add(hashed);
            }
        }
    }

    fn hash(&self) -> u64 {
        HASHER.hash_one((self.itself, self.sources.len(), self.sum))
    }
}

/// The contents of attributes, as hashes, and the newest attribute of each content.
#[derive(Default)]
pub(super) struct Contents {
    // Unordered: looked up, never iterated.
    of_attribute: HashMap<EventId, Content>,
    // Unordered: looked up, never iterated.
    newest: HashMap<u64, EventId>,
    /// The key of each attribute.
    // Unordered: looked up, never iterated.
    keys: HashMap<EventId, String>,
    known_keys: BTreeSet<String>,
    /// Keys of attributes that others were derived from.
    source_keys: BTreeSet<String>,
}

/// How often the content of an attribute can change by added sources: an attribute has at most 64.
const CHANGES_MAX: usize = 64;

/// Random, so that the author of a log cannot choose contents with equal hashes.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Contents {
    /// Adds an attribute. Returns whether there was one under its key before.
    pub fn record(&mut self, event_id: &EventId, attribute: Option<&Attribute>) -> bool {
        let Some(attribute) = attribute else { return false };
        self.note_sources(&attribute.derived_from);
        let Attribute { key, value_json, category, derived_from, .. } = attribute;
        let itself = HASHER.hash_one((key, value_json, category));
        let number = self.of_attribute.len();
        let mut content = Content { number, itself, sources: BTreeSet::new(), sum: 0 };
        content.add_sources(derived_from);
        self.newest.insert(content.hash(), *event_id);
        self.of_attribute.insert(*event_id, content);
        self.keys.insert(*event_id, key.clone());
        !self.known_keys.insert(key.clone())
    }

    /// Adds sources to an attribute. From now on it has the content with these sources, too. It still stands
    /// for attributes with the content that it was recorded with.
    pub fn add_sources(&mut self, attribute: &[u8], sources: &[Vec<u8>]) {
        self.note_sources(sources);
        let Ok(id) = <&EventId>::try_from(attribute) else { return };
        let Some(content) = self.of_attribute.get_mut(id) else { return };
        content.add_sources(sources);
        let (number, hash) = (content.number, content.hash());
        let newest = self.newest.get(&hash).and_then(|newest| self.of_attribute.get(newest));
        if newest.is_none_or(|newest| newest.number < number) {
            self.newest.insert(hash, *id);
        }
    }

    /// Notes that an attribute was derived from these.
    fn note_sources(&mut self, sources: &[Vec<u8>]) {
        for source in sources {
            let key = <&EventId>::try_from(source.as_slice()).ok().and_then(|source| self.keys.get(source));
            self.source_keys.extend(key.cloned());
        }
    }

    pub fn is_source_key(&self, key: &str) -> bool {
        self.source_keys.contains(key)
    }

    /// The newest attribute with the same content as this one. If that one got sources, and was recorded
    /// again with them, the newest with its present content, and so on.
    pub fn newest_like(&self, attribute: &[u8]) -> Option<&EventId> {
        let mut newest =
            self.newest.get(&self.of_attribute.get(<&EventId>::try_from(attribute).ok()?)?.hash())?;
        for _ in 0..CHANGES_MAX {
            let next = self.newest.get(&self.of_attribute.get(newest)?.hash())?;
            if next == newest {
                break;
            }
            newest = next;
        }
        Some(newest)
    }
}
