//! Times and durations: protobuf's well-known types outside, milliseconds inside.

use crate::api::status;
use crate::app::Moment;
use crate::proto;
use prost_types::Timestamp;
use tonic::Status;

/// Milliseconds since the Unix epoch as a timestamp.
#[must_use]
pub fn time(ms: u64) -> Timestamp {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(ms % 1000 * 1_000_000).unwrap_or_default();
    Timestamp { seconds, nanos }
}

/// A timestamp as milliseconds since the Unix epoch. Rounds down.
///
/// # Errors
/// The time is before 1970 or malformed.
pub fn millis(time: &Timestamp, field: &str) -> Result<u64, Status> {
    let seconds = u64::try_from(time.seconds);
    let nanos = u64::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    match (seconds, nanos) {
        (Ok(seconds), Some(nanos)) => Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)),
        _ => Err(status::invalid(field, "must be a valid time after 1970")),
    }
}

/// An optional timestamp as milliseconds since the Unix epoch.
///
/// # Errors
/// As [`millis`].
pub fn maybe_millis(time: Option<&Timestamp>, field: &str) -> Result<Option<u64>, Status> {
    time.map(|time| millis(time, field)).transpose()
}

/// The time or version that a request is about.
///
/// # Errors
/// The time is malformed.
pub fn moment(as_of: Option<&proto::AsOf>) -> Result<Moment, Status> {
    match as_of.and_then(|as_of| as_of.moment.as_ref()) {
        None => Ok(Moment::Now),
        Some(proto::as_of::Moment::Time(time)) => Ok(Moment::Time(millis(time, "as_of.time")?)),
        Some(proto::as_of::Moment::Version(version)) => Ok(Moment::Version(*version)),
    }
}

/// An optional duration as milliseconds.
///
/// # Errors
/// The duration is negative or malformed.
pub fn duration_ms(duration: Option<&prost_types::Duration>, field: &str) -> Result<Option<u64>, Status> {
    let Some(duration) = duration else { return Ok(None) };
    let parts = u64::try_from(duration.seconds).ok().zip(u64::try_from(duration.nanos).ok());
    let millis = parts.map(|(seconds, nanos)| seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000));
    millis.map(Some).ok_or_else(|| status::invalid(field, "must not be negative"))
}

/// Milliseconds as a duration.
#[must_use]
pub fn duration(ms: u64) -> prost_types::Duration {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(ms % 1000 * 1_000_000).unwrap_or_default() }
}
