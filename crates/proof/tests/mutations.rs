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
use prost::Message;
use random_log::{Draft, history, is_grant, mutate};
use sayso_proof::bundle::{self, FailureKind, Options, Source, read_earlier};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{Actor, ErasedKind, EventBody, GrantIssued, Role};
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

/// The id of the attribute, grant or artifact that an event changes or reports about.
fn changed(event: &Event) -> Option<&[u8]> {
    match event {
        Event::AttributeCorrected(one) => Some(&one.corrects),
        Event::AttributeContested(one) => Some(&one.attribute),
        Event::AttributeConfirmed(one) => Some(&one.attribute),
        Event::AttributeSourcesAdded(one) => Some(&one.attribute),
        Event::AttributeRemoved(one) => Some(&one.attribute),
        Event::AttributeExpired(one) => Some(&one.attribute),
        _ => None,
    }
}

/// What docs/format.md says that an erased entry was.
fn kind_of(line: &Line, erased: &[&Line]) -> ErasedKind {
    let is_erased = |id: &[u8]| erased.iter().any(|other| other.id[..] == *id);
    let Some(event) = line.event() else { return ErasedKind::Unspecified };
    match event {
        Event::AttributeRecorded(_)
        | Event::EarlierAttributeRecorded(_)
        | Event::AttributeCorrected(_)
        | Event::AttributeContested(_)
        | Event::AttributeConfirmed(_)
        | Event::AttributeSourcesAdded(_)
        | Event::AttributeRemoved(_)
        | Event::AttributeExpired(_) => match changed(event).is_none_or(is_erased) {
            true => ErasedKind::Attribute,
            false => ErasedKind::Decision,
        },
        Event::ConsentGiven(_)
        | Event::ConsentRenewed(_)
        | Event::ConsentRefused(_)
        | Event::ConsentWithdrawn(_)
        | Event::SignalRecorded(_)
        | Event::SignalLifted(_)
        | Event::PersonalBoundsSet(_)
        | Event::SubjectDescribed(_)
        | Event::ErasureRefused(_)
        | Event::RequestWithdrawn(_) => ErasedKind::Decision,
        _ => ErasedKind::Other,
    }
}

fn key_of(line: &Line) -> Option<&str> {
    let recorded = match line.event()? {
        Event::AttributeRecorded(one) => &one.attribute,
        Event::EarlierAttributeRecorded(one) => &one.attribute,
        Event::AttributeCorrected(one) => &one.attribute,
        _ => return None,
    };
    recorded.as_ref().map(|recorded| recorded.key.as_str())
}

/// What an erasure takes that begins with these entries: of an attribute, also all others under its key; and
/// everything that names what it takes, unless it is a decision.
fn reached<'a>(own: &[&'a Line], first: &[&'a Line]) -> Vec<&'a Line> {
    let mut erased: Vec<&Line> = first.to_vec();
    let mut at = 0;
    while at < erased.len() {
        let taken = erased[at];
        let is_decision = kind_of(taken, &[]) == ErasedKind::Decision && changed_or_none(taken);
        let depends = |line: &&&Line| {
            let names = || {
                let bytes = line.body.as_ref().unwrap().encode_to_vec();
                bytes.windows(16).any(|window| window == taken.id)
            };
            let is_taken = erased.iter().any(|other| other.id == line.id);
            let same_key = key_of(taken).is_some() && key_of(line) == key_of(taken);
            !is_taken && !is_decision && (same_key || names())
        };
        let more: Vec<&Line> = own.iter().filter(depends).copied().collect();
        erased.extend(more);
        at += 1;
    }
    erased.sort_by_key(|line| line.position);
    erased
}

fn changed_or_none(line: &Line) -> bool {
    line.event().is_some_and(|event| changed(event).is_none())
}

/// Erases a person or a part of what the log has about them, and compares with the same log before: no right
/// grant is contradicted, and each wrong one is still found or listed as not checked in full.
fn compare_erased(drafts: &[Draft], choices: &[u16]) -> Result<(), TestCaseError> {
    let (mut log, lines) = build(drafts);
    let handle = [1 + (choices[0] % 2) as u8; 16];
    let own: Vec<&Line> = lines.iter().filter(|line| line.handle == handle).collect();
    if own.is_empty() {
        return Ok(());
    }
    let first: Vec<&Line> = match choices[1] % 6 {
        0 => own.clone(),
        _ => choices[2..].iter().map(|choice| own[usize::from(*choice) % own.len()]).collect(),
    };
    let erased = reached(&own, &first);
    let is_stated = !choices[1].is_multiple_of(4);
    let kind = |line: &&Line| if is_stated { kind_of(line, &erased) } else { ErasedKind::Unspecified };
    let stated: Vec<(u64, ErasedKind)> = erased.iter().map(|line| (line.position, kind(line))).collect();
    let before = log.bundle();
    log.now = lines.iter().map(|line| line.sealed_at_ms).max().unwrap_or(START_MS);
    log.erase_stating(&stated);
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let report = bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ());
    if report.as_ref().is_err_and(|failure| matches!(failure.kind, FailureKind::TooNew { .. })) {
        return Ok(());
    }
    let grants = report.unwrap().grants;
    // Whoever kept the log from before sees that the kinds are right.
    let read = read_earlier(Source::Archive(Box::new(before.as_slice())), &log.verifier(), &mut |_| ());
    let options = Options { earlier: vec![read.unwrap()], ..Options::default() };
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let compared = bundle::verify(source, &log.verifier(), &options, &mut |_| ()).unwrap();
    prop_assert_eq!(&compared.grants.findings, &grants.findings);
    let positions: BTreeSet<u64> = stated.iter().map(|(position, _)| *position).collect();
    prop_assert_eq!(compared.earlier[0].erased_since, positions.len() as u64);
    let (wrong, of_wrong) = (naive::wrong(&lines), naive::wrong_grants(&lines));
    let own_text = || {
        let text = |line: &Line| format!("{}: {:?}", line.position, line.body);
        let concerns = |line: &&Line| line.is_system() || line.handle == handle;
        format!(
            "erased: {stated:?}\n{}",
            lines.iter().filter(concerns).map(text).collect::<Vec<_>>().join("\n")
        )
    };
    for finding in &grants.findings {
        let is_of_wrong = of_wrong.iter().any(|id| hex::encode(id) == finding.grant);
        let is_known = wrong.contains(&finding.position) || is_of_wrong;
        prop_assert!(is_known, "{finding}\n{}", own_text());
    }
    // What a grant withholds is not checked after an erasure.
    let without_withheld: Vec<Line> = lines.iter().cloned().map(allowing_only).collect();
    let named = |position: u64| {
        grants.findings.iter().any(|one| one.position == position)
            || grants.unchecked_grants.iter().any(|one| one.position == position)
    };
    for id in naive::wrong_grants(&without_withheld) {
        let line = lines.iter().find(|line| line.id == id).unwrap();
        let is_erased = erased.iter().any(|other| other.id == id);
        prop_assert!(is_erased || named(line.position), "{} is hidden\n{}", line.position, own_text());
    }
    Ok(())
}

/// A grant as if it withheld nothing.
fn allowing_only(mut line: Line) -> Line {
    let event = line.body.as_mut().and_then(|body| body.event.as_mut());
    if let Some(Event::GrantIssued(GrantIssued { withheld, .. })) = event {
        withheld.clear();
    }
    line
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn an_erasure_hides_no_wrong_grant_and_contradicts_no_right_one(dice in prop::collection::vec(any::<u16>(), 64..900), choices in prop::collection::vec(any::<u16>(), 3..6)) {
        compare_erased(&history(dice), &choices)?;
    }

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
