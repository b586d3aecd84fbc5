//! Converts times and durations: the API uses protobuf's `Timestamp` and `Duration`, the use cases (`app`)
//! use milliseconds.

use crate::api::status;
use crate::app::Moment;
use crate::domain::TIME_MS_MAX;
use crate::proto;
use prost_types::Timestamp;
use tonic::Status;

/// The longest duration that protobuf's JSON has, in milliseconds: about 10,000 years.
const DURATION_MS_MAX: u64 = 315_576_000_000_000;

/// Milliseconds since the Unix epoch as a timestamp. A time after the year 9999, which earlier versions
/// accepted, becomes the end of that year, because the JSON of protobuf has no later timestamps.
#[must_use]
pub fn time(ms: u64) -> Timestamp {
    let ms = ms.min(TIME_MS_MAX);
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(ms % 1000 * 1_000_000).unwrap_or_default();
    Timestamp { seconds, nanos }
}

/// A timestamp as milliseconds since the Unix epoch. Rounds down.
///
/// # Errors
/// The time is before 1970, after the year 9999, or malformed.
pub fn millis(time: &Timestamp, field: &str) -> Result<u64, Status> {
    let nanos = u64::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let parts = u64::try_from(time.seconds).ok().zip(nanos);
    let millis = parts.map(|(seconds, nanos)| seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000));
    millis.filter(|millis| *millis <= TIME_MS_MAX).ok_or_else(|| {
        status::invalid(field, "must be a time from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z")
    })
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
/// The duration is negative, malformed, or longer than 10,000 years.
pub fn duration_ms(duration: Option<&prost_types::Duration>, field: &str) -> Result<Option<u64>, Status> {
    let Some(duration) = duration else { return Ok(None) };
    let parts = u64::try_from(duration.seconds).ok().zip(u64::try_from(duration.nanos).ok());
    let millis = parts.map(|(seconds, nanos)| seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000));
    let millis = millis.filter(|millis| *millis <= DURATION_MS_MAX);
    millis.map(Some).ok_or_else(|| status::invalid(field, "must be from 0 to 315576000000 seconds"))
}

/// Milliseconds as a duration, at most the longest that the JSON of protobuf allows.
#[must_use]
pub fn duration(ms: u64) -> prost_types::Duration {
    let ms = ms.min(DURATION_MS_MAX);
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: i32::try_from(ms % 1000 * 1_000_000).unwrap_or_default() }
}
