//! Random histories of one person, as the use cases could have written them, for property tests here and in
//! `bounds`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::attribute::{Attribute, Secret};
use super::consent::Decision;
use super::consent::Terms;
use super::event::{Actor, Event, Recorded, Role, SignalKind};
use super::ids::EventId;
use super::profile::SubjectState;
use proptest::prelude::*;
use sayso_proof::event::{AgeBand, Provenance, SubjectDescribed};

/// The first event's moment; each later one's is at most [`STEP_MS`] after the one before.
pub const START_MS: u64 = 1_000;
/// A moment later.
pub const STEP_MS: u64 = 10;
/// After every history, and in the midst of the ends that consents and attributes have.
pub const NOW_MS: u64 = 1_200;
/// Categories that histories speak of.
pub const CATEGORIES: [&str; 5] = ["work", "preference", "language", "health", "mental-health"];
/// Purposes that histories speak of.
pub const PURPOSES: [&str; 3] = ["memory", "personalization", "safety"];
/// Recipients that histories speak of.
pub const RECIPIENTS: [&str; 2] = ["tutor", "coach"];

/// Conversations that histories speak of.
pub const CONVERSATIONS: [&str; 2] = ["chat-1", "chat-2"];

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const PROVENANCES: [Provenance; 3] = [Provenance::Declared, Provenance::Observed, Provenance::Inferred];
/// More yes than no, so that much is allowed and can go wrong.
const DECISIONS: [Decision; 6] = [
    Decision::Given,
    Decision::Given,
    Decision::Given,
    Decision::Renewed,
    Decision::Refused,
    Decision::Withdrawn,
];
const SIGNALS: [SignalKind; 4] =
    [SignalKind::Objection, SignalKind::Restriction, SignalKind::Pause, SignalKind::OptOut];

/// What happens next. Numbers choose among what is there by then.
#[derive(Clone, Debug)]
pub enum Step {
    Record { fact: Fact, corrects: Option<usize> },
    Contest(usize),
    Confirm(usize),
    Remove(usize),
    Consent { decision: Decision, terms: Terms },
    Signal { kind: SignalKind, purposes: Vec<String>, lifted: bool, interaction: &'static str },
    Describe(SubjectDescribed),
}

#[derive(Clone, Debug)]
pub struct Fact {
    key: &'static str,
    value: bool,
    category: &'static str,
    provenance: Provenance,
    sources: Vec<usize>,
    expires_at_ms: Option<u64>,
}

fn some_of(
    words: &'static [&'static str],
    range: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<String>> {
    let range = range.start..range.end.min(words.len().saturating_add(1));
    proptest::sample::subsequence(words, range)
        .prop_map(|words| words.into_iter().map(str::to_owned).collect())
}

fn end() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![4 => Just(None), 1 => (1_150_u64..1_250).prop_map(Some)]
}

fn recipients() -> impl Strategy<Value = Vec<String>> {
    prop_oneof![3 => Just(Vec::new()), 1 => some_of(&RECIPIENTS, 1..2)]
}

/// Terms of a decision.
pub fn terms() -> impl Strategy<Value = Terms> {
    let names = (some_of(&PURPOSES, 1..3), some_of(&CATEGORIES, 0..4), recipients());
    (names, any::<bool>(), end()).prop_map(|((purposes, categories, recipients), explicit, until_ms)| Terms {
        purposes,
        categories,
        recipients,
        explicit,
        until_ms,
        ..Terms::default()
    })
}

fn fact() -> impl Strategy<Value = Fact> {
    let words = (
        proptest::sample::select(&KEYS[..]),
        proptest::sample::select(&CATEGORIES[..]),
        proptest::sample::select(&PROVENANCES[..]),
    );
    let sources = prop_oneof![2 => Just(Vec::new()), 1 => proptest::collection::vec(0_usize..4, 1..3)];
    (words, any::<bool>(), sources, end()).prop_map(
        |((key, category, provenance), value, sources, expires_at_ms)| Fact {
            key,
            value,
            category,
            provenance,
            sources,
            expires_at_ms,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let corrects = prop_oneof![5 => Just(None), 1 => (0_usize..4).prop_map(Some)];
    let consent = (proptest::sample::select(&DECISIONS[..]), terms());
    let signal = (proptest::sample::select(&SIGNALS[..]), some_of(&PURPOSES, 0..2), any::<bool>());
    prop_oneof![
        6 => (fact(), corrects).prop_map(|(fact, corrects)| Step::Record { fact, corrects }),
        1 => (0_usize..4).prop_map(Step::Contest),
        1 => (0_usize..4).prop_map(Step::Confirm),
        1 => (0_usize..4).prop_map(Step::Remove),
        6 => consent.prop_map(|(decision, terms)| Step::Consent { decision, terms }),
        1 => signal.prop_map(|(kind, purposes, lifted)| {
            Step::Signal { kind, purposes, lifted, interaction: "" }
        }),
    ]
}

/// What only some histories have: guardians, descriptions, pauses of one conversation.
fn rarer_step() -> impl Strategy<Value = Step> {
    let consent = (proptest::sample::select(&DECISIONS[..]), terms(), any::<bool>());
    let bands = [AgeBand::Unspecified, AgeBand::Child, AgeBand::Teen, AgeBand::Adult, AgeBand::Unknown];
    let described = (
        proptest::sample::select(bands.to_vec()),
        proptest::sample::select(&[None, Some(13), Some(15), Some(16)][..]),
        proptest::sample::select(&["", "DE", "FR", "US-CA", "unknown"][..]),
    );
    let pause = (some_of(&PURPOSES, 0..2), any::<bool>(), proptest::sample::select(&CONVERSATIONS[..]));
    prop_oneof![
        3 => consent.prop_map(|(decision, terms, guardian)| {
            Step::Consent { decision, terms: Terms { guardian, ..terms } }
        }),
        2 => described.prop_map(|(band, years, place)| Step::Describe(SubjectDescribed {
            age_band: band.into(),
            age_years: years.filter(|_| band == AgeBand::Teen),
            jurisdiction: place.into(),
        })),
        1 => pause.prop_map(|(purposes, lifted, interaction)| {
            Step::Signal { kind: SignalKind::Pause, purposes, lifted, interaction }
        }),
    ]
}

/// Histories of up to sixteen events.
pub fn histories() -> impl Strategy<Value = Vec<Recorded>> {
    proptest::collection::vec((step(), 0..=STEP_MS), 0..16).prop_map(told)
}

/// Histories of up to sixteen events, of children, guardians and single conversations too.
pub fn histories_of_anybody() -> impl Strategy<Value = Vec<Recorded>> {
    let step = prop_oneof![2 => step(), 1 => rarer_step()];
    proptest::collection::vec((step, 0..=STEP_MS), 0..16).prop_map(told)
}

fn told(steps: Vec<(Step, u64)>) -> Vec<Recorded> {
    let (mut events, mut moment_ms) = (Vec::new(), START_MS);
    for (step, later_ms) in steps {
        moment_ms += later_ms / STEP_MS * STEP_MS;
        if let Some(event) = event(step, &SubjectState::fold(&events)) {
            let number = events.len() as u64;
            events.push(recorded(number, moment_ms, event));
        }
    }
    events
}

/// An event in its place.
pub fn recorded(number: u64, moment_ms: u64, event: Event) -> Recorded {
    Recorded {
        event_id: event_id(number),
        position: number,
        version: number,
        recorded_at_ms: moment_ms,
        sealed_at_ms: moment_ms,
        about_ms: moment_ms,
        actor: Actor { role: Role::Subject.into(), name: String::new() },
        request_digest: Vec::new(),
        event,
    }
}

/// The id of the event with this number.
pub fn event_id(number: u64) -> EventId {
    EventId((u128::from(number) + 1).to_be_bytes())
}

/// As the use cases do: whatever names an attribute names one that is held.
fn event(step: Step, state: &SubjectState) -> Option<Event> {
    let held: Vec<EventId> = state.attributes.values().map(|held| held.event_id).collect();
    let held = |number: usize| (!held.is_empty()).then(|| held[number % held.len()]);
    Some(match step {
        Step::Record { fact, corrects } => {
            let attribute = Attribute {
                key: fact.key.into(),
                value: Secret::new(fact.value.to_string()),
                category: fact.category.into(),
                provenance: fact.provenance,
                evidence: Vec::new(),
                derived_from: fact.sources.iter().filter_map(|source| held(*source)).collect(),
                confidence: None,
                model: String::new(),
                observed_at_ms: START_MS,
                expires_at_ms: fact.expires_at_ms,
                from_replies: Vec::new(),
            };
            match corrects.and_then(held) {
                Some(corrects) => Event::AttributeCorrected { corrects, attribute },
                None => Event::AttributeRecorded(attribute),
            }
        }
        Step::Contest(which) => Event::AttributeContested { attribute: held(which)?, reason: String::new() },
        Step::Confirm(which) => Event::AttributeConfirmed { attribute: held(which)? },
        Step::Remove(which) => Event::AttributeRemoved { attribute: held(which)?, reason: String::new() },
        Step::Consent { decision, terms } => Event::Consent { decision, terms },
        Step::Signal { kind, purposes, lifted, interaction } => {
            Event::Signal { kind, purposes, lifted, interaction: interaction.into() }
        }
        Step::Describe(said) => Event::SubjectDescribed(said),
    })
}
