//! Tests that the verifier finds events in the stream of the wrong person, references to another person's
//! events, and event ids that occur twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::entry::Handle;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::Fault;

fn ada() -> Handle {
    subject(1)
}

fn bob() -> Handle {
    subject(2)
}

fn faults(log: &Log) -> Vec<Fault> {
    findings(log).into_iter().map(|(_, fault)| fault).collect()
}

#[test]
fn events_about_people_are_found_among_the_system_events() {
    let about_nobody = grant([1; 16], [2; 16], "key", "food");
    let all = terms(&["personalization"], &[], &[]);
    for event in [about_nobody, given(all), recorded(attribute("key", "food"))] {
        let mut log = Log::with_vocabulary();
        log.append_system_event(event);
        assert_eq!(faults(&log), [Fault::WrongParty]);
    }
}

#[test]
fn system_events_are_found_in_the_streams_of_people() {
    let events = [
        Event::NoticeRequired(NoticeRequired::default()),
        Event::PurposeDefined(PurposeDefined::default()),
        Event::AuditExported(AuditExported::default()),
        Event::RestoreConfirmed(RestoreConfirmed::default()),
        Event::ErasureCompleted(ErasureCompleted::default()),
    ];
    for event in events {
        let mut log = Log::with_vocabulary();
        log.append(ada(), event);
        assert_eq!(faults(&log), [Fault::WrongParty]);
    }
}

#[test]
fn what_recipients_report_and_are_reminded_of_comes_before() {
    let reported =
        |positions| Event::RecipientReported(RecipientReported { positions, ..Default::default() });
    let reminded = |position, named_at| {
        Event::RecipientReminded(RecipientReminded { position, named_at, ..Default::default() })
    };
    let at = Log::with_vocabulary().size();
    let of = |event: Event| {
        let mut log = Log::with_vocabulary();
        log.append_system_event(event);
        faults(&log)
    };
    let unknown = [Fault::UnknownReference];
    assert_eq!(of(reported(vec![0, at - 1])), []);
    assert_eq!(of(reported(vec![0, at])), unknown);
    assert_eq!(of(reminded(at - 1, 0)), []);
    assert_eq!(of(reminded(at, 0)), unknown);
    assert_eq!(of(reminded(0, at)), unknown);
}

#[test]
fn a_view_may_concern_one_person_or_all() {
    let mut log = Log::with_vocabulary();
    log.append(ada(), Event::RecordViewed(RecordViewed::default()));
    log.append_system_event(Event::RecordViewed(RecordViewed::default()));
    assert_eq!(faults(&log), []);
}

/// The faults of an event about Bob that names an attribute, consent, grant, request and so on of Ada.
fn faults_of_bob(event: impl FnOnce(Vec<u8>) -> Event) -> Vec<Fault> {
    let mut log = Log::with_vocabulary();
    let of_ada = log.append(ada(), recorded(attribute("key", "food"))).to_vec();
    let submitted = RequestSubmitted { request: of_ada.clone(), ..RequestSubmitted::default() };
    log.append(ada(), Event::RequestSubmitted(submitted));
    let placed = HoldPlaced { hold: of_ada.clone(), ..HoldPlaced::default() };
    log.append(ada(), Event::HoldPlaced(placed));
    log.append(bob(), recorded(attribute("key", "food")));
    log.append(bob(), event(of_ada));
    faults(&log)
}

#[test]
fn an_event_that_names_what_another_person_has_is_found() {
    let unknown = [Fault::UnknownReference];
    assert_eq!(
        faults_of_bob(|attribute| Event::AttributeConfirmed(AttributeConfirmed { attribute })),
        unknown
    );
    assert_eq!(
        faults_of_bob(|attribute| {
            Event::AttributeContested(AttributeContested { attribute, ..AttributeContested::default() })
        }),
        unknown
    );
    assert_eq!(
        faults_of_bob(|attribute| {
            Event::AttributeRemoved(AttributeRemoved { attribute, ..AttributeRemoved::default() })
        }),
        unknown
    );
    assert_eq!(
        faults_of_bob(|attribute| {
            Event::AttributeExpired(AttributeExpired { attribute, ..AttributeExpired::default() })
        }),
        unknown
    );
    assert_eq!(
        faults_of_bob(|source| {
            recorded(Attribute { derived_from: vec![source], ..attribute("other", "food") })
        }),
        unknown
    );
    assert_eq!(
        faults_of_bob(|corrects| {
            let attribute = Some(attribute("other", "food"));
            Event::AttributeCorrected(AttributeCorrected { corrects, attribute })
        }),
        unknown
    );
    assert_eq!(faults_of_bob(|consent| Event::ConsentExpired(ConsentExpired { consent })), unknown);
    assert_eq!(
        faults_of_bob(|request| {
            Event::RequestDecided(RequestDecided { request, ..RequestDecided::default() })
        }),
        unknown
    );
    assert_eq!(faults_of_bob(|request| Event::RequestWithdrawn(RequestWithdrawn { request })), unknown);
    assert_eq!(
        faults_of_bob(|hold| Event::HoldLifted(HoldLifted { hold, ..HoldLifted::default() })),
        unknown
    );
    assert_eq!(
        faults_of_bob(|artifact| {
            Event::ArtifactInvalidated(ArtifactInvalidated { artifact, ..ArtifactInvalidated::default() })
        }),
        unknown
    );
}

#[test]
fn an_event_may_name_what_was_erased() {
    let mut log = Log::with_vocabulary();
    log.append(ada(), recorded(attribute("other", "food")));
    let at = log.size();
    let attribute = log.append(ada(), recorded(attribute("key", "food"))).to_vec();
    log.append(ada(), Event::AttributeConfirmed(AttributeConfirmed { attribute }));
    log.erase(&[at], true);
    assert_eq!(faults(&log), []);
}

#[test]
fn an_event_id_that_occurs_twice_is_found() {
    let mut log = Log::with_vocabulary();
    let first = log.append(ada(), recorded(attribute("key", "food")));
    log.next_event_id = Some(first);
    let second_at = log.size();
    // The second event would otherwise replace the first: under another category, and no longer contested.
    log.append(ada(), recorded(attribute("key", "allergy")));
    assert_eq!(findings(&log), [(second_at, Fault::EventIdReused)]);
    log.next_event_id = Some(first);
    log.append(bob(), recorded(attribute("key", "food")));
    log.next_event_id = Some(first);
    log.append_system_event(Event::AuditExported(AuditExported::default()));
    assert_eq!(faults(&log), [Fault::EventIdReused; 3]);
    log.withheld = true;
    assert_eq!(faults(&log), [Fault::EventIdReused; 3]);
}

#[test]
fn a_decision_cites_a_notice_that_was_published_before_with_this_digest() {
    let decide = |publish: bool, change: fn(&mut NoticeRef)| {
        let mut log = Log::with_vocabulary();
        if publish {
            log.publish_documents();
        }
        let mut notice = published_notice();
        change(&mut notice);
        let terms = ConsentTerms { notice: Some(notice), ..terms(&["personalization"], &[], &[]) };
        log.append(ada(), given(terms.clone()));
        log.append(ada(), withdrawn(terms));
        faults(&log)
    };
    assert_eq!(decide(true, |_| ()), []);
    assert_eq!(decide(true, |notice| notice.language = "de".into()), []);
    assert_eq!(decide(false, |_| ()), [Fault::UnknownNotice; 2]);
    assert_eq!(decide(true, |notice| notice.version = "2".into()), [Fault::UnknownNotice; 2]);
    assert_eq!(decide(true, |notice| notice.digest = vec![0; 32]), [Fault::NoticeText; 2]);
}

#[test]
fn a_notice_is_published_with_the_digest_of_its_text() {
    let mut log = Log::with_vocabulary();
    log.publish_documents();
    let publish = |notice: NoticeRef, text: &str| {
        Event::NoticePublished(NoticePublished { notice: Some(notice), text: text.into() })
    };
    assert_eq!(faults(&log), []);
    let other = NoticeRef { version: "2".into(), ..published_notice() };
    log.append_system_event(publish(other, "Another text"));
    assert_eq!(faults(&log), [Fault::NoticeText]);
}
