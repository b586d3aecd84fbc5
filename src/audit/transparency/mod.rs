//! The transparency report: figures on the benefits and risks of personalization (Kirk, Vidgen, Röttger, Hale
//! 2024). The figures are about many people together, and are made to reveal nothing about a single person
//! (docs/transparency-report.md says which risks remain).
//!
//! Data subjects are counted one after the other ([`SubjectCounter`], [`SubjectCounts`], [`Tally`]).
//! Memory holds one subject's history, the rows of the tables, and a limited number of counters. Each of
//! these counts the people with one inferred value. [`suppress()`] and [`noise`] decide from a table's
//! counts which of its rows may be shown. Sums and ratios of a table are computed only from what the table
//! shows.
//!
//! The record of processing activities ([`record()`]) is here too, because its page has the same style
//! sheet as the page of the report.

mod amount;
mod catalog;
mod chart;
mod derived;
mod figure;
mod figures;
mod labels;
mod number_format;
mod page;
mod populations;
mod record;
mod record_page;
mod requests;
mod subject_counter;
mod subject_counts;
mod summary;
mod suppress;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod values;

pub mod noise;

pub use amount::Amount;
pub use catalog::{FIGURES, FigureSpec, figure};
pub use figure::{Figure, FigureTable, Interval, Ratio, Report, Status, SummaryLine, TableForm, Unprinted};
pub use figures::{FigureInput, Noise, figures};
pub use page::page;
pub use record::{
    Declared, Processing, ProcessingCategory, ProcessingPurpose, ProcessingRecipient, Recipients,
    RetentionLimit, record,
};
pub use record_page::page as record_page;
pub use subject_counter::{SubjectCounter, Window};
pub use subject_counts::SubjectCounts;
pub use summary::summary;
pub use suppress::{Shown, suppress};
pub use table::{Cell, Counts, Population, Table};
pub use tally::{Contributions, Tally, Totals};
