//! Tests that every event survives encoding and decoding unchanged.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::domain::event::{Actor, Role};
use crate::domain::histories::{terms, varied_histories};
use proptest::prelude::*;
use prost::Message;

fn place() -> Place {
    Place { event_id: EventId([7; 16]), position: 9, version: 3, recorded_at_ms: 11, sealed_at_ms: 10 }
}

fn roundtrip(event: Event) -> Result<Event, CodecError> {
    let actor = Actor { role: Role::Service.into(), name: "tutor".into() };
    let bytes = encode(&Draft { about_ms: 5, actor, event }, &[1, 2]).encode_to_vec();
    let recorded = decode(place(), EventBody::decode(bytes.as_slice()).unwrap())?;
    assert_eq!((recorded.about_ms, recorded.position, recorded.version), (5, 9, 3));
    assert_eq!((recorded.recorded_at_ms, recorded.sealed_at_ms), (11, 10));
    assert_eq!((recorded.actor.name.as_str(), recorded.request_digest.as_slice()), ("tutor", &[1, 2][..]));
    Ok(recorded.event)
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let texts = (".{0,20}", ".{0,20}", "[a-z]{0,9}", ".{0,9}", proptest::collection::vec(".{0,9}", 0..3));
    let numbers = (any::<u64>(), any::<Option<u64>>(), proptest::option::of(0.0_f64..=1.0), 1_i32..=3);
    let sources = proptest::collection::vec(any::<[u8; 16]>(), 0..3);
    (texts, numbers, sources).prop_map(
        |((key, value, category, model, evidence), (observed, expires, confidence, provenance), sources)| {
            Attribute {
                key,
                value: Secret::new(value),
                category,
                provenance: Provenance::try_from(provenance).unwrap(),
                evidence,
                derived_from: sources.into_iter().map(EventId).collect(),
                confidence,
                model,
                observed_at_ms: observed,
                expires_at_ms: expires,
                from_replies: Vec::new(),
            }
        },
    )
}

fn event_id() -> impl Strategy<Value = EventId> {
    any::<[u8; 16]>().prop_map(EventId)
}

fn subject_event() -> impl Strategy<Value = Event> {
    let corrected = (event_id(), attribute());
    let issued = (".{0,9}", any::<u64>(), proptest::collection::vec(any::<u64>(), 0..3));
    let used = (any::<[u8; 16]>(), ".{0,9}", any::<u32>(), any::<bool>());
    let revoked = (event_id(), 0_i32..=19, proptest::option::of(event_id()), ".{0,9}");
    prop_oneof![
        attribute().prop_map(Event::AttributeRecorded),
        corrected.prop_map(|(corrects, attribute)| Event::AttributeCorrected { corrects, attribute }),
        (event_id(), ".{0,9}")
            .prop_map(|(attribute, reason)| Event::AttributeContested { attribute, reason }),
        event_id().prop_map(|attribute| Event::AttributeConfirmed { attribute }),
        (event_id(), ".{0,9}").prop_map(|(attribute, reason)| Event::AttributeRemoved { attribute, reason }),
        terms().prop_map(Event::ConsentRequested),
        issued.prop_map(|(recipient, expires_at_ms, bounds)| Event::GrantIssued(log::GrantIssued {
            recipient,
            expires_at_ms,
            bounds,
            ..log::GrantIssued::default()
        })),
        used.prop_map(|(grant, reply, count, ai_disclosure_shown)| Event::GrantUsed(log::GrantUsed {
            grant: grant.to_vec(),
            reply,
            count,
            ai_disclosure_shown,
            ..log::GrantUsed::default()
        })),
        revoked.prop_map(|(grant, reason, cause, grant_id)| Event::GrantRevoked {
            grant,
            reason: Reason::try_from(reason).unwrap(),
            cause,
            recipient: "tutor".into(),
            grant_id,
            source: cause,
        }),
        any::<u64>().prop_map(|position| Event::RecipientAcknowledged(log::RecipientAcknowledged {
            position,
            recipient: "tutor".into(),
        })),
        any::<[u8; 16]>().prop_map(|request| Event::ErasureRequested(log::ErasureRequested {
            request: request.to_vec(),
            scope: log::ErasureScope::All.into(),
        })),
        (any::<[u8; 16]>(), any::<u64>()).prop_map(|(request, items)| {
            let kind = log::PackageKind::Portability.into();
            Event::AccessProvided(log::AccessProvided { request: request.to_vec(), kind, items })
        }),
    ]
}

proptest! {
    #[test]
    fn subject_events_round_trip(event in subject_event()) {
        prop_assert_eq!(roundtrip(event.clone()), Ok(event));
    }

    #[test]
    fn histories_round_trip(events in varied_histories()) {
        for recorded in events {
            prop_assert_eq!(roundtrip(recorded.event.clone()), Ok(recorded.event));
        }
    }
}

#[test]
fn system_events_round_trip() {
    let events = [
        Event::ErasureCompleted(log::ErasureCompleted { key_epoch: 4, ..log::ErasureCompleted::default() }),
        Event::BoundsPublished(log::BoundsPublished { pack: "p".into(), ..log::BoundsPublished::default() }),
        Event::PurposeDefined(log::PurposeDefined { id: "p".into(), ..log::PurposeDefined::default() }),
        Event::CategoryDefined(log::CategoryDefined { special: true, ..log::CategoryDefined::default() }),
        Event::NoticePublished(log::NoticePublished { text: "t".into(), notice: None }),
        Event::AuditExported(log::AuditExported { tree_size: 8, ..log::AuditExported::default() }),
        Event::RecordViewed(log::RecordViewed { method: "m".into(), ..log::RecordViewed::default() }),
        Event::LogOpened(log::LogOpened { origin: "o".into(), ..log::LogOpened::default() }),
        Event::LogKeyRotated(log::LogKeyRotated { statement: "s".into(), old_key_until_ms: 4 }),
        Event::WitnessAdded(log::WitnessAdded { vkey: "w".into() }),
        Event::WitnessRemoved(log::WitnessRemoved { vkey: "w".into() }),
        Event::BackupRestored(log::BackupRestored { use_waits: true, ..log::BackupRestored::default() }),
        Event::RestoreConfirmed(log::RestoreConfirmed { restore: vec![6; 16] }),
        Event::ClockAccepted(log::ClockAccepted { clock_ms: 1, ledger_ms: 2 }),
        Event::FiguresReported(log::FiguresReported { epsilon: 0.5, ..log::FiguresReported::default() }),
    ];
    for event in events {
        assert_eq!(roundtrip(event.clone()), Ok(event));
    }
}

#[test]
fn a_malformed_field_is_named_and_an_unknown_kind_has_its_own_error() {
    let body =
        |event: Option<Body>| EventBody { actor: Some(Actor::default()), event, ..EventBody::default() };
    let fails = |event: Option<Body>| decode(place(), body(event)).unwrap_err();
    assert_eq!(fails(None), CodecError::Unknown);
    let without_actor =
        EventBody { event: Some(Body::LogOpened(log::LogOpened::default())), ..EventBody::default() };
    assert_eq!(decode(place(), without_actor).unwrap_err(), CodecError::Malformed("actor"));
    let given = Body::ConsentGiven(log::ConsentGiven { terms: None });
    assert_eq!(fails(Some(given)), CodecError::Malformed("terms"));
    let contested = log::AttributeContested { attribute: vec![1, 2], ..log::AttributeContested::default() };
    assert_eq!(fails(Some(Body::AttributeContested(contested))), CodecError::Malformed("attribute"));
    let revoked = log::GrantRevoked { grant: vec![0; 16], cause: vec![1], ..log::GrantRevoked::default() };
    assert_eq!(fails(Some(Body::GrantRevoked(revoked))), CodecError::Malformed("cause"));
    let recorded = log::AttributeRecorded { attribute: None };
    assert_eq!(fails(Some(Body::AttributeRecorded(recorded))), CodecError::Malformed("attribute"));
}
