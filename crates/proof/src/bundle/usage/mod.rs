//! The record of uses: every grant that fits a query, with the consents, notices and rules that it rests on.
//!
//! The record of uses is made while a bundle is verified, and only if the bundle verifies. The events that
//! the record needs are stored in a temporary file, grouped by data subject. After the last check, the
//! grants of each data subject are assembled, and stored in a second temporary file in the order of the
//! log. So memory grows with the log only by the flags of its entries and grants (`flags.rs`).

mod flags;
mod grants;
mod log_events;
mod query;
mod seen;
mod totals;

pub(super) use flags::Flags;
pub use grants::{
    AllowedData, Basis, Check, CitedNotice, GrantRecord, ReportedUse, Revocation, WithheldData,
};
pub use log_events::{LogEvent, LogEventKind, Pack};
pub use query::Query;
pub use totals::{Total, TotalOf};

use super::spool::Spool;
use crate::entry::{Handle, Header};
use crate::event::EventBody;
use crate::rule::TierKey;
use grants::SubjectUses;
use log_events::LogEvents;
use query::Filter;
use seen::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use totals::Totals;

/// Bytes of grants that may always be put aside in the order of the log, and how many more may be for each
/// byte of events. Further grants are left out of the record, and only counted.
const RECORD_FREE_BYTES: u64 = 256 << 20;
const RECORD_RATIO_MAX: u64 = 16;
/// Maximum number of different sets of packs that are kept.
const RULE_SETS_MAX: usize = 1_000;

/// What is put aside while a bundle is read.
pub(super) struct UsageBuilder<'a> {
    query: &'a Query,
    tier_keys: &'a [TierKey],
    entries: u64,
    seen: Spool<Seen>,
    log: LogEvents,
    pub flags: Flags,
}

impl<'a> UsageBuilder<'a> {
    /// The state before the first entry of a log with this number of entries.
    pub fn new(query: &'a Query, tier_keys: &'a [TierKey], entries: u64) -> Self {
        let (log, flags) = (LogEvents::default(), Flags::default());
        Self { query, tier_keys, entries, seen: Spool::new(entries), log, flags }
    }

    /// Bytes that are put aside.
    pub fn bytes(&self) -> u64 {
        self.seen.bytes()
    }

    /// Adds an entry whose body can be read.
    pub fn add(
        &mut self,
        position: u64,
        recorded_at_ms: u64,
        header: &Header,
        body: &EventBody,
    ) -> io::Result<()> {
        if header.handle == Handle::SYSTEM {
            self.log.add(position, recorded_at_ms, body, self.tier_keys);
            return Ok(());
        }
        let Some(reduced) = seen::reduced(body) else { return Ok(()) };
        let (handle, event_id) = (header.handle.0.to_vec(), header.event_id.to_vec());
        let seen = Seen { position, handle, event_id, recorded_at_ms, body: Some(reduced) };
        self.seen.push(&header.handle.0, &seen)
    }

    /// Puts the record of uses together.
    pub fn finish(self) -> io::Result<Usage> {
        let Self { query, entries, seen, mut log, flags, .. } = self;
        log.events.iter_mut().for_each(|event| event.has_finding = flags.has_finding(event.position));
        let mut usage = Usage::new(query, entries, log);
        let bytes_max = RECORD_FREE_BYTES.saturating_add(seen.bytes().saturating_mul(RECORD_RATIO_MAX));
        for group in 0..seen.groups() {
            let mut subjects: BTreeMap<Handle, SubjectUses> = BTreeMap::new();
            seen.for_each(group, &mut |seen| {
                let handle = seen.handle.as_slice().try_into().map_err(io::Error::other)?;
                subjects.entry(Handle(handle)).or_default().add(seen);
                Ok(())
            })?;
            for (handle, uses) in subjects {
                usage.add(handle, &uses, &flags, bytes_max)?;
            }
        }
        Ok(usage)
    }
}

/// The record of uses of a log that was verified.
pub struct Usage {
    query: Query,
    entries: u64,
    log: LogEvents,
    grants: Spool<Vec<u8>>,
    count: u64,
    left_out: u64,
    people: u64,
    totals: Totals,
    rule_sets: BTreeSet<Vec<u64>>,
}

impl Usage {
    fn new(query: &Query, entries: u64, log: LogEvents) -> Self {
        Self {
            query: query.clone(),
            entries,
            log,
            grants: Spool::new(entries),
            count: 0,
            left_out: 0,
            people: 0,
            totals: Totals::default(),
            rule_sets: BTreeSet::new(),
        }
    }

    /// Adds the grants of a data subject that fit the query.
    fn add(&mut self, handle: Handle, uses: &SubjectUses, flags: &Flags, bytes_max: u64) -> io::Result<()> {
        let filter = Filter::new(&self.query, &self.log.purposes, &self.log.categories);
        let mut seen = BTreeSet::new();
        let before = self.count + self.left_out;
        for record in uses.records(handle, &filter, &self.log, flags) {
            self.totals.add(&record, &mut seen);
            if self.grants.bytes() >= bytes_max {
                self.left_out += 1;
                continue;
            }
            self.count += 1;
            if self.rule_sets.len() < RULE_SETS_MAX {
                self.rule_sets.insert(record.packs.clone());
            }
            let groups = self.grants.groups() as u128;
            let group = u128::from(record.position) * groups / u128::from(self.entries.max(1));
            let bytes = serde_json::to_vec(&record).map_err(io::Error::other)?;
            self.grants.push_to(group as usize, &bytes)?;
        }
        self.people += u64::from(self.count + self.left_out > before);
        Ok(())
    }

    /// What was asked.
    #[must_use]
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Number of grants in the record.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Number of grants that fit the query, but are not in the record, because it would be too large.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Number of data subjects with a grant that fits the query.
    #[must_use]
    pub fn people(&self) -> u64 {
        self.people
    }

    /// The counts of grants by recipient, purpose and category; and how often a grant has a combination that
    /// is not among them.
    #[must_use]
    pub fn totals(&self) -> (Vec<Total>, u64) {
        self.totals.list()
    }

    /// The different sets of packs that the grants cite, as positions; at most 1,000.
    pub fn rule_sets(&self) -> impl Iterator<Item = &[u64]> {
        self.rule_sets.iter().map(Vec::as_slice)
    }

    /// The pack that was published at a position.
    #[must_use]
    pub fn pack(&self, position: u64) -> Pack {
        self.log.pack(position)
    }

    /// The first 5,000 events about the log as a whole. Words that the log began with are not among them.
    #[must_use]
    pub fn log_events(&self) -> &[LogEvent] {
        &self.log.events
    }

    /// Number of further events about the log, and of words that the log began with.
    #[must_use]
    pub fn log_events_left_out(&self) -> (u64, u64) {
        (self.log.left_out, self.log.first_words)
    }

    /// Number of commitments to the subject map. They are not among [`Usage::log_events`].
    #[must_use]
    pub fn map_commitments(&self) -> u64 {
        self.log.map_commitments
    }

    /// The purposes and categories of the query that the log does not define.
    #[must_use]
    pub fn undefined(&self) -> Vec<String> {
        let mut undefined = self.log.purposes.undefined(&self.query.purposes);
        undefined.extend(self.log.categories.undefined(&self.query.categories));
        undefined
    }

    /// Calls `process` with each grant, in the order of the log.
    ///
    /// # Errors
    /// The temporary file cannot be read, or `process` failed.
    pub fn for_each(&self, process: &mut dyn FnMut(GrantRecord) -> io::Result<()>) -> io::Result<()> {
        for group in 0..self.grants.groups() {
            let mut records: Vec<GrantRecord> = Vec::new();
            self.grants.for_each(group, &mut |bytes| {
                records.push(serde_json::from_slice(&bytes).map_err(io::Error::other)?);
                Ok(())
            })?;
            records.sort_by_key(|record| record.position);
            records.into_iter().try_for_each(&mut *process)?;
        }
        Ok(())
    }
}
