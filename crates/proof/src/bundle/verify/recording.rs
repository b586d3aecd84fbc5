//! Compares a bundle with earlier exports and with timestamps, and notes what an earlier export shows.

use super::{Verified, Verifier, spool_failure};
use crate::bundle::check::CheckedEntry;
use crate::bundle::earlier::Recorder;
use crate::bundle::rejection::Rejection;
use crate::bundle::report::{Progress, Report, VerifyFailure};
use crate::bundle::source::Source;
use crate::bundle::spool;
use crate::checkpoint::VerifierKey;
use crate::context::Options;
use crate::keys::KeyChain;
use crate::replay::{Fault, Replayed};

/// Verifies an earlier export of the log that has `key`, and notes what its entries are.
pub(in crate::bundle) fn run_recording(
    source: Source<'_>,
    key: &VerifierKey,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Report, Recorder, KeyChain), VerifyFailure> {
    let options = Options::default();
    let mut verifier = Verifier::new(key, &options, progress);
    // The log may have got its key after the export. The keys are compared later.
    verifier.trusted = None;
    verifier.records_entries = true;
    let Verified { report, keys, recorder, .. } = verifier.run(source)?;
    let recorder = recorder.unwrap_or_else(|| Recorder::new(0));
    Ok((report, recorder, keys.as_ref().clone()))
}

impl Verifier<'_> {
    /// Compares the next entry with earlier exports, or notes what it is.
    pub(super) fn compare_and_record(&mut self, checked: &CheckedEntry) -> Result<(), Rejection> {
        if self.is_root_wrong {
            return Ok(());
        }
        let failed = |error| spool::failed(&error);
        if self.records_entries {
            let new = || Recorder::new(self.checkpoint.size);
            self.recorder.get_or_insert_with(new).add(checked).map_err(failed)?;
        }
        self.earlier.iter_mut().try_for_each(|comparison| comparison.add(checked)).map_err(failed)
    }

    /// Adds what the comparisons with timestamps and earlier exports found, after the last entry.
    pub(super) fn finish_comparisons(&mut self) -> Result<(), VerifyFailure> {
        let of_timestamps = self.time_bounds.take_found();
        self.add_faults(of_timestamps);
        for comparison in std::mem::take(&mut self.earlier) {
            let compared = comparison.finish().map_err(spool_failure)?;
            if let Some(fork) = compared.fork {
                return Err(fork);
            }
            self.add_faults(compared.faults);
            self.report.earlier.push(compared.report);
        }
        Ok(())
    }

    fn add_faults(&mut self, faults: Vec<(u64, Fault)>) {
        let mut found = Replayed::default();
        faults.into_iter().for_each(|(position, fault)| found.add_fault_at(position, fault));
        self.usage.iter_mut().for_each(|usage| usage.flags.add(&found.flags));
        found.flags.clear();
        self.report.grants.merge(found);
    }
}
