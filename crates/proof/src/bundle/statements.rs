//! What erasures state about the entries that they erased: what each entry was, and its version.

use crate::event::{ErasedKind, ErasureCompleted};
use crate::merkle::Hash;
use crate::replay::Missing;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

/// The versions that are missing from a stream between two entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct MissingVersions {
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

/// The statement about one entry.
#[derive(Clone, Copy)]
struct Stated {
    /// The number of the erasure, from 1.
    erasure: u64,
    position: u64,
    version: u64,
    kind: ErasedKind,
}

/// The statements of all erasures. Memory: 16 bytes for each erased entry, and about 120 more if a partial
/// erasure states what it was.
#[derive(Default)]
pub(super) struct Statements {
    /// The erased entries by position, each with the beginning of its leaf hash.
    leaves: Vec<(u64, u64)>,
    erasures: u64,
    by_leaf: HashMap<u64, Stated>,
    by_erasure: HashMap<(u64, u64), ErasedKind>,
    /// Version, kind and position of each stated entry.
    by_version: BTreeSet<(u64, i32, u64)>,
}

impl Statements {
    /// Adds an erased entry. Entries are added in order of position.
    pub fn add_erased(&mut self, position: u64, leaf: &Hash) {
        self.leaves.push((position, beginning(leaf)));
    }

    /// Adds the statements of an erasure, whose positions were all added before.
    ///
    /// # Errors
    /// The numbers of statements and positions differ.
    pub fn add_erasure(&mut self, erasure: &ErasureCompleted) -> Result<(), &'static str> {
        let lengths = erasure.discarded.iter().map(|range| range.last - range.first + 1);
        let count = lengths.fold(0, u64::saturating_add);
        let fits = |statements: usize| statements == 0 || statements as u64 == count;
        if !fits(erasure.kinds.len()) {
            return Err("the erasure does not state one kind for each position");
        }
        if !fits(erasure.versions.len()) {
            return Err("the erasure does not state one version for each position");
        }
        self.erasures += 1;
        let positions = erasure.discarded.iter().flat_map(|range| range.first..=range.last);
        for ((position, kind), version) in positions.zip(erasure.kinds()).zip(&erasure.versions) {
            self.add(Stated { erasure: self.erasures, position, version: *version, kind });
        }
        Ok(())
    }

    fn add(&mut self, stated: Stated) {
        let Ok(index) = self.leaves.binary_search_by_key(&stated.position, |(position, _)| *position) else {
            return;
        };
        let Some((_, leaf)) = self.leaves.get(index) else { return };
        match self.by_leaf.entry(*leaf) {
            Entry::Vacant(new) => {
                new.insert(stated);
                self.by_erasure.insert((stated.erasure, stated.version), stated.kind);
                self.by_version.insert((stated.version, stated.kind.into(), stated.position));
            }
            // Further statements about an entry can only make the first one doubtful.
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                if (known.version, known.kind) != (stated.version, stated.kind) {
                    known.kind = ErasedKind::Unspecified;
                    self.by_erasure.insert((known.erasure, known.version), known.kind);
                    self.by_version.insert((known.version, known.kind.into(), known.position));
                }
            }
        }
    }

    /// What the versions that are missing from a stream were. At most as many as there are erased entries are
    /// looked up: `looked_up` counts them for all streams of a group.
    pub fn missing(&self, versions: &MissingVersions, looked_up: &mut u64) -> Missing {
        *looked_up = looked_up.saturating_add(versions.count);
        let named = self.by_leaf.get(&beginning(&versions.last)).filter(|stated| {
            let is_after = versions.after.is_none_or(|after| after < stated.position);
            is_after
                && stated.position < versions.before
                && Some(stated.version) == versions.version.checked_sub(1)
        });
        let Some(named) = named.filter(|_| *looked_up <= self.leaves.len() as u64) else {
            return Missing::unknown(versions.count);
        };
        let mut missing = Missing::default();
        count(&mut missing, named.kind);
        let first = versions.version.saturating_sub(versions.count);
        for version in first..named.version {
            let of_same = self.by_erasure.get(&(named.erasure, version)).copied();
            count(&mut missing, of_same.unwrap_or_else(|| self.worst_kind(version, versions)));
        }
        missing
    }

    /// The kind of a version that another erasure stated. If several erasures stated this version of some
    /// stream, it is the kind on which most depends.
    fn worst_kind(&self, version: u64, versions: &MissingVersions) -> ErasedKind {
        let from = versions.after.map_or(0, |after| after.saturating_add(1));
        let kinds = [ErasedKind::Unspecified, ErasedKind::Decision, ErasedKind::Attribute, ErasedKind::Other];
        let is_stated = |kind: &ErasedKind| {
            let kind = i32::from(*kind);
            self.by_version.range((version, kind, from)..(version, kind, versions.before)).next().is_some()
        };
        kinds.into_iter().find(is_stated).unwrap_or(ErasedKind::Unspecified)
    }
}

fn count(missing: &mut Missing, kind: ErasedKind) {
    let field = match kind {
        ErasedKind::Unspecified => &mut missing.unknown,
        ErasedKind::Attribute => &mut missing.attributes,
        ErasedKind::Decision => &mut missing.decisions,
        ErasedKind::Other => &mut missing.others,
    };
    *field = field.saturating_add(1);
}

/// The first eight bytes of a leaf hash. Only the holder of the log's key could make two entries that share
/// these bytes, and would gain no more than by a false statement.
fn beginning(leaf: &Hash) -> u64 {
    let (beginning, _) = leaf.split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*beginning)
}
