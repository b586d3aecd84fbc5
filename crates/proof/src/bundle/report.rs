//! What verification says.

use super::member::Member;
use crate::replay::Replayed;
use crate::witness::Cosigned;
use serde::Serialize;
use std::fmt::{self, Display};

/// How far verification is: done, of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Entries read, and checked one by one.
    Entries(u64, u64),
    /// Groups of people whose chains and grants were gone through, after the last entry.
    Subjects(u64, u64),
}

/// What was checked, and held.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Which log.
    pub origin: String,
    /// Number of entries.
    pub tree_size: u64,
    /// Witnesses, of those given, that cosigned the checkpoint.
    pub witnesses: Vec<Cosigned>,
    /// How often the log changed its key.
    pub key_rotations: u64,
    /// Root of their tree, in hex.
    pub root: String,
    /// Entries that are there: present or withheld.
    pub entries: u64,
    /// Entries whose seal was opened.
    pub opened: u64,
    /// Entries about nobody, which have no seal.
    pub plain: u64,
    /// Entries that are there but closed.
    pub withheld: u64,
    /// Entries destroyed under an `ErasureCompleted`.
    pub erased: u64,
    /// People with at least one entry left.
    pub subjects: u64,
    /// Signatures that verified: entries, checkpoint, manifest and trailer.
    pub signatures: u64,
    /// Size of the older checkpoint that this log was shown to continue, if one was given.
    pub continues: Option<u64>,
    /// Recorded time of the last entry, milliseconds since the Unix epoch.
    pub recorded_to_ms: u64,
    /// Grants held against the consents and signals of their moment.
    pub grants: Replayed,
}

impl Report {
    /// Whether every grant that could be replayed was rightly issued. All else in a report held, or there would be none.
    #[must_use]
    pub fn grants_hold(&self) -> bool {
        self.grants.unjustified == 0 && self.grants.bounds_unsigned == 0
    }
}

/// The first thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
pub struct VerifyFailure {
    /// The entry it is about, where it is about one.
    pub position: Option<u64>,
    /// The file of the bundle, or `archive`, `trailer`, `folder`, `--since`.
    pub place: String,
    /// What is wrong.
    pub reason: String,
}

impl VerifyFailure {
    pub(super) fn at(place: impl ToString, reason: impl ToString) -> Self {
        Self { position: None, place: place.to_string(), reason: reason.to_string() }
    }

    pub(super) fn entry(position: u64, member: Member, reason: impl ToString) -> Self {
        Self { position: Some(position), ..Self::at(member, reason) }
    }
}

impl Display for VerifyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "position {position}, `{}`: {}", self.place, self.reason),
            None => write!(f, "`{}`: {}", self.place, self.reason),
        }
    }
}
