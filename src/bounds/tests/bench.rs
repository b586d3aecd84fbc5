//! How long a decision takes. Run by hand, in release:
//! `cargo test --release --lib bounds::tests::bench -- --ignored --nocapture`

use super::deciding::{fact, said};
use super::*;
use crate::domain::event::{Decision as Said, Event};
use crate::domain::histories::recorded;
use std::time::{Duration, Instant};

const CATEGORIES: [&str; 10] = [
    "activity",
    "preference",
    "communication-style",
    "language",
    "interest",
    "work",
    "education",
    "family",
    "health",
    "location",
];

/// Fifty attributes in ten categories, with a consent that allows nine of the categories, one
/// that is explicit for health, and a withdrawal.
fn person() -> SubjectState {
    let mut events: Vec<Event> = (0_u64..50)
        .map(|number| {
            let category = CATEGORIES[usize::try_from(number).unwrap() % CATEGORIES.len()];
            Event::AttributeRecorded(fact(&format!("key-{number}"), category, &[]))
        })
        .collect();
    events.push(said(Said::Given, &["personalization"], &[], false));
    events.push(said(Said::Given, &["memory"], &["health"], true));
    events.push(said(Said::Withdrawn, &["memory"], &["family"], false));
    let numbered = (0_u64..).zip(events).map(|(number, event)| recorded(number, number, event));
    SubjectState::fold(&numbered.collect::<Vec<_>>())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
#[ignore = "measures; run by hand in release"]
fn a_decision_over_fifty_attributes_in_ten_classes() {
    let (state, vocabulary) = (person(), default_vocabulary());
    let timed = |bounds: &Bounds| {
        let begun = Instant::now();
        let decision = decide(bounds, &state, &vocabulary);
        let took = begun.elapsed();
        assert_eq!((decision.allowed.len(), decision.withheld.len()), (45, 1));
        took
    };
    let begun = Instant::now();
    let bounds = default_bounds();
    println!("compiling the default packs: {:?}", begun.elapsed());
    let cold: Vec<Duration> = (0..50)
        .map(|_| {
            bounds.forget();
            timed(&bounds)
        })
        .collect();
    let warm: Vec<Duration> = (0..2_000).map(|_| timed(&bounds)).collect();
    println!("cold (nothing remembered): median {:?}, worst {:?}", median(cold.clone()), cold.iter().max());
    println!("warm: median {:?}, worst {:?}", median(warm.clone()), warm.iter().max());

    let attribute = fact("new", "interest", &[]);
    let recorder = crate::domain::event::Actor { role: Role::Service.into(), name: "tutor".into() };
    let recording: Vec<Duration> = (0..2_000)
        .map(|_| {
            let begun = Instant::now();
            bounds.decide_recording(&state, &vocabulary, &attribute, &recorder, NOW_MS).unwrap();
            begun.elapsed()
        })
        .collect();
    println!("recording, warm: median {:?}", median(recording));
}
