//! Measures how long decisions about using and recording attributes take: `cargo bench --bench decide`.
//!
//! The data subject has fifty attributes in ten categories, a consent, an explicit consent for health, and a
//! withdrawal. The bounds (the rules that decide) are those of a new log. The attributes that share
//! everything that a decision depends on, such as category and provenance, form a class, and Cedar (the
//! policy engine) evaluates each class once. *Warm*: the outcomes of the classes are cached. *Cold*: the
//! bounds were just compiled, so no outcome is cached, and Cedar evaluates each class.
#![allow(missing_docs, reason = "criterion's macros generate undocumented functions")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sayso::bounds::{Bounds, Case, Decision, defaults};
use sayso::domain::attribute::{Attribute, Secret};
use sayso::domain::consent::Decision as ConsentDecision;
use sayso::domain::consent::Terms;
use sayso::domain::default_vocabulary::default_vocabulary;
use sayso::domain::event::{Actor, Event, Recorded, RequestKey, Role};
use sayso::domain::ids::EventId;
use sayso::domain::profile::SubjectState;
use sayso::domain::vocabulary::Vocabulary;
use sayso::proto::Provenance;
use std::collections::BTreeSet;

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
const ATTRIBUTES: u64 = 50;
const NOW_MS: u64 = 2_000;

fn declared(key: String, category: &str) -> Attribute {
    Attribute {
        key,
        value: Secret::new("1".into()),
        category: category.into(),
        provenance: Provenance::Declared,
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

fn consent(decision: ConsentDecision, purpose: &str, categories: &[&str], explicit: bool) -> Event {
    let categories = categories.iter().map(|category| (*category).to_owned()).collect();
    let terms = Terms { purposes: vec![purpose.into()], categories, explicit, ..Terms::default() };
    Event::Consent { decision, terms }
}

fn recorded(number: u64, event: Event) -> Recorded {
    Recorded {
        event_id: EventId(u128::from(number).to_be_bytes()),
        position: number,
        version: number,
        recorded_at_ms: number,
        sealed_at_ms: number,
        about_ms: number,
        actor: Actor { role: Role::Subject, name: "ada".into() },
        request_digest: Vec::new(),
        request_key: RequestKey::None,
        event,
    }
}

fn subject_state() -> SubjectState {
    let attributes = (0..ATTRIBUTES).zip(CATEGORIES.iter().cycle());
    let mut events: Vec<Event> = attributes
        .map(|(number, category)| Event::AttributeRecorded(declared(format!("key-{number}"), category)))
        .collect();
    events.push(consent(ConsentDecision::Given, "personalization", &[], false));
    events.push(consent(ConsentDecision::Given, "memory", &["health"], true));
    events.push(consent(ConsentDecision::Withdrawn, "memory", &["family"], false));
    let events: Vec<Recorded> = (0..).zip(events).map(|(number, event)| recorded(number, event)).collect();
    SubjectState::fold(&events)
}

fn compiled(vocabulary: &Vocabulary) -> Bounds {
    let packs: Vec<_> = (10..).zip(defaults()).collect();
    Bounds::compile(&packs, vocabulary).expect("a test compiles the packs that come with Sayso")
}

fn decide(bounds: &Bounds, state: &SubjectState, vocabulary: &Vocabulary) -> Decision {
    let case = Case {
        recipient: "tutor",
        purpose: "memory",
        categories: &[],
        keys: &[],
        interaction: "",
        now_ms: NOW_MS,
    };
    let decision = bounds.decide(state, vocabulary, &case);
    // Everything is allowed but family, for which consent was withdrawn.
    assert_eq!((decision.allowed.len(), decision.withheld.len()), (45, 1));
    decision
}

fn decisions(criterion: &mut Criterion) {
    let (state, vocabulary) = (subject_state(), default_vocabulary());
    let bounds = compiled(&vocabulary);
    let mut group = criterion.benchmark_group("decide 50 attributes in 10 classes");
    group.bench_function("warm", |timed| timed.iter(|| decide(&bounds, &state, &vocabulary)));
    group.sample_size(30);
    group.bench_function("cold", |timed| {
        // The bounds are returned, so that the measurement does not include dropping them.
        let decide_once = |bounds: Bounds| (decide(&bounds, &state, &vocabulary), bounds);
        timed.iter_batched(|| compiled(&vocabulary), decide_once, BatchSize::PerIteration);
    });
    group.bench_function("compile the default packs, texts cached", |timed| {
        timed.iter(|| compiled(&vocabulary))
    });
    group.finish();
}

fn recording(criterion: &mut Criterion) {
    let (state, vocabulary) = (subject_state(), default_vocabulary());
    let bounds = compiled(&vocabulary);
    let attribute = declared("new".into(), "interest");
    let recorder = Actor { role: Role::Service, name: "tutor".into() };
    let no_sources = BTreeSet::new();
    criterion.bench_function("decide a recording, warm", |timed| {
        let new = (&attribute, &no_sources);
        timed.iter(|| bounds.decide_recording(&state, &vocabulary, new, &recorder, NOW_MS));
    });
}

criterion_group!(benches, decisions, recording);
criterion_main!(benches);
