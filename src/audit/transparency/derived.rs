//! Tables and ratios computed from published tables, so that they reveal nothing more.

use super::catalog;
use super::figure::{FigureTable, Ratio, TableForm};
use super::suppress::Shown;
use super::table::{Labels, Population};
use std::collections::BTreeMap;

/// The one table of a population.
pub(super) fn population_table(population: Population, mut shown: Shown, noise: f64) -> FigureTable {
    let spec = catalog::population(population);
    let order = catalog::label_order(population);
    let place = |labels: &Labels| order.iter().position(|label| first(labels) == *label);
    if order.is_empty() {
        shown.rows.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
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
    }
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
    let mut sums: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, value) in &base.shown.rows {
        for group in groups(labels) {
            *sums.entry(group).or_default() += value;
        }
    }
    let mut rows: Vec<(Labels, f64)> = sums.into_iter().collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    FigureTable {
        id: id.to_owned(),
        title: title.to_owned(),
        unit: base.unit,
        dimensions: vec![dimension],
        shown: Shown { rows, ..base.shown.clone() },
        form: TableForm::Counts,
        derived: true,
        noise: base.noise,
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
        shown: Shown { rows, ..Shown::default() },
        form,
        derived: false,
        noise: 0.0,
    }
}

/// The sum of the shown rows for which `is_part` holds, as a share of the total. `None` if all of these rows
/// may be in *others*.
pub(super) fn share(
    id: &'static str,
    title: &str,
    table: &FigureTable,
    is_part: impl Fn(&Labels) -> bool,
) -> Ratio {
    let total = table.shown.total.filter(|total| *total > 0.0);
    let part = table.shown.sum(is_part);
    let is_known = table.shown.others.is_none() || part > 0.0;
    Ratio {
        id,
        title: title.to_owned(),
        unit: if table.shown.others.is_some() { "share, at least" } else { "share" },
        value: total.filter(|_| is_known).map(|total| part / total),
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
    let is_known = table.shown.others.is_none() || part > 0.0;
    Ratio {
        id,
        title: title.to_owned(),
        unit: if table.shown.others.is_some() { "ratio, of the rows shown" } else { "ratio" },
        value: (whole > 0.0 && is_known && !table.shown.suppressed).then(|| part / whole),
    }
}

/// The first label of a row.
pub(super) fn first(labels: &Labels) -> &str {
    labels.first().map_or("", String::as_str)
}
