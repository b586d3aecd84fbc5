//! The verdict of `sayso verify` on a bundle: in words, and as the error with which the command ends.

use super::error::CliError;
use super::output::count;
use super::verify_report::{Checked, Outcome};
use sayso_proof::bundle::{FailureKind, Report};

/// The text of the verdict if a revocation is late: it was announced long ago, and is still not recorded.
pub(super) const LATE_REVOCATIONS: &str =
    "revocations that were announced more than an hour ago are not recorded";

/// The verdict in words on a bundle without failures. It can have findings, or parts that could not be
/// checked.
pub(super) fn words_of(report: &Report) -> &'static str {
    match (report.grants_hold(), report.is_fully_checked() && report.is_map_recent()) {
        (true, true) => "verified",
        (true, false) => "the log is intact, but not all of it could be checked in full",
        (false, _) => "the log is complete, but not all of it is justified",
    }
}

/// The verdict in a sentence, for the top of a report.
pub(super) fn headline(outcome: &Outcome<'_>, error: Option<&CliError>) -> String {
    let begin = match outcome {
        Outcome::Failed(failure) if failure.kind != FailureKind::Broken => "Not verified",
        Outcome::Failed(_) => "The bundle does not verify",
        Outcome::Checked(Checked { report, .. }) => match words_of(report) {
            "verified" => "Verified: nothing was found that contradicts the log",
            words => words,
        },
    };
    let mut text = begin.replacen("the log", "The log", usize::from(begin.starts_with("the log")));
    if let Some(error) = error {
        text.push_str(&format!(": {}", error.message()));
    }
    text
}

/// The error for a bundle that has findings, or grants that could not be checked in full.
pub(super) fn verdict_of(report: &Report) -> Result<(), CliError> {
    if !report.grants_hold() {
        return Err(CliError::unverified(contradictions(report)));
    }
    if report.is_fully_checked() && report.is_map_recent() {
        return Ok(());
    }
    let grants = &report.grants;
    let number = grants.unchecked.saturating_add(grants.revocations_unchecked);
    let mut parts = Vec::new();
    if number > 0 {
        parts.push(format!("{} not checked in full", count(number, "grant")));
    }
    if grants.reports_unchecked > 0 {
        parts.push(format!("{} on grants that are missing", count(grants.reports_unchecked, "report")));
    }
    if report.has_late_revocations() {
        parts.push(LATE_REVOCATIONS.to_owned());
    }
    if report.rules.bounds_unknown > 0 {
        let unknown = count(report.rules.bounds_unknown, "version");
        parts.push(format!("{unknown} of unsigned bounds that this build does not know"));
    }
    let mut next = "verify an export that was made before the erasure";
    if report.withheld > 0 {
        let sealed = count(report.withheld, "sealed entry");
        parts.push(format!("{sealed} without a key, each of which may be a grant or a withdrawal"));
        next = "verify an export that was made without --sealed";
    }
    if let Some(given) = report.given_subjects.as_ref().filter(|given| given.unchecked > 0) {
        let proofs = count(given.unchecked, "subject proof");
        parts.push(format!("{proofs} of commitments that cannot be checked after an erasure"));
        next = "verify subject proofs of the newest commitment, or an export from before the erasure";
    }
    if !report.is_map_recent() {
        let reason = "entries of people that were not in a committed subject map for more than 10 minutes";
        parts.push(reason.to_owned());
        next = "verify a new export: the log commits to its subject map before each export";
    }
    Err(CliError::unchecked(parts.join("; ")).next(next))
}

/// What contradicts the log.
fn contradictions(report: &Report) -> String {
    let grants = &report.grants;
    let mut text = format!("{} that should not have been issued", count(grants.unjustified, "grant"));
    if grants.rule_faults > 0 {
        let faults = count(grants.rule_faults, "fault");
        text.push_str(&format!("; {faults} of bounds, definitions or notices"));
    }
    if grants.misdated > 0 {
        let entries = count(grants.misdated, "entry");
        text.push_str(&format!("; {entries} with a time that does not fit those before"));
    }
    if grants.other_faults > 0 {
        let others = count(grants.other_faults, "other entry");
        text.push_str(&format!("; {others} that contradict the log"));
    }
    text
}
