//! Tests with logs that an operator could forge with the log's own key: random histories, and mutations of
//! them. The verifier and a second, simple verifier (`naive`) that was written from `docs/format.md` must
//! agree about every entry.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;
mod naive;
mod random_log;

use log::{Log, START_MS};
use naive::Line;
use proptest::prelude::*;
use random_log::{Draft, history, is_grant, mutate};
use sayso_proof::bundle::{self, FailureKind, Options, Source};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{Actor, EventBody, Role};
use sayso_proof::replay::Fault;
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
        log.next_event_id = draft.id;
        let id = log.append_body(draft.handle, draft.sealed_at_ms, &draft.body);
        let body = Some(draft.body.clone());
        let handle = draft.handle.0;
        lines.push(Line { position, handle, id, version, sealed_at_ms: draft.sealed_at_ms, body });
    }
    (log, lines)
}

/// The positions of the entries that the verifier reports, and what it reports. None if the log states a
/// newer edition of the rules of decisions than the verifier knows, or has a field of a newer edition than
/// it follows.
fn reported(log: &Log, lines: &[Line]) -> Option<(BTreeSet<u64>, Vec<String>)> {
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let report = bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ());
    if report.as_ref().is_err_and(|failure| matches!(failure.kind, FailureKind::TooNew { .. })) {
        return None;
    }
    // A field of a newer edition than the log follows breaks its form, which is found before any event.
    if report.as_ref().is_err_and(|failure| failure.reason.contains("does not follow edition")) {
        return None;
    }
    let report = report.unwrap();
    let wrong: BTreeSet<String> = naive::wrong_grants(lines).iter().map(hex::encode).collect();
    let is_of_grant =
        |at: u64| lines.iter().any(|line| line.position == at && is_grant(line) && !line.is_system());
    let mut findings = report.grants.findings;
    findings.retain(|finding| {
        let is_report = !is_of_grant(finding.position) && finding.fault != Fault::UnknownReference;
        let is_later = is_report && wrong.contains(&finding.grant);
        !is_later
    });
    let said = findings.iter().map(ToString::to_string).collect();
    Some((findings.iter().map(|one| one.position).collect(), said))
}

fn compare(drafts: &[Draft]) -> Result<(), TestCaseError> {
    // An invented commitment to the map of people is no finding but makes the whole bundle fail.
    let is_commitment = |draft: &Draft| matches!(draft.body.event, Some(Event::SubjectMapCommitted(_)));
    if drafts.iter().any(is_commitment) {
        return Ok(());
    }
    let (log, lines) = build(drafts);
    let Some((found, said)) = reported(&log, &lines) else { return Ok(()) };
    let repeated = naive::repeated_ids(&lines);
    if !repeated.is_empty() {
        // In such a log, it is not clear which entry the others name.
        prop_assert!(repeated.is_subset(&found), "{repeated:?} {found:?}");
        return Ok(());
    }
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

/// Some kinds of events, and their name.
type Kinds = (&'static str, fn(&Event) -> bool);

#[test]
fn random_logs_have_right_and_wrong_entries_of_each_kind() {
    let kinds: [Kinds; 7] = [
        ("grants", |event| matches!(event, Event::GrantIssued(_))),
        ("uses", |event| matches!(event, Event::GrantUsed(_))),
        ("repeated answers", |event| matches!(event, Event::GrantGivenAgain(_))),
        ("artifacts", |event| matches!(event, Event::ArtifactRegistered(_))),
        ("revocations", |event| matches!(event, Event::GrantRevoked(_))),
        ("decisions", |event| matches!(event, Event::ConsentWithdrawn(_) | Event::SignalRecorded(_))),
        ("notices", |event| matches!(event, Event::NoticePublished(_))),
    ];
    let mut seen = kinds.map(|_| (0, 0));
    for seed in 0..200_u16 {
        let number = |at: u64| {
            let mixed = (u64::from(seed) << 32 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as u16
        };
        let dice = (0..900).map(number).collect();
        let (_, lines) = build(&history(dice));
        let faulty = naive::wrong(&lines);
        for ((_, is_kind), (right, wrong)) in kinds.iter().zip(&mut seen) {
            for line in lines.iter().filter(|line| line.event().is_some_and(is_kind)) {
                *(if faulty.contains(&line.position) { &mut *wrong } else { &mut *right }) += 1;
            }
        }
    }
    for ((kind, _), (right, wrong)) in kinds.iter().zip(seen) {
        assert!(right > 5 && wrong > 5, "{kind}: {right} right, {wrong} wrong");
    }
}
