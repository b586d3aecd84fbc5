#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::*;
use crate::domain::codec;
use crate::domain::default_vocabulary::default_vocabulary;
use crate::domain::event::{Actor, Draft, GrantUsed, HoldPlaced, Reason};
use crate::domain::histories::{CATEGORIES, event_id, histories, recorded};
use proptest::prelude::*;
use prost::Message;
use sayso_proof::event::{GrantedAttribute, WithheldClass};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// The history with grants and uses of what it holds at its end, and the ledger's own event last, as the use
/// case has it.
fn with_uses(mut history: Vec<Recorded>, picks: &[usize]) -> Vec<Recorded> {
    let state = SubjectState::fold(&history);
    let held: Vec<_> = state.attributes.values().collect();
    for pick in picks.iter().filter(|_| !held.is_empty()) {
        let cited = held[pick % held.len()];
        let allowed = GrantedAttribute {
            attribute: cited.event_id.0.to_vec(),
            key: cited.attribute.key.clone(),
            category: cited.attribute.category.clone(),
            ..GrantedAttribute::default()
        };
        let other = held[(pick + 1) % held.len()];
        let withheld =
            WithheldClass { category: other.attribute.category.clone(), ..WithheldClass::default() };
        let grant =
            GrantIssued { allowed: vec![allowed], withheld: vec![withheld], ..GrantIssued::default() };
        let number = history.len() as u64;
        history.push(recorded(number, 2_000, Event::GrantIssued(grant)));
        let used = GrantUsed {
            grant: event_id(number).0.to_vec(),
            shaped_by: vec![cited.event_id.0.to_vec()],
            ..GrantUsed::default()
        };
        history.push(recorded(number + 1, 2_000, Event::GrantUsed(used)));
        let revoked = Event::GrantRevoked {
            grant: event_id(number),
            reason: Reason::Paused,
            cause: None,
            grant_id: String::new(),
            recipient: String::new(),
            source: None,
        };
        history.push(recorded(number + 2, 2_000, revoked));
    }
    let asked = Event::ErasureRequested(crate::domain::event::ErasureRequested::default());
    history.push(recorded(history.len() as u64, 2_000, asked));
    history
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        1 => Just(Scope::Profile),
        4 => proptest::sample::select(&KEYS[..]).prop_map(|key| Scope::Key(key.into())),
        4 => proptest::sample::select(&CATEGORIES[..]).prop_map(|of| Scope::Category(of.into())),
        2 => proptest::collection::btree_set(0_u64..12, 0..4).prop_map(Scope::Versions),
    ]
}

/// What retention ends is chosen before the ledger's own event is written.
fn before_the_last(scope: Scope, history: &[Recorded]) -> Scope {
    let last = history.len() as u64 - 1;
    match scope {
        Scope::Versions(versions) => Scope::Versions(versions.into_iter().filter(|at| *at < last).collect()),
        scope => scope,
    }
}

fn left<'a>(history: &'a [Recorded], selection: &Selection) -> Vec<&'a Recorded> {
    history.iter().filter(|event| !selection.versions.contains(&event.version)).collect()
}

fn bytes_of(event: &Recorded) -> Vec<u8> {
    let (about_ms, actor, event) = (event.about_ms, event.actor.clone(), event.event.clone());
    codec::encode(&Draft { about_ms, actor, event }, &[]).encode_to_vec()
}

fn hold(category: &str) -> Hold {
    let categories = vec![category.to_owned()];
    let ground = Ground::LegalClaims.into();
    let placed = HoldPlaced { hold: vec![7; 16], ground, categories, ..HoldPlaced::default() };
    Hold { id: EventId([7; 16]), placed, by: Actor::default(), placed_at_ms: 0 }
}

proptest! {
    #[test]
    fn nothing_erased_is_derivable_from_what_stays(
        history in histories(), picks in proptest::collection::vec(0_usize..4, 0..3), scope in scope(),
    ) {
        let history = with_uses(history, &picks);
        let words = default_vocabulary();
        let scope = before_the_last(scope, &history);
        let selection = select(&history, &scope, &[], &words);
        let left = left(&history, &selection);
        let is_retention = matches!(scope, Scope::Versions(_));
        for event in &left {
            // No id of what is gone stands anywhere, which covers sources, corrections, contests, grants and
            // uses.
            let uses = is_retention && matches!(class(&event.event), Class::Uses);
            let bytes = bytes_of(event);
            for gone in history.iter().filter(|event| selection.versions.contains(&event.version) && !uses) {
                prop_assert!(!bytes.windows(16).any(|window| window == gone.event_id.0));
            }
            match (&scope, &event.event) {
                (Scope::Profile, other) => prop_assert!(!matches!(class(other), Class::Profile | Class::Uses)),
                (Scope::Key(key), other) => prop_assert!(!names_key(other, key)),
                (Scope::Category(of), Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. }) => {
                    prop_assert!(!words.category_ancestry(&attribute.category).contains(&of.as_str()));
                }
                (Scope::Versions(versions), _) => prop_assert!(!versions.contains(&event.version)),
                _ => {}
            }
        }
        prop_assert_eq!(left.last().map(|event| event.version), history.last().map(|event| event.version));
    }

    #[test]
    fn nothing_comes_back_to_life_and_what_the_person_decided_stands(
        history in histories(), scope in scope(),
    ) {
        let history = with_uses(history, &[]);
        let selection = select(&history, &scope, &[], &default_vocabulary());
        let before = SubjectState::fold(&history);
        let after = SubjectState::fold(left(&history, &selection));
        for (key, held) in &after.attributes {
            let then = before.attributes.get(key);
            prop_assert!(then.is_some_and(|then| then.event_id == held.event_id));
            prop_assert!(held.contested || then.is_none_or(|then| !then.contested));
        }
        if !matches!(scope, Scope::Versions(_)) {
            prop_assert_eq!(&after.consents, &before.consents);
            prop_assert_eq!(&after.signals, &before.signals);
        }
    }

    #[test]
    fn what_a_hold_keeps_stays(history in histories(), of in proptest::sample::select(&CATEGORIES[..])) {
        let history = with_uses(history, &[0, 1]);
        let words = default_vocabulary();
        let holds = [hold(of)];
        for scope in [Scope::All, Scope::Profile, Scope::Category(of.into())] {
            let selection = select(&history, &scope, &holds, &words);
            let mut kept = 0_u64;
            for event in &history {
                if let Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } = &event.event
                    && holds[0].keeps(&attribute.category, &words)
                {
                    prop_assert!(!selection.versions.contains(&event.version));
                    kept += 1;
                }
            }
            let said: u64 = selection.kept.iter().map(|kept| kept.entries).sum();
            prop_assert!(said >= kept);
        }
    }

    #[test]
    fn everything_is_everything(history in histories()) {
        let history = with_uses(history, &[0]);
        let selection = select(&history, &Scope::All, &[], &default_vocabulary());
        prop_assert_eq!(selection.versions.len(), history.len());
        prop_assert_eq!(selection.kept, vec![]);
    }
}

#[test]
fn positions_become_runs() {
    let run = |first, last| PositionRange { first, last };
    assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), [run(1, 3), run(7, 7), run(9, 10)]);
    assert!(ranges(&[]).is_empty());
}
