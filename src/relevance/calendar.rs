//! Writes the date of a candidate (an attribute that may be used) in words, so that a question that names a
//! month or a year finds the candidate.

use super::language::Language;
use jiff::SignedDuration;
use jiff::civil::DateTime;

/// The day, month and year of a time (milliseconds since the Unix epoch, UTC), for example `7 may 2023`. In a
/// language whose months the ranking does not know, the month is left out.
pub(super) fn date(time_ms: u64, language: Language) -> String {
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    let since = i64::try_from(time_ms).map(SignedDuration::from_millis).unwrap_or(SignedDuration::MAX);
    let Ok(time) = EPOCH.checked_add(since) else { return String::new() };
    let number = usize::try_from(time.month()).unwrap_or_default().wrapping_sub(1);
    let month = language.months().and_then(|months| months.get(number)).copied().unwrap_or_default();
    format!("{} {month} {}", time.day(), time.year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_words() {
        assert_eq!(date(1_683_417_600_000, Language::English), "7 may 2023");
        assert_eq!(date(1_683_417_600_000, Language::Turkish), "7  2023");
        assert_eq!(date(u64::MAX, Language::English), "");
    }
}
