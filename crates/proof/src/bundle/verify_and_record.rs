//! Verifies a bundle, and makes the record of uses from it (see `usage/mod.rs`).

use super::report::{Progress, Report, VerifyFailure};
use super::source::Source;
use super::usage::{Query, Usage, UsageBuilder};
use super::verify::{run, spool_failure};
use crate::checkpoint::VerifierKey;
use crate::context::Options;

/// Verifies a bundle like [`verify`](super::verify()), and records the grants that fit a query, with what
/// they rest on.
///
/// The record needs further temporary files: about 300 bytes for each consent, grant and report of a use, and
/// about 1,000 for each grant in the record. Memory grows by two more bits for each entry. It also holds the
/// events of the data subjects whose grants are being put together: those of about 32,000 entries.
///
/// # Errors
/// As for [`verify`](super::verify()).
pub fn verify_and_record(
    source: Source<'_>,
    key: &VerifierKey,
    options: &Options,
    query: &Query,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Report, Usage), VerifyFailure> {
    let (report, usage) = run(source, key, options, Some(query), progress)?;
    let usage = usage.unwrap_or_else(|| UsageBuilder::new(query, &[], 0));
    usage.finish().map(|usage| (report, usage)).map_err(spool_failure)
}
