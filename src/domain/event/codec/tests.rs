//! Tests that every event survives encoding and decoding unchanged.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::domain::embedding::Embedding;
use crate::domain::event::{
    AccessProvided, Actor, AuditExported, BackupRestored, BoundsPublished, CategoryDefined, ClockAccepted,
    DecisionRulesAdopted, ErasedKind, ErasureCompleted, ErasureDetails, ErasureRequested, ErasureScope,
    ErasureSummary, FiguresReported, GrantIssued, GrantUsed, GrantedAttribute, Ground, KeptOnGround,
    KeptRecipient, LogKeyRotated, LogOpened, NoticePublished, NoticeRequired, PackageKind, PositionRange,
    PriorRecipient, Provenance, PurposeDefined, Ranking, RecipientAcknowledged, RecipientsKept, RecordViewed,
    RequestDecided, RequestKind, RequestWithdrawn, RestoreConfirmed, Role, Rung, SubjectMapCommitted, Tier,
    WithheldClass, WitnessAdded, WitnessRemoved,
};
use crate::domain::histories::{terms, varied_histories};
use crate::domain::ids::Handle;
use crate::domain::legal_basis::Basis;
use proptest::prelude::*;
use std::sync::Arc;

fn place() -> Place {
    let has_hash_in_clear = false;
    Place {
        event_id: EventId([7; 16]),
        position: 9,
        version: 3,
        recorded_at_ms: 11,
        sealed_at_ms: 10,
        has_hash_in_clear,
    }
}

fn roundtrip(event: Event) -> Result<Event, CodecError> {
    let actor = Actor { role: Role::Service, name: "tutor".into() };
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
                claimed_provenance: Provenance::Observed,
                embedding: Some(Arc::new(Embedding { model: "m".into(), values: vec![0, 0x3c] })),
            }
        },
    )
}

fn event_id() -> impl Strategy<Value = EventId> {
    any::<[u8; 16]>().prop_map(EventId)
}

fn recorded_attribute() -> impl Strategy<Value = Event> {
    prop_oneof![
        attribute().prop_map(Event::AttributeRecorded),
        attribute().prop_map(Event::EarlierAttributeRecorded),
    ]
}

fn recipients_kept() -> impl Strategy<Value = Event> {
    any::<u64>().prop_map(|at_ms| {
        Event::RecipientsKept(RecipientsKept {
            recipients: vec![KeptRecipient {
                name: "tutor".into(),
                role: if at_ms % 2 == 0 { Role::Auditor } else { Role::Unspecified },
                first_ms: at_ms,
                last_ms: at_ms.saturating_add(1),
                grant_ids: vec!["g7-0101010101010101".into()],
                keys: vec![vec![7; 8]],
                keys_left_out: at_ms % 3 == 0,
            }],
        })
    })
}

fn recipient_acknowledged() -> impl Strategy<Value = Event> {
    any::<u64>().prop_map(|position| {
        Event::RecipientAcknowledged(RecipientAcknowledged {
            position,
            recipient: "tutor".into(),
            role: if position % 2 == 0 { Role::Auditor } else { Role::Unspecified },
        })
    })
}

fn erasure_requested() -> impl Strategy<Value = Event> {
    event_id()
        .prop_map(|request| Event::ErasureRequested(ErasureRequested { request, scope: ErasureScope::All }))
}

fn subject_event() -> impl Strategy<Value = Event> {
    let corrected = (event_id(), attribute());
    let issued = (".{0,9}", any::<u64>(), proptest::collection::vec(any::<u64>(), 0..3));
    let cited = proptest::collection::vec((event_id(), event_id(), ".{0,9}"), 0..3);
    let withheld = proptest::collection::vec(
        (1_i32..=3, 0_i32..=19, proptest::option::of(event_id()), proptest::option::of(event_id())),
        0..3,
    );
    let used =
        (event_id(), ".{0,9}", any::<u32>(), any::<bool>(), proptest::collection::vec(event_id(), 0..3));
    let revoked = (event_id(), 0_i32..=19, proptest::option::of(event_id()), ".{0,9}");
    prop_oneof![
        recorded_attribute(),
        corrected.prop_map(|(corrects, attribute)| Event::AttributeCorrected { corrects, attribute }),
        (event_id(), ".{0,9}")
            .prop_map(|(attribute, reason)| Event::AttributeContested { attribute, reason }),
        event_id().prop_map(|attribute| Event::AttributeConfirmed { attribute }),
        (event_id(), proptest::collection::vec(event_id(), 0..3))
            .prop_map(|(attribute, sources)| Event::AttributeSourcesAdded { attribute, sources }),
        (event_id(), ".{0,9}").prop_map(|(attribute, reason)| Event::AttributeRemoved { attribute, reason }),
        terms().prop_map(Event::ConsentRequested),
        (issued, cited, withheld).prop_map(|((recipient, expires_at_ms, bounds), cited, withheld)| {
            let allowed = |(attribute, consent, key)| GrantedAttribute {
                attribute,
                basis: Basis::Consent(consent),
                key,
                category: "work".into(),
            };
            let class = |(provenance, reason, decided_by_event, source)| WithheldClass {
                provenance: Provenance::try_from(provenance).unwrap(),
                reason: Reason::try_from(reason).unwrap(),
                decided_by: Tier::Individual,
                decided_by_event,
                source,
                ..WithheldClass::default()
            };
            Event::GrantIssued(GrantIssued {
                recipient,
                allowed: cited.into_iter().map(allowed).collect(),
                withheld: withheld.into_iter().map(class).collect(),
                expires_at_ms,
                bounds,
                ranking: Some(Ranking { permitted: 3, chosen: 1, ..Ranking::default() }),
                ..GrantIssued::default()
            })
        }),
        used.prop_map(|(grant, reply, count, ai_disclosure_shown, shaped_by)| Event::GrantUsed(GrantUsed {
            grant,
            reply,
            shaped_by,
            count,
            ai_disclosure_shown,
        })),
        revoked.prop_map(|(grant, reason, cause, grant_id)| Event::GrantRevoked {
            grant,
            reason: Reason::try_from(reason).unwrap(),
            cause,
            recipient: "tutor".into(),
            grant_id,
            source: cause,
        }),
        recipient_acknowledged(),
        recipients_kept(),
        erasure_requested(),
        (proptest::option::of(event_id()), any::<u64>()).prop_map(|(request, items)| {
            Event::AccessProvided(AccessProvided { request, kind: PackageKind::Portability, items })
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

/// The completion of an erasure with every field set.
fn completed() -> ErasureCompleted {
    ErasureCompleted {
        request: Some(EventId([3; 16])),
        request_hash: vec![8; 32],
        scope: ErasureScope::Category,
        discarded: vec![PositionRange { first: 1, last: 4 }],
        key_epoch: 4,
        recipients: vec![PriorRecipient { name: "tutor".into(), ..PriorRecipient::default() }],
        erased_by_category: [("work".to_owned(), 2)].into(),
        requested_at_ms: 7,
        kept: vec![KeptOnGround { ground: Ground::LegalClaims, entries: 3 }],
        kinds: vec![ErasedKind::Attribute; 4],
        versions: vec![0, 1, 2, 5],
    }
}

#[test]
fn system_events_round_trip() {
    let purpose = PurposeDefined { id: "p".into(), rung: Rung::Viewpoint, ..PurposeDefined::default() };
    let events = [
        Event::ErasureCompleted(completed()),
        Event::BoundsPublished(BoundsPublished { tier: Tier::Public, ..BoundsPublished::default() }),
        Event::PurposeDefined(purpose),
        Event::CategoryDefined(CategoryDefined { special: true, ..CategoryDefined::default() }),
        Event::NoticePublished(NoticePublished { text: "t".into(), notice: None }),
        Event::NoticeRequired(NoticeRequired { id: "n".into(), version: "2".into(), effective_from_ms: 7 }),
        Event::RequestWithdrawn(RequestWithdrawn { request: EventId([7; 16]) }),
        Event::AuditExported(AuditExported { tree_size: 8, ..AuditExported::default() }),
        Event::RecordViewed(RecordViewed { role: Role::Steward, ..RecordViewed::default() }),
        Event::LogOpened(LogOpened { origin: "o".into(), ..LogOpened::default() }),
        Event::LogKeyRotated(LogKeyRotated { statement: "s".into(), old_key_until_ms: 4 }),
        Event::WitnessAdded(WitnessAdded { vkey: "w".into() }),
        Event::WitnessRemoved(WitnessRemoved { vkey: "w".into() }),
        Event::BackupRestored(BackupRestored { use_waits: true, ..BackupRestored::default() }),
        Event::RestoreConfirmed(RestoreConfirmed { restore: EventId([6; 16]) }),
        Event::ClockAccepted(ClockAccepted { clock_ms: 1, ledger_ms: 2 }),
        Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 3 }),
        Event::SubjectMapCommitted(SubjectMapCommitted { tree_size: 9, ..SubjectMapCommitted::default() }),
        Event::FiguresReported(FiguresReported { epsilon: 0.5, ..FiguresReported::default() }),
    ];
    for event in events {
        assert_eq!(roundtrip(event.clone()), Ok(event));
    }
}

#[test]
fn an_erasures_intent_round_trips_and_other_bytes_are_refused() {
    let summary = ErasureSummary { scope: ErasureScope::Key, key_hash: vec![9; 32], ..Default::default() };
    let decided =
        RequestDecided { kind: RequestKind::Erasure, erasure: Some(summary), ..RequestDecided::default() };
    assert_eq!(decode_decided(&encode_decided(&decided)), Ok(decided.clone()));
    let details = ErasureDetails { erased_by_category: [("work".to_owned(), 2)].into(), requested_at_ms: 8 };
    assert_eq!(decode_details(&encode_details(&details)), Ok(details));
    for (subject_handle, decided) in [(None, None), (Some(Handle([5; 16])), Some(decided))] {
        let sealed_decided = vec![6; 40];
        let intent = ErasureIntent { completed: completed(), subject_handle, decided, sealed_decided };
        assert_eq!(decode_intent(&encode_intent(&intent)), Ok(intent));
    }
    assert_eq!(decode_intent(&[0xff]), Err(CodecError::Malformed("intent")));
    assert_eq!(decode_intent(&[]), Err(CodecError::Malformed("completed")));
}

#[test]
fn ids_and_enumerations_of_a_message_are_checked() {
    let issued = |class: log::WithheldClass| {
        let issued = log::GrantIssued { withheld: vec![class], ..Default::default() };
        let body = EventBody {
            actor: Some(log::Actor::default()),
            event: Some(Body::GrantIssued(issued)),
            ..EventBody::default()
        };
        decode(place(), body)
    };
    let class = log::WithheldClass::default();
    assert!(issued(class.clone()).is_ok());
    let unknown = log::WithheldClass { reason: 999, ..class.clone() };
    assert_eq!(issued(unknown), Err(CodecError::Malformed("reason")));
    let short = log::WithheldClass { decided_by_event: vec![1; 15], ..class };
    assert_eq!(issued(short), Err(CodecError::Malformed("decided_by_event")));
}

#[test]
fn a_malformed_field_is_named_and_an_unknown_kind_has_its_own_error() {
    let body =
        |event: Option<Body>| EventBody { actor: Some(log::Actor::default()), event, ..EventBody::default() };
    let fails = |event: Option<Body>| decode(place(), body(event)).unwrap_err();
    assert_eq!(fails(None), CodecError::Unknown);
    let without_actor =
        EventBody { event: Some(Body::LogOpened(LogOpened::default())), ..EventBody::default() };
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
