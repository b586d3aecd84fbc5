//! Tests of what entries about people show without being decrypted. From edition 5 of the rules of decisions
//! on, they show no hash with which somebody could test a guess. Of the content's length, they show only the
//! size class (a range of lengths).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use ed25519_dalek::SigningKey;
use log::forge::padded;
use log::*;
use prost::Message;
use sayso_proof::bundle::{self, FailureKind, Options, Report, Source, VerifyFailure};
use sayso_proof::certificate;
use sayso_proof::entry::{self, Entry, EntryError, EventKey, Handle};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{Attribute, BackupRestored, DecisionRulesAdopted, ErasureCompleted, EventBody};

fn check(log: &Log) -> Result<Report, VerifyFailure> {
    check_archive(&log.bundle(), log)
}

fn check_archive(archive: &[u8], log: &Log) -> Result<Report, VerifyFailure> {
    let source = Source::Archive(Box::new(archive));
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

/// A log of edition 5 with one event of a person, whose plaintext has exactly these bytes.
fn log_with_plaintext(plaintext: &[u8]) -> Log {
    let mut log = Log::new();
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 5 }));
    let key = EventKey::from_bytes([9; 32]);
    log.append_plaintext(subject(1), plaintext, key);
    log
}

#[test]
fn from_edition_5_on_bodies_are_padded_to_a_size_class() {
    let lengths = |edition: u32| -> Vec<usize> {
        let mut log = Log::new();
        log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
        for letters in [1, 40, 200, 3_000] {
            let value_json = format!("\"{}\"", "x".repeat(letters));
            log.append(subject(1), recorded(Attribute { value_json, ..attribute("tea", "food") }));
        }
        assert!(check(&log).is_ok());
        log.entries[2..].iter().map(Vec::len).collect()
    };
    let [first, short, middle, long] = lengths(5)[..] else { panic!("four entries") };
    // The first entry names no previous leaf hash and no version.
    assert_eq!((first + 36, short, short + 2_688), (short, middle, long), "{first} {short} {middle} {long}");
    let bare = lengths(4);
    assert!(bare.windows(2).all(|pair| pair[0] < pair[1]), "{bare:?}");
}

#[test]
fn a_body_that_is_padded_in_the_wrong_edition_is_a_fault() {
    for (edition, as_if) in [(5, 0), (4, 5), (0, 5)] {
        let mut log = log_of(edition, None, b"");
        log.edition = as_if;
        log.append(subject(2), recorded(attribute("tea", "food")));
        for withheld in [false, true] {
            log.withheld = withheld;
            let failure = check(&log).unwrap_err();
            assert_eq!(failure.position, Some(3), "{edition}: {failure}");
            assert!(failure.reason.contains("padded"), "{failure}");
        }
    }
}

#[test]
fn padding_has_one_form() {
    let body = body(recorded(attribute("tea", "food"))).encode_to_vec();
    let right = padded(&body);
    assert!(check(&log_with_plaintext(&right)).is_ok());
    let mut longer = right.clone();
    longer.resize(512, 0);
    let mut set = right.clone();
    *set.last_mut().unwrap() = 1;
    let mut bare = right.clone();
    bare[body.len()] = 0;
    let odd = [right.as_slice(), &[0]].concat();
    for (what, plaintext) in [("longer", longer), ("set", set), ("bare", bare)] {
        let log = log_with_plaintext(&plaintext);
        let archive = log.forged_bundle(log.forged_files());
        let failure = check_archive(&archive, &log).expect_err(what);
        assert_eq!((failure.position, failure.kind), (Some(2), FailureKind::Broken), "{what}: {failure}");
    }
    // A ciphertext that has no class is not an entry at all.
    let mut log = log_of(5, None, b"");
    for plaintext in [odd, body] {
        let (_, payload) = log.payload_with(subject(1), &plaintext, &EventKey::from_bytes([9; 32]));
        let signed = entry::sign(payload, ORIGIN, &SigningKey::from_bytes(&[4; 32]));
        assert!(matches!(signed, Err(EntryError::Payload(_))), "{signed:?}");
    }
}

#[test]
fn a_newer_form_of_an_entry_is_too_new() {
    let mut log = log_of(5, None, b"");
    let entry = log.entries.pop().unwrap();
    // The last byte before the ciphertext is the version.
    let at = entry.windows(3).rposition(|bytes| bytes == [0x50, 2, 0x42]).unwrap() + 1;
    for (number, is_newer) in [(3, true), (1, false)] {
        let mut changed = entry.clone();
        changed[at] = number;
        let error = Entry::parse(&changed).unwrap_err();
        assert_eq!(error.is_unknown(), is_newer, "{error}");
    }
}

/// The failure of a log of this edition whose last event is this erasure.
fn failure_of(edition: u32, erasure: ErasureCompleted) -> Option<String> {
    let mut log = log_of(edition, None, b"");
    log.append_system_event(Event::ErasureCompleted(erasure));
    check(&log).err().map(|failure| failure.to_string())
}

#[test]
fn from_edition_5_on_a_completed_erasure_says_only_what_the_log_needs() {
    let now = ErasureCompleted {
        request_hash: certificate::request_hash(&[7; 16]).to_vec(),
        requested_at_ms: 2 * certificate::DAY_MS,
        ..ErasureCompleted::default()
    };
    let early = ErasureCompleted {
        request: vec![7; 16],
        requested_at_ms: 2 * certificate::DAY_MS + 1,
        erased_by_category: [("food".to_owned(), 1)].into(),
        ..ErasureCompleted::default()
    };
    assert_eq!((failure_of(5, now.clone()), failure_of(4, early.clone())), (None, None));
    let more = [
        ("request_hash", ErasureCompleted { request_hash: Vec::new(), ..now.clone() }),
        ("request_hash", ErasureCompleted { request_hash: vec![7; 31], ..now.clone() }),
        ("request_hash", ErasureCompleted { request: vec![7; 16], ..now.clone() }),
        (
            "counts by category",
            ErasureCompleted { erased_by_category: early.erased_by_category, ..now.clone() },
        ),
        ("a day", ErasureCompleted { requested_at_ms: early.requested_at_ms, ..now.clone() }),
    ];
    for (what, erasure) in more {
        let failure = failure_of(5, erasure).unwrap();
        assert!(failure.contains(what) && failure.contains("edition 5"), "{what}: {failure}");
    }
    let failure = failure_of(4, now).unwrap();
    assert!(failure.contains("request_hash"), "{failure}");
}

#[test]
fn before_edition_5_a_restore_names_no_key_epoch() {
    for (edition, is_right) in [(4, false), (5, true)] {
        let mut log = log_of(edition, None, b"");
        let restored = BackupRestored { key_epoch: 3, ..BackupRestored::default() };
        log.append_system_event(Event::BackupRestored(restored));
        assert_eq!(check(&log).is_ok(), is_right, "{edition}");
    }
}
