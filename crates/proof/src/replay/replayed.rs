//! The result of a replay: numbers of grants, findings, and what could not be checked.

use super::fault::{Fault, Finding};
use super::flag::Flag;
use super::missing::UncheckedGrant;
use super::revocations::PendingRevocation;
use serde::Serialize;

/// Maximum number of findings kept, and of unchecked grants. Further ones are only counted.
const FINDINGS_MAX: usize = 1000;

/// How long before its recorded time an entry may have been sealed, milliseconds. Entries are sealed before
/// the log orders them.
const SEALED_AHEAD_MS_MAX: u64 = 120_000;

/// A grant or an artifact whose end is in effect and announced, and still to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PendingGrant {
    /// Its position.
    pub position: u64,
    /// Its event id, in hex.
    pub grant: String,
    /// Since when the end is in effect, milliseconds since the Unix epoch.
    #[serde(skip)]
    pub since_ms: u64,
}

/// The result of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Grants that were checked in full, or that should not have been issued.
    pub replayed: u64,
    /// Grants that could not be checked in full, because something on which they depend is erased or
    /// withheld. What could be checked is right.
    pub unchecked: u64,
    /// Grants that should not have been issued.
    pub unjustified: u64,
    /// Faults of rules (bounds, definitions and notices): who signed them, and what they change.
    pub rule_faults: u64,
    /// Entries that were sealed more than two minutes before they were recorded.
    pub misdated: u64,
    /// Faults of other events: reports of uses, missing revocations, system events in a person's stream and
    /// the reverse, repeated event ids, and references to what does not exist.
    pub other_faults: u64,
    /// Revocations that are in effect and announced, and whose events are still to be recorded. This is no
    /// fault.
    pub revocations_pending: u64,
    /// The first 1000 grants whose revocations are pending.
    pub pending_grants: Vec<PendingGrant>,
    /// Reports on grants that are missing, because they are erased or withheld. So it was not checked whether
    /// the grants allowed what is reported.
    pub reports_unchecked: u64,
    /// Further grants of which it was not checked whether they had to be revoked: something that may have
    /// contradicted them is erased or withheld, or the check takes too many steps.
    pub revocations_unchecked: u64,
    /// The first 1000 findings.
    pub findings: Vec<Finding>,
    /// The first 1000 grants that could not be checked in full, and reports on missing grants.
    pub unchecked_grants: Vec<UncheckedGrant>,
    /// Every finding and every grant that could not be checked in full, until they are taken.
    #[serde(skip)]
    pub(crate) flags: Vec<Flag>,
}

impl Replayed {
    /// Adds a finding if an entry was sealed too long before it was recorded. Both times are in milliseconds
    /// since the Unix epoch.
    pub(crate) fn check_time(&mut self, position: u64, sealed_at_ms: u64, recorded_at_ms: u64) {
        if recorded_at_ms.saturating_sub(sealed_at_ms) > SEALED_AHEAD_MS_MAX {
            self.misdated += 1;
            self.add(Finding { position, grant: String::new(), attribute: None, fault: Fault::Misdated });
        }
    }

    /// Adds the faults of rules, each with its position.
    pub(crate) fn add_rule_faults(&mut self, faults: Vec<(u64, Fault)>) {
        self.rule_faults += faults.len() as u64;
        for (position, fault) in faults {
            self.add(Finding { position, grant: String::new(), attribute: None, fault });
        }
    }

    pub(super) fn add_unchecked(&mut self, grant: UncheckedGrant) {
        self.unchecked += 1;
        self.list_unchecked(grant);
    }

    pub(super) fn add_report_unchecked(&mut self, grant: UncheckedGrant) {
        self.reports_unchecked += 1;
        self.list_unchecked(grant);
    }

    pub(super) fn add_revocation_unchecked(&mut self, grant: UncheckedGrant) {
        self.revocations_unchecked += 1;
        self.list_unchecked(grant);
    }

    fn list_unchecked(&mut self, grant: UncheckedGrant) {
        self.flags.push(Flag::Unchecked { position: grant.position });
        if self.unchecked_grants.len() < FINDINGS_MAX {
            self.unchecked_grants.push(grant);
        }
    }

    pub(super) fn add_pending(&mut self, grants: Vec<(u64, PendingRevocation)>) {
        self.revocations_pending += grants.len() as u64;
        let room = FINDINGS_MAX.saturating_sub(self.pending_grants.len());
        let listed = grants.into_iter().take(room);
        self.pending_grants.extend(listed.map(|(position, of)| PendingGrant {
            position,
            grant: hex::encode(of.id),
            since_ms: of.since_ms,
        }));
    }

    /// Adds a finding about an event that is neither a grant nor a rule.
    pub(crate) fn add_fault(&mut self, finding: Finding) {
        self.other_faults += 1;
        self.add(finding);
    }

    /// Adds a finding about an event at this position.
    pub(crate) fn add_fault_at(&mut self, position: u64, fault: Fault) {
        self.add_fault(Finding { position, grant: String::new(), attribute: None, fault });
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.flags.push(Flag::Finding { position: finding.position, grant: finding.grant.clone() });
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }

    /// Adds the result for other data subjects of the same log.
    pub(crate) fn merge(&mut self, other: Self) {
        self.replayed += other.replayed;
        self.unchecked += other.unchecked;
        self.misdated += other.misdated;
        self.unchecked_grants.extend(other.unchecked_grants);
        self.unchecked_grants.sort_by_key(|grant| grant.position);
        self.unchecked_grants.truncate(FINDINGS_MAX);
        self.unjustified += other.unjustified;
        self.rule_faults += other.rule_faults;
        self.other_faults += other.other_faults;
        self.revocations_pending += other.revocations_pending;
        self.pending_grants.extend(other.pending_grants);
        self.pending_grants.sort_by_key(|grant| grant.position);
        self.pending_grants.truncate(FINDINGS_MAX);
        self.reports_unchecked += other.reports_unchecked;
        self.revocations_unchecked += other.revocations_unchecked;
        self.flags.extend(other.flags);
        self.findings.extend(other.findings);
        self.findings.sort_by_key(|finding| finding.position);
        self.findings.truncate(FINDINGS_MAX);
    }
}
