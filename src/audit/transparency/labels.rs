//! Labels of the rows of a report's tables: words for what events say, such as `refused`, and buckets for
//! numbers, such as durations.

use crate::domain::DAY_MS;
use crate::domain::consent::Decision;
use crate::domain::event::Provenance;
use crate::domain::wording;

/// The log has no value.
pub const NOT_RECORDED: &str = "not recorded";
/// No policy decided.
pub const NO_POLICY: &str = "-";
/// A decision that names no purpose is about all of them.
pub const ALL_PURPOSES: &str = "all purposes";
/// No artifact was valid.
pub const NO_ARTIFACT: &str = "none";

/// Consent was requested.
pub const REQUESTED: &str = "requested";
/// Consent was given.
pub const GIVEN: &str = "given";
/// Consent was refused.
pub const REFUSED: &str = "refused";
/// Consent was renewed.
pub const RENEWED: &str = "renewed";
/// Consent was withdrawn.
pub const WITHDRAWN: &str = "withdrawn";
/// Every label of a decision.
pub const DECISIONS: [&str; 5] = [REQUESTED, GIVEN, REFUSED, RENEWED, WITHDRAWN];

/// The grant allowed at least one attribute.
pub const ALLOWED: &str = "something allowed";
/// The grant allowed nothing.
pub const NOTHING_ALLOWED: &str = "nothing allowed";

/// The grant was valid when the reply was reported.
pub const GRANT_VALID: &str = "while the grant was valid";
/// The grant had expired when the reply was reported.
pub const GRANT_EXPIRED: &str = "after the grant had expired";
/// The grant had been revoked when the reply was reported.
pub const GRANT_REVOKED: &str = "after the grant had been revoked";

/// The AI disclosure was shown.
pub const DISCLOSED: &str = "shown";
/// The AI disclosure was not reported as shown.
pub const NOT_DISCLOSED: &str = "not reported as shown";

/// An inference was contested.
pub const CONTESTED: &str = "contested";
/// A contested inference was corrected or removed.
pub const RESOLVED: &str = "corrected or removed after a contest";
/// The person confirmed a contested inference.
pub const CONTEST_WITHDRAWN: &str = "contest withdrawn by the person";
/// The person confirmed an inference that was not contested.
pub const CONFIRMED: &str = "confirmed without a contest";

/// The inference was drawn from a reply that was shaped by an attribute with the same key, or by a source of
/// the inference.
pub const SAME_ATTRIBUTE: &str = "replies shaped by the same attribute";
/// The inference was drawn from other replies.
pub const OTHER_REPLIES: &str = "other replies";
/// The inference names no reply.
pub const NO_REPLY: &str = "no reply named";

/// No grant was requested for the person.
pub const NO_GRANT: &str = "no grant requested";
/// Grants were requested for the person, and none allowed anything.
pub const ONLY_REFUSALS: &str = "requested, nothing allowed";
/// A grant released data of the person, and no use was reported.
pub const RELEASED: &str = "released, no use reported";
/// A reply to the person was personalized.
pub const PERSONALIZED: &str = "replies personalized";

/// A range of numbers, from above the previous bucket's maximum.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// The largest number in it.
    pub max: u64,
    /// Label of its row.
    pub label: &'static str,
}

const fn up_to(max: u64, label: &'static str) -> Bucket {
    Bucket { max, label }
}

/// Buckets of releases a day.
pub const RELEASE_BUCKETS: [Bucket; 7] = [
    up_to(1, "1"),
    up_to(3, "2 to 3"),
    up_to(7, "4 to 7"),
    up_to(15, "8 to 15"),
    up_to(31, "16 to 31"),
    up_to(63, "32 to 63"),
    up_to(u64::MAX, "64 or more"),
];
/// Buckets of bytes stored about a person.
pub const BYTES_BUCKETS: [Bucket; 7] = [
    up_to(4 << 10, "up to 4 KiB"),
    up_to(16 << 10, "up to 16 KiB"),
    up_to(64 << 10, "up to 64 KiB"),
    up_to(256 << 10, "up to 256 KiB"),
    up_to(1 << 20, "up to 1 MiB"),
    up_to(4 << 20, "up to 4 MiB"),
    up_to(u64::MAX, "more than 4 MiB"),
];
/// Buckets of artifacts built from a person's profile.
pub const ARTIFACT_BUCKETS: [Bucket; 5] = [
    up_to(0, NO_ARTIFACT),
    up_to(1, "1"),
    up_to(3, "2 to 3"),
    up_to(10, "4 to 10"),
    up_to(u64::MAX, "11 or more"),
];
/// Buckets of durations, milliseconds.
pub const DURATION_BUCKETS: [Bucket; 9] = [
    up_to(0, "in the same write"),
    up_to(1_000, "within 1 s"),
    up_to(60_000, "within 1 min"),
    up_to(3_600_000, "within 1 h"),
    up_to(DAY_MS, "within 1 day"),
    up_to(7 * DAY_MS, "within 7 days"),
    up_to(30 * DAY_MS, "within 30 days"),
    up_to(90 * DAY_MS, "within 90 days"),
    up_to(u64::MAX, "later"),
];

/// The label of the bucket that a number is in.
#[must_use]
pub fn bucket(buckets: &[Bucket], number: u64) -> &'static str {
    buckets.iter().find(|bucket| number <= bucket.max).map_or("", |bucket| bucket.label)
}

/// The name of a protobuf enum value as a label: without its prefix, in lower case, with hyphens.
#[must_use]
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', "-")
}

/// The label of a provenance.
#[must_use]
pub fn provenance(provenance: Provenance) -> &'static str {
    wording::provenance(provenance)
}

/// The label of a decision.
#[must_use]
pub fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Given => GIVEN,
        Decision::Refused => REFUSED,
        Decision::Renewed => RENEWED,
        Decision::Withdrawn => WITHDRAWN,
    }
}
