//! Parses times for tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use jiff::Timestamp;

/// A time like `2026-11-23T10:00:00Z`, milliseconds since the Unix epoch.
pub(crate) fn ms(text: &str) -> u64 {
    u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
}
