//! Tests with bundles that an operator forged with the log's own key, and with a valid log that an earlier
//! verifier took more than a minute to verify. The bundles are not in this repository, but in
//! `shared/data/bundles/` beside it. Without that folder, these tests check nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use sayso_proof::bundle::{self, Options, Report, Source, VerifyFailure};
use sayso_proof::replay::Fault;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The folder with the bundles, if it exists.
fn folder() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join("shared/data/bundles")).find(|folder| folder.is_dir())
}

fn verify(folder: &Path, name: &str, key: &str) -> Result<Report, VerifyFailure> {
    let key = std::fs::read_to_string(folder.join(key)).unwrap();
    let file = std::fs::File::open(folder.join(name)).unwrap();
    let source = Source::Archive(Box::new(std::io::BufReader::new(file)));
    bundle::verify(source, &key.trim().parse().unwrap(), &Options::default(), &mut |_| ())
}

#[test]
fn six_hundred_changes_of_mind_take_no_time() {
    let Some(folder) = folder() else { return };
    let started = Instant::now();
    let report = verify(&folder, "12-600-toggles-by-the-API-64s.key1.tar.zst", "key1.vkey").unwrap();
    // It took more than a minute. The limit leaves room for a debug build on a busy machine.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(report.grants.replayed > 200 && report.grants_hold(), "{:?}", report.grants);
}

#[test]
fn a_grant_after_an_erased_withdrawal_is_not_taken_as_checked() {
    let Some(folder) = folder() else { return };
    let name = "01-withdrawal-erased-then-grant-citing-nothing.tar.zst";
    let report = verify(&folder, name, "log.vkey").unwrap();
    assert!(!report.is_fully_checked(), "{:?}", report.grants);
    // The grant cites an attribute and a consent that had been erased before it.
    let found = report.grants.findings.iter().find(|finding| finding.position == 155);
    assert_eq!(found.map(|finding| finding.fault), Some(Fault::Erased));
}

#[test]
fn a_consent_that_is_dated_ahead_does_not_survive_the_withdrawal_after_it() {
    let Some(folder) = folder() else { return };
    let report = verify(&folder, "03-yes-dated-ahead-survives-withdrawal.tar.zst", "log.vkey").unwrap();
    let of_grant = report.grants.findings.iter().find(|finding| !finding.grant.is_empty());
    assert_eq!(of_grant.map(|finding| (finding.position, finding.fault)), Some((155, Fault::Refused)));
    assert_eq!(report.grants.misdated, 2);
}
