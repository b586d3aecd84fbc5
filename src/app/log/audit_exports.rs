//! The audit bundles that auditors have: exports of the log with opened (decrypted) entries. Each bundle
//! discloses the data of everyone about whom the log had entries when it was exported. So the auditor is a
//! recipient of these people's data (GDPR Art. 15(1)(c), 19).

use crate::domain::event::{Event, Recorded};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The bundles of one auditor, oldest first: the number of entries, and when it was exported (milliseconds
/// since the Unix epoch).
type Bundles = Vec<(u64, u64)>;

/// The bundles of all auditors, by name: 16 bytes for each export.
#[derive(Default)]
pub(crate) struct AuditExports(Mutex<BTreeMap<String, Bundles>>);

/// An auditor with bundles that have the data of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BundleHolder {
    pub name: String,
    /// When the first of these bundles was exported, milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// When the last of them was exported, milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// How many there are.
    pub bundles: u64,
}

impl AuditExports {
    /// The exports among these system events, oldest first.
    pub fn new(events: &[Recorded]) -> Self {
        let exports = Self::default();
        exports.add(events);
        exports
    }

    /// Adds the exports among later system events.
    pub fn add(&self, events: &[Recorded]) {
        let mut bundles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            // A sealed bundle discloses nothing.
            if let Event::AuditExported(of) = &event.event
                && of.opened > 0
            {
                let of_auditor = bundles.entry(of.auditor.clone()).or_default();
                of_auditor.push((of.tree_size, event.recorded_at_ms));
            }
        }
    }

    /// The auditors with bundles that have the entry at this position, by name.
    pub fn holders_of(&self, position: u64) -> Vec<BundleHolder> {
        let bundles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(name, all): (&String, &Bundles)| {
            // The log only grows, except if a restore made it shorter.
            let mut having = all.iter().filter(|(size, _)| *size > position).map(|(_, at_ms)| *at_ms);
            let first_ms = having.next()?;
            let (count, last_ms) = having.fold((1, first_ms), |(count, _), at_ms| (count + 1, at_ms));
            Some(BundleHolder { name: name.clone(), first_ms, last_ms, bundles: count })
        };
        bundles.iter().filter_map(of).collect()
    }
}
