//! Logs that an operator could forge with the log's own key: random histories, and mutations of them. The
//! verifier and a second, naive one that was written from `docs/format.md` must agree about every entry.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;
mod naive;
mod random_log;

use log::{Log, START_MS};
use naive::Line;
use proptest::prelude::*;
use random_log::{Draft, history, mutate};
use sayso_proof::bundle::{self, Options, Source};
use sayso_proof::entry::Handle;
use sayso_proof::event::{Actor, EventBody, Role};
use std::collections::BTreeSet;

/// The log of these drafts, and the same entries for the naive verifier.
fn build(drafts: &[Draft]) -> (Log, Vec<Line>) {
    let mut log = Log::opened_by(Role::Ledger);
    let opened = EventBody {
        actor: Some(Actor { role: Role::Ledger.into(), ..Actor::default() }),
        ..EventBody::default()
    };
    let first = Line {
        position: 0,
        handle: [0; 16],
        id: [0; 16],
        version: 0,
        sealed_at_ms: START_MS + 1000,
        body: Some(opened),
    };
    let mut lines = vec![first];
    for draft in drafts {
        let position = log.size();
        let version = log.next_version(draft.handle);
        let id = log.append_body(draft.handle, draft.sealed_at_ms, &draft.body);
        let body = Some(draft.body.clone());
        let handle = draft.handle.0;
        lines.push(Line { position, handle, id, version, sealed_at_ms: draft.sealed_at_ms, body });
    }
    (log, lines)
}

/// The positions of the entries that the verifier reports, and what it reports. None if the log states a
/// newer edition of the rules of decisions than the verifier knows.
fn reported(log: &Log) -> Option<(BTreeSet<u64>, Vec<String>)> {
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let report = bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ());
    if report.as_ref().is_err_and(|failure| failure.newer_edition.is_some()) {
        return None;
    }
    let report = report.unwrap();
    let findings = report.grants.findings;
    let said = findings.iter().map(ToString::to_string).collect();
    Some((findings.iter().map(|one| one.position).collect(), said))
}

fn compare(drafts: &[Draft]) -> Result<(), TestCaseError> {
    let (log, lines) = build(drafts);
    let Some((found, said)) = reported(&log) else { return Ok(()) };
    let expected = naive::wrong(&lines);
    if expected != found {
        let at = expected.symmetric_difference(&found).next().copied().unwrap_or_default();
        let of = lines.iter().find(|line| line.position == at).map(|line| line.handle);
        let concerns = |line: &&Line| line.position <= at && (line.is_system() || Some(line.handle) == of);
        let all = lines.iter().filter(concerns).map(|line| format!("{}: {:?}", line.position, line.body));
        let said: Vec<String> =
            said.into_iter().filter(|text| text.contains(&format!("position {at},"))).collect();
        prop_assert_eq!(expected, found, "{}: {:?}\n{}", at, said, all.collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn the_verifier_and_the_naive_one_agree_on_random_logs(dice in prop::collection::vec(any::<u16>(), 64..900)) {
        compare(&history(dice))?;
    }

    #[test]
    fn the_verifier_and_the_naive_one_agree_on_mutated_logs(dice in prop::collection::vec(any::<u16>(), 64..900), choices in prop::collection::vec(any::<u16>(), 12)) {
        let mut drafts = history(dice);
        mutate(&mut drafts, choices);
        compare(&drafts)?;
    }
}

#[test]
fn random_logs_have_right_and_wrong_grants() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..60_u16 {
        let dice = (0..900_u16)
            .map(|at| at.wrapping_mul(40_503).wrapping_add(seed.wrapping_mul(7919)) ^ (at >> 3))
            .collect();
        let (_, lines) = build(&history(dice));
        let faulty = naive::wrong(&lines);
        let grants =
            lines.iter().filter(|line| random_log::is_grant(line) && line.handle != Handle::SYSTEM.0);
        let (bad, good): (Vec<_>, Vec<_>) = grants.partition(|line| faulty.contains(&line.position));
        (right, wrong) = (right + good.len(), wrong + bad.len());
    }
    assert!(right > 20 && wrong > 20, "{right} {wrong}");
}
