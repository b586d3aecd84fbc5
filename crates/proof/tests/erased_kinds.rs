//! What erased entries were is known only from what erasures state. The tests forge logs as an operator
//! with the log's key can. The erasures in these logs state what is true of each entry alone, but false of
//! the streams.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::bundle::{self, Options, Report, Source, read_earlier};
use sayso_proof::entry::{self, Handle};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::{Doubt, Fault};

type Id = [u8; 16];

fn ada() -> Handle {
    subject(1)
}

fn bob() -> Handle {
    subject(2)
}

fn wide() -> ConsentTerms {
    terms(&["personalization"], &[], &[])
}

fn viewed() -> Event {
    Event::RecordViewed(RecordViewed::default())
}

/// The faults and the doubts that the verifier finds.
fn verify(log: &Log) -> (Vec<Fault>, Vec<Doubt>) {
    let grants = report(log).grants;
    let doubts = grants.unchecked_grants.iter().flat_map(|grant| grant.doubts.iter().copied()).collect();
    (grants.findings.iter().map(|finding| finding.fault).collect(), doubts)
}

/// The findings if the verifier also has an earlier export.
fn compared(log: &Log, before: &[u8]) -> Vec<(u64, Fault)> {
    let earlier = read_earlier(Source::Archive(Box::new(before)), &log.verifier(), &mut |_| ()).unwrap();
    let options = Options { earlier: vec![earlier], ..Options::default() };
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let report: Report = bundle::verify(source, &log.verifier(), &options, &mut |_| ()).unwrap();
    report.grants.findings.iter().map(|finding| (finding.position, finding.fault)).collect()
}

/// A log with an attribute and a consent of Ada's: their ids.
fn log_of_ada() -> (Log, Id, Id) {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    (log, attribute_id, consent_id)
}

/// Records an erasure of these positions, which states kinds and versions or neither.
fn complete_erasure(log: &mut Log, scope: ErasureScope, positions: &[u64], kinds: &[ErasedKind]) {
    log.erased.extend(positions);
    let version = |at: &u64| entry::parse_header(&log.entries[*at as usize]).unwrap().version;
    let erasure = ErasureCompleted {
        scope: scope.into(),
        discarded: positions.iter().map(|at| PositionRange { first: *at, last: *at }).collect(),
        kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
        versions: if kinds.is_empty() { Vec::new() } else { positions.iter().map(version).collect() },
        ..ErasureCompleted::default()
    };
    log.append_system_event(Event::ErasureCompleted(erasure));
}

const BEGUN: ErasureScope = ErasureScope::Retention;

fn begun(scope: ErasureScope) -> Event {
    Event::ErasureRequested(ErasureRequested { scope: scope.into(), ..ErasureRequested::default() })
}

/// A log in which Ada's withdrawal (version 2) and attribute (version 3) come after two entries of Bob's and
/// one attribute of his, which has version 2 as well; the positions of the three.
fn withdrawal_and_strangers() -> (Log, Id, Id, [u64; 3]) {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    log.append(bob(), given(wide()));
    log.append(bob(), viewed());
    let withdrawal = log.size();
    log.append(ada(), withdrawn(wide()));
    let stranger = log.size();
    log.append(bob(), recorded(attribute("bob", "food")));
    let last = log.size();
    log.append(ada(), recorded(attribute("old", "food")));
    log.append(bob(), begun(BEGUN));
    log.append(ada(), begun(BEGUN));
    (log, attribute_id, consent_id, [withdrawal, stranger, last])
}

#[test]
fn an_erasure_of_two_streams_is_found() {
    let (mut log, attribute_id, consent_id, [withdrawal, stranger, last]) = withdrawal_and_strangers();
    let before = log.bundle();
    let kinds = [ErasedKind::Decision, ErasedKind::Attribute, ErasedKind::Attribute];
    // In order of position, and in the order in which the last statement about version 2 is Bob's.
    complete_erasure(&mut log, BEGUN, &[withdrawal, stranger, last], &kinds);
    let at = log.size() - 1;
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(findings(&log), [(at, Fault::FalseErasure)]);
    assert!(compared(&log, &before).contains(&(stranger, Fault::FalseErasedKind)));
}

#[test]
fn an_erasure_that_two_streams_name_is_found_although_no_version_is_repeated() {
    let (mut log, attribute_id, consent_id, [withdrawal, stranger, last]) = withdrawal_and_strangers();
    complete_erasure(&mut log, BEGUN, &[stranger, last], &[ErasedKind::Attribute, ErasedKind::Attribute]);
    let at = log.size() - 1;
    complete_erasure(&mut log, BEGUN, &[withdrawal], &[ErasedKind::Decision]);
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    // What is said to be version 2 of Ada leaves none for the second erasure. That one is no finding, because
    // the first one is the first to list what came after it.
    assert_eq!(findings(&log), [(at, Fault::FalseErasure)]);
}

#[test]
fn what_a_stranger_lost_hides_nothing_about_which_nothing_is_stated() {
    let (mut log, attribute_id, consent_id, [withdrawal, stranger, last]) = withdrawal_and_strangers();
    complete_erasure(&mut log, BEGUN, &[withdrawal], &[]);
    complete_erasure(&mut log, BEGUN, &[stranger], &[ErasedKind::Attribute]);
    complete_erasure(&mut log, BEGUN, &[last], &[ErasedKind::Attribute]);
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(verify(&log), (vec![], vec![Doubt::DecisionsMissing]));
}

#[test]
fn an_entry_that_was_erased_with_everything_was_of_a_stream_of_which_nothing_remains() {
    for is_honest in [true, false] {
        let (mut log, attribute_id, consent_id, [withdrawal, stranger, last]) = withdrawal_and_strangers();
        log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 4 }));
        let carol = subject(3);
        let gone = log.size();
        log.append(carol, given(wide()));
        let before = log.bundle();
        let whole = if is_honest { vec![gone] } else { vec![withdrawal, gone] };
        complete_erasure(&mut log, ErasureScope::All, &whole, &[]);
        complete_erasure(&mut log, BEGUN, &[stranger], &[ErasedKind::Attribute]);
        if is_honest {
            complete_erasure(&mut log, BEGUN, &[withdrawal], &[ErasedKind::Decision]);
        }
        complete_erasure(&mut log, BEGUN, &[last], &[ErasedKind::Attribute]);
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        let expected = if is_honest { vec![] } else { vec![(withdrawal, Fault::FalseErasedKind)] };
        assert_eq!(compared(&log, &before), expected, "{is_honest}");
    }
}

#[test]
fn an_erased_end_of_a_stream_that_no_later_entry_shows_is_found() {
    for is_erased_later in [true, false] {
        let (mut log, attribute_id, consent_id) = log_of_ada();
        let first = log.size() - 2;
        let granted = log.size();
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        let withdrawal = log.size();
        log.append(ada(), withdrawn(wide()));
        if is_erased_later {
            log.append(ada(), begun(BEGUN));
        }
        complete_erasure(&mut log, BEGUN, &[withdrawal], &[ErasedKind::Decision]);
        let at = log.size() - 1;
        if is_erased_later {
            // Everything about Ada is erased, so nothing shows what was erased before.
            complete_erasure(&mut log, ErasureScope::All, &[first, first + 1, granted, withdrawal + 1], &[]);
        }
        log.append(bob(), viewed());
        let expected = if is_erased_later { vec![] } else { vec![(at, Fault::FalseErasure)] };
        assert_eq!(findings(&log), expected, "{is_erased_later}");
    }
}

#[test]
fn versions_that_are_not_those_of_the_entries_are_found_by_whoever_kept_an_export() {
    let (mut log, attribute_id, consent_id, [withdrawal, _, last]) = withdrawal_and_strangers();
    let before = log.bundle();
    log.erased.extend([withdrawal, last]);
    let erasure = ErasureCompleted {
        discarded: [withdrawal, last].map(|at| PositionRange { first: at, last: at }).into(),
        kinds: [ErasedKind::Decision, ErasedKind::Attribute].map(Into::into).into(),
        versions: vec![1, 3],
        ..ErasureCompleted::default()
    };
    log.append_system_event(Event::ErasureCompleted(erasure));
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert!(compared(&log, &before).contains(&(withdrawal, Fault::FalseErasedKind)));
}

#[test]
fn parts_that_several_erasures_erased_are_no_finding() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    let first = log.size();
    for key in ["a", "b", "c"] {
        log.append(ada(), recorded(attribute(key, "food")));
    }
    for position in [first + 1, first, first + 2] {
        log.erase_stating(&[(position, ErasedKind::Attribute)]);
    }
    // The event with which the first erasures began is erased, too.
    log.erase_stating(&[(first + 5, ErasedKind::Other)]);
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(verify(&log), (vec![], vec![]));
}

#[test]
fn an_erased_entry_has_no_time_of_its_own_from_edition_5_on() {
    for (edition, is_later, is_right) in [(4, true, true), (5, true, false), (5, false, true)] {
        let (mut log, _, _) = log_of_ada();
        log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
        let position = log.size();
        log.append(ada(), recorded(attribute("old", "food")));
        log.erase_stating(&[(position, ErasedKind::Attribute)]);
        let at = position as usize;
        log.recorded[at] = log.recorded[at - 1] + u64::from(is_later);
        let bytes = log.bundle();
        let source = Source::Archive(Box::new(bytes.as_slice()));
        let verified = bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ());
        assert_eq!(verified.is_ok(), is_right, "{edition} {is_later}: {verified:?}");
        let failure = verified.err();
        assert!(failure.is_none_or(|failure| failure.position == Some(position)));
    }
}
