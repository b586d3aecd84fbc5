//! The transparency report: what a ledger can measure of personalisation's benefits and risks (Kirk, Vidgen, Röttger,
//! Hale 2024), over people, without telling of any of them.
//!
//! People are counted one after the other ([`SubjectCounter`] → [`SubjectCounts`] → [`Tally`]), in memory that holds one person's
//! history, the rows of the tables and bounded counters. What may be shown follows from the tables alone ([`suppress`],
//! [`noise`]); figures are made of what is shown, and of nothing else.

mod catalogue;
mod chart;
mod figures;
mod labels;
mod page;
mod record;
mod record_page;
mod requests;
mod subject_counts;
mod suppress;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod values;

pub mod noise;

pub use catalogue::{FIGURES, Spec, spec};
pub use figures::{Figure, FigureTable, Making, Noise, Ratio, Report, Status, figures};
pub use labels::RELEASE_BUCKETS;
pub use page::page;
pub use record::{Declared, Processing, ProcessingRecipient, Recipients, RetentionLimit, record};
pub use record_page::page as record_page;
pub use subject_counts::{SubjectCounter, SubjectCounts, Window};
pub use suppress::{Shown, suppress};
pub use table::{Base, Cell, Counts, Table};
pub use tally::{Tally, Totals};
