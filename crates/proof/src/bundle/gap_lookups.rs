//! Finds erasures whose statements contradict the streams. An erasure that states versions must be of one
//! stream, and this stream must lack each of these versions. Otherwise, an operator could state that an
//! erased decision of one data subject was an entry of another kind in another stream.

use crate::entry::Handle;
use crate::event::ErasedKind;
use crate::merkle::Hash;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The versions that are missing from a stream between two entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct MissingVersions {
    pub handle: Handle,
    /// The position of the entry before these versions, if there is one.
    pub after: Option<u64>,
    /// The position of the entry after these versions.
    pub before: u64,
    /// The version of that entry.
    pub version: u64,
    /// The number of missing versions, at least one.
    pub count: u64,
    /// The leaf hash of the entry with the last missing version.
    pub last: Hash,
}

impl MissingVersions {
    /// The first position at which an entry with one of these versions can have been.
    pub fn from(&self) -> u64 {
        self.after.map_or(0, |after| after.saturating_add(1))
    }

    /// Whether an entry with one of these versions can have been at a position.
    pub fn surrounds(&self, position: u64) -> bool {
        (self.from()..self.before).contains(&position)
    }
}

/// The statement about one entry.
#[derive(Clone, Copy)]
pub(super) struct Stated {
    /// The position of the erasure.
    pub erasure: u64,
    pub position: u64,
    pub version: u64,
    pub kind: ErasedKind,
}

/// What was looked up about the gaps of some streams.
#[derive(Default)]
pub(super) struct GapLookups {
    /// The erasures that gaps name, each with the stream.
    named: Vec<(u64, Handle)>,
    /// The erased positions that gaps account for.
    accounted: Vec<u64>,
    /// Missing versions of which only a range of positions is known: version, first position and the position
    /// after the last.
    unknown: Vec<(u64, u64, u64)>,
}

impl GapLookups {
    /// Notes the entry with the last version in a gap, which the entry after the gap names.
    pub fn add_named(&mut self, erasure: u64, position: u64, handle: Handle) {
        self.named.push((erasure, handle));
        self.accounted.push(position);
    }

    /// Notes an entry that the same erasure states to have another version in the gap.
    pub fn add_stated(&mut self, position: u64) {
        self.accounted.push(position);
    }

    /// Notes another version in a gap.
    pub fn add_unknown(&mut self, version: u64, versions: &MissingVersions) {
        self.unknown.push((version, versions.from(), versions.before));
    }

    /// Adds what was looked up about other streams.
    pub fn extend(&mut self, other: Self) {
        self.named.extend(other.named);
        self.accounted.extend(other.accounted);
        self.unknown.extend(other.unknown);
    }

    /// The erasures whose statements are false, of all these statements. All gaps must have been looked up.
    /// `may_have_erased_the_rest` says whether a later erasure may have erased what came after everything in
    /// an erasure.
    pub fn false_erasures(
        &self,
        statements: impl Iterator<Item = Stated>,
        may_have_erased_the_rest: impl Fn(u64) -> bool,
    ) -> BTreeSet<u64> {
        let mut erasures = BTreeSet::new();
        // Unordered: looked up, never iterated.
        let mut streams: HashMap<u64, Handle> = HashMap::new();
        for (erasure, handle) in &self.named {
            match streams.entry(*erasure) {
                Entry::Vacant(new) => drop(new.insert(*handle)),
                Entry::Occupied(known) if known.get() == handle => {}
                Entry::Occupied(_) => drop(erasures.insert(*erasure)),
            }
        }
        // Unordered: looked up, never iterated.
        let accounted: HashSet<u64> = self.accounted.iter().copied().collect();
        let mut stated: Vec<_> = statements.map(|one| (one.version, one.position, one.erasure)).collect();
        stated.sort_unstable();
        let surrounded = self.surrounded(&stated);
        for ((_, position, erasure), surrounded) in stated.iter().zip(surrounded) {
            let is_shown = surrounded > 0 || accounted.contains(position);
            if !is_shown && !may_have_erased_the_rest(*erasure) {
                erasures.insert(*erasure);
            }
        }
        erasures
    }

    /// For each of these entries (version, position, erasure; in ascending order), how many of the versions
    /// of which only a range is known it can be.
    fn surrounded(&self, stated: &[(u64, u64, u64)]) -> Vec<i64> {
        let mut changes = vec![0_i64; stated.len().saturating_add(1)];
        for (version, from, before) in &self.unknown {
            let index =
                |at: u64| stated.partition_point(|(of, position, _)| (*of, *position) < (*version, at));
            changes.get_mut(index(*from)).into_iter().for_each(|change| *change += 1);
            changes.get_mut(index(*before)).into_iter().for_each(|change| *change -= 1);
        }
        let sums = changes.iter().scan(0, |sum, change| {
            *sum += change;
            Some(*sum)
        });
        sums.collect()
    }
}
