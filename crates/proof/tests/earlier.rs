//! Tests a comparison of a log with an older export. It must find entries that differ, and false
//! statements by the operator about entries that were erased since the export. The tests forge logs as an
//! operator with the log's key can.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use ed25519_dalek::SigningKey;
use log::*;
use sayso_proof::bundle::{self, Earlier, FailureKind, Options, Report, Source, VerifyFailure, read_earlier};
use sayso_proof::entry::Handle;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::Fault;

type Id = [u8; 16];

fn ada() -> Handle {
    subject(1)
}

fn wide() -> ConsentTerms {
    terms(&["personalization"], &[], &[])
}

fn read(log: &Log, bytes: &[u8]) -> Result<Earlier, VerifyFailure> {
    read_earlier(Source::Archive(Box::new(bytes)), &log.verifier(), &mut |_| ())
}

fn verify(log: &Log, earlier: Vec<Earlier>) -> Result<Report, VerifyFailure> {
    let options = Options { earlier, ..Options::default() };
    let bytes = log.bundle();
    bundle::verify(Source::Archive(Box::new(bytes.as_slice())), &log.verifier(), &options, &mut |_| ())
}

/// Verifies the log against an earlier export, and returns the findings.
fn compared(log: &Log, before: &[u8]) -> Vec<(u64, Fault)> {
    let report = verify(log, vec![read(log, before).unwrap()]).unwrap();
    assert_eq!(report.grants_hold(), report.grants.findings.is_empty());
    report.grants.findings.iter().map(|finding| (finding.position, finding.fault)).collect()
}

/// A log with an attribute and a consent of Ada's: their ids.
fn log_of_ada() -> (Log, Id, Id) {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    (log, attribute_id, consent_id)
}

#[test]
fn a_withdrawal_that_is_erased_as_an_attribute_is_found_by_whoever_kept_an_export() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    let withdrawal = log.size();
    log.append(ada(), withdrawn(wide()));
    let before = log.bundle();
    log.erase_stating(&[(withdrawal, ErasedKind::Attribute)]);
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    // By itself, the log shows a grant with a consent that no one withdrew.
    assert_eq!(verify(&log, vec![]).unwrap().grants.findings, []);
    assert_eq!(compared(&log, &before), [(withdrawal, Fault::FalseErasedKind)]);
}

/// Makes an event from the ids of an attribute and a consent.
type Make = fn(Id, Id) -> Event;

fn contested(attribute: Id, _: Id) -> Event {
    let attribute = attribute.to_vec();
    Event::AttributeContested(AttributeContested { attribute, ..AttributeContested::default() })
}

#[test]
fn every_false_kind_is_found_and_the_right_one_is_not() {
    let cases: [(Make, ErasedKind); 7] = [
        (|_, _| recorded(attribute("other", "food")), ErasedKind::Attribute),
        (|_, _| refused(wide()), ErasedKind::Decision),
        (|_, _| Event::PersonalBoundsSet(PersonalBoundsSet::default()), ErasedKind::Decision),
        (|_, _| Event::SubjectDescribed(SubjectDescribed::default()), ErasedKind::Decision),
        (|of, by| grant(of, by, "key", "food"), ErasedKind::Other),
        (|_, _| Event::RecordingRefused(RecordingRefused::default()), ErasedKind::Other),
        // Its attribute remains.
        (contested, ErasedKind::Decision),
    ];
    for (event, right) in cases {
        for stated in [ErasedKind::Attribute, ErasedKind::Decision, ErasedKind::Other] {
            let (mut log, attribute_id, consent_id) = log_of_ada();
            let position = log.size();
            let event = event(attribute_id, consent_id);
            let text = format!("{event:?} as {stated:?}");
            log.append(ada(), event);
            let before = log.bundle();
            log.erase_stating(&[(position, stated)]);
            let expected = if stated == right { vec![] } else { vec![(position, Fault::FalseErasedKind)] };
            assert_eq!(compared(&log, &before), expected, "{text}");
        }
    }
}

#[test]
fn an_event_about_an_attribute_is_erased_with_it_or_as_a_decision() {
    let removed = |id: Id| {
        Event::AttributeRemoved(AttributeRemoved { attribute: id.to_vec(), ..AttributeRemoved::default() })
    };
    // Whether the attribute is erased before, with or after the event about it.
    for (order, right) in [(-1, ErasedKind::Attribute), (0, ErasedKind::Attribute), (1, ErasedKind::Decision)]
    {
        for stated in [ErasedKind::Attribute, ErasedKind::Decision] {
            let (mut log, attribute_id, _) = log_of_ada();
            let (of, about) = (log.size() - 2, log.size());
            log.append(ada(), removed(attribute_id));
            let before = log.bundle();
            let (of, of_event) = ((of, ErasedKind::Attribute), (about, stated));
            match order {
                -1 => [of, of_event].iter().for_each(|one| log.erase_stating(&[*one])),
                0 => log.erase_stating(&[of, of_event]),
                _ => [of_event, of].iter().for_each(|one| log.erase_stating(&[*one])),
            }
            let expected = if stated == right { vec![] } else { vec![(about, Fault::FalseErasedKind)] };
            assert_eq!(compared(&log, &before), expected, "{order} {stated:?}");
        }
    }
}

#[test]
fn what_no_erasure_states_or_the_earlier_export_withholds_is_counted() {
    let (mut log, ..) = log_of_ada();
    let first = log.size() - 2;
    let before = log.bundle();
    log.withheld = true;
    let sealed = log.bundle();
    log.withheld = false;
    log.erase_stating(&[(first, ErasedKind::Other)]);
    log.erase(&[first + 1], true);
    let earlier = vec![read(&log, &before).unwrap(), read(&log, &sealed).unwrap()];
    let report = verify(&log, earlier).unwrap();
    let numbers = report.earlier.iter().map(|one| (one.erased_since, one.not_stated, one.not_known));
    assert_eq!(numbers.collect::<Vec<_>>(), [(2, 1, 0), (2, 0, 2)]);
    assert_eq!(report.grants.findings.len(), 1);
}

#[test]
fn an_export_continues_an_earlier_one_across_key_rotations() {
    let (mut log, ..) = log_of_ada();
    let before = log.bundle();
    assert_eq!(compared(&log, &before), []);
    log.rotate(&SigningKey::from_bytes(&[5; 32]));
    log.append(ada(), withdrawn(wide()));
    let between = log.bundle();
    log.rotate(&SigningKey::from_bytes(&[6; 32]));
    for export in [&before, &between] {
        assert_eq!(compared(&log, export), []);
    }
}

#[test]
fn another_entry_or_key_at_the_same_place_is_a_fork() {
    let (mut log, ..) = log_of_ada();
    let (mut other, ..) = log_of_ada();
    let position = log.size();
    log.append(ada(), withdrawn(wide()));
    other.append(ada(), given(wide()));
    other.append(ada(), given(wide()));
    let failure = verify(&other, vec![read(&log, &log.bundle()).unwrap()]).unwrap_err();
    assert_eq!((failure.position, failure.kind), (Some(position), FailureKind::Broken), "{failure}");
    assert!(failure.to_string().contains("another entry at this position"), "{failure}");
    // The newer export must not be the shorter one.
    let failure = verify(&log, vec![read(&log, &other.bundle()).unwrap()]).unwrap_err();
    assert!(failure.to_string().contains("has only"), "{failure}");
    let (mut one, ..) = log_of_ada();
    let (mut two, ..) = log_of_ada();
    one.rotate(&SigningKey::from_bytes(&[5; 32]));
    two.rotate(&SigningKey::from_bytes(&[6; 32]));
    let failure = verify(&two, vec![read(&one, &one.bundle()).unwrap()]).unwrap_err();
    assert!(failure.to_string().contains("changed its key otherwise"), "{failure}");
}

#[test]
fn an_entry_that_vanished_or_is_dated_later_is_found() {
    let (mut log, ..) = log_of_ada();
    let position = log.size() - 1;
    let before = log.bundle();
    log.erase(&[position], false);
    assert!(verify(&log, vec![read(&log, &before).unwrap()]).is_err());
    let (mut log, ..) = log_of_ada();
    log.erase_stating(&[(position, ErasedKind::Decision)]);
    log.recorded[position as usize] += 1;
    assert_eq!(verify(&log, vec![]).unwrap().grants.findings, []);
    assert_eq!(compared(&log, &before), [(position, Fault::RecordedLater)]);
}

#[test]
fn an_export_of_another_log_is_refused() {
    let (log, ..) = log_of_ada();
    let mut other = Log::with_key(SigningKey::from_bytes(&[7; 32]));
    other.append(ada(), given(wide()));
    let failure = verify(&log, vec![read(&log, &other.bundle()).unwrap()]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Machine);
    assert!(failure.to_string().contains("of another log"), "{failure}");
    // An export that is damaged is not compared.
    let mut damaged = log.bundle();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert!(read(&log, &damaged).is_err());
}
