//! What a transparency report counts about one data subject.
//!
//! Counts can be merged: the counts for the days of a period add up to the counts for the period.

use super::labels::{
    ARTIFACT_BUCKETS, BYTES_BUCKETS, NO_GRANT, NOT_RECORDED, ONLY_REFUSALS, PERSONALIZED, RELEASE_BUCKETS,
    RELEASED, bucket, provenance,
};
use super::table::{Counts, Population};
use super::values::GroupName;
use crate::domain::attribute::Secret;
use crate::domain::description::UNKNOWN;
use crate::domain::event::Provenance;
use std::collections::{BTreeMap, BTreeSet};

/// How far personalization reached a data subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// No grant was requested.
    #[default]
    NoGrant,
    /// Grants were requested, and none allowed anything.
    NothingAllowed,
    /// A grant allowed something, and no use was reported.
    Released,
    /// A reply was personalized.
    Used,
}

impl Reach {
    fn label(self) -> &'static str {
        match self {
            Self::NoGrant => NO_GRANT,
            Self::NothingAllowed => ONLY_REFUSALS,
            Self::Released => RELEASED,
            Self::Used => PERSONALIZED,
        }
    }
}

/// The state of a data subject when the window ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndState {
    /// Attributes of the profile.
    pub attributes: Vec<StoredAttribute>,
    /// Bytes of the log's entries about the subject.
    pub bytes: u64,
    /// Artifacts that are valid.
    pub artifacts: u64,
    /// The subject's jurisdiction; empty if the log does not have it.
    pub jurisdiction: String,
    /// The subject's age band.
    pub age_band: &'static str,
}

impl EndState {
    /// Label of the jurisdiction.
    fn jurisdiction(&self) -> &str {
        recorded(&self.jurisdiction)
    }

    /// Label of the age band.
    fn age_band(&self) -> &str {
        recorded(self.age_band)
    }
}

fn recorded(text: &str) -> &str {
    if text.is_empty() || text == UNKNOWN { NOT_RECORDED } else { text }
}

/// The parts of a profile's attribute that are counted.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAttribute {
    /// Its category.
    pub category: String,
    /// Its provenance.
    pub provenance: Provenance,
    /// Its value as JSON text, to be hashed.
    pub value: Secret,
}

/// The counts of one data subject.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubjectCounts {
    pub(super) counts: Counts,
    /// Releases by day since the Unix epoch, in UTC.
    pub(super) release_days: BTreeMap<u64, u64>,
    pub(super) reach: Reach,
    /// Recipients that personalized replies with the subject's data.
    pub recipients: BTreeSet<String>,
    /// The state when the window ended.
    pub end_state: EndState,
}

impl SubjectCounts {
    /// Adds the counts of the same subject for the days that follow.
    pub fn merge(&mut self, later: Self) {
        self.counts.merge(later.counts);
        for (day, count) in later.release_days {
            let releases = self.release_days.entry(day).or_default();
            *releases = releases.saturating_add(count);
        }
        self.reach = self.reach.max(later.reach);
        self.recipients.extend(later.recipients);
        self.end_state = later.end_state;
    }

    /// The groups in which the subject's inferred values are compared.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupName> {
        let group = |dimension, name: &str| GroupName { dimension, name: name.to_owned() };
        let recipients = self.recipients.iter().map(|recipient| group("recipient", recipient));
        let described =
            [("jurisdiction", self.end_state.jurisdiction()), ("age band", self.end_state.age_band())];
        let described = described.into_iter().filter(|(_, name)| *name != NOT_RECORDED);
        recipients.chain(described.map(|(dimension, name)| group(dimension, name))).collect()
    }

    /// All counts of the subject, including those that are known only when the window has ended.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (mut counts, end) = (self.counts.clone(), &self.end_state);
        for releases in self.release_days.values() {
            counts.add(Population::ReleaseDays, &[bucket(&RELEASE_BUCKETS, *releases)], 1);
        }
        counts.add(Population::Reach, &[end.jurisdiction(), end.age_band(), self.reach.label()], 1);
        counts.add(Population::Bytes, &[bucket(&BYTES_BUCKETS, end.bytes)], 1);
        counts.add(Population::Artifacts, &[bucket(&ARTIFACT_BUCKETS, end.artifacts)], 1);
        for attribute in &end.attributes {
            let labels = [attribute.category.as_str(), provenance(attribute.provenance)];
            counts.add(Population::StoredAttributes, &labels, 1);
        }
        counts
    }
}
