//! Noise with a stated budget: the two-sided geometric mechanism (discrete Laplace; Ghosh, Roughgarden, Sundararajan
//! 2009) on person-level contributions that are bounded first (Dwork and Roth 2014, s. 3.3).
//!
//! Whatever one person adds to or takes from a table is at most [`Bound::rows`] rows of at most [`Bound::each`], so
//! the table's counts move by at most their product (the L1 sensitivity), and its numbers of people by at most
//! `rows`. Half of a table's budget goes to each. Budgets of tables add up (sequential composition).

use super::suppress::{Candidate, Shown, as_number, show};
use super::table::{Labels, Table};
use std::collections::BTreeSet;

/// How much one person may put into one table of a report with noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Rows that one person is counted in: those with most, first.
    pub rows: usize,
    /// Count in each.
    pub each: u64,
}

/// A person's counts within the bound.
#[must_use]
pub fn bounded<'a>(counts: &[(&'a Labels, u64)], bound: Bound) -> Vec<(&'a Labels, u64)> {
    let mut kept: Vec<(&Labels, u64)> = counts.iter().copied().filter(|(_, count)| *count > 0).collect();
    kept.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    kept.truncate(bound.rows);
    kept.into_iter().map(|(labels, count)| (labels, count.min(bound.each))).collect()
}

/// Where noise comes from: 64 unpredictable bits at a time.
pub trait Bits {
    /// The next 64 bits.
    fn bits(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Bits for F {
    fn bits(&mut self) -> u64 {
        self()
    }
}

/// A draw of the geometric distribution on 0, 1, …, where P(n) is in proportion to exp(-n / scale).
fn geometric(scale: f64, bits: &mut dyn Bits) -> f64 {
    // In (0, 1], 53 bits fine: what lies beyond has a chance of less than 2^-52.
    let uniform = as_number((bits.bits() >> 11).saturating_add(1)) / as_number(1 << 53);
    (-uniform.ln() * scale).floor()
}

/// A draw of the two-sided geometric distribution with P(n) in proportion to exp(-|n| / scale): the difference of two
/// one-sided ones. Symmetric about 0, and of whole numbers.
pub fn two_sided_geometric(scale: f64, bits: &mut dyn Bits) -> f64 {
    geometric(scale, bits) - geometric(scale, bits)
}

/// Standard deviation of [`two_sided_geometric`].
#[must_use]
pub fn deviation(scale: f64) -> f64 {
    let ratio = (-1.0 / scale).exp();
    (2.0 * ratio).sqrt() / (1.0 - ratio)
}

/// The scale of the noise on counts, and on numbers of people.
#[must_use]
pub fn scales(bound: Bound, epsilon: f64) -> (f64, f64) {
    let rows = as_number(bound.rows as u64);
    let half = epsilon / 2.0;
    (rows * as_number(bound.each) / half, rows / half)
}

/// The table with noise, and only then without its small groups: which rows are shown follows from noised numbers, too.
/// `known` are the rows that anybody can name without having seen the data; each gets noise, be there anybody or not.
pub fn show_noised(
    table: &Table,
    known: &BTreeSet<Labels>,
    bound: Bound,
    epsilon: f64,
    k: u64,
    bits: &mut dyn Bits,
) -> Shown {
    let (count_scale, people_scale) = scales(bound, epsilon);
    let all: BTreeSet<&Labels> = known.iter().chain(table.rows.keys()).collect();
    let candidates = all.into_iter().map(|labels| {
        let cell = table.rows.get(labels).copied().unwrap_or_default();
        let people = as_number(cell.people) + two_sided_geometric(people_scale, bits);
        let value = as_number(cell.count) + two_sided_geometric(count_scale, bits);
        Candidate { labels: labels.clone(), people, value }
    });
    let shown = show(candidates.collect(), as_number(k));
    if shown.rows.is_empty() && shown.others.is_some() {
        return Shown { suppressed: true, ..Shown::default() };
    }
    shown
}
