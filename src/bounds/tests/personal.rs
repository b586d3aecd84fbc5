//! Tests of personal bounds: a decision under personal bounds allows no more attributes than one without
//! them, and the verifier agrees with decisions under personal bounds.

use super::against_models::{BOUNDS, VOCABULARY, faults, some_case};
use super::*;
use crate::bounds::personal_bounds::{PERSONAL, personal_policies, personal_title};
use crate::domain::attribute::Attribute;
use crate::domain::consent::{Decision, Terms};
use crate::domain::event::{Actor, Event, NeverUse, PersonalBoundsSet, Provenance, Recorded, Role};
use crate::domain::histories::{CATEGORIES, PURPOSES, RECIPIENTS, event_id, histories, recorded};
use crate::domain::legal_basis::Basis;
use proptest::prelude::*;
use sayso_proof::replay::Fault;

fn everything() -> PersonalBoundsSet {
    let hostile = "\"]) || true; permit (principal, action, resource); //\\ \u{7}";
    let never = |category: &str, purposes: Vec<String>| NeverUse { category: category.into(), purposes };
    PersonalBoundsSet {
        never: vec![
            never("family", vec![]),
            never(hostile, vec![hostile.into()]),
            never("", vec!["memory".into()]),
        ],
        only_recipients: vec![hostile.into(), "наставник-bot".into()],
        declared_only: true,
        forget_inferences_days: 90,
        ask_each_time: true,
        paused: true,
        paused_interactions: vec![hostile.into()],
    }
}

#[test]
fn compiled_choices_are_valid_policies_that_only_forbid() {
    let bounds = default_bounds();
    let case = consented();
    let text = personal_policies(&everything());
    assert_eq!(text.matches("forbid (").count(), 9, "{text}");
    assert!(!text.lines().any(|line| line.starts_with("permit")), "{text}");
    let personal = bounds.personal(&everything());
    let denial = bounds.personal_denial_for(&personal, &case).unwrap();
    assert_eq!((denial.policy.as_str(), denial.tier), ("personal/pause", Tier::Individual));
    let title = personal_title(&everything(), "personal/forget-inferences").unwrap();
    assert!(title.contains("90 days"), "{title}");
    assert!(personal_policies(&PersonalBoundsSet::default()).is_empty());
    assert!(denial.policy.starts_with(PERSONAL));
}

fn choices() -> impl Strategy<Value = PersonalBoundsSet> {
    let word = |words: &'static [&'static str]| {
        prop_oneof![Just(String::new()), proptest::sample::select(words).prop_map(str::to_owned)]
    };
    let never = (word(&CATEGORIES), word(&PURPOSES)).prop_map(|(category, purpose)| NeverUse {
        category: if category.is_empty() && purpose.is_empty() { "work".into() } else { category },
        purposes: Some(purpose).filter(|purpose| !purpose.is_empty()).into_iter().collect(),
    });
    let lists = (proptest::collection::vec(never, 0..2), word(&RECIPIENTS));
    let flags = (proptest::bool::weighted(0.2), proptest::bool::weighted(0.1), proptest::bool::weighted(0.1));
    (lists, flags).prop_map(|((never, recipient), (declared_only, ask_each_time, paused))| {
        PersonalBoundsSet {
            never,
            only_recipients: Some(recipient).filter(|recipient| !recipient.is_empty()).into_iter().collect(),
            declared_only,
            ask_each_time,
            paused,
            ..PersonalBoundsSet::default()
        }
    })
}

fn with(events: &[Recorded], choices: PersonalBoundsSet) -> Vec<Recorded> {
    let mut events = events.to_vec();
    events.push(recorded(events.len() as u64, NOW_MS, Event::PersonalBoundsSet(choices)));
    events
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn personal_bounds_never_allow_more(events in histories(), case in some_case(), choices in choices()) {
        let keys = |events: &[Recorded]| -> Vec<String> {
            let decision = BOUNDS.decide(&SubjectState::fold(events), &VOCABULARY, &case);
            decision.allowed.into_iter().map(|allowed| allowed.key).collect()
        };
        let (before, after) = (keys(&events), keys(&with(&events, choices.clone())));
        prop_assert!(after.iter().all(|key| before.contains(key)), "{choices:?}");
        // After the choices are withdrawn, the decision is as before.
        let withdrawn = with(&with(&events, choices), PersonalBoundsSet::default());
        prop_assert_eq!(keys(&withdrawn), before);
    }

    /// The verifier has no policy engine, but agrees: it finds no fault with a grant of the allowed
    /// attributes. It finds a fault with a grant of any attribute that only the personal bounds withhold.
    #[test]
    fn the_verifier_agrees_with_decisions_under_personal_bounds(events in histories(), case in some_case(), choices in choices()) {
        let events = &with(&events, choices);
        let state = SubjectState::fold(events);
        let mut without = state.clone();
        without.personal = None;
        let decision = BOUNDS.decide(&state, &VOCABULARY, &case);
        let granted =
            decision.allowed.iter().map(|allowed| (state.attributes[&allowed.key].as_ref(), allowed.basis)).collect();
        prop_assert_eq!(faults(events, &case, granted), Vec::<Fault>::new());
        for allowed in BOUNDS.decide(&without, &VOCABULARY, &case).allowed {
            if !decision.allowed.iter().any(|also| also.key == allowed.key) {
                let current = &state.attributes[&allowed.key];
                prop_assert!(!faults(events, &case, vec![(current, allowed.basis)]).is_empty());
            }
        }
    }
}

/// The keys that a decision allows if the person wants only their own statements to be used. `recorder`
/// derives an attribute of work from one of health, and an attribute of language from that, and declares
/// both.
fn declared_only(recorder: Role, confirms: bool) -> (Vec<String>, Vec<Recorded>) {
    let own = |key: &str, category: &str, sources: &[u64]| {
        let attribute = deciding::attribute(key, category, sources);
        Event::AttributeRecorded(Attribute { provenance: Provenance::Declared, ..attribute })
    };
    let terms = Terms {
        purposes: vec!["memory".into()],
        categories: vec!["health".into(), "work".into(), "language".into()],
        explicit: true,
        ..Terms::default()
    };
    let mut events = vec![
        recorded(0, 1_000, own("illness", "health", &[])),
        recorded(1, 1_000, own("absence", "work", &[0])),
        recorded(2, 1_000, own("words", "language", &[1])),
        recorded(3, 1_000, Event::Consent { decision: Decision::Given, terms }),
    ];
    for event in &mut events[1..3] {
        event.actor = Actor { role: recorder, name: "tutor".into() };
    }
    if confirms {
        let confirmed = [1, 2].map(|number| Event::AttributeConfirmed { attribute: event_id(number) });
        events.extend((4..).zip(confirmed).map(|(number, event)| recorded(number, 1_000, event)));
    }
    let choices = PersonalBoundsSet { declared_only: true, ..PersonalBoundsSet::default() };
    let events = with(&events, choices);
    let decision = BOUNDS.decide(&SubjectState::fold(&events), &VOCABULARY, &memory(&[], &[]));
    (decision.allowed.into_iter().map(|allowed| allowed.key).collect(), events)
}

#[test]
fn what_others_derive_from_a_special_category_is_not_the_persons_own_statement_until_they_confirm_it() {
    for recorder in [Role::Service, Role::Channel, Role::Steward] {
        let (allowed, events) = declared_only(recorder, false);
        assert_eq!(allowed, ["illness"], "{recorder:?}");
        // The verifier finds a fault with a grant of each other attribute.
        let state = SubjectState::fold(&events);
        for key in ["absence", "words"] {
            let granted = vec![(state.attributes[key].as_ref(), Basis::Consent(event_id(3)))];
            assert_eq!(faults(&events, &memory(&[], &[]), granted), [Fault::PersonalBounds], "{key}");
        }
        assert_eq!(declared_only(recorder, true).0, ["absence", "illness", "words"], "{recorder:?}");
    }
    assert_eq!(declared_only(Role::Subject, false).0, ["absence", "illness", "words"]);
}
