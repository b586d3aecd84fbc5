//! Decides whether a data subject is an adult, from what was stated: an age band, or the year, month or date
//! of birth.

use crate::event::{AgeBand, SubjectDescribed};

const DAY_MS: i64 = 86_400_000;
/// Clocks that are 12 hours behind UTC are the last to reach a date.
const LAST_ZONE_MS: i64 = 12 * 3_600_000;
const ADULT_YEARS: i64 = 18;

/// The newest statement about the age of a data subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Age {
    #[default]
    Unknown,
    Minor,
    Adult,
    /// When the youngest person who fits the stated birth is of full age, milliseconds since the Unix epoch.
    AdultFrom(u64),
}

impl Age {
    /// Applies a description. Returns whether it states an age; otherwise it changes nothing.
    pub fn apply(&mut self, described: &SubjectDescribed) -> bool {
        let born = adult_from_ms(&described.born).map(Self::AdultFrom);
        let band = match described.age_band() {
            AgeBand::Unspecified => None,
            AgeBand::Child | AgeBand::Teen => Some(Self::Minor),
            AgeBand::Adult => Some(Self::Adult),
            AgeBand::Unknown => Some(Self::Unknown),
        };
        let stated = born.or(band);
        *self = stated.unwrap_or(*self);
        stated.is_some()
    }

    /// Whether the data subject is of full age at `now_ms`, milliseconds since the Unix epoch. `None` if that
    /// is unknown.
    pub fn is_adult(self, now_ms: u64) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Minor => Some(false),
            Self::Adult => Some(true),
            Self::AdultFrom(from_ms) => Some(from_ms <= now_ms),
        }
    }
}

/// When the youngest person who fits a birth such as `2010`, `2010-05` or `2010-05-17` is of full age
/// everywhere, milliseconds since the Unix epoch. Somebody who was born on February 29 is of full age on
/// March 1.
fn adult_from_ms(born: &str) -> Option<u64> {
    let is_digits =
        |part: &str, count: usize| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let lengths = [4, 2, 2].into_iter().chain(std::iter::repeat(0));
    let mut parts = born
        .split('-')
        .zip(lengths)
        .map(|(part, count)| is_digits(part, count).then(|| part.parse::<i64>().ok()).flatten());
    let year = parts.next()?.filter(|year| *year >= 1900)?;
    let month = parts.next().unwrap_or(Some(12))?.clamp(0, 13);
    let last = days_of_month(year, month)?;
    let day = parts.next().unwrap_or(Some(last))?;
    if !(1..=last).contains(&day) || parts.next().is_some() {
        return None;
    }
    let adult_year = year + ADULT_YEARS;
    // The day after the last one of a month is the first day of the next month.
    let day = day.min(days_of_month(adult_year, month)? + 1);
    let days = days_before_month(adult_year, month)? + day - 1;
    u64::try_from(days * DAY_MS + LAST_ZONE_MS).ok().or(Some(0))
}

fn days_of_month(year: i64, month: i64) -> Option<i64> {
    Some(days_before_month(year + month / 12, month % 12 + 1)? - days_before_month(year, month)?)
}

/// The number of days from 1970-01-01 to the first day of a month; none if the month is not 1 to 12.
fn days_before_month(year: i64, month: i64) -> Option<i64> {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before = BEFORE.get(usize::try_from(month - 1).ok()?)?;
    let past = year - 1;
    let leap_days = past / 4 - past / 100 + past / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    Some((year - 1970) * 365 + leap_days + before + i64::from(is_leap && month > 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_person_who_fits_a_birth_decides() {
        // 2028-12-31, 2028-05-31, 2028-05-17 and, after 2008-02-29, 2026-03-01: each at 12:00 UTC.
        for (born, adult_from) in [
            ("2010", Some(1_861_876_800_000)),
            ("2010-05", Some(1_843_387_200_000)),
            ("2010-05-17", Some(1_842_177_600_000)),
            ("2008-02-29", Some(1_772_366_400_000)),
            ("1900", Some(0)),
            ("", None),
            ("2010-13", None),
            ("2010-00", None),
            ("2010-5", None),
            ("2010-9223372036854775807", None),
            ("2011-02-29", None),
            ("2010-05-17-1", None),
        ] {
            assert_eq!(adult_from_ms(born), adult_from, "{born}");
        }
    }
}
