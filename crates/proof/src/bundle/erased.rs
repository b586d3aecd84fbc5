//! What was destroyed: that an `ErasureCompleted` accounts for it, and that chains skip nothing else.

use super::spool::Spool;
use crate::event::ErasureCompleted;
use crate::merkle::Hash;
use fixedbitset::FixedBitSet;
use std::collections::HashMap;
use std::io;

/// An entry that does not continue its subject's chain where that ended, but skips versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub position: u64,
    /// The leaf hash that it names: it has to be that of an erased entry before it.
    pub previous: Hash,
    /// How many versions it skips: at least one.
    pub missing: u64,
}

impl Gap {
    /// What is wrong with one that nothing accounts for.
    pub fn reason(&self) -> String {
        format!("{} version(s) of its subject before it are missing, not erased", self.missing)
    }
}

/// A leaf hash that was seen: of an erased entry, or in a gap.
#[derive(prost::Message)]
struct Seen {
    #[prost(bytes = "vec", tag = "1")]
    leaf: Vec<u8>,
    #[prost(uint64, tag = "2")]
    position: u64,
    /// Of a gap; 0 of an erased entry.
    #[prost(uint64, tag = "3")]
    missing: u64,
}

/// The erased positions of a log as far as it was read. Memory: two bits an entry, and 16 bytes a gap.
pub(super) struct Erased {
    positions: FixedBitSet,
    /// Those that an `ErasureCompleted` covers.
    covered: FixedBitSet,
    seen: Spool<Seen>,
    /// Position and versions skipped of every gap.
    gaps: Vec<(u64, u64)>,
}

impl Erased {
    /// For a log of so many entries.
    pub fn new(entries: u64) -> Self {
        let (positions, covered) = (FixedBitSet::new(), FixedBitSet::new());
        Self { positions, covered, seen: Spool::new(entries), gaps: Vec::new() }
    }

    /// Takes an erased entry.
    pub fn insert(&mut self, position: u64, leaf: &Hash) -> io::Result<()> {
        self.positions.grow_and_insert(usize::try_from(position).map_err(io::Error::other)?);
        self.seen.put(leaf, &Seen { leaf: leaf.to_vec(), position, missing: 0 })
    }

    /// Takes what the entry at `position` says of an erasure.
    pub fn cover(&mut self, position: u64, erasure: &ErasureCompleted) -> Result<(), String> {
        self.covered.grow(self.positions.len());
        for range in &erasure.discarded {
            if range.first > range.last || range.last >= position {
                return Err("an erasure of positions that are not before it".to_owned());
            }
            let there = || "an erasure of positions that are still there".to_owned();
            let first = usize::try_from(range.first).map_err(|_| there())?;
            let last = usize::try_from(range.last).map_err(|_| there())?;
            if last >= self.positions.len() || !self.positions.contains_all_in_range(first..last + 1) {
                return Err(there());
            }
            self.covered.insert_range(first..last + 1);
        }
        Ok(())
    }

    /// The first erased position that no `ErasureCompleted` covers.
    pub fn uncovered(&self) -> Option<u64> {
        self.positions.difference(&self.covered).next().map(|position| position as u64)
    }

    /// Takes a gap; they come in any order.
    pub fn cross(&mut self, gap: &Gap) -> io::Result<()> {
        self.gaps.push((gap.position, gap.missing));
        let Gap { position, previous, missing } = *gap;
        self.seen.put(&previous, &Seen { leaf: previous.to_vec(), position, missing })
    }

    /// The first gap that erased entries don't account for, once all of both were taken.
    pub fn unaccounted(mut self) -> io::Result<Option<Gap>> {
        let mut first = self.beyond_all_erased();
        for group in 0..self.seen.groups() {
            let found = self.naming_nothing_erased(group)?;
            first = first.into_iter().chain(found).min_by_key(|gap| gap.position);
        }
        Ok(first)
    }

    /// The first gap at which more versions were skipped than entries erased, in the log up to there.
    fn beyond_all_erased(&mut self) -> Option<Gap> {
        self.gaps.sort_unstable();
        let (mut from, mut erased, mut skipped) = (0, 0, 0_u64);
        for (position, missing) in &self.gaps {
            let to = usize::try_from(*position).unwrap_or(usize::MAX).min(self.positions.len());
            erased += self.positions.count_ones(from..to.max(from)) as u64;
            from = to.max(from);
            skipped = skipped.saturating_add(*missing);
            if skipped > erased {
                return Some(Gap { position: *position, previous: [0; 32], missing: *missing });
            }
        }
        None
    }

    /// The first gap of a group that names no erased entry before it, or one that another gap has named.
    fn naming_nothing_erased(&self, group: usize) -> io::Result<Option<Gap>> {
        let mut erased = HashMap::new();
        let mut gaps = Vec::new();
        self.seen.each(group, &mut |seen| {
            let leaf: Hash = seen.leaf.try_into().map_err(|_| io::Error::other("no leaf hash"))?;
            if seen.missing == 0 {
                erased.entry(leaf).or_insert(seen.position);
            } else {
                gaps.push(Gap { position: seen.position, previous: leaf, missing: seen.missing });
            }
            Ok(())
        })?;
        gaps.sort_unstable_by_key(|gap| gap.position);
        let before = |gap: &Gap, erased: Option<u64>| erased.is_some_and(|position| position < gap.position);
        Ok(gaps.into_iter().find(|gap| !before(gap, erased.remove(&gap.previous))))
    }
}
