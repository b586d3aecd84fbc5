//! Tests that the time to verify a log is proportional to its size, regardless of which events it has. A
//! replay that compared every decision with every other one would take hours for the logs of these tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::bundle::{self, Options, Report, Source};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use std::time::{Duration, Instant};

/// Generous, so that a busy machine does not fail the test.
const TIME_MAX: Duration = Duration::from_secs(120);

fn verify(log: &Log) -> Report {
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let started = Instant::now();
    let report = bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ()).unwrap();
    assert!(started.elapsed() < TIME_MAX, "{:?}", started.elapsed());
    report
}

fn ada() -> sayso_proof::entry::Handle {
    subject(1)
}

fn wide() -> ConsentTerms {
    terms(&["personalization"], &[], &[])
}

#[test]
fn a_person_may_change_their_mind_ten_thousand_times() {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    for _ in 0..10_000 {
        log.append(ada(), withdrawn(wide()));
        let consent_id = log.append(ada(), given(wide()));
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    }
    let report = verify(&log);
    assert_eq!((report.grants.replayed, report.grants.unjustified), (10_000, 0));
}

#[test]
fn grants_without_any_consent_are_found_quickly_among_many_decisions() {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    for number in 0..10_000 {
        let name = format!("chat-{number}");
        log.append(ada(), given(ConsentTerms { interactions: vec![name], ..wide() }));
        log.append(ada(), withdrawn(terms(&["personalization"], &["food"], &[])));
        log.append(ada(), grant(attribute_id, event_id(2), "key", "food"));
    }
    assert_eq!(verify(&log).grants.unjustified, 10_000);
}

#[test]
fn signals_and_their_liftings_are_found_quickly() {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    let kind = SignalKind::Pause.into();
    for number in 0..10_000 {
        let interaction = format!("chat-{number}");
        let signal = SignalRecorded { kind, interaction, ..SignalRecorded::default() };
        log.append(ada(), Event::SignalRecorded(signal));
        log.append_late(ada(), Event::SignalLifted(SignalLifted { kind, ..SignalLifted::default() }), 5_000);
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    }
    assert_eq!(verify(&log).grants.unjustified, 0);
}

#[test]
fn a_chain_of_derived_attributes_is_followed_once_for_a_grant() {
    let mut log = Log::with_vocabulary();
    let consent_id = log.append(ada(), given(wide()));
    let mut chain = vec![log.append(ada(), recorded(attribute("key-0", "food")))];
    for number in 1..2_000 {
        let derived_from = vec![chain[number - 1].to_vec()];
        let derived = Attribute { derived_from, ..attribute(&format!("key-{number}"), "food") };
        chain.push(log.append(ada(), recorded(derived)));
    }
    let allowed = chain.iter().enumerate().map(|(number, id)| GrantedAttribute {
        attribute: id.to_vec(),
        consent: consent_id.to_vec(),
        key: format!("key-{number}"),
        category: "food".into(),
        ..GrantedAttribute::default()
    });
    let Event::GrantIssued(one) = grant(chain[0], consent_id, "key-0", "food") else { panic!() };
    log.append(ada(), Event::GrantIssued(GrantIssued { allowed: allowed.collect(), ..one }));
    for _ in 0..1_000 {
        log.append(ada(), grant(chain[1_999], consent_id, "key-1999", "food"));
    }
    let report = verify(&log);
    assert_eq!((report.grants.replayed, report.grants.unjustified), (1_001, 0));
}

#[test]
fn missing_revocations_that_take_too_long_to_find_are_counted() {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    let Event::GrantIssued(issued) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
    let expires_at_ms = log.now + 80_000_000;
    for number in 0..4_000 {
        let recipient = format!("bot-{number}");
        let issued = GrantIssued { recipient, expires_at_ms, ..issued.clone() };
        log.append(ada(), Event::GrantIssued(issued));
    }
    let kind = SignalKind::Pause.into();
    for number in 0..4_000 {
        let interaction = format!("chat-{number}");
        let signal = SignalRecorded { kind, interaction, ..SignalRecorded::default() };
        log.append(ada(), Event::SignalRecorded(signal));
    }
    let report = verify(&log);
    assert!(report.grants_hold());
    assert_eq!((report.grants.unchecked, report.grants.revocations_unchecked), (0, 4_000));
    assert!(!report.is_fully_checked());
}
