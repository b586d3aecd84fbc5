//! Tests that a decision depends only on its inputs: not on the process, on cached outcomes, or on the
//! iteration order of hash maps.

use super::against_models::{BOUNDS, VOCABULARY, some_case};
use super::deciding::{attribute, consent};
use super::*;
use crate::domain::attribute::Attribute;
use crate::domain::consent::Decision as Consent;
use crate::domain::event::{Event, GrantIssued, GrantedAttribute, PersonalBoundsSet, codec};
use crate::domain::histories::{event_id, recorded, varied_histories};
use proptest::prelude::*;
use prost::Message;
use std::sync::LazyLock;

/// The same bounds compiled again, with a separate cache.
static RECOMPILED: LazyLock<Bounds> = LazyLock::new(default_bounds);

/// The decision as the log would record it.
fn bytes(decision: Decision) -> Vec<u8> {
    let allowed = decision.allowed.into_iter().map(|allowed| GrantedAttribute {
        attribute: allowed.event_id,
        basis: allowed.basis,
        key: allowed.key,
        category: allowed.category,
    });
    let issued = GrantIssued {
        allowed: allowed.collect(),
        withheld: decision.withheld,
        expires_at_ms: decision.ends_ms.unwrap_or_default(),
        bounds: decision.bounds,
        ..GrantIssued::default()
    };
    codec::message(&issued).encode_to_vec()
}

/// The attributes `c` and `d` are withheld as one class, because of two different sources. A class names only
/// the source of the attribute whose key comes first.
#[test]
fn a_class_always_names_the_source_of_its_first_attribute() {
    let inferred = |key: &str, category: &str| Attribute {
        provenance: Provenance::Inferred,
        ..attribute(key, category, &[])
    };
    let derived = |key: &str, source: u64| Attribute {
        provenance: Provenance::Observed,
        ..attribute(key, "language", &[source])
    };
    let contested = |number| Event::AttributeContested { attribute: event_id(number), reason: String::new() };
    let events = [
        Event::AttributeRecorded(inferred("a", "work")),
        Event::AttributeRecorded(inferred("b", "preference")),
        Event::AttributeRecorded(derived("c", 0)),
        Event::AttributeRecorded(derived("d", 1)),
        contested(0),
        contested(1),
        consent(Consent::Given, &["memory"], &[], false),
    ];
    let events: Vec<_> =
        (0_u64..).zip(events).map(|(number, event)| recorded(number, number, event)).collect();
    for _ in 0..64 {
        let decision = decide(&BOUNDS, &SubjectState::fold(&events), &VOCABULARY);
        let class = decision.withheld.iter().find(|class| class.category == "language").unwrap();
        assert_eq!((class.count, class.source), (2, Some(event_id(0))));
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    /// Each hash map has its own seed, even within one process.
    #[test]
    fn two_decisions_on_equal_states_are_equal_byte_for_byte(
        mut events in varied_histories(),
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
            let _earlier = RECOMPILED.decide(&other, &VOCABULARY, earlier);
        }
        let first = bytes(BOUNDS.decide(&one, &VOCABULARY, &case));
        prop_assert_eq!(&first, &bytes(RECOMPILED.decide(&other, &VOCABULARY, &case)));
        prop_assert_eq!(&first, &bytes(BOUNDS.decide(&one.clone(), &VOCABULARY, &case)));
    }
}
