//! Tests of the fold: replacement of attributes, contests, signals and grants.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::domain::attribute::Secret;
use crate::domain::histories::{event_id, histories, recorded};
use proptest::prelude::*;

fn attribute(key: &str, value: &str, provenance: Provenance) -> Attribute {
    Attribute {
        key: key.into(),
        value: Secret::new(value.into()),
        category: "work".into(),
        provenance,
        evidence: Vec::new(),
        derived_from: Vec::new(),
        confidence: None,
        model: String::new(),
        observed_at_ms: 0,
        expires_at_ms: None,
        from_replies: Vec::new(),
        claimed_provenance: Provenance::Unspecified,
        embedding: None,
    }
}

fn fold(events: Vec<Event>) -> SubjectState {
    let recorded: Vec<Recorded> =
        (0_u64..).zip(events).map(|(number, event)| recorded(number, number, event)).collect();
    SubjectState::fold(&recorded)
}

fn declared(value: &str) -> Event {
    Event::AttributeRecorded(attribute("k", value, Provenance::Declared))
}

fn inferred(value: &str) -> Event {
    Event::AttributeRecorded(attribute("k", value, Provenance::Inferred))
}

fn value(state: &SubjectState) -> &str {
    state.attributes["k"].attribute.value.expose()
}

#[test]
fn an_inference_never_overrides_a_declared_or_confirmed_attribute() {
    assert_eq!(value(&fold(vec![declared("1"), inferred("2")])), "1");
    assert_eq!(value(&fold(vec![inferred("1"), inferred("2")])), "2");
    assert_eq!(value(&fold(vec![inferred("1"), declared("2")])), "2");
    let confirmed = Event::AttributeConfirmed { attribute: event_id(0) };
    let state = fold(vec![inferred("1"), confirmed, inferred("2")]);
    assert_eq!((value(&state), state.attributes["k"].confirmed), ("1", true));
}

#[test]
fn a_contested_inference_stays_contested_until_its_value_changes() {
    let contested = || Event::AttributeContested { attribute: event_id(0), reason: String::new() };
    let again = fold(vec![inferred("1"), contested(), inferred("1")]);
    assert!(again.attributes["k"].contested);
    assert_eq!(again.attributes["k"].event_id, event_id(2), "a confirmation refers to the newest record");
    assert!(!fold(vec![inferred("1"), contested(), inferred("2")]).attributes["k"].contested);
    assert!(!fold(vec![inferred("1"), contested(), declared("1")]).attributes["k"].contested);
    let correction = attribute("k", "1", Provenance::Inferred);
    let corrected = Event::AttributeCorrected { corrects: event_id(0), attribute: correction };
    assert!(fold(vec![inferred("1"), contested(), corrected]).attributes["k"].contested);
}

#[test]
fn a_correction_replaces_the_corrected_attribute_but_no_declared_one_under_another_key() {
    let corrected =
        |corrects, attribute| Event::AttributeCorrected { corrects: event_id(corrects), attribute };
    let state = fold(vec![declared("1"), corrected(0, attribute("k", "2", Provenance::Declared))]);
    assert_eq!((state.attributes.len(), value(&state)), (1, "2"));
    let other = Event::AttributeRecorded(attribute("other", "0", Provenance::Inferred));
    let state = fold(vec![declared("1"), other, corrected(1, attribute("k", "2", Provenance::Inferred))]);
    assert_eq!((state.attributes.len(), value(&state)), (1, "1"));
}

#[test]
fn signals_are_lifted_for_named_purposes_or_for_all() {
    let signal = |purposes: &[&str], lifted| Event::Signal {
        kind: SignalKind::Objection,
        purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
        lifted,
        interaction: String::new(),
    };
    let is_active =
        |events| fold(events).signal_against(SignalKind::Objection, &["memory", "personalization"]).is_some();
    assert!(is_active(vec![signal(&["personalization"], false)]));
    assert!(!is_active(vec![signal(&["safety"], false)]));
    assert!(is_active(vec![signal(&["memory", "safety"], false), signal(&["safety"], true)]));
    assert!(!is_active(vec![signal(&["memory", "safety"], false), signal(&["memory"], true)]));
    assert!(
        is_active(vec![signal(&[], false), signal(&["memory"], true)]),
        "a signal for all purposes is lifted only as a whole"
    );
    assert!(!is_active(vec![signal(&[], false), signal(&["memory"], false), signal(&[], true)]));
}

#[test]
fn ended_grants_do_not_accumulate() {
    let mut state = SubjectState::default();
    for number in 0..10_000 {
        let grant = GrantIssued { expires_at_ms: number + 10, ..GrantIssued::default() };
        state.apply(&recorded(number, number, Event::GrantIssued(grant)));
        assert!(state.grants.len() <= ENDED_GRANTS_MAX);
    }
    let open = state.grants.values().filter(|grant| grant.issued.expires_at_ms > 9_999).count();
    assert_eq!(open, 10);
}

#[test]
fn grants_that_allow_the_same_attributes_share_one_list() {
    let granted = |key: &str| GrantedAttribute { key: key.into(), ..Default::default() };
    let grant = |keys: &[&str]| {
        let allowed = keys.iter().map(|key| granted(key)).collect();
        Event::GrantIssued(GrantIssued { expires_at_ms: 100, allowed, ..GrantIssued::default() })
    };
    let state = fold(vec![grant(&["a", "b"]), grant(&["a"]), grant(&["a", "b"])]);
    let allowed: Vec<_> = state.grants.values().map(|grant| Arc::clone(&grant.issued.allowed)).collect();
    assert!(Arc::ptr_eq(&allowed[0], &allowed[2]) && !Arc::ptr_eq(&allowed[0], &allowed[1]));
    assert_eq!((allowed[1].len(), allowed[2][1].key.as_str()), (1, "b"));
    let (two, three) = (fold(vec![grant(&["a"]), grant(&["a", "b"])]), state);
    let another = three.memory_bytes() - two.memory_bytes();
    assert!(another < 500, "{another} bytes for a grant with a shared list");
}

#[test]
fn the_first_revocation_of_a_grant_is_kept() {
    let revoked = |reason| Event::GrantRevoked {
        grant: event_id(0),
        reason,
        cause: None,
        grant_id: String::new(),
        recipient: String::new(),
        source: None,
    };
    let issued = Event::GrantIssued(GrantIssued { expires_at_ms: 100, ..GrantIssued::default() });
    let state = fold(vec![issued, revoked(Reason::Paused), revoked(Reason::Objected)]);
    assert_eq!(state.grants[&event_id(0)].revoked, Some((Reason::Paused, 1)));
}

proptest! {
    #[test]
    fn folding_at_once_equals_applying_events_one_by_one(events in histories(), at in 0_usize..16) {
        let (before, after) = events.split_at(at.min(events.len()));
        let mut state = SubjectState::fold(before);
        after.iter().for_each(|event| state.apply(event));
        prop_assert_eq!(&state, &SubjectState::fold(&events));
        prop_assert_eq!(state.version, events.len() as u64);
        prop_assert!(state.attributes.iter().all(|(key, current)| *key == current.attribute.key));
    }
}
