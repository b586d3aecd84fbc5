//! The checks that a verifier leaves out for early entries. Each check belongs to an edition of the rules
//! of decisions. It is left out for entries from before the log followed that edition. The operator
//! chooses when a log adopts an edition. So the report names what was left out.

use serde::Serialize;

/// Number of editions, from 0 on.
const EDITIONS: usize = 6;

/// What is checked only from an edition on. `docs/format.md` has the rules.
const CHECKS: [(u32, &[&str]); 4] = [
    (
        2,
        &[
            "that a new definition of a purpose or category is signed and repeats no earlier one",
            "that use waits after every restore",
            "that a class of withheld attributes names the event by which the person decided",
        ],
    ),
    (
        3,
        &[
            "that an opt-out stops uses for sale and advertising",
            "that data whose erasure was refused is not used for other purposes",
            "that a consent to an outdated notice allows nothing",
            "that no consent allowed what was withheld for want of one",
            "that grants end when their attribute is replaced",
            "that nothing replaces what was observed later",
            "that what was derived from a special category counts as inferred",
        ],
    ),
    (
        4,
        &[
            "that every person is in a committed map of people",
            "that a confirmation is later than the contest that it ends",
            "that all bounds are signed, and each signature is for this log and one version",
            "that an erasure of a part states what it erased",
        ],
    ),
    (
        5,
        &[
            "that consents, confirmations, liftings and a person's own bounds were recorded in a role that may",
            "that repeated answers state their recipient and times",
            "that an erased entry is not dated later than the entry before it",
        ],
    ),
];

/// Checks that were left out for some entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The edition of the rules of decisions that has the checks.
    pub edition: u32,
    /// Number of entries about data subjects from before the log followed this edition. Erased entries do not
    /// count.
    pub entries: u64,
    /// What was not checked, in words.
    pub checks: &'static [&'static str],
}

/// The numbers of entries about data subjects, by the edition that the log followed.
#[derive(Default)]
pub(super) struct EntriesByEdition([u64; EDITIONS]);

impl EntriesByEdition {
    pub fn add(&mut self, edition: u32) {
        let count = usize::try_from(edition).ok().and_then(|edition| self.0.get_mut(edition));
        count.into_iter().for_each(|count| *count = count.saturating_add(1));
    }

    /// The checks that were left out, the newest edition first.
    pub fn left_out(&self) -> Vec<LeftOut> {
        let before =
            |edition: u32| (0..).zip(self.0).filter(|(of, _)| *of < edition).map(|(_, count)| count).sum();
        let all = CHECKS.into_iter().rev().map(|(edition, checks)| LeftOut {
            edition,
            entries: before(edition),
            checks,
        });
        all.filter(|left_out| left_out.entries > 0).collect()
    }
}
