//! Tests that a decision does not change before its `valid_until_ms`, and that events about grants do not
//! change a decision.

use crate::bounds::tests::against_models::{VOCABULARY, some_case};
use crate::bounds::tests::*;
use crate::bounds::valid_until::valid_until_ms;
use crate::domain::DAY_MS;
use crate::domain::event::{
    Event, GrantGivenAgain, GrantIssued, GrantUsed, PersonalBoundsSet, Reason, Recorded,
};
use crate::domain::histories::{NOW_MS, event_id, histories, recorded, varied_histories};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::sync::LazyLock;

const YOUNG_ONLY: &str = "@id(\"young\") forbid (principal, action, resource) when { context.age_days >= 2 && context.age_days < 4 };
@id(\"consent\") forbid (principal, action in Action::\"use\", resource) when { context.consent_days == 1 || context.consent_days > 3 };";
static AGES: LazyLock<Bounds> = LazyLock::new(|| {
    compile(defaults().into_iter().chain([pack(Tier::Provider, "young", YOUNG_ONLY)]).collect()).unwrap()
});

/// The events of a grant that is issued, used, reused and revoked.
fn about_grants(after: u64) -> impl Iterator<Item = Recorded> {
    let grant = event_id(after);
    let events = [
        Event::GrantIssued(GrantIssued { recipient: "tutor".into(), ..GrantIssued::default() }),
        Event::GrantUsed(GrantUsed { grant, ..GrantUsed::default() }),
        Event::GrantGivenAgain(GrantGivenAgain { grant, count: 2, ..Default::default() }),
        Event::GrantRevoked {
            grant,
            reason: Reason::Paused,
            cause: None,
            grant_id: String::new(),
            recipient: "tutor".into(),
            source: None,
        },
    ];
    (after..).zip(events).map(|(number, event)| recorded(number, NOW_MS, event))
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_decision_does_not_change_before_valid_until_ms(
        mut events in varied_histories(),
        case in some_case(),
        forget in prop_oneof![Just(0_u32), 1_u32..4],
        now_ms in prop_oneof![0..2 * NOW_MS, 0..6 * DAY_MS],
        share in 0.0..1.0_f64,
    ) {
        if forget > 0 {
            let own = PersonalBoundsSet { forget_inferences_days: forget, ..Default::default() };
            events.push(recorded(events.len() as u64, NOW_MS, Event::PersonalBoundsSet(own)));
        }
        let state = SubjectState::fold(&events);
        let until_ms = valid_until_ms(&state, now_ms);
        prop_assert!(until_ms > now_ms);
        let last_ms = until_ms.saturating_sub(1).min(now_ms + 2 * DAY_MS);
        let between_ms = now_ms + ((last_ms - now_ms) as f64 * share) as u64;
        let at = |now_ms| AGES.decide(&state, &VOCABULARY, &Case { now_ms, ..case });
        prop_assert_eq!(at(now_ms), at(between_ms));
        prop_assert_eq!(at(now_ms), at(last_ms));
    }

    #[test]
    fn events_about_grants_do_not_change_a_decision(events in histories(), case in some_case()) {
        let before = SubjectState::fold(&events);
        let events: Vec<_> = events.iter().cloned().chain(about_grants(events.len() as u64)).collect();
        let after = SubjectState::fold(&events);
        prop_assert_eq!(after.decisive_version, before.decisive_version);
        prop_assert!(after.version > before.version);
        prop_assert_eq!(AGES.decide(&after, &VOCABULARY, &case), AGES.decide(&before, &VOCABULARY, &case));
    }
}

/// The property above would also hold if `valid_until_ms` were always too early. This test therefore checks
/// that decisions do change at that time.
#[test]
fn many_decisions_change_at_valid_until_ms() {
    let mut changes = Vec::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..400 {
        let events = histories().new_tree(&mut runner).unwrap().current();
        let state = SubjectState::fold(&events);
        let until_ms = valid_until_ms(&state, NOW_MS);
        let at = |now_ms| AGES.decide(&state, &VOCABULARY, &Case { now_ms, ..memory(&[], &[]) });
        changes.push(until_ms < u64::MAX && at(until_ms - 1) != at(until_ms));
    }
    let changed = changes.iter().filter(|changed| **changed).count();
    assert!(changed > 10, "{changed} of 400");
}
