//! Counts the grants of a record of uses (see `mod.rs`) by recipient, purpose and category.

use super::grants::{Check, GrantRecord};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of combinations that are counted. Of further ones, only the grants are counted, all
/// together.
const TOTALS_MAX: usize = 1_000;

/// A combination of a recipient, a purpose and a category.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TotalOf {
    /// The service that received the grants.
    pub recipient: String,
    /// The purpose.
    pub purpose: String,
    /// The category.
    pub category: String,
}

/// The grants of one combination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Total {
    /// The combination.
    pub of: TotalOf,
    /// Number of grants.
    pub grants: u64,
    /// Number of data subjects.
    pub people: u64,
    /// Number of reported uses that data of the category shaped.
    pub uses: u64,
    /// Number of grants that were not checked in full.
    pub not_in_full: u64,
    /// Number of grants with a finding.
    pub findings: u64,
}

#[derive(Default)]
struct Count {
    grants: u64,
    people: u64,
    uses: u64,
    not_in_full: u64,
    findings: u64,
}

#[derive(Default)]
pub(super) struct Totals {
    counts: BTreeMap<TotalOf, Count>,
    left_out: u64,
}

impl Totals {
    /// Adds a grant. `seen` has the combinations of earlier grants of the same data subject.
    pub fn add(&mut self, record: &GrantRecord, seen: &mut BTreeSet<TotalOf>) {
        let categories: BTreeSet<&str> = record.data.iter().map(|data| data.category.as_str()).collect();
        for category in categories {
            let (recipient, purpose) = (record.recipient.clone(), record.purpose.clone());
            let of = TotalOf { recipient, purpose, category: category.to_owned() };
            if self.counts.len() >= TOTALS_MAX && !self.counts.contains_key(&of) {
                self.left_out += 1;
                continue;
            }
            let is_new_person = seen.insert(of.clone());
            let count = self.counts.entry(of).or_default();
            count.grants += 1;
            count.people += u64::from(is_new_person);
            count.not_in_full += u64::from(record.check == Check::NotInFull);
            count.findings += u64::from(record.check == Check::Finding);
            let shaped = record.uses.iter().filter(|used| used.categories.iter().any(|of| of == category));
            count.uses = shaped.fold(count.uses, |sum, used| sum.saturating_add(used.count));
        }
    }

    /// The counts in order of recipient, purpose and category, and how often a grant has another combination.
    pub fn list(&self) -> (Vec<Total>, u64) {
        let total = |(of, count): (&TotalOf, &Count)| Total {
            of: of.clone(),
            grants: count.grants,
            people: count.people,
            uses: count.uses,
            not_in_full: count.not_in_full,
            findings: count.findings,
        };
        (self.counts.iter().map(total).collect(), self.left_out)
    }
}
