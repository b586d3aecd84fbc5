//! The results of verifying a bundle.

use super::given_subjects::GivenReport;
use super::left_out::LeftOut;
use super::member::Member;
use super::rejection::{FailureKind, Rejection};
use crate::replay::{Replayed, RuleSignatures};
use crate::timestamp::Timestamped;
use crate::witness::Cosigned;
use serde::Serialize;
use std::fmt::{self, Display};
use std::io;

/// Progress of a verification: work done, of the total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Entries read and checked individually.
    Entries(u64, u64),
    /// Groups of data subjects whose chains and grants were checked, after the last entry.
    Subjects(u64, u64),
}

/// For how long entries of data subjects may be in no committed subject map, in milliseconds. A daemon
/// commits every five minutes, and before each export.
pub const MAP_AGE_MS_MAX: u64 = 600_000;
/// For how long announced revocations may be still to be recorded, in milliseconds. A daemon records them
/// right after the decision, or after its next start.
pub const PENDING_MS_MAX: u64 = 3_600_000;

/// What a bundle shows about the subject map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MapReport {
    /// Position of the newest commitment.
    pub position: u64,
    /// It describes this many entries, from the first on.
    pub tree_size: u64,
    /// Number of data subjects in the map.
    pub subjects: u64,
    /// Number of those whose id the log has not seen since it has had a map.
    pub unlinked: u64,
    /// Number of commitments whose map was built again from the entries.
    pub checked: u64,
    /// Number of earlier commitments for which that was not possible.
    pub not_checked: u64,
    /// Number of entries of data subjects after the first `tree_size` entries. No commitment shows yet that
    /// these entries are in the streams of the right people.
    pub later_entries: u64,
    /// Recorded time of the first of these entries, in milliseconds since the Unix epoch.
    pub later_from_ms: Option<u64>,
}

/// What the comparison with an earlier export showed. The log continues the export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EarlierReport {
    /// Number of entries of the earlier export.
    pub tree_size: u64,
    /// Entries of the earlier export that were erased since. The kind that an erasure states of one of them
    /// is a finding if it is not what the earlier export shows.
    pub erased_since: u64,
    /// Those of them of which no erasure states what they were.
    pub not_stated: u64,
    /// Those of them whose content the earlier export does not have, so that nothing could be compared.
    pub not_known: u64,
    /// Findings in the earlier export itself. What they are about may have been erased since.
    pub findings: u64,
}

/// The report on a bundle whose checks all passed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Name of the log.
    pub origin: String,
    /// Number of entries.
    pub tree_size: u64,
    /// Those of the given witnesses that cosigned the checkpoint.
    pub witnesses: Vec<Cosigned>,
    /// Number of key rotations.
    pub key_rotations: u64,
    /// Root of the tree, in hex.
    pub root: String,
    /// Entries that are not erased: present or withheld.
    pub entries: u64,
    /// Entries that were decrypted.
    pub opened: u64,
    /// System events, which are not sealed.
    pub plain: u64,
    /// Sealed entries whose key is not in the bundle.
    pub withheld: u64,
    /// Entries erased by an `ErasureCompleted`.
    pub erased: u64,
    /// Data subjects with at least one entry that is not erased.
    pub subjects: u64,
    /// Valid signatures of entries, checkpoint, cosignatures, rotations, manifest and trailer.
    pub signatures: u64,
    /// Size of the given older checkpoint that this log extends, if one was given.
    pub continues: Option<u64>,
    /// Number of entries that the given counts are about, if they were given. The bundle has the stated
    /// numbers of events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<u64>,
    /// The earlier exports that were given, in the given order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierReport>,
    /// Files that only the operator states: the log's key signed them, but no entry contains them.
    pub stated_only: Vec<String>,
    /// The timestamps by authorities that the user trusts. Each covers the first entries of the log.
    pub timestamps: Vec<Timestamped>,
    /// Number of timestamps by other authorities. Their signatures were not verified.
    pub timestamps_untrusted: u64,
    /// Recorded time of the last entry, in milliseconds since the Unix epoch.
    pub recorded_to_ms: u64,
    /// Who signed the bounds, definitions and required notices of the log.
    pub rules: RuleSignatures,
    /// What the given subject proofs show; `None` if none were given.
    pub given_subjects: Option<GivenReport>,
    /// What the log commits to about each data subject, checked against all streams; `None` if it commits to
    /// nothing. Then the bundle does not show that no stream is missing.
    pub subject_map: Option<MapReport>,
    /// If the log has no commitment to a subject map, although its edition of the rules has them: the
    /// recorded time of the first entry of a data subject in this edition, in milliseconds since the Unix
    /// epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_in_map_from_ms: Option<u64>,
    /// The checks that were left out for early entries, because the log followed earlier rules then.
    pub left_out: Vec<LeftOut>,
    /// Results of replaying each grant against the consents and signals that were in force when the grant was
    /// issued.
    pub grants: Replayed,
}

impl Report {
    /// Whether nothing contradicts the log: no grant was found that should not have been issued, no rule is
    /// at fault, all times are right, and no other event has a finding. All other checks have passed, because
    /// otherwise there is no report.
    #[must_use]
    pub fn grants_hold(&self) -> bool {
        let Replayed { unjustified, rule_faults, misdated, other_faults, .. } = self.grants;
        unjustified == 0 && rule_faults == 0 && misdated == 0 && other_faults == 0
    }

    /// Whether every grant was checked in full, whether each of them was revoked when it had to be, whether
    /// the bundle has the content of every entry that is not erased, and whether the given subject proofs
    /// name commitments that were checked. A withheld entry may be a grant.
    #[must_use]
    pub fn is_fully_checked(&self) -> bool {
        let Replayed { unchecked, revocations_unchecked, reports_unchecked, .. } = self.grants;
        let is_each_checked = unchecked == 0 && revocations_unchecked == 0 && reports_unchecked == 0;
        is_each_checked
            && self.withheld == 0
            && self.rules.bounds_unknown == 0
            && self.given_subjects.as_ref().is_none_or(|given| given.unchecked == 0)
            && !self.has_late_revocations()
    }

    /// Whether a revocation was announced more than [`PENDING_MS_MAX`] before the last entry of the bundle
    /// and is still to be recorded, whether or not its grant or artifact has expired by then. True also if
    /// more revocations are pending than are listed.
    #[must_use]
    pub fn has_late_revocations(&self) -> bool {
        let is_late = |since_ms: u64| self.recorded_to_ms.saturating_sub(since_ms) > PENDING_MS_MAX;
        let listed = &self.grants.pending_grants;
        listed.iter().any(|one| is_late(one.since_ms))
            || self.grants.revocations_pending > listed.len() as u64
    }

    /// Whether the newest commitment to the subject map is recent: the first entry of a data subject that it
    /// does not describe was recorded at most [`MAP_AGE_MS_MAX`] before the last entry of the bundle. True
    /// for logs of early editions, which have no subject map.
    #[must_use]
    pub fn is_map_recent(&self) -> bool {
        let later = self.subject_map.as_ref().and_then(|map| map.later_from_ms);
        let from_ms = later.or(self.not_in_map_from_ms);
        from_ms.is_none_or(|from_ms| self.recorded_to_ms.saturating_sub(from_ms) <= MAP_AGE_MS_MAX)
    }
}

/// The first check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
pub struct VerifyFailure {
    /// Position of the entry concerned, if the failure concerns one.
    pub position: Option<u64>,
    /// The file of the bundle, or `archive`, `trailer`, `folder`, `entries`, `temporary file`, or the flag
    /// that gave what the bundle was compared with, such as `--since`.
    pub place: String,
    /// Why the check failed.
    pub reason: String,
    /// What the failure says about the bundle.
    pub kind: FailureKind,
}

impl VerifyFailure {
    pub(super) fn at(place: impl ToString, reason: impl ToString) -> Self {
        let (place, reason) = (place.to_string(), reason.to_string());
        Self { position: None, place, reason, kind: FailureKind::Broken }
    }

    /// A file or folder could not be read or written.
    pub(super) fn io(place: impl ToString, error: &io::Error) -> Self {
        Self::rejected(place, Rejection::io("cannot read or write it", error))
    }

    /// A part of the bundle was rejected.
    pub(super) fn rejected(place: impl ToString, rejection: Rejection) -> Self {
        let Rejection { reason, kind } = rejection;
        Self { kind, ..Self::at(place, reason) }
    }

    pub(super) fn entry(position: u64, member: Member, reason: impl ToString) -> Self {
        Self { position: Some(position), ..Self::at(member, reason) }
    }
}

impl Display for VerifyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "position {position}, `{}`: {}", self.place, self.reason),
            None => write!(f, "`{}`: {}", self.place, self.reason),
        }
    }
}
