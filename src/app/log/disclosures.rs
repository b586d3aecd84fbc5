//! What the system events say about disclosed data: which audit bundles were exported, and which recipients
//! have not reported what they did about an erasure.

use crate::app::log::audit_exports::AuditExports;
use crate::app::log::outstanding::{Deadlines, Outstanding};
use crate::domain::event::Recorded;

/// Computed from the system events, and kept in memory.
pub(crate) struct Disclosures {
    /// The audit bundles that auditors have.
    pub audit_exports: AuditExports,
    /// Recipients that have not said what they did about an erasure.
    pub outstanding: Outstanding,
}

impl Disclosures {
    /// Applies the system events, oldest first.
    pub fn new(events: &[Recorded], deadlines: Deadlines) -> Self {
        let outstanding = Outstanding::new(events, deadlines);
        Self { audit_exports: AuditExports::new(events), outstanding }
    }

    /// Applies later system events.
    pub fn add(&self, events: &[Recorded]) {
        self.audit_exports.add(events);
        self.outstanding.add(events);
    }
}
