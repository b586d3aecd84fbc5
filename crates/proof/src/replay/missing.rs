//! The entries that a replay did not have, because they were erased or withheld, and what it could not check
//! without them.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

/// The number of entries that are missing from a stream, by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Attributes, and events about attributes that are all erased.
    pub attributes: u64,
    /// Decisions on which later grants may depend.
    pub decisions: u64,
    /// Entries of any other kind, on which no later grant depends.
    pub others: u64,
    /// Entries that may be of any kind: withheld, or erased without a statement of what they were.
    pub unknown: u64,
}

impl Missing {
    /// Entries about which nothing is known.
    pub fn unknown(count: u64) -> Self {
        Self { unknown: count, ..Self::default() }
    }

    /// Adds further missing entries.
    pub fn add(&mut self, other: Self) {
        self.attributes = self.attributes.saturating_add(other.attributes);
        self.decisions = self.decisions.saturating_add(other.decisions);
        self.others = self.others.saturating_add(other.others);
        self.unknown = self.unknown.saturating_add(other.unknown);
    }

    fn subtract(&mut self, other: Self) {
        self.attributes = self.attributes.saturating_sub(other.attributes);
        self.decisions = self.decisions.saturating_sub(other.decisions);
        self.others = self.others.saturating_sub(other.others);
        self.unknown = self.unknown.saturating_sub(other.unknown);
    }

    /// How many attributes may be missing, at most.
    pub fn attributes_max(&self) -> u64 {
        self.attributes.saturating_add(self.unknown)
    }

    /// How many decisions may be missing, at most.
    pub fn decisions_max(&self) -> u64 {
        self.decisions.saturating_add(self.unknown)
    }

    /// How many attributes and decisions may be missing together, at most.
    pub fn both_max(&self) -> u64 {
        self.attributes.saturating_add(self.decisions_max())
    }
}

/// Entries that are missing from a stream, by the position of the erasure that erased them. What may exist
/// longer, such as what is withheld, has the position [`u64::MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MissingEntries {
    by_erasure: BTreeMap<u64, Missing>,
    total: Missing,
}

impl MissingEntries {
    /// Entries about which nothing is known.
    pub fn unknown(count: u64) -> Self {
        let mut entries = Self::default();
        entries.add(u64::MAX, Missing::unknown(count));
        entries
    }

    /// Adds entries that the erasure at this position erased, or an earlier one.
    pub fn add(&mut self, erasure: u64, missing: Missing) {
        if missing != Missing::default() {
            self.by_erasure.entry(erasure).or_default().add(missing);
            self.total.add(missing);
        }
    }

    /// Adds further missing entries.
    pub fn extend(&mut self, other: &Self) {
        other.by_erasure.iter().for_each(|(erasure, missing)| self.add(*erasure, *missing));
    }

    /// The numbers of all entries.
    pub fn total(&self) -> Missing {
        self.total
    }

    /// Removes the entries that were erased before a position.
    pub fn remove_before(&mut self, position: u64) {
        while let Some(first) = self.by_erasure.first_entry().filter(|first| *first.key() < position) {
            self.total.subtract(first.remove());
        }
    }
}

/// The missing events that one grant cites.
#[derive(Default)]
pub(super) struct CitedByGrant {
    /// The position of the grant.
    position: u64,
    attributes: BTreeSet<Vec<u8>>,
    consents: BTreeSet<Vec<u8>>,
}

impl CitedByGrant {
    /// Adds an attribute that a grant cites. `remaining` are the missing entries that were not erased before
    /// the grant. Returns whether the grant cites no more than these.
    pub fn add_attribute(&mut self, id: &[u8], by: Citing, remaining: Missing) -> bool {
        self.begin(by);
        self.attributes.insert(id.to_vec());
        self.attributes.len() as u64 <= remaining.attributes_max() && self.fits(remaining)
    }

    /// Like [`Self::add_attribute`], for a consent.
    pub fn add_consent(&mut self, id: &[u8], by: Citing, remaining: Missing) -> bool {
        self.begin(by);
        self.consents.insert(id.to_vec());
        self.consents.len() as u64 <= remaining.decisions_max() && self.fits(remaining)
    }

    fn begin(&mut self, by: Citing) {
        if self.position != by.position {
            *self = Self { position: by.position, ..Self::default() };
        }
    }

    fn fits(&self, remaining: Missing) -> bool {
        self.attributes.len().saturating_add(self.consents.len()) as u64 <= remaining.both_max()
    }
}

/// A grant that cites a missing event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Citing {
    pub position: u64,
    /// Event id of the grant.
    pub grant: [u8; 16],
}

/// The missing events of one kind that grants cite, each with the first such grant.
pub(super) type Cited = BTreeMap<[u8; 16], Citing>;

/// Why a grant could not be checked in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// Earlier decisions of the data subject are erased or withheld, or may be. One of them could forbid the
    /// use.
    #[error("earlier decisions of the person are missing")]
    DecisionsMissing,
    /// The entry of the cited consent is erased or withheld.
    #[error("the cited consent is missing")]
    ConsentMissing,
    /// The entry of an allowed attribute is erased or withheld.
    #[error("an allowed attribute is missing")]
    AttributeMissing,
    /// An attribute from which an allowed one was derived is erased or withheld.
    #[error("a source of an allowed attribute is missing")]
    SourceMissing,
    /// Something that could have contradicted the grant, or its revocation, is erased or withheld.
    #[error("whether it had to be revoked is not known")]
    RevocationUnknown,
    /// The check would take too many steps.
    #[error("the history of the person takes too long to replay")]
    TooLong,
}

/// A grant that could not be checked in full. What could be checked is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UncheckedGrant {
    /// Position of the grant.
    pub position: u64,
    /// Event id of the grant, in hex.
    pub grant: String,
    /// Why.
    pub doubts: BTreeSet<Doubt>,
}

impl Display for UncheckedGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}, grant `{}`: not fully checked: ", self.position, self.grant)?;
        for (number, doubt) in self.doubts.iter().enumerate() {
            if number > 0 {
                f.write_str(", ")?;
            }
            doubt.fmt(f)?;
        }
        Ok(())
    }
}
