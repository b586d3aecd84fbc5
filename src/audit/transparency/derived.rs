//! Tables and ratios that are computed only from published tables, so that they reveal nothing that those do
//! not.

use super::amount::Amount;
use super::figure::{FigureTable, Interval, Ratio, TableForm, Unprinted};
use super::populations;
use super::suppress::Shown;
use super::table::{Labels, Population};
use std::collections::BTreeMap;

/// The one table of a population.
pub(super) fn population_table(population: Population, mut shown: Shown, noise: f64) -> FigureTable {
    let spec = populations::population(population);
    let order = populations::label_order(population);
    let place = |labels: &Labels| order.iter().position(|label| first(labels) == *label);
    if order.is_empty() {
        sort_by_size(&mut shown.rows);
    } else {
        shown.rows.sort_by_key(|(labels, _)| place(labels));
    }
    FigureTable {
        id: spec.id.to_owned(),
        title: spec.title.to_owned(),
        unit: spec.unit,
        dimensions: spec.dimensions.to_vec(),
        shown,
        form: TableForm::Counts,
        derived: false,
        noise,
        unprinted: Unprinted::default(),
    }
}

/// The largest number first.
fn sort_by_size(rows: &mut [(Labels, Amount)]) {
    rows.sort_by(|a, b| b.1.value.total_cmp(&a.1.value).then_with(|| a.0.cmp(&b.0)));
}

/// A table that sums the shown rows of another table, grouped by a single dimension. *Others* is unchanged.
pub(super) fn marginal(base: &FigureTable, dimension: usize, id: &str, title: &str) -> FigureTable {
    let heading = base.dimensions.get(dimension).copied().unwrap_or_default();
    regrouped(base, id, title, heading, |labels| vec![labels.get(dimension).into_iter().cloned().collect()])
}

/// A table that sums the shown rows of another table by groups. A row may be in any number of groups.
pub(super) fn regrouped(
    base: &FigureTable,
    id: &str,
    title: &str,
    dimension: &'static str,
    groups: impl Fn(&Labels) -> Vec<Labels>,
) -> FigureTable {
    let mut sums: BTreeMap<Labels, Amount> = BTreeMap::new();
    for (labels, value) in &base.shown.rows {
        for group in groups(labels) {
            let sum = sums.entry(group).or_default();
            *sum = sum.plus(*value);
        }
    }
    let mut rows: Vec<(Labels, Amount)> = sums.into_iter().collect();
    sort_by_size(&mut rows);
    FigureTable {
        id: id.to_owned(),
        title: title.to_owned(),
        unit: base.unit,
        dimensions: vec![dimension],
        shown: Shown { rows, ..base.shown.clone() },
        form: TableForm::Counts,
        derived: true,
        noise: base.noise,
        unprinted: Unprinted::default(),
    }
}

/// A table of numbers that are not counts of people.
pub(super) fn measured(
    id: &str,
    title: &str,
    form: TableForm,
    dimensions: Vec<&'static str>,
    rows: Vec<(Labels, f64)>,
) -> FigureTable {
    FigureTable {
        id: id.to_owned(),
        title: title.to_owned(),
        unit: "",
        dimensions,
        shown: Shown { rows: rows.into_iter().map(exact).collect(), ..Shown::default() },
        form,
        derived: false,
        noise: 0.0,
        unprinted: Unprinted::default(),
    }
}

fn exact((labels, value): (Labels, f64)) -> (Labels, Amount) {
    (labels, Amount::exact(value))
}

/// The sum of the shown rows for which `is_part` holds, as a share of the total. `None` if all of these rows
/// may be in *others*.
pub(super) fn share(
    id: &'static str,
    title: &str,
    table: &FigureTable,
    is_part: impl Fn(&Labels) -> bool,
) -> Ratio {
    let part = table.shown.sum(is_part);
    let quotient = table.shown.total.and_then(|total| quotient(table, part, total));
    let at_most_one = |value: f64| value.min(1.0);
    Ratio {
        id,
        title: title.to_owned(),
        unit: if table.shown.others.is_some() { "share, at least" } else { "share" },
        value: quotient.map(|(value, _)| at_most_one(value)),
        interval: quotient.and_then(|(_, interval)| interval).map(|interval| interval.map(at_most_one)),
        below_noise: table.shown.total.is_some_and(|total| is_below_noise(part, total)),
    }
}

/// The sum of shown rows over the sum of other shown rows, selected by their first label.
pub(super) fn rate(
    id: &'static str,
    title: &str,
    table: &FigureTable,
    is_part: impl Fn(&str) -> bool,
    is_whole: impl Fn(&str) -> bool,
) -> Ratio {
    let part = table.shown.sum(|labels| is_part(first(labels)));
    let whole = table.shown.sum(|labels| is_whole(first(labels)));
    let quotient = quotient(table, part, whole).filter(|_| !table.shown.suppressed);
    Ratio {
        id,
        title: title.to_owned(),
        unit: if table.shown.others.is_some() { "ratio, of the rows shown" } else { "ratio" },
        value: quotient.map(|(value, _)| value),
        interval: quotient.and_then(|(_, interval)| interval),
        below_noise: is_below_noise(part, whole),
    }
}

fn is_below_noise(part: Amount, whole: Amount) -> bool {
    part.is_below_noise() || whole.is_below_noise()
}

/// Widens a margin that holds in 95 of 100 reports to one that holds in 97.5 of 100. If each of two numbers
/// is within its wider margin in 97.5 of 100 reports, both are in at least 95 of 100.
const WIDER: f64 = 1.24;

/// A quotient and its interval. `None` if the whole is 0, if a number is below its noise, or if all of the
/// part may be in *others*.
fn quotient(table: &FigureTable, part: Amount, whole: Amount) -> Option<(f64, Option<Interval>)> {
    let is_known = table.shown.others.is_none() || part.value > 0.0;
    if whole.value <= 0.0 || !is_known || is_below_noise(part, whole) {
        return None;
    }
    let value = part.value / whole.value;
    let (part_margin, whole_margin) = (part.margin * WIDER, whole.margin * WIDER);
    let interval = (whole.margin > 0.0).then(|| Interval {
        low: ((part.value - part_margin) / (whole.value + whole_margin)).max(0.0),
        // If the whole is hardly above its noise, it sets no upper limit on the quotient.
        high: if whole.value > whole_margin {
            (part.value + part_margin) / (whole.value - whole_margin)
        } else {
            f64::INFINITY
        },
    });
    Some((value, interval))
}

/// The first label of a row.
pub(super) fn first(labels: &Labels) -> &str {
    labels.first().map_or("", String::as_str)
}
