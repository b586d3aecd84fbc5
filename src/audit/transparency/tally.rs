//! Everybody, counted.

use super::catalogue;
use super::labels::{SPAN_BUCKETS, bucket};
use super::noise::{self, Bound};
use super::subject_counts::SubjectCounts;
use super::table::{Base, Labels, Table};
use super::values::Spread;
use crate::domain::event::{AuditExported, ErasureCompleted, Event, Recorded};
use sayso_proof::event::{ErasureScope, Provenance};
use std::collections::BTreeMap;

/// Erasures whose proofs are listed.
const PROOFS_MAX: usize = 100;

/// Events about nobody: they name no person, and are counted as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// People erased.
    pub erasures: u64,
    /// Erasures of a part of what was held.
    pub partial: u64,
    /// Entries destroyed.
    pub discarded: u64,
    /// Positions of the first hundred `ErasureCompleted`, each provable by its own.
    pub proofs: Vec<u64>,
    /// Times that recipients said they had carried something out.
    pub acknowledged: u64,
    /// Looks at people's records by stewards and auditors, by method.
    pub views: BTreeMap<String, u64>,
    /// Exports, and of these with bodies open.
    pub exports: (u64, u64),
    /// Reports like this one.
    pub reports: u64,
}

/// Everybody, counted.
pub struct Tally {
    tables: BTreeMap<Base, Table>,
    /// People of whom anything was held before the period ended.
    pub people: u64,
    /// Inferred values.
    pub spread: Spread,
    /// Events about nobody.
    pub totals: Totals,
    /// Whether what a person adds is bounded, as noise needs it.
    bounded: bool,
}

impl Tally {
    /// Nobody yet. `key` is random, for hashes of values; `bounded` for a report with noise.
    #[must_use]
    pub fn new(key: [u8; 32], bounded: bool) -> Self {
        let (tables, spread) = (BTreeMap::new(), Spread::new(key));
        Self { tables, people: 0, spread, totals: Totals::default(), bounded }
    }

    /// One population.
    #[must_use]
    pub fn table(&self, base: Base) -> Table {
        self.tables.get(&base).cloned().unwrap_or_default()
    }

    /// Every population that anybody counts in.
    pub fn tables(&self) -> impl Iterator<Item = (Base, &Table)> {
        self.tables.iter().map(|(base, table)| (*base, table))
    }

    /// Takes one person in.
    pub fn absorb(&mut self, person: &SubjectCounts) {
        self.people = self.people.saturating_add(1);
        let counts = person.counts();
        for (base, rows) in counts.by_base() {
            self.absorb_rows(base, &rows);
        }
        if self.bounded {
            return;
        }
        let inferred = person.standing.held.iter().filter(|fact| fact.provenance == Provenance::Inferred);
        let values = inferred.map(|fact| (fact.category.as_str(), fact.value.expose()));
        self.spread.absorb(values, &person.groups());
    }

    fn absorb_rows(&mut self, base: Base, rows: &[(&Labels, u64)]) {
        let table = self.tables.entry(base).or_default();
        if self.bounded {
            table.absorb(noise::bounded(rows, bound(base)));
        } else {
            table.absorb(rows.iter().copied());
        }
    }

    /// Takes an event about nobody in, one of the period.
    pub fn absorb_plain(&mut self, event: &Recorded) {
        let totals = &mut self.totals;
        match &event.event {
            Event::ErasureCompleted(done) => self.erased(event, done),
            Event::RecipientAcknowledged(_) => totals.acknowledged = totals.acknowledged.saturating_add(1),
            Event::RecordViewed(view) => {
                let there = totals.views.entry(view.method.clone()).or_default();
                *there = there.saturating_add(1);
            }
            Event::AuditExported(AuditExported { opened, .. }) => {
                totals.exports.0 = totals.exports.0.saturating_add(1);
                totals.exports.1 = totals.exports.1.saturating_add(u64::from(*opened > 0));
            }
            Event::FiguresReported(_) => totals.reports = totals.reports.saturating_add(1),
            _ => {}
        }
    }

    fn erased(&mut self, event: &Recorded, done: &ErasureCompleted) {
        let totals = &mut self.totals;
        let whole = done.scope() == ErasureScope::All;
        let count = if whole { &mut totals.erasures } else { &mut totals.partial };
        *count = count.saturating_add(1);
        let runs = done.discarded.iter().map(|run| run.last.saturating_sub(run.first).saturating_add(1));
        totals.discarded = runs.fold(totals.discarded, u64::saturating_add);
        if totals.proofs.len() < PROOFS_MAX {
            totals.proofs.push(event.position);
        }
        // One person can be erased in parts many times over: that is no group of people.
        if !whole {
            return;
        }
        let span = event.recorded_at_ms.saturating_sub(done.requested_at_ms);
        let span = vec![bucket(&SPAN_BUCKETS, span).to_owned()];
        self.absorb_rows(Base::ErasureSpan, &[(&span, 1)]);
        let facts: Vec<(Labels, u64)> = done
            .erased_by_category
            .iter()
            .map(|(name, count)| (vec![name.clone()], (*count).into()))
            .collect();
        let facts: Vec<(&Labels, u64)> = facts.iter().map(|(labels, count)| (labels, *count)).collect();
        self.absorb_rows(Base::ErasedFact, &facts);
    }
}

/// How much one person may put into a table of a report with noise.
#[must_use]
pub fn bound(base: Base) -> Bound {
    catalogue::population(base).bound
}
