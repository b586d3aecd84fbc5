//! The part of `sayso verify` that compares a bundle with earlier bundles of the same log (`--earlier`).

use super::error::CliError;
use super::output::count;
use super::progress;
use sayso_proof::bundle::{Earlier, EarlierReport, Source, VerifyFailure, read_earlier};
use sayso_proof::checkpoint::VerifierKey;
use std::path::{Path, PathBuf};

/// Reads and verifies the earlier bundles.
pub(super) fn read(paths: &[PathBuf], key: &VerifierKey) -> Result<Vec<Earlier>, CliError> {
    paths.iter().map(|path| read_one(path, key)).collect()
}

fn read_one(path: &Path, key: &VerifierKey) -> Result<Earlier, CliError> {
    let cant_open = |error| CliError::failed(format!("--earlier: {}: {error}", path.display()));
    let source = Source::open(path).map_err(cant_open)?;
    let bar = progress::entries(0, "reading the earlier bundle");
    let read = read_earlier(source, key, &mut |done| progress::verification(&bar, done));
    bar.finish_and_clear();
    let named = |failure: VerifyFailure| {
        let place = format!("--earlier {}: {}", path.display(), failure.place);
        CliError::bundle(VerifyFailure { place, ..failure })
    };
    read.map_err(named)
}

/// What the comparisons show: for each earlier bundle a line, and a second line if the earlier bundle
/// itself has findings.
pub(super) fn text(reports: &[EarlierReport]) -> String {
    reports.iter().map(line).collect()
}

fn line(report: &EarlierReport) -> String {
    let EarlierReport { tree_size, erased_since, not_stated, not_known, findings } = *report;
    let entries = count(tree_size, "entry");
    let mut text = format!("\ncontinues the earlier bundle of {entries}; erased since: {erased_since}");
    if not_stated > 0 {
        text.push_str(&format!("; no erasure states what {not_stated} of these had been"));
    }
    if not_known > 0 {
        text.push_str(&format!("; sealed in the earlier bundle: {not_known} of these"));
    }
    if findings > 0 {
        let findings = count(findings, "finding");
        text.push_str(&format!("\nthe earlier bundle has {findings} of its own: verify it by itself"));
    }
    text
}
