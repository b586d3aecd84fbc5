//! Looks up what the missing entries of a stream were. An erasure can state the kind of each erased entry,
//! and, if it was partial, the entry's version in its stream.

use super::gap_lookups::{GapLookups, MissingVersions, Stated};
use super::whole_erasures::WholeErasures;
use crate::event::{ErasedKind, ErasureCompleted};
use crate::merkle::Hash;
use crate::replay::{Missing, MissingEntries};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

/// The statements of all erasures. Memory: 48 bytes for each erased entry, and about 150 more if a partial
/// erasure states what it was.
#[derive(Default)]
pub(super) struct Statements {
    /// The erased entries by position, each with the beginning of its leaf hash.
    leaves: Vec<(u64, u128)>,
    /// The position of the first erasure that lists each of these entries.
    erased_at: LargestOf,
    by_leaf: HashMap<u128, Stated>,
    /// Position and kind, by the position of the erasure and the version.
    by_erasure: HashMap<(u64, u64), (u64, ErasedKind)>,
    /// Version, kind and position of each stated entry.
    by_version: BTreeSet<(u64, i32, u64)>,
    /// The erasures after which nothing remained in the stream. They state no versions.
    pub whole: WholeErasures,
    /// The erased positions, ascending, of which no erasure says what they were. Those in `whole` are not
    /// among them.
    not_stated: Vec<u64>,
    /// The last position in each erasure that states versions.
    last_of: BTreeMap<u64, u64>,
    /// Erasures that no daemon wrote like this.
    false_erasures: BTreeSet<u64>,
    /// The number of missing versions that were looked up.
    looked_up: AtomicU64,
}

impl Statements {
    /// Adds an erased entry. Entries are added in order of position.
    pub fn add_erased(&mut self, position: u64, leaf: &Hash) {
        self.leaves.push((position, beginning(leaf)));
    }

    /// Notes the first erasure that lists an entry.
    pub fn note_erased_at(&mut self, position: u64, erasure: u64) {
        if let Ok(index) = self.leaves.binary_search_by_key(&position, |(position, _)| *position) {
            self.erased_at.set(index, erasure);
        }
    }

    /// Prepares look-ups. All erasures must have been added.
    pub fn finish(&mut self) {
        let is_open = |index: usize, leaf: &u128| {
            !self.by_leaf.contains_key(leaf) && !self.whole.contains(self.erased_at.at(index))
        };
        let open = self.leaves.iter().enumerate().filter(|(index, (_, leaf))| is_open(*index, leaf));
        self.not_stated = open.map(|(_, (position, _))| *position).collect();
        self.erased_at.finish(self.leaves.len());
    }

    /// Adds the statements of the erasure at `position`, whose positions were all added before.
    ///
    /// # Errors
    /// The numbers of statements and positions differ.
    pub fn add_erasure(&mut self, position: u64, erasure: &ErasureCompleted) -> Result<(), &'static str> {
        let lengths = erasure.discarded.iter().map(|range| range.last - range.first + 1);
        let count = lengths.fold(0, u64::saturating_add);
        let fits = |statements: usize| statements == 0 || statements as u64 == count;
        if !fits(erasure.kinds.len()) {
            return Err("the erasure does not state one kind for each position");
        }
        if !fits(erasure.versions.len()) {
            return Err("the erasure does not state one version for each position");
        }
        let positions = erasure.discarded.iter().flat_map(|range| range.first..=range.last);
        let mut before: Option<(u64, u64)> = None;
        for ((of, kind), version) in positions.zip(erasure.kinds()).zip(&erasure.versions) {
            // Within one stream, versions ascend with the positions.
            if before.is_some_and(|(other, earlier)| other >= of || earlier >= *version) {
                self.false_erasures.insert(position);
            }
            before = Some((of, *version));
            self.add(Stated { erasure: position, position: of, version: *version, kind });
            self.last_of.entry(position).and_modify(|last| *last = (*last).max(of)).or_insert(of);
        }
        Ok(())
    }

    /// The statements that count: for each entry, the first one.
    pub fn stated(&self) -> impl Iterator<Item = Stated> {
        self.by_leaf.values().copied()
    }

    /// Whether another erasure may have erased what came after everything in this one. A partial erasure
    /// leaves at least the event with which it began, so that the stream shows which versions are gone. An
    /// erasure that was interrupted may be recorded after the erasure of the rest, and an erasure that a
    /// restore repeats may list an entry that was the last one in the backup.
    pub fn may_have_erased_the_rest(&self, erasure: u64) -> bool {
        let index = |position| self.leaves.partition_point(|(erased, _)| *erased < position);
        let Some(last) = self.last_of.get(&erasure) else { return true };
        let is_other = |other: u64| other > 0 && other != erasure;
        self.erased_at.largest(index(last.saturating_add(1)), index(erasure)).is_some_and(is_other)
            || self.erased_at.largest(index(*last), index(last.saturating_add(1))).is_some_and(is_other)
    }

    /// The erasures that list positions or versions in an order that no stream has.
    pub fn false_erasures(&self) -> &BTreeSet<u64> {
        &self.false_erasures
    }

    fn add(&mut self, stated: Stated) {
        let Ok(index) = self.leaves.binary_search_by_key(&stated.position, |(position, _)| *position) else {
            return;
        };
        let Some((_, leaf)) = self.leaves.get(index) else { return };
        match self.by_leaf.entry(*leaf) {
            Entry::Vacant(new) => {
                new.insert(stated);
                let same_version = self.by_erasure.entry((stated.erasure, stated.version));
                let two = matches!(same_version, Entry::Occupied(_));
                let kind = if two { ErasedKind::Unspecified } else { stated.kind };
                same_version.insert_entry((stated.position, kind));
                self.by_version.insert((stated.version, stated.kind.into(), stated.position));
            }
            // Further statements about an entry can only make the first one doubtful.
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if (known.version, known.kind) != (stated.version, stated.kind) {
                    known.kind = ErasedKind::Unspecified;
                    self.by_erasure.insert((known.erasure, known.version), (known.position, known.kind));
                    self.by_version.insert((known.version, known.kind.into(), known.position));
                }
            }
        }
    }

    /// Counts versions that are to be looked up. Returns whether they are, with those of all other streams,
    /// at most as many as the erased entries. More can be missing only in a forged log.
    fn may_look_up(&self, versions: u64) -> bool {
        let before = self.looked_up.fetch_add(versions.min(1 << 40), Ordering::Relaxed);
        before.saturating_add(versions) <= self.leaves.len() as u64
    }

    /// What the versions that are missing from a stream were.
    pub fn missing(&self, versions: &MissingVersions, lookups: &mut GapLookups) -> MissingEntries {
        let mut missing = MissingEntries::default();
        let last_erasure = self.last_erasure(versions);
        if !self.may_look_up(versions.count) {
            missing.add(last_erasure, Missing::unknown(versions.count));
            return missing;
        }
        let first = versions.version.saturating_sub(versions.count);
        let Some(named) = self.named(versions) else {
            missing.add(last_erasure, Missing::unknown(versions.count));
            (first..versions.version).for_each(|version| lookups.add_unknown(version, versions));
            return missing;
        };
        lookups.add_named(named.erasure, named.position, versions.handle);
        missing.add(named.erasure, one(named.kind));
        for version in first..named.version {
            let stated = self.by_erasure.get(&(named.erasure, version));
            match stated.filter(|(position, _)| versions.surrounds(*position)) {
                Some((position, kind)) => {
                    lookups.add_stated(*position);
                    missing.add(named.erasure, one(*kind));
                }
                None => {
                    lookups.add_unknown(version, versions);
                    let erasure = self.erasure_of(version, versions).unwrap_or(last_erasure);
                    missing.add(erasure, one(self.worst_kind(version, versions)));
                }
            }
        }
        missing
    }

    /// The statement about the last missing version.
    fn named(&self, versions: &MissingVersions) -> Option<&Stated> {
        let named = self.by_leaf.get(&beginning(&versions.last))?;
        let is_last = Some(named.version) == versions.version.checked_sub(1);
        (is_last && versions.surrounds(named.position)).then_some(named)
    }

    /// The position of the erasure that stated a version, if only one entry with this version was stated
    /// between the two entries around the gap.
    fn erasure_of(&self, version: u64, versions: &MissingVersions) -> Option<u64> {
        let from = versions.from();
        let kinds = i32::from(ErasedKind::Unspecified)..=i32::from(ErasedKind::Other);
        let stated = kinds.flat_map(|kind| {
            self.by_version.range((version, kind, from)..(version, kind, versions.before)).take(2)
        });
        let mut positions = stated.map(|(_, _, position)| *position);
        let (position, None) = (positions.next()?, positions.next()) else { return None };
        let index = self.leaves.binary_search_by_key(&position, |(erased, _)| *erased).ok()?;
        self.erased_at.largest(index, index.saturating_add(1))
    }

    /// The position of the newest erasure that was the first to list an entry between two of a stream: each
    /// missing version was erased by then.
    fn last_erasure(&self, versions: &MissingVersions) -> u64 {
        let from = versions.from();
        let index = |position| self.leaves.partition_point(|(erased, _)| *erased < position);
        let newest = self.erased_at.largest(index(from), index(versions.before));
        // 0 if no erasure lists any of them.
        newest.filter(|erasure| *erasure > 0).unwrap_or(u64::MAX)
    }

    /// The kind of a version that another erasure stated. If several erasures stated this version of some
    /// stream, it is the kind on which most depends. If something was erased between the two entries that no
    /// erasure says anything about, it may be this version.
    fn worst_kind(&self, version: u64, versions: &MissingVersions) -> ErasedKind {
        let from = versions.from();
        let next = self.not_stated.partition_point(|position| *position < from);
        if self.not_stated.get(next).is_some_and(|position| *position < versions.before) {
            return ErasedKind::Unspecified;
        }
        let kinds = [ErasedKind::Unspecified, ErasedKind::Decision, ErasedKind::Attribute, ErasedKind::Other];
        let is_stated = |kind: &ErasedKind| {
            let kind = i32::from(*kind);
            self.by_version.range((version, kind, from)..(version, kind, versions.before)).next().is_some()
        };
        kinds.into_iter().find(is_stated).unwrap_or(ErasedKind::Unspecified)
    }
}

/// One missing entry of this kind.
fn one(kind: ErasedKind) -> Missing {
    let mut missing = Missing::default();
    match kind {
        ErasedKind::Unspecified => missing.unknown = 1,
        ErasedKind::Attribute => missing.attributes = 1,
        ErasedKind::Decision => missing.decisions = 1,
        ErasedKind::Other => missing.others = 1,
    }
    missing
}

/// Numbers by index, and the largest of each range. Until [`Self::finish`], only the numbers are kept.
#[derive(Default)]
struct LargestOf {
    /// The numbers; after [`Self::finish`], the second half has them, and each before them is the larger one
    /// of its two children.
    tree: Vec<u64>,
}

impl LargestOf {
    fn set(&mut self, index: usize, number: u64) {
        let length = self.tree.len().max(index.saturating_add(1));
        self.tree.resize(length, 0);
        self.tree.get_mut(index).into_iter().for_each(|old| *old = number);
    }

    fn finish(&mut self, length: usize) {
        self.tree.resize(length, 0);
        self.tree.splice(0..0, std::iter::repeat_n(0, length));
        for parent in (1..length).rev() {
            let larger = self.at(2 * parent).max(self.at(2 * parent + 1));
            self.tree.get_mut(parent).into_iter().for_each(|old| *old = larger);
        }
    }

    fn at(&self, index: usize) -> u64 {
        self.tree.get(index).copied().unwrap_or_default()
    }

    /// The largest number from one index to before another; `None` if there is none.
    fn largest(&self, from: usize, to: usize) -> Option<u64> {
        let length = self.tree.len() / 2;
        let (mut from, mut to) = (from.saturating_add(length), to.min(length).saturating_add(length));
        let mut largest = None;
        while from < to {
            if from % 2 == 1 {
                largest = largest.max(Some(self.at(from)));
                from += 1;
            }
            if to % 2 == 1 {
                to -= 1;
                largest = largest.max(Some(self.at(to)));
            }
            (from, to) = (from / 2, to / 2);
        }
        largest
    }
}

/// The first 16 bytes of a leaf hash: too many for anybody to make two entries that share them.
fn beginning(leaf: &Hash) -> u128 {
    let (beginning, _) = leaf.split_first_chunk().unwrap_or((&[0; 16], &[]));
    u128::from_be_bytes(*beginning)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::LargestOf;

    #[test]
    fn the_largest_number_of_each_range_is_found() {
        for length in [0, 1, 2, 3, 7, 8, 13] {
            let numbers: Vec<u64> = (0..length as u64).map(|at| at * 7 % 11 + 1).collect();
            let mut all = LargestOf::default();
            numbers.iter().enumerate().for_each(|(at, number)| all.set(at, *number));
            all.finish(length);
            for from in 0..=length {
                for to in from..=length {
                    assert_eq!(all.largest(from, to), numbers[from..to].iter().max().copied(), "{from} {to}");
                }
            }
        }
    }
}
