//! What `sayso verify` prints about a bundle whose checks passed.

use super::output::{count, people};
use super::verify_completeness;
use super::verify_context;
use super::verify_earlier;
use super::verify_rules;
use super::verify_verdict::{LATE_REVOCATIONS, words_of};
use crate::domain::wording;
use sayso_proof::bundle::Report;
use sayso_proof::replay::Replayed;

/// The result of a verification, for people.
pub(super) fn text_of(report: &Report) -> String {
    let mut text = format!(
        "{}: {} of {} ({} opened, {} without a subject, {} sealed, {} erased), {}\n\
         {} verified, root {}\n{} replayed",
        words_of(report),
        count(report.tree_size, "entry"),
        report.origin,
        report.opened,
        report.plain,
        report.withheld,
        report.erased,
        people(report.subjects),
        count(report.signatures, "signature"),
        report.root,
        count(report.grants.replayed.saturating_add(report.grants.unchecked), "grant"),
    );
    if let Some(size) = report.continues {
        text.push_str(&format!("\ncontinues the earlier checkpoint of {}", count(size, "entry")));
    }
    text.push_str(&verify_earlier::text(&report.earlier));
    if let Some(size) = report.counts {
        let first = count(size, "entry");
        text.push_str(&format!("\nthe counts of rules and erasures are those of the first {first}"));
    }
    if report.key_rotations > 0 {
        text.push_str(&format!(
            "\nthe log changed its key {}, signed by both keys each time",
            count(report.key_rotations, "time")
        ));
    }
    if !report.witnesses.is_empty() {
        text.push_str(&format!("\ncosigned by {}", verify_context::cosigners(&report.witnesses)));
    }
    if !report.stated_only.is_empty() {
        let files = report.stated_only.join(", ");
        text.push_str(&format!("\nstated by the operator, and not compared with the log: {files}"));
    }
    for stamped in &report.timestamps {
        let (first, at) = (count(stamped.tree_size, "entry"), wording::time(stamped.at_ms));
        text.push_str(&format!("\ntimestamp of the first {first}: {at}, by {}", stamped.authority));
    }
    if report.timestamps_untrusted > 0 {
        let others = count(report.timestamps_untrusted, "timestamp");
        text.push_str(&format!("\n{others} not checked, because --tsa-cert names no such authority"));
    }
    text.push_str(&verify_rules::text(&report.rules));
    text.push_str(&pending_text(&report.grants));
    text.push_str(&verify_completeness::text(report));
    for finding in &report.grants.findings {
        text.push_str(&format!("\n{finding}"));
    }
    text.push_str(&unchecked_text(&report.grants));
    if report.has_late_revocations() {
        text.push_str(&format!("\n{LATE_REVOCATIONS}"));
    }
    text
}

/// The revocations that are announced and still to be recorded.
fn pending_text(grants: &Replayed) -> String {
    if grants.revocations_pending == 0 {
        return String::new();
    }
    let mut text =
        format!("\n{} in effect and still to be recorded", count(grants.revocations_pending, "revocation"));
    for pending in &grants.pending_grants {
        text.push_str(&format!(
            "\nposition {}, grant `{}`: not yet revoked",
            pending.position, pending.grant
        ));
    }
    text
}

/// What could not be checked in full.
fn unchecked_text(grants: &Replayed) -> String {
    let mut text = String::new();
    if grants.unchecked > 0 {
        text.push_str(&format!("\n{} not checked in full", count(grants.unchecked, "grant")));
    }
    if grants.revocations_unchecked > 0 {
        let unchecked = count(grants.revocations_unchecked, "grant");
        text.push_str(&format!("\n{unchecked} not checked for a missing revocation"));
    }
    if grants.reports_unchecked > 0 {
        let reports = count(grants.reports_unchecked, "report");
        text.push_str(&format!("\n{reports} not checked, because the grant is missing"));
    }
    for unchecked in &grants.unchecked_grants {
        text.push_str(&format!("\n{unchecked}"));
    }
    text
}
