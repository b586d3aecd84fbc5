//! The person's own bounds: they only narrow, whatever is in them, and the verifier reads them alike.

use super::against_models::{BOUNDS, WORDS, faults, some_case};
use super::*;
use crate::bounds::personal_bounds::{PERSONAL, personal_policies, personal_title};
use crate::domain::event::{Event, PersonalBoundsSet, Recorded};
use crate::domain::histories::{CATEGORIES, PURPOSES, RECIPIENTS, histories, recorded};
use proptest::prelude::*;
use sayso_proof::event::NeverUse;
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
fn what_is_compiled_validates_and_only_forbids() {
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
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn they_never_allow_more(events in histories(), case in some_case(), choices in choices()) {
        let keys = |events: &[Recorded]| -> Vec<String> {
            let decision = BOUNDS.decide(&SubjectState::fold(events), &WORDS, &case);
            decision.allowed.into_iter().map(|allowed| allowed.key).collect()
        };
        let (before, after) = (keys(&events), keys(&with(&events, choices.clone())));
        prop_assert!(after.iter().all(|key| before.contains(key)), "{choices:?}");
        // Taken back, everything is as it was.
        let back = with(&with(&events, choices), PersonalBoundsSet::default());
        prop_assert_eq!(keys(&back), before);
    }

    /// The verifier, which has no policy engine, finds nothing wrong with what is decided, and something with
    /// the rest of what would be allowed without them.
    #[test]
    fn the_verifier_reads_them_alike(events in histories(), case in some_case(), choices in choices()) {
        let events = &with(&events, choices);
        let state = SubjectState::fold(events);
        let mut without = state.clone();
        without.personal = None;
        let decision = BOUNDS.decide(&state, &WORDS, &case);
        let granted =
            decision.allowed.iter().map(|allowed| (state.attributes[&allowed.key].as_ref(), allowed.consent)).collect();
        prop_assert_eq!(faults(events, &case, granted), Vec::<Fault>::new());
        for allowed in BOUNDS.decide(&without, &WORDS, &case).allowed {
            if !decision.allowed.iter().any(|there| there.key == allowed.key) {
                let held = &state.attributes[&allowed.key];
                prop_assert!(!faults(events, &case, vec![(held, allowed.consent)]).is_empty());
            }
        }
    }
}
