//! A report and its figures, as they are published.

use super::amount::Amount;
use super::catalog::FigureSpec;
use super::suppress::Shown;

/// Whether a figure is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is available.
    Available,
    /// The log does not have the data, or the figure can't be shown with noise.
    NotAvailable,
    /// No ledger can observe it.
    NotObservable,
}

/// How a table is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableForm {
    /// Counts as bars, relative to the largest one.
    Counts,
    /// Values from 0 to 1 as bars, relative to 1.
    Fractions,
    /// Labels without numbers.
    List,
}

/// A table of a figure.
#[derive(Clone, Debug, PartialEq)]
pub struct FigureTable {
    /// Stable id.
    pub id: String,
    /// Title for readers.
    pub title: String,
    /// What each number counts.
    pub unit: &'static str,
    /// Headings of the labels.
    pub dimensions: Vec<&'static str>,
    /// The rows that may be shown.
    pub shown: Shown,
    /// How the page draws it.
    pub form: TableForm,
    /// Whether it is computed from the published numbers of another table.
    pub derived: bool,
    /// Standard deviation of the noise on each number that is not a sum; 0 without noise.
    pub noise: f64,
    /// The numbers that are not printed because they are no larger than their noise.
    pub unprinted: Unprinted,
}

/// The numbers of a table that are not printed because they are no larger than their noise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Unprinted {
    /// How many rows.
    pub rows: u32,
    /// The margin of *others*, if it is not printed.
    pub others: Option<f64>,
    /// The margin of the total, if it is not printed.
    pub total: Option<f64>,
}

impl FigureTable {
    /// Removes every number that is no larger than its noise.
    pub(super) fn without_noise_only(mut self) -> Self {
        let count = self.shown.rows.len();
        self.shown.rows.retain(|(_, value)| !value.is_below_noise());
        self.unprinted.rows = u32::try_from(count.saturating_sub(self.shown.rows.len())).unwrap_or(u32::MAX);
        self.unprinted.others = remove_noise_only(&mut self.shown.others);
        self.unprinted.total = remove_noise_only(&mut self.shown.total);
        self.shown.rows.iter_mut().for_each(|(_, value)| *value = value.with_whole_margin());
        self
    }
}

/// Removes a number that is no larger than its noise. Returns its margin.
fn remove_noise_only(number: &mut Option<Amount>) -> Option<f64> {
    *number = number.map(Amount::with_whole_margin);
    number.take_if(|amount| amount.is_below_noise()).map(|amount| amount.margin)
}

/// The interval in which a ratio without noise is, in at least 95 of 100 reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end; infinite if the noise sets none.
    pub high: f64,
}

impl Interval {
    pub(super) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        Self { low: change(self.low), high: change(self.high) }
    }
}

/// A number computed from published numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// Stable id.
    pub id: &'static str,
    /// Title for readers.
    pub title: String,
    /// Unit of the number.
    pub unit: &'static str,
    /// The number; `None` if a number that it needs is not shown.
    pub value: Option<f64>,
    /// Its interval, if it is computed from numbers with noise.
    pub interval: Option<Interval>,
    /// Whether it has no value because a number that it needs is no larger than its noise.
    pub below_noise: bool,
}

impl Ratio {
    /// A number without noise.
    pub(super) fn exact(id: &'static str, title: String, unit: &'static str, value: f64) -> Self {
        Self { id, title, unit, value: Some(value), interval: None, below_noise: false }
    }

    /// Whether it is printed as a percentage.
    pub(super) fn is_percentage(&self) -> bool {
        self.unit.starts_with("share") || self.unit.starts_with("ratio")
    }
}

/// A figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its definition.
    pub spec: &'static FigureSpec,
    /// Whether it is available.
    pub status: Status,
    /// What is missing; empty if nothing is.
    pub missing: String,
    /// Its tables.
    pub tables: Vec<FigureTable>,
    /// Its ratios.
    pub ratios: Vec<Ratio>,
}

/// A line of the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryLine {
    /// The id of the figure that the number is from; empty if the line is about several figures.
    pub figure: &'static str,
    /// What the number is, or why numbers are not shown.
    pub title: String,
    /// The number with its interval and unit. If the title says that numbers are not shown, this text
    /// lists them.
    pub text: String,
}

/// A transparency report.
#[derive(Clone, Debug)]
pub struct Report {
    /// Origin of the log.
    pub origin: String,
    /// Start of the period, milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// End of the period, which is not part of it, milliseconds since the Unix epoch.
    pub to_ms: u64,
    /// When the report was made, milliseconds since the Unix epoch.
    pub generated_at_ms: u64,
    /// Groups of fewer people are not shown.
    pub k: u64,
    /// Privacy budget spent by this report; 0 without noise.
    pub epsilon: f64,
    /// Privacy budget spent on overlapping periods, with this report.
    pub epsilon_spent: f64,
    /// The privacy budget.
    pub epsilon_max: f64,
    /// Number of log entries that the figures were made from.
    pub tree_size: u64,
    /// Number of earlier reports of other periods that overlap with this one.
    pub overlapping: u32,
    /// Position of the event that records this report.
    pub position: u64,
    /// The most important numbers, in the order of the figures, and what is not shown.
    pub summary: Vec<SummaryLine>,
    /// The figures.
    pub figures: Vec<Figure>,
}
