//! Defines the populations: what each table counts (such as replies), with the table's unit, the headings and
//! labels of its rows, and how much one person may contribute.

use super::labels::{
    ALLOWED, ARTIFACT_BUCKETS, BYTES_BUCKETS, Bucket, CONFIRMED, CONTEST_WITHDRAWN, CONTESTED, DISCLOSED,
    DURATION_BUCKETS, GRANT_EXPIRED, GRANT_REVOKED, GRANT_VALID, NO_REPLY, NOT_DISCLOSED, NOTHING_ALLOWED,
    OTHER_REPLIES, RELEASE_BUCKETS, RESOLVED, SAME_ATTRIBUTE,
};
use super::noise::ContributionLimit;
use super::table::Population;

/// The definition of a population.
#[derive(Clone, Copy, Debug)]
pub struct PopulationSpec {
    /// Stable id of its table.
    pub id: &'static str,
    /// Title for readers.
    pub title: &'static str,
    /// What each number counts.
    pub unit: &'static str,
    /// Headings of the labels.
    pub dimensions: &'static [&'static str],
    /// How much one person may contribute in a report with noise.
    pub limit: ContributionLimit,
}

const fn limit(rows: usize, each: u64) -> ContributionLimit {
    ContributionLimit { rows, each }
}

const fn entry(
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    dimensions: &'static [&'static str],
    limit: ContributionLimit,
) -> PopulationSpec {
    PopulationSpec { id, title, unit, dimensions, limit }
}

const REPLIES: PopulationSpec =
    entry("use", "Personalized replies", "replies", &["purpose", "recipient"], limit(2, 20));
const USED_ATTRIBUTES: PopulationSpec = entry(
    "used-data",
    "Attributes that shaped replies",
    "attributes times replies",
    &["category", "provenance"],
    limit(4, 50),
);
const DISCLOSURES: PopulationSpec =
    entry("disclosure", "Replies, by AI disclosure", "replies", &["disclosure"], limit(1, 40));
const GRANT_STATUS: PopulationSpec =
    entry("standing", "Replies, by the status of their grant", "replies", &["grant"], limit(1, 40));
const GRANT_REQUESTS: PopulationSpec =
    entry("asked", "Grants requested", "grants", &["outcome"], limit(2, 20));
const WITHHELD: PopulationSpec = entry(
    "withheld",
    "Attribute classes withheld",
    "classes withheld",
    &["tier", "policy", "reason"],
    limit(4, 20),
);
const REFUSED_RECORDINGS: PopulationSpec = entry(
    "refused-recordings",
    "Recordings refused",
    "attributes refused",
    &["tier", "policy", "category"],
    limit(4, 20),
);
const DECISIONS: PopulationSpec = entry(
    "decisions",
    "Decisions by people",
    "decisions, one for each purpose",
    &["decision", "purpose"],
    limit(4, 3),
);
const SIGNALS: PopulationSpec =
    entry("signals", "Signals by people", "signals", &["signal", "step"], limit(2, 3));
const REVOCATION_DELAYS: PopulationSpec = entry(
    "bite",
    "Grants revoked because the person refused or withdrew consent",
    "grants",
    &["time from the decision"],
    limit(2, 10),
);
const STORED_ATTRIBUTES: PopulationSpec =
    entry("stored", "Attributes stored", "attributes", &["category", "provenance"], limit(8, 50));
const CONTESTS: PopulationSpec = entry("contests", "Contests of inferences", "steps", &["step"], limit(3, 5));
const INFERENCES: PopulationSpec =
    entry("loops", "Inferences recorded", "inferences", &["drawn from"], limit(2, 20));
const REACH: PopulationSpec = entry(
    "reach",
    "People, by how far personalization reached them",
    "people",
    &["jurisdiction", "age band", "reach"],
    limit(1, 1),
);
const RELEASE_DAYS: PopulationSpec = entry(
    "release-days",
    "Days on which a person's data was released",
    "days of a person",
    &["releases that day"],
    limit(2, 10),
);
const BYTES: PopulationSpec = entry("bytes", "People, by bytes stored", "people", &["bytes"], limit(1, 1));
const ARTIFACTS: PopulationSpec =
    entry("artifacts", "People, by artifacts built", "people", &["artifacts"], limit(1, 1));
const REQUESTS: PopulationSpec = entry("requests", "Requests", "steps", &["kind", "step"], limit(4, 2));
const REQUEST_AGES: PopulationSpec = entry(
    "request-ages",
    "Requests answered, by age",
    "requests",
    &["time since it was submitted"],
    limit(1, 2),
);
const ERASURE_TIMES: PopulationSpec = entry(
    "erasure-spans",
    "Erasures, by time to completion",
    "erasures",
    &["time from the request"],
    limit(1, 1),
);
const ERASED_ATTRIBUTES: PopulationSpec =
    entry("erased-facts", "Attributes erased", "attributes", &["category"], limit(8, 50));

/// The definition of a population.
#[must_use]
pub fn population(population: Population) -> PopulationSpec {
    match population {
        Population::Replies => REPLIES,
        Population::UsedAttributes => USED_ATTRIBUTES,
        Population::Disclosures => DISCLOSURES,
        Population::GrantStatus => GRANT_STATUS,
        Population::GrantRequests => GRANT_REQUESTS,
        Population::Withheld => WITHHELD,
        Population::RefusedRecordings => REFUSED_RECORDINGS,
        Population::Decisions => DECISIONS,
        Population::Signals => SIGNALS,
        Population::RevocationDelays => REVOCATION_DELAYS,
        Population::StoredAttributes => STORED_ATTRIBUTES,
        Population::Contests => CONTESTS,
        Population::Inferences => INFERENCES,
        Population::Reach => REACH,
        Population::ReleaseDays => RELEASE_DAYS,
        Population::Bytes => BYTES,
        Population::Artifacts => ARTIFACTS,
        Population::Requests => REQUESTS,
        Population::RequestAges => REQUEST_AGES,
        Population::ErasureTimes => ERASURE_TIMES,
        Population::ErasedAttributes => ERASED_ATTRIBUTES,
    }
}

/// The labels of a population in their order; empty if its rows are ordered by count.
#[must_use]
pub fn label_order(population: Population) -> Vec<&'static str> {
    let labels = |buckets: &[Bucket]| buckets.iter().map(|bucket| bucket.label).collect();
    match population {
        Population::ReleaseDays => labels(&RELEASE_BUCKETS),
        Population::Bytes => labels(&BYTES_BUCKETS),
        Population::Artifacts => labels(&ARTIFACT_BUCKETS),
        Population::Disclosures => vec![DISCLOSED, NOT_DISCLOSED],
        Population::GrantStatus => vec![GRANT_VALID, GRANT_EXPIRED, GRANT_REVOKED],
        Population::GrantRequests => vec![ALLOWED, NOTHING_ALLOWED],
        Population::Contests => vec![CONTESTED, RESOLVED, CONTEST_WITHDRAWN, CONFIRMED],
        Population::Inferences => vec![SAME_ATTRIBUTE, OTHER_REPLIES, NO_REPLY],
        Population::RevocationDelays | Population::ErasureTimes | Population::RequestAges => {
            labels(&DURATION_BUCKETS)
        }
        _ => Vec::new(),
    }
}
