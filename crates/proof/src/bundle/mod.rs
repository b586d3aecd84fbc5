//! Audit bundles: a whole log in one file (`.tar.zst`) or folder that anyone can verify without its daemon.
//!
//! `docs/format.md` specifies the bytes. [`BundleWriter`] writes a bundle, [`verify`] checks one.

mod allowance;
mod chain;
mod check;
mod earlier;
mod entry_line;
mod erased;
mod event_ids;
mod files;
mod gap_lookups;
mod given_subjects;
mod leaf_hashes;
mod left_out;
mod manifest;
mod member;
mod read_earlier;
mod rejection;
mod report;
mod sealed_form;
mod source;
mod spool;
mod statements;
mod subject_map;
mod subjects;
mod tar_form;
#[cfg(test)]
mod tests;
mod time_bounds;
mod timestamps;
mod trailer;
pub mod usage;
mod verify;
mod verify_and_record;
mod whole_erasures;
mod writer;

pub use crate::context::Options;
pub use earlier::Earlier;
pub use entry_line::{EntryLine, LineError};
pub use given_subjects::GivenReport;
pub use left_out::LeftOut;
pub use member::{ENTRIES_FILE_BYTES_MAX, MEMBER_BYTES_MAX, Member};
pub use read_earlier::read_earlier;
pub use rejection::{EDITION_MAX, FailureKind};
pub use report::{EarlierReport, MAP_AGE_MS_MAX, MapReport, Progress, Report, VerifyFailure};
pub use source::{Source, unpack};
pub use subject_map::MapRecord;
pub use timestamps::TIMESTAMPS_MAX;
pub use trailer::TRAILER_BYTES;
pub use verify::verify;
pub use verify_and_record::verify_and_record;
pub use writer::{BundleError, BundleWriter};
