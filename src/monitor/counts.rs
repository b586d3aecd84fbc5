//! Follows the log's signed counts of events about rules and of erasures. The tiles show by how many entries
//! the log grows, but not what kind of entries these are.

use super::alert::{Alert, AlertKind};
use super::findings::{Check, Limits};
use super::state::Kept;
use super::tiles::{Get, Unproven, compare};
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::counts::Counts;
use sayso_proof::keys::KeyChain;

/// What is compared with the shown counts.
pub(super) struct Newest<'a> {
    /// The log's keys.
    pub keys: &'a KeyChain,
    /// The checkpoint that the log showed, which continues the kept one.
    pub checkpoint: &'a Checkpoint,
    /// Its note.
    pub note: &'a str,
}

/// Compares the counts that the log shows with its checkpoint and with the kept counts. Keeps the newer
/// ones. `shown` is `None` if the log serves no counts.
pub(super) async fn compare_counts(
    get: &Get,
    limits: &Limits,
    kept: &mut Kept,
    newest: &Newest<'_>,
    shown: Option<String>,
    check: &mut Check,
) -> Result<(), Alert> {
    let is_needed = limits.rules_growth_max.or(limits.erasures_growth_max).is_some();
    let Some(note) = shown else {
        let message = "the log does not serve its counts of rules and erasures";
        let is_missing = is_needed || kept.counts.is_some();
        return if is_missing { Err(Alert::new(AlertKind::Unreachable, message)) } else { Ok(()) };
    };
    let unsigned = |error| Alert::new(AlertKind::Unsigned, format!("the counts: {error}"));
    let counts = Counts::open(&note, newest.keys).map_err(unsigned)?;
    if let Err(unproven) = compare_trees(get, newest.checkpoint, &counts.tree).await {
        return Err(judge(unproven, &counts, (newest.note, &note), check));
    }
    let before = kept.counts().map_err(unsigned)?;
    let Some((kept_note, before)) = kept.counts.clone().zip(before) else {
        kept.counts = Some(note);
        return Ok(());
    };
    if let Err(unproven) = compare_trees(get, &before.tree, &counts.tree).await {
        return Err(judge(unproven, &counts, (&kept_note, &note), check));
    }
    if let Some(reason) = before.contradiction(&counts) {
        check.evidence = Some((kept_note, note));
        return Err(Alert::new(AlertKind::Counts, reason));
    }
    let (rules, erasures) = (
        counts.events.rules.saturating_sub(before.events.rules),
        counts.events.erasures.saturating_sub(before.events.erasures),
    );
    (check.rules_grown_by, check.erasures_grown_by) = (Some(rules), Some(erasures));
    if counts.tree.size >= before.tree.size {
        kept.counts = Some(note);
    }
    judge_growth(limits, rules, erasures, check);
    Ok(())
}

async fn compare_trees(get: &Get, one: &Checkpoint, other: &Checkpoint) -> Result<(), Unproven> {
    let (older, newer) = if one.size <= other.size { (one, other) } else { (other, one) };
    compare(get, older, newer).await
}

fn judge_growth(limits: &Limits, rules: u64, erasures: u64, check: &mut Check) {
    for (kind, what, grown_by, most) in [
        (AlertKind::RulesGrowth, "rules", rules, limits.rules_growth_max),
        (AlertKind::ErasuresGrowth, "erasures", erasures, limits.erasures_growth_max),
    ] {
        if let Some(most) = most.filter(|most| grown_by > *most) {
            let message =
                format!("the log has {grown_by} new {what} since the last check; at most {most} are allowed");
            check.alerts.push(Alert::new(kind, message));
        }
    }
}

/// The alert for counts whose tree does not fit another tree that the log's key signed.
fn judge(unproven: Unproven, counts: &Counts, notes: (&str, &str), check: &mut Check) -> Alert {
    let size = counts.tree.size;
    let (kind, message) = match unproven {
        Unproven::Contradiction => (
            AlertKind::Fork,
            format!("the log forked: its key signed counts of {size} entries that are not in the same log"),
        ),
        Unproven::WrongTiles | Unproven::Missing(_) => (
            AlertKind::WrongTiles,
            format!("the tiles of the log do not fit its own counts of {size} entries"),
        ),
        Unproven::Unreachable(reason) => (AlertKind::Unreachable, reason),
    };
    if kind.is_contradiction() {
        check.evidence = Some((notes.0.to_owned(), notes.1.to_owned()));
    }
    Alert::new(kind, message)
}

/// Sets what a check says about the kept counts.
pub(super) fn show_counts(kept: &Kept, check: &mut Check) {
    let counts = kept.counts().ok().flatten();
    check.rules = counts.as_ref().map(|counts| counts.events.rules);
    check.erasures = counts.as_ref().map(|counts| counts.events.erasures);
}
