//! Stores the definitions of words (purposes or categories), with their hierarchy, now and at earlier times.
//! A look-up takes logarithmic time in the number of definitions of a word.

use crate::event::LegalBasis;
use std::collections::BTreeMap;

/// Maximum depth of a hierarchy. Higher ancestors are ignored, so that following a cycle ends.
pub(super) const DEPTH_MAX: usize = 32;

/// A moment in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// A position in the log.
    pub position: u64,
}

/// When a consent was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConsentTime {
    /// When the data subject said it, milliseconds since the Unix epoch.
    pub said_at_ms: u64,
    /// When it was sealed, milliseconds since the Unix epoch.
    pub sealed_at_ms: u64,
    pub position: u64,
}

/// A definition of a word.
pub(super) struct Version {
    /// When it comes into force.
    pub from: Moment,
    pub parent: String,
    pub title: String,
    pub iri: String,
    /// The rung of a purpose.
    pub rung: i32,
    /// Whether a category is special.
    pub special: bool,
    pub same_meaning: bool,
    /// The declared legal basis of a purpose.
    pub legal_basis: LegalBasis,
    /// Where the definition is in the log.
    pub position: u64,
}

impl Version {
    fn is_in_force(&self, at: Moment) -> bool {
        self.from.at_ms <= at.at_ms && self.from.position <= at.position
    }

    /// Whether the meaning is another one than that of the version before.
    fn changes(&self, before: &Self) -> bool {
        !self.same_meaning && (&before.title, &before.iri) != (&self.title, &self.iri)
    }
}

/// Every version of every word, by id.
#[derive(Default)]
pub(super) struct Words {
    by_id: BTreeMap<String, Versions>,
    /// The definitions that are not in force yet, by the time from which they count.
    pending: BTreeMap<Moment, (String, Version)>,
    /// The time up to which definitions are in force, milliseconds since the Unix epoch.
    now_ms: u64,
}

/// The versions of one word.
struct Versions {
    /// The time from which the first version counts, in force or not.
    first: Moment,
    /// Those in force, by the time from which they count.
    in_force: Vec<(Version, Changes)>,
}

/// The changes of meaning among a version and those before it.
#[derive(Clone, Copy, Default)]
struct Changes {
    /// The time of the newest.
    at_ms: Option<u64>,
    /// The highest position.
    position: Option<u64>,
}

impl Words {
    /// Adds a definition.
    pub fn add(&mut self, id: &str, version: Version) {
        let from = version.from;
        match self.by_id.get_mut(id) {
            Some(word) => word.first = word.first.min(from),
            None => {
                self.by_id.insert(id.to_owned(), Versions { first: from, in_force: Vec::new() });
            }
        }
        self.pending.insert(from, (id.to_owned(), version));
        self.advance(self.now_ms);
    }

    /// Brings the definitions into force that count from this time or an earlier one.
    pub fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        while let Some(next) = self.pending.first_entry().filter(|next| next.key().at_ms <= self.now_ms) {
            let (id, version) = next.remove();
            if let Some(word) = self.by_id.get_mut(&id) {
                word.bring_into_force(version);
            }
        }
    }

    /// Whether a word is defined.
    pub fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// The version of a word that was in force at a moment.
    pub fn version(&self, id: &str, at: Moment) -> Option<&Version> {
        self.by_id.get(id)?.version(at)
    }

    /// A word and its ancestors at a moment.
    pub fn ancestry<'a>(&'a self, id: &'a str, at: Moment) -> Vec<&'a str> {
        let parent = |id: &&'a str| Some(self.version(id, at)?.parent.as_str()).filter(|id| !id.is_empty());
        std::iter::successors(Some(id), parent).take(DEPTH_MAX).collect()
    }

    /// The highest rung of a purpose and its ancestors.
    fn rung(&self, id: &str, at: Moment) -> i32 {
        let ancestry = self.ancestry(id, at).into_iter();
        ancestry.filter_map(|id| Some(self.version(id, at)?.rung)).max().unwrap_or_default()
    }

    /// When a word was first defined, milliseconds since the Unix epoch.
    fn defined_ms(&self, id: &str) -> u64 {
        self.by_id.get(id).map_or(0, |word| word.first.at_ms)
    }

    /// Whether a consent that names the word `named` meant the word `used` when it was given: the same word,
    /// or one below it. A consent that was said before its word was defined means the word as it was when the
    /// consent was sealed.
    pub fn meant(&self, named: &str, used: &str, given: ConsentTime, now: Moment) -> bool {
        let was_defined = given.said_at_ms >= self.defined_ms(named);
        let at_ms = if was_defined { given.said_at_ms } else { given.sealed_at_ms };
        let then = Moment { at_ms, position: given.position };
        self.ancestry(used, then).contains(&named) && self.means_the_same(used, then, now)
    }

    /// Whether each version after a moment says the same as the version before it, and none lifts the word to
    /// a higher rung.
    fn means_the_same(&self, id: &str, then: Moment, now: Moment) -> bool {
        let Some(word) = self.by_id.get(id) else { return true };
        word.first.at_ms <= then.at_ms
            && word.first.position <= then.position
            && !word.has_changed(then, now)
            && self.rung(id, now) <= self.rung(id, then)
    }
}

impl Versions {
    fn bring_into_force(&mut self, version: Version) {
        let at = self.in_force.partition_point(|(other, _)| other.from <= version.from);
        self.in_force.insert(at, (version, Changes::default()));
        // Nearly always, it is the last one.
        for index in at..self.in_force.len() {
            let before = index.checked_sub(1).and_then(|before| self.in_force.get(before));
            let Some((version, _)) = self.in_force.get(index) else { return };
            let changes = before.map_or_else(Changes::default, |(before, changes)| {
                if version.changes(before) { changes.with(version.from) } else { *changes }
            });
            if let Some((_, changes_to_here)) = self.in_force.get_mut(index) {
                *changes_to_here = changes;
            }
        }
    }

    /// The versions that count from this time or an earlier one.
    fn until(&self, at_ms: u64) -> &[(Version, Changes)] {
        let count = self.in_force.partition_point(|(version, _)| version.from.at_ms <= at_ms);
        self.in_force.get(..count).unwrap_or_default()
    }

    fn version(&self, at: Moment) -> Option<&Version> {
        // Searched from the newest: few versions count by the time, but are after the position.
        let mut until = self.until(at.at_ms).iter().rev().map(|(version, _)| version);
        until.find(|version| version.is_in_force(at))
    }

    /// Whether the meaning changed after a moment.
    fn has_changed(&self, then: Moment, now: Moment) -> bool {
        let changes = self.until(now.at_ms).last().map_or_else(Changes::default, |(_, changes)| *changes);
        changes.at_ms.is_some_and(|at_ms| at_ms > then.at_ms)
            || changes.position.is_some_and(|position| position > then.position)
    }
}

impl Changes {
    /// These changes and a newer one.
    fn with(self, newest: Moment) -> Self {
        Self { at_ms: Some(newest.at_ms), position: self.position.max(Some(newest.position)) }
    }
}
