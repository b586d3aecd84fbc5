//! Counts over people, row by row, in memory that grows with the number of rows and not of people.

use std::collections::BTreeMap;

/// What a row is about: one text for each dimension of its table.
pub type Labels = Vec<String>;

/// Rows of one table. What goes beyond is counted together as [`OVERFLOW`], so that memory stays bounded whatever
/// callers name their purposes, recipients and policies.
pub const ROWS_MAX: usize = 4_096;
/// Label of what found no row of its own.
pub const OVERFLOW: &str = "(more)";

/// A population that is counted. Each is published through exactly one table; every other number about it is computed
/// from what that table shows, so that no two tables can be subtracted from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// Personalised replies, by purpose and recipient.
    Use,
    /// Attributes that shaped replies, by category and provenance.
    UsedAttribute,
    /// Personalised replies, by whether the person was told that they talk to a machine.
    Disclosure,
    /// Personalised replies, by whether their grant still stood when they were reported.
    Standing,
    /// Grants asked for, by outcome.
    Asked,
    /// Attribute classes withheld from grants, by tier, policy and reason.
    Withheld,
    /// Recordings that bounds refused, by tier, policy and category.
    RefusedRecording,
    /// Decisions by people, by decision and purpose.
    Decision,
    /// Signals, by kind.
    Signal,
    /// Grants that fell by a withdrawal or refusal, by how long after it.
    Bite,
    /// Facts held at the end of the period, by category and provenance.
    Held,
    /// What people said of inferences, and what became of it.
    Contest,
    /// Inferences recorded, by what they were drawn from.
    Loop,
    /// People, by jurisdiction, age band and how far personalisation reached them.
    Reach,
    /// Days on which a person's data was released, by how often.
    ReleaseDay,
    /// People, by bytes held about them.
    Bytes,
    /// People, by artefacts that services built from their profile.
    Artifacts,
    /// Requests under data protection law, by kind and outcome.
    Request,
    /// Answered requests, by age.
    RequestAge,
    /// Erasures, by the time from the request to its completion.
    ErasureSpan,
    /// Facts erased, by category.
    ErasedFact,
}

/// One row's count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// How many different people are in it.
    pub people: u64,
    /// How much.
    pub count: u64,
}

/// One population's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// By labels.
    pub rows: BTreeMap<Labels, Cell>,
    /// People with any row, and the sum of all.
    pub total: Cell,
}

impl Table {
    /// Takes one person's counts in.
    pub fn absorb<'a>(&mut self, person: impl IntoIterator<Item = (&'a Labels, u64)>) {
        let mut any = false;
        for (labels, count) in person {
            if count == 0 {
                continue;
            }
            any = true;
            let cell = self.cell(labels);
            cell.people = cell.people.saturating_add(1);
            cell.count = cell.count.saturating_add(count);
            self.total.count = self.total.count.saturating_add(count);
        }
        self.total.people = self.total.people.saturating_add(u64::from(any));
    }

    /// Takes the counts of other people in.
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

/// Counts of one person: bounded by what one person's history names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<(Base, Labels), u64>);

impl Counts {
    /// Counts something.
    pub fn add(&mut self, base: Base, labels: &[&str], count: u64) {
        if count == 0 {
            return;
        }
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let there = self.0.entry((base, labels)).or_default();
        *there = there.saturating_add(count);
    }

    /// Takes the counts of other days in.
    pub fn merge(&mut self, others: Self) {
        for (key, count) in others.0 {
            let there = self.0.entry(key).or_default();
            *there = there.saturating_add(count);
        }
    }

    /// Everything, by population.
    pub fn by_base(&self) -> BTreeMap<Base, Vec<(&Labels, u64)>> {
        let mut found: BTreeMap<Base, Vec<(&Labels, u64)>> = BTreeMap::new();
        for ((base, labels), count) in &self.0 {
            found.entry(*base).or_default().push((labels, *count));
        }
        found
    }
}
