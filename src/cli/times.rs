//! Times, dates and durations on the command line and in imported files.

use crate::domain::TIME_MS_MAX;
use crate::domain::wording;
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::temporal::Pieces;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use prost_types::Timestamp;
use std::time::Duration;

/// The Unix epoch. Moments are counted from here.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const SECOND_NANOS: i128 = 1_000_000_000;
const MILLI_NANOS: i128 = 1_000_000;
/// Characters of a date: `2026-01-31`.
const DATE_CHARS: usize = 10;
const EXPECTED: &str =
    "must be a time like 2026-01-31T12:00:00Z, or a date, which can have a zone: 2026-01-31+01:00";
const RANGE: &str = "must be from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z";

/// A time as a person wrote it. A date without a time stands for one moment ([`OfDay`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrittenTime {
    /// The moment.
    pub moment: Timestamp,
    /// Says which moment a date without a time stands for; `None` if the text has a time.
    of_day: Option<String>,
}

/// Which moment of the day a date without a time stands for.
#[derive(Clone, Copy)]
enum OfDay {
    /// The first moment of the day.
    Beginning,
    /// The last millisecond of the day, for the end of a period that includes its end.
    Last,
    /// The first moment of the next day, for the end of a period that does not include its end.
    End,
}

/// Parses a time at which something begins: a date means the beginning of its day.
pub(super) fn beginning(text: &str) -> Result<WrittenTime, String> {
    parse(text, OfDay::Beginning)
}

/// Parses the inclusive end of a period: a date means the last moment of its day.
pub(super) fn last(text: &str) -> Result<WrittenTime, String> {
    parse(text, OfDay::Last)
}

/// Parses the time at which something ends. A date means the first moment of the next day, so the whole day
/// is included.
pub(super) fn end(text: &str) -> Result<WrittenTime, String> {
    parse(text, OfDay::End)
}

/// Parses an exact time: a date alone is refused.
pub(super) fn exact(text: &str) -> Result<Timestamp, String> {
    match beginning(text)? {
        WrittenTime { moment, of_day: None } => Ok(moment),
        _ => Err("must have a time of day, like 2026-01-31T12:00:00Z".into()),
    }
}

impl WrittenTime {
    /// Milliseconds since the Unix epoch.
    pub fn millis(&self) -> u64 {
        let seconds = u64::try_from(self.moment.seconds).unwrap_or_default();
        let millis = u64::try_from(self.moment.nanos).unwrap_or_default() / 1_000_000;
        seconds.saturating_mul(1000).saturating_add(millis)
    }

    /// Says which moment a date without a time was read as; `None` if the text has a time.
    pub fn note(&self, flag: &str) -> Option<String> {
        let of_day = self.of_day.as_ref()?;
        Some(format!("`{flag}` is {}, {of_day}", wording::time(self.millis())))
    }
}

fn parse(text: &str, of_day: OfDay) -> Result<WrittenTime, String> {
    if let Some((date, zone)) = date_of(text) {
        let (zone, name) = zone_of(zone).ok_or(EXPECTED)?;
        let (moment, what) = moment_of(date, &zone, of_day);
        let of_day = Some(format!("{what} of {date} in {name}"));
        return Ok(WrittenTime { moment: stamp(moment).ok_or(RANGE)?, of_day });
    }
    let pieces = Pieces::parse(text).map_err(|_| EXPECTED)?;
    let (time, offset) = pieces.time().zip(pieces.to_numeric_offset()).ok_or(EXPECTED)?;
    let moment = nanos_of(DateTime::from_parts(pieces.date(), time), offset);
    Ok(WrittenTime { moment: stamp(moment).ok_or(RANGE)?, of_day: None })
}

/// The date and the zone of a text without a time of day; `None` for a text with one.
fn date_of(text: &str) -> Option<(Date, &str)> {
    let (date, zone) = text.split_at_checked(DATE_CHARS)?;
    let is_date = zone.is_empty() || zone.starts_with(['Z', 'z', '+', '-', '[']);
    date.parse().ok().filter(|_| is_date).map(|date| (date, zone))
}

/// The time zone after a date, and its name. The zone is `Z`, an offset such as `+01:00`, or a name such as
/// `[Europe/Berlin]`. A date without a zone is in UTC.
fn zone_of(text: &str) -> Option<(TimeZone, String)> {
    if matches!(text, "" | "Z" | "z") {
        return Some((TimeZone::UTC, "UTC".into()));
    }
    if let Some(name) = text.strip_prefix('[') {
        let name = name.strip_suffix(']')?;
        return Some((TimeZone::get(name).ok()?, name.to_owned()));
    }
    let whole = format!("2000-01-01T00:00{text}");
    let pieces = Pieces::parse(&whole).ok().filter(|pieces| pieces.time_zone_annotation().is_none())?;
    Some((TimeZone::fixed(pieces.to_numeric_offset()?), format!("UTC{text}")))
}

/// The moment of a day that `of_day` selects, in nanoseconds since the Unix epoch, and what it is called. The
/// end of the last day of the year 9999 is the last moment that the ledger accepts.
fn moment_of(date: Date, zone: &TimeZone, of_day: OfDay) -> (i128, &'static str) {
    let beginning = |date: Date| {
        let midnight = DateTime::from_parts(date, Time::midnight());
        // If clocks skip midnight, the day begins when they change. If they repeat midnight, it begins at the
        // first one.
        let offset = match zone.to_ambiguous_timestamp(midnight).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } | AmbiguousOffset::Fold { before, .. } => before,
        };
        nanos_of(midnight, offset)
    };
    let latest = i128::from(TIME_MS_MAX).saturating_mul(MILLI_NANOS);
    let end = date.tomorrow().map_or(latest, |next| beginning(next).min(latest));
    match of_day {
        OfDay::Beginning => (beginning(date), "the beginning"),
        OfDay::Last => (end.saturating_sub(MILLI_NANOS), "the last moment"),
        OfDay::End => (end, "the end"),
    }
}

/// Nanoseconds since the Unix epoch. They are calculated from the calendar date, because the timestamps of
/// jiff (a library for times) end 26 hours before the year 9999 does.
fn nanos_of(civil: DateTime, offset: Offset) -> i128 {
    let offset = i128::from(offset.seconds()).saturating_mul(SECOND_NANOS);
    civil.duration_since(EPOCH).as_nanos().saturating_sub(offset)
}

/// A timestamp; `None` if the ledger does not accept the time.
fn stamp(nanos: i128) -> Option<Timestamp> {
    let seconds = u64::try_from(nanos.div_euclid(SECOND_NANOS)).ok()?;
    let seconds = i64::try_from(seconds).ok().filter(|_| seconds <= TIME_MS_MAX / 1000)?;
    Some(Timestamp { seconds, nanos: i32::try_from(nanos.rem_euclid(SECOND_NANOS)).ok()? })
}

/// Parses a duration like `10m` or `1h 30m`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = |_| "must be a duration like 10m, 1h or 7d".to_owned();
    let span: jiff::Span = text.parse().map_err(wrong)?;
    let span = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(wrong)?;
    Duration::try_from(span).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// The moment that was parsed, as text, and the note about a date without a time (empty if a time was
    /// given).
    fn said(parsed: Result<WrittenTime, String>) -> (String, String) {
        let parsed = parsed.unwrap();
        (wording::time(parsed.millis()), parsed.of_day.unwrap_or_default())
    }

    #[test]
    fn times_are_parsed_and_a_time_without_a_zone_is_refused() {
        assert_eq!(beginning("1970-01-01T00:00:01.5Z").unwrap().moment.nanos, 500_000_000);
        assert_eq!(beginning("1970-01-01T01:00:00+01:00").unwrap().moment.seconds, 0);
        assert_eq!(end("1970-01-01T01:00:00+01:00").unwrap(), beginning("1970-01-01T00:00:00Z").unwrap());
        for bad in ["yesterday", "", "1970-13-01", "1970-01-01T00:00:00", "1970-01-01+99", "1970-01-01[x"] {
            assert_eq!(beginning(bad).unwrap_err(), EXPECTED, "{bad}");
        }
        assert!(exact("2026-01-31").unwrap_err().contains("time of day"));
        assert!(exact("2026-01-31T12:00:00Z").is_ok());
    }

    #[test]
    fn a_date_without_a_time_is_its_whole_day_in_the_stated_zone() {
        let cases = [
            (beginning("2026-01-31"), "2026-01-31T00:00:00Z", "the beginning of 2026-01-31 in UTC"),
            (last("2026-01-31Z"), "2026-01-31T23:59:59.999Z", "the last moment of 2026-01-31 in UTC"),
            (end("2026-01-31"), "2026-02-01T00:00:00Z", "the end of 2026-01-31 in UTC"),
            (end("2026-01-31+01:00"), "2026-01-31T23:00:00Z", "the end of 2026-01-31 in UTC+01:00"),
            (
                beginning("2026-01-31-05:30"),
                "2026-01-31T05:30:00Z",
                "the beginning of 2026-01-31 in UTC-05:30",
            ),
        ];
        for (parsed, moment, of_day) in cases {
            assert_eq!(said(parsed), (moment.to_owned(), of_day.to_owned()));
        }
        let note = end("2026-01-31").unwrap().note("--until").unwrap();
        assert_eq!(note, "`--until` is 2026-02-01T00:00:00Z, the end of 2026-01-31 in UTC");
        assert_eq!(end("2026-01-31T00:00:00Z").unwrap().note("--until"), None);
    }

    #[test]
    fn the_last_day_of_the_year_9999_is_accepted_and_what_is_beyond_is_refused() {
        for (text, expected) in [
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T23:00:00-00:30", "9999-12-31T23:30:00Z"),
            ("9999-12-31", "9999-12-31T23:59:59.999Z"),
            ("9999-12-31-05:00", "9999-12-31T23:59:59.999Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(said(end(text)).0, expected, "{text}");
        }
        for bad in ["9999-12-31T23:59:59-01:00", "1969-12-31T23:59:59Z", "0001-01-01"] {
            assert_eq!(beginning(bad).unwrap_err(), RANGE, "{bad}");
        }
        assert!(beginning("10000-01-01").is_err() && beginning("+010000-01-01T00:00:00Z").is_err());
    }

    #[test]
    fn durations_are_parsed() {
        assert_eq!(parse_duration("10m").unwrap().as_secs(), 600);
        assert_eq!(parse_duration("1h 30m").unwrap().as_secs(), 5_400);
        assert_eq!(parse_duration("1.5s").unwrap().as_millis(), 1_500);
        for bad in ["soon", "-1s", "10"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
