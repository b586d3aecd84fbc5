//! Formats the numbers of a report as text. A number with noise is shown with its margin or interval.

use super::amount::Amount;
use super::figure::Ratio;

/// Formats a number: whole numbers with groups of three digits, others with two decimals.
pub(super) fn number(value: f64) -> String {
    if (value - value.round()).abs() > 1e-9 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}

/// A number with its margin, if it has noise.
pub(super) fn amount(amount: Amount) -> String {
    let value = number(amount.value);
    if amount.margin > 0.0 { format!("{value} ± {}", number(amount.margin)) } else { value }
}

/// What the unit of a ratio adds to its number, such as `at least`; empty if the ratio is not shown.
pub(super) fn caveat(ratio: &Ratio) -> &'static str {
    let caveat = ratio.unit.split_once(", ").filter(|_| ratio.value.is_some());
    caveat.map_or("", |(_, caveat)| caveat)
}

/// A ratio with its interval, or why it is not shown.
pub(super) fn ratio(ratio: &Ratio) -> String {
    let text = |value: f64| match ratio.is_percentage() {
        true => format!("{:.1}%", value * 100.0),
        false => number(value),
    };
    match (ratio.value, ratio.interval) {
        (Some(value), None) => text(value),
        (Some(value), Some(interval)) if interval.high.is_finite() => {
            format!("{} ({} to {})", text(value), text(interval.low), text(interval.high))
        }
        (Some(value), Some(interval)) => format!("{} (at least {})", text(value), text(interval.low)),
        (None, _) if ratio.below_noise => "not shown: no larger than its noise".to_owned(),
        (None, _) => "not shown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figure::Interval;
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let all = [0.0, 7.0, 999.0, 1_000.0, 1_234_567.0, -1_234.0, 0.5].map(number);
        assert_eq!(all, ["0", "7", "999", "1,000", "1,234,567", "-1,234", "0.50"]);
    }

    #[test]
    fn every_number_with_noise_has_its_interval_beside_it() {
        assert_eq!(amount(Amount::exact(1_234.0)), "1,234");
        assert_eq!(amount(Amount { value: 1_234.0, margin: 56.0 }), "1,234 ± 56");
        let interval = Interval { low: 0.1, high: 0.35 };
        let share = Ratio { interval: Some(interval), ..Ratio::exact("a", "A".into(), "share", 0.2) };
        assert_eq!(ratio(&share), "20.0% (10.0% to 35.0%)");
        let open = Ratio { interval: Some(Interval { high: f64::INFINITY, ..interval }), ..share.clone() };
        assert_eq!(ratio(&open), "20.0% (at least 10.0%)");
        let below = Ratio { value: None, interval: None, below_noise: true, ..share };
        assert_eq!(ratio(&below), "not shown: no larger than its noise");
    }
}
