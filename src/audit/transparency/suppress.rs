//! Decides which rows of a report's table may be shown. No group of fewer than k people (k is the smallest
//! group that the report may show) is shown, or can be computed from the rows that are shown.
//!
//! Rows of fewer than k people are summed in *others*, together with the smallest row of at least k people.
//! So *others* has at least two rows and at least k people. Anyone could compute its sum from the total, but
//! the sum reveals none of its rows. If no row of at least k people is left, only the total is shown. A table
//! of fewer than k people shows nothing, unless it is empty: then its total is 0.

use super::amount::{Amount, sum};
use super::table::{Labels, Table};

/// The part of a table that may be shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// Rows of at least k people, in the order of the table.
    pub rows: Vec<(Labels, Amount)>,
    /// The sum of the other rows; `None` if there are none.
    pub others: Option<Amount>,
    /// The sum of all rows; `None` if nothing is shown.
    pub total: Option<Amount>,
    /// Whether nothing is shown because the table has fewer than k people.
    pub suppressed: bool,
}

impl Shown {
    /// The sum of the shown rows for which `is_part` holds.
    pub fn sum(&self, is_part: impl Fn(&Labels) -> bool) -> Amount {
        sum(self.rows.iter().filter(|(labels, _)| is_part(labels)).map(|(_, value)| *value))
    }
}

/// A row that may be shown: its value, and the number of people in it, both perhaps with noise.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub labels: Labels,
    pub people: f64,
    pub value: Amount,
}

/// Returns the part of a table that may be shown.
#[must_use]
pub fn suppress(table: &Table, k: u64) -> Shown {
    if table.total.people == 0 {
        return Shown { total: Some(Amount::default()), ..Shown::default() };
    }
    if table.total.people < k {
        return Shown { suppressed: true, ..Shown::default() };
    }
    let candidates = table.rows.iter().map(|(labels, cell)| Candidate {
        labels: labels.clone(),
        people: as_number(cell.people),
        value: Amount::exact(as_number(cell.count)),
    });
    show(candidates.collect(), as_number(k))
}

/// Divides rows into shown rows and *others*.
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
        Some(at) => others = others.plus(large.remove(at).value),
        None => large.clear(),
    }
    let rows = large.into_iter().map(|row| (row.labels, row.value)).collect();
    Shown { rows, others: Some(others), total: Some(total), suppressed: false }
}

/// A count as a floating-point number, exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn as_number(count: u64) -> f64 {
    count as f64
}
