//! Labels of rows: buckets of numbers, and names of the wire as words of the report.

use crate::domain::DAY_MS;
use sayso_proof::event::Provenance;

/// Where the log does not say.
pub const NOT_SAID: &str = "not said";

/// Buckets of releases a day.
pub const RELEASE_BUCKETS: [(u64, &str); 7] = [
    (1, "1"),
    (3, "2 to 3"),
    (7, "4 to 7"),
    (15, "8 to 15"),
    (31, "16 to 31"),
    (63, "32 to 63"),
    (u64::MAX, "64 or more"),
];
/// Buckets of bytes a person.
pub const BYTES_BUCKETS: [(u64, &str); 7] = [
    (4 << 10, "up to 4 KiB"),
    (16 << 10, "up to 16 KiB"),
    (64 << 10, "up to 64 KiB"),
    (256 << 10, "up to 256 KiB"),
    (1 << 20, "up to 1 MiB"),
    (4 << 20, "up to 4 MiB"),
    (u64::MAX, "more than 4 MiB"),
];
/// Buckets of artefacts a person.
pub const ARTIFACT_BUCKETS: [(u64, &str); 5] =
    [(0, NO_ARTIFACT), (1, "1"), (3, "2 to 3"), (10, "4 to 10"), (u64::MAX, "11 or more")];
/// The first of them.
pub const NO_ARTIFACT: &str = "none";
/// Buckets of spans, milliseconds.
pub const SPAN_BUCKETS: [(u64, &str); 9] = [
    (0, "with it, in the same write"),
    (1_000, "within 1 s"),
    (60_000, "within 1 min"),
    (3_600_000, "within 1 h"),
    (DAY_MS, "within 1 day"),
    (7 * DAY_MS, "within 7 days"),
    (30 * DAY_MS, "within 30 days"),
    (90 * DAY_MS, "within 90 days"),
    (u64::MAX, "later"),
];

/// The first bucket that a number fits in.
#[must_use]
pub fn bucket(buckets: &[(u64, &'static str)], number: u64) -> &'static str {
    buckets.iter().find(|(most, _)| number <= *most).map_or("", |(_, label)| *label)
}

/// A word of the wire as one of the report: without its prefix, in small letters.
#[must_use]
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', "-")
}

/// How a fact came to be held.
#[must_use]
pub fn provenance(provenance: Provenance) -> &'static str {
    crate::domain::wording::provenance(provenance)
}
