//! Noise with a privacy budget (differential privacy), which limits what a report reveals about any one
//! person. It is the noise of the two-sided geometric mechanism (discrete Laplace; Ghosh, Roughgarden,
//! Sundararajan 2009). It is added to counts to which each person contributes a limited number (Dwork and
//! Roth 2014, s. 3.3).
//!
//! Each row of a table has two numbers: a count, and the number of people in the row. One person is counted
//! in at most [`ContributionLimit::rows`] rows, and adds at most [`ContributionLimit::each`] to the count of
//! each row. So one person changes the sum of a table's counts by at most `rows` times `each` (the L1
//! sensitivity), and the sum of its numbers of people by at most `rows`. Half of a table's budget is for the
//! counts, and half for the numbers of people. The budgets of tables add up (sequential composition).

use super::amount::Amount;
use super::suppress::{Candidate, Shown, as_number, show};
use super::table::{Labels, Table};
use std::collections::BTreeSet;

/// How often the noise on a number exceeds the margin that the report states.
const EXCEEDED: f64 = 0.05;

/// How much one person may contribute to one table of a report with noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContributionLimit {
    /// Rows that one person is counted in; those with the largest counts are kept.
    pub rows: usize,
    /// The most that one person adds to the count of each of these rows.
    pub each: u64,
}

/// Returns a person's counts within the limit.
#[must_use]
pub fn limited<'a>(counts: &[(&'a Labels, u64)], limit: ContributionLimit) -> Vec<(&'a Labels, u64)> {
    let mut kept: Vec<(&Labels, u64)> = counts.iter().copied().filter(|(_, count)| *count > 0).collect();
    kept.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    kept.truncate(limit.rows);
    kept.into_iter().map(|(labels, count)| (labels, count.min(limit.each))).collect()
}

/// A source of unpredictable bits.
pub trait Bits {
    /// Returns the next 64 bits.
    fn bits(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Bits for F {
    fn bits(&mut self) -> u64 {
        self()
    }
}

/// Draws from the geometric distribution on 0, 1, …, where P(n) is proportional to exp(-n / scale).
fn geometric(scale: f64, bits: &mut dyn Bits) -> f64 {
    // A number in (0, 1] with 53 bits. Tails with a chance of less than 2^-52 are cut off.
    let uniform = as_number((bits.bits() >> 11).saturating_add(1)) / as_number(1 << 53);
    (-uniform.ln() * scale).floor()
}

/// Draws a whole number from the two-sided geometric distribution, where P(n) is proportional to exp(-|n| /
/// scale): the difference of two geometric draws.
pub fn two_sided_geometric(scale: f64, bits: &mut dyn Bits) -> f64 {
    geometric(scale, bits) - geometric(scale, bits)
}

/// The standard deviation of [`two_sided_geometric`].
#[must_use]
pub fn deviation(scale: f64) -> f64 {
    let ratio = (-1.0 / scale).exp();
    (2.0 * ratio).sqrt() / (1.0 - ratio)
}

/// A whole number, at least 1, that [`two_sided_geometric`] exceeds, in either direction, in at most 5 of 100
/// draws.
#[must_use]
pub fn margin(scale: f64) -> f64 {
    // P(|n| > m) is 2 r^(m + 1) / (1 + r), where r is exp(-1 / scale).
    let ratio = (-1.0 / scale).exp();
    (((EXCEEDED * (1.0 + ratio) / 2.0).ln() / ratio.ln()).ceil() - 1.0).max(1.0)
}

/// The scales of the noise on counts and on numbers of people.
#[must_use]
pub fn scales(limit: ContributionLimit, epsilon: f64) -> (f64, f64) {
    let rows = as_number(limit.rows as u64);
    let half = epsilon / 2.0;
    (rows * as_number(limit.each) / half, rows / half)
}

/// Adds noise to a table, and then suppresses small groups, so that the noise also decides which rows are
/// shown. `known` are the rows that anyone can name without seeing the data; they get noise even if they
/// contain no people. Any other row counts only if it is large enough to be shown.
pub fn show_noised(
    table: &Table,
    known: &BTreeSet<Labels>,
    limit: ContributionLimit,
    epsilon: f64,
    k: u64,
    bits: &mut dyn Bits,
) -> Shown {
    let (count_scale, people_scale) = scales(limit, epsilon);
    let margin = margin(count_scale);
    let all: BTreeSet<&Labels> = known.iter().chain(table.rows.keys()).collect();
    let candidates = all.into_iter().filter_map(|labels| {
        let cell = table.rows.get(labels).copied().unwrap_or_default();
        let people = as_number(cell.people) + two_sided_geometric(people_scale, bits);
        let value = as_number(cell.count) + two_sided_geometric(count_scale, bits);
        // `others` and the total must not reveal whether a row outside `known` exists.
        let counts = known.contains(labels) || people >= as_number(k);
        counts.then(|| Candidate { labels: labels.clone(), people, value: Amount { value, margin } })
    });
    let shown = show(candidates.collect(), as_number(k));
    if shown.rows.is_empty() {
        return Shown { suppressed: true, ..Shown::default() };
    }
    shown
}
