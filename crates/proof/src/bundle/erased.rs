//! Checks erased entries. The event `ErasureCompleted` of an erasure must list each of them. The entries
//! of a stream (those of one data subject, or the system events) are numbered: these numbers are their
//! versions. A stream may skip only the versions of erased entries.

use super::spool::Spool;
use super::statements::Statements;
use crate::event::ErasureCompleted;
use crate::merkle::Hash;
use fixedbitset::FixedBitSet;
use std::collections::HashMap;
use std::io;

/// Versions that a stream skips before an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// Position of the entry after the gap.
    pub position: u64,
    /// The leaf hash of the stream's previous entry, as the entry after the gap states it. An erased entry
    /// before the gap's position must have this leaf hash.
    pub previous: Hash,
    /// Number of skipped versions, at least one.
    pub missing: u64,
}

impl Gap {
    /// The reason for rejecting a gap that erased entries do not account for.
    pub fn reason(&self) -> String {
        match self.missing {
            1 => "1 earlier version of the stream is missing, but was not erased".to_owned(),
            count => format!("{count} earlier versions of the stream are missing, but were not erased"),
        }
    }
}

/// The leaf hash of an erased entry, or the leaf hash that an entry after a gap states for the entry before
/// it.
#[derive(prost::Message)]
struct SeenLeaf {
    #[prost(bytes = "vec", tag = "1")]
    leaf: Vec<u8>,
    #[prost(uint64, tag = "2")]
    position: u64,
    /// Number of versions skipped by a gap; 0 for an erased entry.
    #[prost(uint64, tag = "3")]
    missing: u64,
}

/// The erased positions of a log up to the last entry read. Memory: two bits for each entry, 16 bytes for
/// each gap, and the statements.
pub(super) struct Erased {
    positions: FixedBitSet,
    /// Positions that an `ErasureCompleted` lists.
    covered: FixedBitSet,
    seen: Spool<SeenLeaf>,
    /// What the erasures state about the entries.
    pub statements: Statements,
    /// Position and number of skipped versions of every gap.
    gaps: Vec<(u64, u64)>,
}

impl Erased {
    /// The state before the first entry of a log with this number of entries.
    pub fn new(entries: u64) -> Self {
        let (positions, covered) = (FixedBitSet::new(), FixedBitSet::new());
        let statements = Statements::default();
        Self { positions, covered, seen: Spool::new(entries), statements, gaps: Vec::new() }
    }

    /// Adds an erased entry.
    pub fn insert(&mut self, position: u64, leaf: &Hash) -> io::Result<()> {
        self.statements.add_erased(position, leaf);
        self.positions.grow_and_insert(usize::try_from(position).map_err(io::Error::other)?);
        self.seen.push(leaf, &SeenLeaf { leaf: leaf.to_vec(), position, missing: 0 })
    }

    /// Marks the positions that an `ErasureCompleted` at `position` lists. Each listed position must be
    /// before `position`, and its entry must be erased. The statements about the entries are kept.
    pub fn cover(&mut self, position: u64, erasure: &ErasureCompleted) -> Result<(), String> {
        self.covered.grow(self.positions.len());
        for range in &erasure.discarded {
            if range.first > range.last || range.last >= position {
                return Err("the erasure lists positions that are not before it".to_owned());
            }
            let not_erased = || "the erasure lists positions that are not erased".to_owned();
            let first = usize::try_from(range.first).map_err(|_| not_erased())?;
            let last = usize::try_from(range.last).map_err(|_| not_erased())?;
            if last >= self.positions.len() || !self.positions.contains_all_in_range(first..last + 1) {
                return Err(not_erased());
            }
            self.note_first_erasure(first, last, position);
            self.covered.insert_range(first..last + 1);
        }
        self.statements.add_erasure(position, erasure).map_err(str::to_owned)
    }

    /// Notes the positions in a range that no earlier erasure lists.
    fn note_first_erasure(&mut self, first: usize, last: usize, erasure: u64) {
        let bits = usize::BITS as usize;
        for (number, word) in
            self.covered.as_slice().iter().enumerate().take(last / bits + 1).skip(first / bits)
        {
            let mut left = !word;
            while left != 0 {
                let position = number * bits + left.trailing_zeros() as usize;
                if (first..=last).contains(&position) {
                    self.statements.note_erased_at(position as u64, erasure);
                }
                left &= left - 1;
            }
        }
    }

    /// The first erased position that no `ErasureCompleted` lists.
    pub fn uncovered(&self) -> Option<u64> {
        self.positions.difference(&self.covered).next().map(|position| position as u64)
    }

    /// Adds a gap. Gaps may be added in any order.
    pub fn add_gap(&mut self, gap: &Gap) -> io::Result<()> {
        self.gaps.push((gap.position, gap.missing));
        let Gap { position, previous, missing } = *gap;
        self.seen.push(&previous, &SeenLeaf { leaf: previous.to_vec(), position, missing })
    }

    /// The first gap that erased entries do not account for. All erased entries and gaps must have been
    /// added.
    pub fn first_unaccounted_gap(mut self) -> io::Result<Option<Gap>> {
        let mut first = self.first_gap_beyond_erased_count();
        for group in 0..self.seen.groups() {
            let found = self.first_gap_without_erased_leaf(group)?;
            first = first.into_iter().chain(found).min_by_key(|gap| gap.position);
        }
        Ok(first)
    }

    /// The first gap at which the log has skipped more versions so far than it has erased entries.
    fn first_gap_beyond_erased_count(&mut self) -> Option<Gap> {
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

    /// The first gap in a group whose stated leaf hash is not that of an earlier erased entry, or is that of
    /// an erased entry that another gap has already named.
    fn first_gap_without_erased_leaf(&self, group: usize) -> io::Result<Option<Gap>> {
        let mut erased = HashMap::new();
        let mut gaps = Vec::new();
        self.seen.for_each(group, &mut |seen| {
            let leaf: Hash = seen.leaf.try_into().map_err(|_| io::Error::other("not a leaf hash"))?;
            if seen.missing == 0 {
                erased.entry(leaf).or_insert(seen.position);
            } else {
                gaps.push(Gap { position: seen.position, previous: leaf, missing: seen.missing });
            }
            Ok(())
        })?;
        gaps.sort_unstable_by_key(|gap| gap.position);
        let is_before =
            |gap: &Gap, erased: Option<u64>| erased.is_some_and(|position| position < gap.position);
        Ok(gaps.into_iter().find(|gap| !is_before(gap, erased.remove(&gap.previous))))
    }
}
