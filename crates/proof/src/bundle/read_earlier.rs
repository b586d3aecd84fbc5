//! Reads an earlier export of a log, so that a later one can be compared with it.

use super::earlier::Earlier;
use super::report::{Progress, VerifyFailure};
use super::source::Source;
use super::verify::{recording::run_recording, spool_failure};
use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::merkle::Hash;
use crate::replay::Replayed;

/// Reads and verifies an earlier export. `key` is a key of the log that will be compared with it; the export
/// may be from before the log had this key.
///
/// Memory does not grow with the export. Temporary files take up to 90 bytes for each entry, in addition to
/// those of [`verify`](super::verify()).
///
/// # Errors
/// The export does not verify, or it is of another log.
pub fn read_earlier(
    source: Source<'_>,
    key: &VerifierKey,
    progress: &mut dyn FnMut(Progress),
) -> Result<Earlier, VerifyFailure> {
    let (report, recorder, keys) = run_recording(source, key, progress)?;
    let Replayed { unjustified, rule_faults, misdated, other_faults, .. } = report.grants;
    let findings = unjustified + rule_faults + misdated + other_faults;
    let root = hex::decode(&report.root).ok().and_then(|root| Hash::try_from(root).ok()).unwrap_or_default();
    let checkpoint = Checkpoint { origin: report.origin, size: report.tree_size, root };
    recorder.finish(keys, checkpoint, findings).map_err(spool_failure)
}
