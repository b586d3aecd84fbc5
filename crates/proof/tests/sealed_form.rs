//! What entries about people show in clear: from edition 5 of the rules on, no hash that a guess could be
//! compared with.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod log;

use log::*;
use prost::Message;
use sayso_proof::bundle::{self, Options, Report, Source, VerifyFailure};
use sayso_proof::entry::{Entry, EntryError, Handle};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{DecisionRulesAdopted, EventBody};

fn check(log: &Log) -> Result<Report, VerifyFailure> {
    let archive = log.bundle();
    let source = Source::Archive(Box::new(archive.as_slice()));
    bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ())
}

/// A log of this edition with one attribute of a person, whose request had an idempotency key.
fn log_of(edition: u32, in_clear: Option<[u8; 32]>, sealed: &[u8]) -> Log {
    let mut log = Log::new();
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
    log.next_hash_in_clear = in_clear;
    let body = EventBody { idempotency_hash: sealed.to_vec(), ..body(recorded(attribute("tea", "food"))) };
    log.append_body(subject(1), START_MS + 9_000, &body);
    log
}

#[test]
fn from_edition_5_on_the_hash_of_an_idempotency_key_is_sealed() {
    for withheld in [false, true] {
        let mut log = log_of(5, Some([3; 32]), b"");
        log.withheld = withheld;
        let failure = check(&log).unwrap_err();
        assert_eq!(failure.position, Some(2), "{failure}");
        assert!(failure.reason.contains("in clear"), "{failure}");
    }
    assert!(check(&log_of(5, None, &[3; 32])).is_ok());
    assert!(check(&log_of(5, None, b"")).is_ok());
}

#[test]
fn before_edition_5_the_hash_of_an_idempotency_key_is_in_clear() {
    assert!(check(&log_of(4, Some([3; 32]), b"")).is_ok());
    let failure = check(&log_of(4, None, &[3; 32])).unwrap_err();
    assert_eq!(failure.position, Some(2), "{failure}");
    assert!(failure.reason.contains("edition 5"), "{failure}");
    // A later statement of an earlier edition changes nothing.
    let mut log = log_of(5, None, b"");
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 4 }));
    log.next_hash_in_clear = Some([3; 32]);
    log.append(subject(1), recorded(attribute("milk", "food")));
    assert_eq!(check(&log).unwrap_err().position, Some(4));
}

#[test]
fn a_system_event_keeps_its_hash_in_clear() {
    let mut log = Log::new();
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 5 }));
    log.next_hash_in_clear = Some([3; 32]);
    log.publish_documents();
    assert!(check(&log).is_ok());
}

#[test]
fn a_hash_of_an_idempotency_key_has_one_place_and_32_bytes() {
    for (in_clear, sealed) in [(Some([3; 32]), vec![3; 32]), (None, vec![3; 31]), (None, vec![3; 33])] {
        let log = log_of(5, in_clear, &sealed);
        let entry = Entry::parse(&log.entries[2]).unwrap();
        let opened = entry.open(log.keys[2].as_ref().unwrap());
        assert!(matches!(opened, Err(EntryError::BodyForm(_))), "{opened:?}");
    }
    let system = EventBody { idempotency_hash: vec![3; 32], ..published() };
    let mut log = Log::new();
    log.append_body(Handle::SYSTEM, START_MS + 9_000, &system);
    assert!(Entry::parse(&log.entries[1]).unwrap().plain_body().is_err(), "{}", system.encoded_len());
}

/// The body of a system event.
fn published() -> EventBody {
    body(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 5 }))
}
