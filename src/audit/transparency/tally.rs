//! Adds the counts of each data subject to the tables of a report. Also counts system events, such as
//! erasures.

use super::labels::{DURATION_BUCKETS, bucket};
use super::noise;
use super::populations;
use super::subject_counts::SubjectCounts;
use super::table::{Labels, Population, Table};
use super::values::Spread;
use crate::domain::DAY_MS;
use crate::domain::event::{AuditExported, ErasureCompleted, ErasureScope, Event, Provenance, Recorded};
use std::collections::BTreeMap;

/// Erasures whose positions are listed.
const PROOFS_MAX: usize = 100;

/// How much of a data subject's counts is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contributions {
    /// All of them, for a report without noise.
    Full,
    /// At most [`noise::ContributionLimit`] of each population, for a report with noise.
    Limited,
}

/// Counts of system events, which name no data subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Erasures of a whole data subject.
    pub erasures: u64,
    /// Erasures of a part of a data subject's data.
    pub partial: u64,
    /// Entries destroyed.
    pub discarded: u64,
    /// Positions of the first hundred `ErasureCompleted` events; each can be proven by its position.
    pub proofs: Vec<u64>,
    /// Acknowledgments by recipients.
    pub acknowledged: u64,
    /// Views of people's records by stewards and auditors, by method.
    pub views: BTreeMap<String, u64>,
    /// Exports of the log.
    pub exports: u64,
    /// Exports of the log that contain bodies of events in the clear.
    pub open_exports: u64,
    /// Transparency reports.
    pub reports: u64,
}

/// The counts of all data subjects.
pub struct Tally {
    tables: BTreeMap<Population, Table>,
    /// Number of data subjects counted.
    pub people: u64,
    /// Inferred values; only without noise.
    pub spread: Spread,
    /// System events.
    pub totals: Totals,
    contributions: Contributions,
}

impl Tally {
    /// Starts with no data subject. `key` must be random; it keys the hashes of values.
    #[must_use]
    pub fn new(key: [u8; 32], contributions: Contributions) -> Self {
        let (tables, spread) = (BTreeMap::new(), Spread::new(key));
        Self { tables, people: 0, spread, totals: Totals::default(), contributions }
    }

    /// The counts of one population.
    #[must_use]
    pub fn table(&self, population: Population) -> Table {
        self.tables.get(&population).cloned().unwrap_or_default()
    }

    /// Every population that has counts.
    pub fn tables(&self) -> impl Iterator<Item = (Population, &Table)> {
        self.tables.iter().map(|(population, table)| (*population, table))
    }

    /// Adds one data subject.
    pub fn add_subject(&mut self, subject: &SubjectCounts) {
        self.people = self.people.saturating_add(1);
        let counts = subject.counts();
        for (population, rows) in counts.by_population() {
            self.add_rows(population, &rows);
        }
        if self.contributions == Contributions::Limited {
            return;
        }
        let attributes = subject.end_state.attributes.iter();
        let inferred = attributes.filter(|attribute| attribute.provenance == Provenance::Inferred);
        let values = inferred.map(|attribute| (attribute.category.as_str(), attribute.value.expose()));
        self.spread.add_subject(values, &subject.groups());
    }

    fn add_rows(&mut self, population: Population, rows: &[(&Labels, u64)]) {
        let table = self.tables.entry(population).or_default();
        match self.contributions {
            Contributions::Full => table.add_subject(rows.iter().copied()),
            Contributions::Limited => {
                let limit = populations::population(population).limit;
                table.add_subject(noise::limited(rows, limit));
            }
        }
    }

    /// Adds a system event of the period.
    pub fn add_system_event(&mut self, event: &Recorded) {
        let totals = &mut self.totals;
        match &event.event {
            Event::ErasureCompleted(completed) => self.add_erasure(event, completed),
            Event::RecipientAcknowledged(_) => totals.acknowledged = totals.acknowledged.saturating_add(1),
            Event::RecordViewed(view) => {
                let views = totals.views.entry(view.method.clone()).or_default();
                *views = views.saturating_add(1);
            }
            Event::AuditExported(AuditExported { opened, .. }) => {
                totals.exports = totals.exports.saturating_add(1);
                totals.open_exports = totals.open_exports.saturating_add(u64::from(*opened > 0));
            }
            Event::FiguresReported(_) => totals.reports = totals.reports.saturating_add(1),
            _ => {}
        }
    }

    fn add_erasure(&mut self, event: &Recorded, completed: &ErasureCompleted) {
        let totals = &mut self.totals;
        let is_whole = completed.scope == ErasureScope::All;
        let count = if is_whole { &mut totals.erasures } else { &mut totals.partial };
        *count = count.saturating_add(1);
        let runs = completed.discarded.iter();
        let runs = runs.map(|run| run.last.saturating_sub(run.first).saturating_add(1));
        totals.discarded = runs.fold(totals.discarded, u64::saturating_add);
        if totals.proofs.len() < PROOFS_MAX {
            totals.proofs.push(event.position);
        }
        // One data subject may be erased in parts many times, so partial erasures are not a group of people.
        if !is_whole {
            return;
        }
        let since_ms = event.recorded_at_ms.saturating_sub(completed.requested_at_ms);
        // New events have only the day of the request.
        let is_by_day = !completed.request_hash.is_empty();
        let duration_ms = if is_by_day { since_ms.max(DAY_MS) } else { since_ms };
        let duration = vec![bucket(&DURATION_BUCKETS, duration_ms).to_owned()];
        self.add_rows(Population::ErasureTimes, &[(&duration, 1)]);
        let categories = completed.erased_by_category.iter();
        let rows: Vec<(Labels, u64)> =
            categories.map(|(category, count)| (vec![category.clone()], (*count).into())).collect();
        let rows: Vec<(&Labels, u64)> = rows.iter().map(|(labels, count)| (labels, *count)).collect();
        self.add_rows(Population::ErasedAttributes, &rows);
    }
}
