//! Tables of counts about many people. Memory grows with the number of rows, not with the number of people.

use std::collections::BTreeMap;

/// The labels of a row: one for each dimension of its table.
pub type Labels = Vec<String>;

/// Maximum number of rows of one table. Further labels are counted together as [`OVERFLOW`], so that memory
/// stays limited regardless of how many purposes, recipients and policies callers name.
pub const ROWS_MAX: usize = 4_096;
/// Label of the row that counts everything beyond the maximum number of rows.
pub const OVERFLOW: &str = "(more)";

/// A population that is counted. Each one is published in exactly one table. Every other number about it is
/// computed from what that table shows, so that no two tables can be subtracted from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Population {
    /// Personalized replies, by purpose and recipient.
    Replies,
    /// Attributes that shaped replies, by category and provenance.
    UsedAttributes,
    /// Personalized replies, by whether the AI disclosure was shown.
    Disclosures,
    /// Personalized replies, by the status of their grant when they were reported.
    GrantStatus,
    /// Grants requested, by outcome.
    GrantRequests,
    /// Attribute classes withheld from grants, by tier, policy and reason.
    Withheld,
    /// Recordings that bounds refused, by tier, policy and category.
    RefusedRecordings,
    /// Decisions by people, by decision and purpose.
    Decisions,
    /// Signals by people, by kind.
    Signals,
    /// Grants revoked by a refusal or withdrawal, by the time that it took.
    RevocationDelays,
    /// Attributes stored at the end of the period, by category and provenance.
    StoredAttributes,
    /// Contests of inferences and their outcomes.
    Contests,
    /// Inferences recorded, by the replies that they were drawn from.
    Inferences,
    /// People, by jurisdiction, age band and how far personalization reached them.
    Reach,
    /// Days on which a person's data was released, by the number of releases.
    ReleaseDays,
    /// People, by bytes stored about them.
    Bytes,
    /// People, by artifacts that services built from their profile.
    Artifacts,
    /// Requests under data protection law, by kind and step.
    Requests,
    /// Answered requests, by age.
    RequestAges,
    /// Erasures, by the time from the request to completion.
    ErasureTimes,
    /// Attributes erased, by category.
    ErasedAttributes,
}

/// The counts of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Number of different people in it.
    pub people: u64,
    /// The count itself.
    pub count: u64,
}

/// The counts of one population.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The rows, by their labels.
    pub rows: BTreeMap<Labels, Cell>,
    /// The number of people in at least one row, and the sum of all counts.
    pub total: Cell,
}

impl Table {
    /// Adds the counts of one person.
    pub fn add_subject<'a>(&mut self, rows: impl IntoIterator<Item = (&'a Labels, u64)>) {
        let mut is_counted = false;
        for (labels, count) in rows {
            if count == 0 {
                continue;
            }
            is_counted = true;
            let cell = self.cell(labels);
            cell.people = cell.people.saturating_add(1);
            cell.count = cell.count.saturating_add(count);
            self.total.count = self.total.count.saturating_add(count);
        }
        self.total.people = self.total.people.saturating_add(u64::from(is_counted));
    }

    /// Adds the counts of other people.
    pub fn merge(&mut self, others: &Self) {
        for (labels, other) in &others.rows {
            let cell = self.cell(labels);
            cell.people = cell.people.saturating_add(other.people);
            cell.count = cell.count.saturating_add(other.count);
        }
        self.total.people = self.total.people.saturating_add(others.total.people);
        self.total.count = self.total.count.saturating_add(others.total.count);
    }

    fn cell(&mut self, labels: &Labels) -> &mut Cell {
        if self.rows.len() >= ROWS_MAX && !self.rows.contains_key(labels) {
            return self.rows.entry(vec![OVERFLOW.to_owned(); labels.len()]).or_default();
        }
        self.rows.entry(labels.clone()).or_default()
    }
}

/// The counts of one person. Their size is limited by the number of names in one person's history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(Population, Labels), u64>);

impl Counts {
    /// Adds to a row.
    pub fn add(&mut self, population: Population, labels: &[&str], count: u64) {
        if count == 0 {
            return;
        }
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let sum = self.0.entry((population, labels)).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Adds the counts of other days.
    pub fn merge(&mut self, others: Self) {
        for (key, count) in others.0 {
            let sum = self.0.entry(key).or_default();
            *sum = sum.saturating_add(count);
        }
    }

    /// All rows, by population.
    pub fn by_population(&self) -> BTreeMap<Population, Vec<(&Labels, u64)>> {
        let mut rows: BTreeMap<Population, Vec<(&Labels, u64)>> = BTreeMap::new();
        for ((population, labels), count) in &self.0 {
            rows.entry(*population).or_default().push((labels, *count));
        }
        rows
    }
}
