//! The stated birth of a data subject: a year, a month or a date. Several dates of birth may fit what was
//! stated. So there are two ages: that of the youngest and that of the oldest person whom the statement
//! fits. Rules take the stricter of the two.

use jiff::civil::Date;
use jiff::{SignedDuration, ToSpan};

/// The first year of birth that is accepted.
pub const YEAR_MIN: i16 = 1900;
/// The highest age that is distinguished, in years. Everybody who is older counts as this old.
pub const YEARS_MAX: u32 = 18;
const EPOCH: Date = Date::constant(1970, 1, 1);
/// Dates begin first where clocks are 14 hours ahead of UTC, and last where they are 12 hours behind.
const FIRST_ZONE: SignedDuration = SignedDuration::from_hours(-14);
const LAST_ZONE: SignedDuration = SignedDuration::from_hours(12);

/// A year, a month or a date of birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// The first date that fits.
    first: Date,
    /// The last date that fits.
    last: Date,
}

impl Birth {
    /// Parses `2010`, `2010-05` or `2010-05-17`. `None` for other texts, and for years before [`YEAR_MIN`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lengths: Vec<usize> = text.split('-').map(str::len).collect();
        if !matches!(lengths.as_slice(), [4] | [4, 2] | [4, 2, 2]) {
            return None;
        }
        let number =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i16>().ok());
        let mut parts = text.split('-').map(|part| number(part).flatten());
        let year = parts.next()?.filter(|year| *year >= YEAR_MIN)?;
        let Some(month) = parts.next() else {
            let first = Date::new(year, 1, 1).ok()?;
            return Some(Self { first, last: first.last_of_year() });
        };
        let month = i8::try_from(month?).ok()?;
        let Some(day) = parts.next() else {
            let first = Date::new(year, month, 1).ok()?;
            return Some(Self { first, last: first.last_of_month() });
        };
        let date = Date::new(year, month, i8::try_from(day?).ok()?).ok()?;
        Some(Self { first: date, last: date })
    }

    /// Whether the first date that fits has begun somewhere on earth by `now_ms`, milliseconds since the Unix
    /// epoch.
    #[must_use]
    pub fn has_begun(&self, now_ms: u64) -> bool {
        moment_ms(self.first, FIRST_ZONE) <= now_ms
    }

    /// The age of the youngest person who fits, in years, at most [`YEARS_MAX`].
    #[must_use]
    pub fn years_min(&self, now_ms: u64) -> u32 {
        years(|age| self.reached_by_all_ms(age), now_ms)
    }

    /// The age of the oldest person who fits, in years, at most [`YEARS_MAX`].
    #[must_use]
    pub fn years_max(&self, now_ms: u64) -> u32 {
        years(|age| self.reached_by_first_ms(age), now_ms)
    }

    /// The times at which one of the two ages changes, milliseconds since the Unix epoch. For ages from
    /// `years` on, in no particular order.
    pub fn changes_ms(self, years: u32) -> impl Iterator<Item = u64> {
        (years..=YEARS_MAX).flat_map(move |age| [self.reached_by_first_ms(age), self.reached_by_all_ms(age)])
    }

    /// When the oldest person who fits reaches an age, wherever they are.
    fn reached_by_first_ms(&self, age: u32) -> u64 {
        moment_ms(birthday(self.first, age), FIRST_ZONE)
    }

    /// When the youngest person who fits has reached an age, wherever they are. Somebody who was born on
    /// February 29 reaches it on March 1.
    fn reached_by_all_ms(&self, age: u32) -> u64 {
        let day = birthday(self.last, age);
        let is_missing = day.day() != self.last.day();
        let day = if is_missing { day.tomorrow().unwrap_or(day) } else { day };
        moment_ms(day, LAST_ZONE)
    }
}

impl std::fmt::Display for Birth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let date = self.first;
        match (self.first == self.last, self.first.month() == self.last.month()) {
            (true, _) => write!(f, "{date}"),
            (_, true) => write!(f, "{:04}-{:02}", date.year(), date.month()),
            _ => write!(f, "{:04}", date.year()),
        }
    }
}

fn years(reached_ms: impl Fn(u32) -> u64, now_ms: u64) -> u32 {
    (1..=YEARS_MAX).take_while(|age| reached_ms(*age) <= now_ms).last().unwrap_or(0)
}

/// The birthday at an age; February 28 if the year has no February 29.
fn birthday(born: Date, age: u32) -> Date {
    born.checked_add(i64::from(age).years()).unwrap_or(Date::MAX)
}

/// The start of a date in a zone, milliseconds since the Unix epoch; 0 if the date starts before the epoch.
fn moment_ms(date: Date, zone: SignedDuration) -> u64 {
    let since = date.duration_since(EPOCH).saturating_add(zone);
    u64::try_from(since.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::domain::test_times::ms;
    use proptest::prelude::*;

    #[test]
    fn a_birth_is_a_year_a_month_or_a_date_and_is_shown_as_stated() {
        for text in ["2010", "2010-05", "2010-05-17", "2012-02-29", "1900", "2010-12", "2010-02"] {
            assert_eq!(Birth::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "210", "20100", "2010-5", "2010-13", "2010-00", "2010-02-30", "2011-02-29", "1899"] {
            assert_eq!(Birth::parse(text), None, "{text}");
        }
        for text in
            ["2010-05-17T00:00:00Z", "-010", "+010", "2010-", "2010-05-", "2010--1", " 2010", "２０１０"]
        {
            assert_eq!(Birth::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_oldest_reading_reaches_an_age_first_and_the_youngest_last() {
        let year = Birth::parse("2010").unwrap();
        let ages = |at: &str| (year.years_min(ms(at)), year.years_max(ms(at)));
        assert_eq!(ages("2025-12-31T09:59:59Z"), (14, 15));
        assert_eq!(ages("2025-12-31T10:00:00Z"), (14, 16), "the date begins first at UTC+14");
        assert_eq!(ages("2025-12-31T12:00:00Z"), (15, 16));
        assert_eq!(ages("2026-12-31T11:59:59Z"), (15, 17));
        assert_eq!(ages("2026-12-31T12:00:00Z"), (16, 17), "the date begins last at UTC-12");
        let leap = Birth::parse("2012-02-29").unwrap();
        let ages = |at: &str| (leap.years_min(ms(at)), leap.years_max(ms(at)));
        assert_eq!(ages("2025-02-27T10:00:00Z"), (12, 13));
        assert_eq!(ages("2025-03-01T11:59:59Z"), (12, 13));
        assert_eq!(ages("2025-03-01T12:00:00Z"), (13, 13));
        assert_eq!(Birth::parse("1950").unwrap().years_min(ms("2026-01-01T00:00:00Z")), YEARS_MAX);
    }

    proptest! {
        #[test]
        fn the_ages_change_at_the_stated_times_only(
            year in 1940_i16..1972,
            month in 0_i8..13,
            at in 0_u64..20 * 366 * 86_400_000,
            later in 0_u64..400 * 86_400_000,
        ) {
            let text = if month == 0 { format!("{year}") } else { format!("{year}-{month:02}") };
            let birth = Birth::parse(&text).unwrap();
            let ages = |at| (birth.years_min(at), birth.years_max(at));
            prop_assert!(ages(at).0 <= ages(at).1);
            prop_assert!(ages(at).0 <= ages(at + later).0 && ages(at).1 <= ages(at + later).1);
            let changes = birth.changes_ms(1).any(|change| (at + 1..=at + later).contains(&change));
            prop_assert_eq!(ages(at) != ages(at + later), changes);
        }
    }
}
