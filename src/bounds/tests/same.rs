//! A decision depends on nothing but its inputs: not on the process, on what it decided before, or on the
//! order in which hash maps are walked.

use super::against_models::{BOUNDS, WORDS, some_case};
use super::deciding::{fact, said};
use super::*;
use crate::domain::attribute::Attribute;
use crate::domain::consent::Decision as Said;
use crate::domain::event::{Event, GrantIssued, GrantedAttribute, PersonalBoundsSet};
use crate::domain::histories::{event_id, histories_of_anybody, recorded};
use proptest::prelude::*;
use prost::Message;
use std::sync::LazyLock;

/// The same rules, compiled again: its memory of outcomes is its own.
static AGAIN: LazyLock<Bounds> = LazyLock::new(default_bounds);

/// What a log would hold of it.
fn bytes(decision: Decision) -> Vec<u8> {
    let allowed = decision.allowed.into_iter().map(|allowed| GrantedAttribute {
        attribute: allowed.event_id.0.to_vec(),
        consent: allowed.consent.0.to_vec(),
        key: allowed.key,
        category: allowed.category,
    });
    GrantIssued {
        allowed: allowed.collect(),
        withheld: decision.withheld,
        expires_at_ms: decision.ends_ms.unwrap_or_default(),
        bounds: decision.bounds,
        ..GrantIssued::default()
    }
    .encode_to_vec()
}

/// Two facts of one class are withheld for two sources: the answer has room for one of them, and it is always
/// the first fact's.
#[test]
fn of_two_sources_the_first_facts_is_named_each_time() {
    let inferred = |key: &str, category: &str| Attribute {
        provenance: Provenance::Inferred,
        ..fact(key, category, &[])
    };
    let derived = |key: &str, source: u64| Attribute {
        provenance: Provenance::Observed,
        ..fact(key, "language", &[source])
    };
    let contested = |number| Event::AttributeContested { attribute: event_id(number), reason: String::new() };
    let events = [
        Event::AttributeRecorded(inferred("a", "work")),
        Event::AttributeRecorded(inferred("b", "preference")),
        Event::AttributeRecorded(derived("c", 0)),
        Event::AttributeRecorded(derived("d", 1)),
        contested(0),
        contested(1),
        said(Said::Given, &["memory"], &[], false),
    ];
    let events: Vec<_> =
        (0_u64..).zip(events).map(|(number, event)| recorded(number, number, event)).collect();
    for _ in 0..64 {
        let decision = decide(&BOUNDS, &SubjectState::fold(&events), &WORDS);
        let class = decision.withheld.iter().find(|class| class.category == "language").unwrap();
        assert_eq!((class.count, class.source.as_slice()), (2, &event_id(0).0[..]));
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// Every hash map has a seed of its own, also within one process.
    #[test]
    fn two_decisions_on_equal_states_are_equal_byte_for_byte(
        mut events in histories_of_anybody(),
        case in some_case(),
        before in proptest::collection::vec(some_case(), 0..3),
        forget in prop_oneof![3 => Just(0_u32), 1 => 1_u32..4],
    ) {
        if forget > 0 {
            let own = PersonalBoundsSet { forget_inferences_days: forget, ..Default::default() };
            events.push(recorded(events.len() as u64, NOW_MS, Event::PersonalBoundsSet(own)));
        }
        let (one, other) = (SubjectState::fold(&events), SubjectState::fold(&events));
        for earlier in &before {
            let _earlier = AGAIN.decide(&other, &WORDS, earlier);
        }
        let first = bytes(BOUNDS.decide(&one, &WORDS, &case));
        prop_assert_eq!(&first, &bytes(AGAIN.decide(&other, &WORDS, &case)));
        prop_assert_eq!(&first, &bytes(BOUNDS.decide(&one.clone(), &WORDS, &case)));
    }
}
