//! A report and its figures, as they are published.

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
    /// Standard deviation of the noise on each number; 0 without noise.
    pub noise: f64,
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
    /// The figures.
    pub figures: Vec<Figure>,
}
