//! What of a table may be shown: no group of fewer than k people, and none that the rest would give away.
//!
//! Rows of fewer than k people go into *others*, together with the smallest row of at least k people. So *others* is
//! made of at least two rows and of at least k people, and its sum (which anybody could compute from the total) tells
//! none of its rows. Where no such row is left, nothing but the total is shown; where fewer than k people are in the
//! whole table, nothing is.

use super::table::{Labels, Table};

/// A table as it is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Rows of at least k people, in the table's order.
    pub rows: Vec<(Labels, f64)>,
    /// What the rest sums up to; absent where there is no rest.
    pub others: Option<f64>,
    /// Everything; absent where nothing is shown.
    pub total: Option<f64>,
    /// Fewer than k people are in it.
    pub suppressed: bool,
}

impl Shown {
    /// The sum of the rows that hold for `which`.
    pub fn sum(&self, which: impl Fn(&Labels) -> bool) -> f64 {
        sum(self.rows.iter().filter(|(labels, _)| which(labels)).map(|(_, value)| *value))
    }
}

/// A row before it is decided about: its number, and how many people are in it, so far as that is known.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub labels: Labels,
    pub people: f64,
    pub value: f64,
}

/// The table as it may be shown.
#[must_use]
pub fn suppress(table: &Table, k: u64) -> Shown {
    if table.total.people == 0 {
        return Shown { total: Some(0.0), ..Shown::default() };
    }
    if table.total.people < k {
        return Shown { suppressed: true, ..Shown::default() };
    }
    let candidates = table.rows.iter().map(|(labels, cell)| Candidate {
        labels: labels.clone(),
        people: as_number(cell.people),
        value: as_number(cell.count),
    });
    show(candidates.collect(), as_number(k))
}

/// Of nothing it is 0 and not -0, which is what the standard library's sum begins with.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, value| sum + value)
}

/// Divides rows into those that are shown and *others*.
pub(super) fn show(candidates: Vec<Candidate>, k: f64) -> Shown {
    let total = sum(candidates.iter().map(|row| row.value));
    let (mut large, small): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|row| row.people >= k);
    if small.is_empty() {
        let rows = large.into_iter().map(|row| (row.labels, row.value)).collect();
        return Shown { rows, others: None, total: Some(total), suppressed: false };
    }
    let mut others = sum(small.iter().map(|row| row.value));
    let smallest = large.iter().enumerate().min_by(|(_, a), (_, b)| a.people.total_cmp(&b.people));
    match smallest.map(|(at, _)| at) {
        Some(at) => others += large.remove(at).value,
        None => large.clear(),
    }
    let rows = large.into_iter().map(|row| (row.labels, row.value)).collect();
    Shown { rows, others: Some(others), total: Some(total), suppressed: false }
}

/// Counts as numbers to be shown: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn as_number(count: u64) -> f64 {
    count as f64
}
