//! Property tests of erasure: what it selects, what it keeps, and that it never revives data.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::default_vocabulary::default_vocabulary;
use crate::domain::event::{
    Actor, ArtifactRegistered, Draft, GrantIssued, GrantUsed, GrantedAttribute, Ground, HoldPlaced,
    Provenance, Reason, WithheldClass, codec,
};
use crate::domain::event_class::{Class, class};
use crate::domain::event_references::names_key;
use crate::domain::histories::{CATEGORIES, event_id, histories, recorded};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use proptest::prelude::*;
use prost::Message;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// Appends grants and uses of current attributes to a history, and last the ledger's own event about the
/// erasure, as the use case does.
fn with_uses(mut history: Vec<Recorded>, picks: &[usize]) -> Vec<Recorded> {
    let state = SubjectState::fold(&history);
    let current: Vec<_> = state.attributes.values().collect();
    for pick in picks.iter().filter(|_| !current.is_empty()) {
        let cited = current[pick % current.len()];
        let allowed = GrantedAttribute {
            attribute: cited.event_id,
            key: cited.attribute.key.clone(),
            category: cited.attribute.category.clone(),
            ..GrantedAttribute::default()
        };
        let other = current[(pick + 1) % current.len()];
        let third = current[(pick + 2) % current.len()];
        let withheld = WithheldClass {
            category: other.attribute.category.clone(),
            source: Some(other.event_id),
            decided_by_event: Some(third.event_id),
            ..WithheldClass::default()
        };
        let grant =
            GrantIssued { allowed: vec![allowed], withheld: vec![withheld], ..GrantIssued::default() };
        let number = history.len() as u64;
        history.push(recorded(number, 2_000, Event::GrantIssued(grant)));
        let used =
            GrantUsed { grant: event_id(number), shaped_by: vec![cited.event_id], ..GrantUsed::default() };
        history.push(recorded(number + 1, 2_000, Event::GrantUsed(used)));
        let revoked = Event::GrantRevoked {
            grant: event_id(number),
            reason: Reason::Paused,
            cause: Some(third.event_id),
            grant_id: String::new(),
            recipient: String::new(),
            source: Some(other.event_id),
        };
        history.push(recorded(number + 2, 2_000, revoked));
        let built = ArtifactRegistered {
            grant: event_id(number),
            sources: vec![other.event_id],
            ..ArtifactRegistered::default()
        };
        history.push(recorded(number + 3, 2_000, Event::ArtifactRegistered(built)));
    }
    let requested = Event::ErasureRequested(crate::domain::event::ErasureRequested::default());
    history.push(recorded(history.len() as u64, 2_000, requested));
    history
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        1 => Just(Scope::Profile),
        4 => proptest::sample::select(&KEYS[..]).prop_map(|key| Scope::Key(key.into())),
        4 => proptest::sample::select(&CATEGORIES[..]).prop_map(|category| Scope::Category(category.into())),
        2 => proptest::collection::btree_set(0_u64..12, 0..4).prop_map(Scope::Versions),
    ]
}

/// Removes the ledger's own event, which comes last, from the versions of a scope. In production, retention
/// selects the versions before the ledger writes that event.
fn without_the_last(scope: Scope, history: &[Recorded]) -> Scope {
    let last = history.len() as u64 - 1;
    match scope {
        Scope::Versions(versions) => Scope::Versions(versions.into_iter().filter(|at| *at < last).collect()),
        scope => scope,
    }
}

fn remaining<'a>(history: &'a [Recorded], selection: &Selection) -> Vec<&'a Recorded> {
    history.iter().filter(|event| !selection.versions.contains(&event.version)).collect()
}

fn bytes_of(event: &Recorded) -> Vec<u8> {
    let (about_ms, actor, event) = (event.about_ms, event.actor.clone(), event.event.clone());
    codec::encode(&Draft { about_ms, actor, event }, &[]).encode_to_vec()
}

fn hold(category: &str) -> Hold {
    let categories = vec![category.to_owned()];
    let ground = Ground::LegalClaims;
    let placed = HoldPlaced { hold: EventId([7; 16]), ground, categories, ..HoldPlaced::default() };
    Hold { id: EventId([7; 16]), placed, by: Actor::default(), placed_at_ms: 0 }
}

proptest! {
    #[test]
    fn no_remaining_event_depends_on_an_erased_one(
        history in histories(), picks in proptest::collection::vec(0_usize..4, 0..3), scope in scope(),
    ) {
        let history = with_uses(history, &picks);
        let vocabulary = default_vocabulary();
        let scope = without_the_last(scope, &history);
        let selection = select(&history, &scope, &[], &vocabulary, Limits::default()).unwrap();
        let remaining = remaining(&history, &selection);
        let is_retention = matches!(scope, Scope::Versions(_));
        for event in &remaining {
            // No remaining event contains the id of an erased event. This check covers sources, corrections,
            // contests, grants and uses.
            let is_kept_use = is_retention && matches!(class(&event.event), Class::Uses);
            let bytes = bytes_of(event);
            for erased in history.iter().filter(|event| selection.versions.contains(&event.version) && !is_kept_use) {
                prop_assert!(!bytes.windows(16).any(|window| window == erased.event_id.0));
            }
            match (&scope, &event.event) {
                (Scope::Profile, other) => prop_assert!(!matches!(class(other), Class::Profile | Class::Uses)),
                (Scope::Key(key), other) => prop_assert!(!names_key(other, key)),
                (Scope::Category(category), Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. }) => {
                    prop_assert!(!vocabulary.category_ancestry(&attribute.category).contains(&category.as_str()));
                }
                (Scope::Versions(versions), _) => prop_assert!(!versions.contains(&event.version)),
                _ => {}
            }
        }
        prop_assert_eq!(remaining.last().map(|event| event.version), history.last().map(|event| event.version));
    }

    #[test]
    fn no_attribute_is_revived_and_the_decisions_of_the_data_subject_are_kept(
        history in histories(), scope in scope(),
    ) {
        let history = with_uses(history, &[]);
        let selection = select(&history, &scope, &[], &default_vocabulary(), Limits::default()).unwrap();
        let before = SubjectState::fold(&history);
        let after = SubjectState::fold(remaining(&history, &selection));
        for (key, current) in &after.attributes {
            let former = before.attributes.get(key);
            prop_assert!(former.is_some_and(|former| former.event_id == current.event_id));
            prop_assert!(current.contested || former.is_none_or(|former| !former.contested));
        }
        if !matches!(scope, Scope::Versions(_)) {
            prop_assert_eq!(&after.consents, &before.consents);
            prop_assert_eq!(&after.signals, &before.signals);
        }
    }

    #[test]
    fn attributes_under_a_legal_hold_are_kept(history in histories(), category in proptest::sample::select(&CATEGORIES[..])) {
        let history = with_uses(history, &[0, 1]);
        let vocabulary = default_vocabulary();
        let holds = [hold(category)];
        for scope in [Scope::All, Scope::Profile, Scope::Category(category.into())] {
            let selection = select(&history, &scope, &holds, &vocabulary, Limits::default()).unwrap();
            let mut kept = 0_u64;
            for event in &history {
                if let Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } = &event.event
                    && holds[0].keeps(&attribute.category, &vocabulary)
                {
                    prop_assert!(!selection.versions.contains(&event.version));
                    kept += 1;
                }
            }
            let reported: u64 = selection.kept.iter().map(|kept| kept.entries).sum();
            prop_assert!(reported >= kept);
        }
    }

    #[test]
    fn the_scope_all_selects_every_event(history in histories()) {
        let history = with_uses(history, &[0]);
        let selection = select(&history, &Scope::All, &[], &default_vocabulary(), Limits::default()).unwrap();
        prop_assert_eq!(selection.versions.len(), history.len());
        prop_assert_eq!(selection.kept, vec![]);
    }
}

#[test]
fn positions_are_grouped_into_ranges() {
    let range = |first, last| PositionRange { first, last };
    assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), [range(1, 3), range(7, 7), range(9, 10)]);
    assert!(ranges(&[]).is_empty());
}

#[test]
fn a_part_on_which_too_much_depends_is_not_selected_and_the_profile_always_is() {
    let attribute = Attribute {
        key: "a".into(),
        value: Secret::new("1".into()),
        category: "work".into(),
        provenance: Provenance::Declared,
        claimed_provenance: Provenance::Unspecified,
        evidence: Vec::new(),
        derived_from: Vec::new(),
        confidence: None,
        model: String::new(),
        observed_at_ms: 0,
        expires_at_ms: None,
        from_replies: Vec::new(),
        embedding: None,
    };
    let recordings =
        (0..3).map(|number| recorded(number, 1_000, Event::AttributeRecorded(attribute.clone())));
    let history = with_uses(recordings.collect(), &[0]);
    let vocabulary = default_vocabulary();
    for limits in [Limits { links_max: 1, ..Limits::default() }, Limits { steps_max: 1, ..Limits::default() }]
    {
        let part = select(&history, &Scope::Key("a".into()), &[], &vocabulary, limits);
        assert_eq!(part, Err(TooLarge::Dependents));
    }
    // One person with too many links must not stop the end of retention for everybody.
    for unlimited in [Scope::Profile, Scope::Versions([0, 1, 2].into())] {
        let limits = Limits { links_max: 0, steps_max: 0, ..Limits::default() };
        let selection = select(&history, &unlimited, &[], &vocabulary, limits).unwrap();
        assert!(selection.versions.len() >= 3);
    }
}

#[test]
fn values_that_would_come_back_one_by_one_are_selected_unless_there_are_too_many() {
    const VALUES: u64 = 200;
    let of = |key: &str| Attribute {
        key: key.into(),
        value: Secret::new("1".into()),
        category: "work".into(),
        provenance: Provenance::Declared,
        claimed_provenance: Provenance::Unspecified,
        evidence: Vec::new(),
        derived_from: Vec::new(),
        confidence: None,
        model: String::new(),
        observed_at_ms: 0,
        expires_at_ms: None,
        from_replies: Vec::new(),
        embedding: None,
    };
    let mut history: Vec<Recorded> =
        (0..VALUES).map(|number| recorded(number, 1_000, Event::AttributeRecorded(of("b")))).collect();
    let corrects = event_id(VALUES - 1);
    let correction = Event::AttributeCorrected { corrects, attribute: of("a") };
    history.push(recorded(VALUES, 1_000, correction));
    let vocabulary = default_vocabulary();
    let scope = Scope::Key("a".into());
    let selection = select(&history, &scope, &[], &vocabulary, Limits::default()).unwrap();
    assert_eq!(selection.versions.len(), history.len(), "nothing that was replaced comes back");
    // Each value that comes back reads the rest of its key again.
    let limits = Limits { steps_max: 10_000, ..Limits::default() };
    assert_eq!(select(&history, &scope, &[], &vocabulary, limits), Err(TooLarge::Dependents));
}
