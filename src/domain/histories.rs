//! Random histories of one data subject, with only what the use cases in `app` could have written. Property
//! tests here and in `bounds` use them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::attribute::{Attribute, Secret};
use super::consent::Decision;
use super::consent::{NoticeRef, Terms};
use super::event::{
    Actor, ErasureRefused, ErasureScope, Event, Recorded, RequestKey, RequestWithdrawn, Role, SignalKind,
};
use super::ids::EventId;
use super::profile::SubjectState;
use super::request::Ground;
use crate::domain::event::{AgeBand, Provenance, SubjectDescribed};
use proptest::prelude::*;

/// The number of cases of a property test: `PROPTEST_CASES` if it is set, otherwise the default. `make
/// deep` sets it.
pub fn cases(default: u32) -> ProptestConfig {
    let configured = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(configured.unwrap_or(default))
}

/// The time of the first event. Each later event is at most [`STEP_MS`] after the event before it.
pub const START_MS: u64 = 1_000;
/// The time between two events that do not have the same time.
pub const STEP_MS: u64 = 10;
/// A time after every history. Some consents and attributes expire before it, and some after it.
pub const NOW_MS: u64 = 1_200;
/// Categories that occur in histories.
pub const CATEGORIES: [&str; 5] = ["work", "preference", "language", "health", "mental-health"];
/// Purposes that occur in histories.
pub const PURPOSES: [&str; 5] = ["memory", "personalization", "safety", "data-sale", "legal-claims"];
/// Recipients that occur in histories.
pub const RECIPIENTS: [&str; 2] = ["tutor", "coach"];
/// Conversations that occur in histories.
pub const CONVERSATIONS: [&str; 2] = ["chat-1", "chat-2"];

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const PROVENANCES: [Provenance; 3] = [Provenance::Declared, Provenance::Observed, Provenance::Inferred];
/// There are more consents than refusals, so that many uses are allowed. Otherwise few histories would show
/// an error.
const DECISIONS: [Decision; 6] = [
    Decision::Given,
    Decision::Given,
    Decision::Given,
    Decision::Renewed,
    Decision::Refused,
    Decision::Withdrawn,
];
const SIGNALS: [SignalKind; 5] = [
    SignalKind::Objection,
    SignalKind::Restriction,
    SignalKind::Pause,
    SignalKind::OptOut,
    SignalKind::OptOutAutomated,
];

/// The next event. A number selects one of the attributes that are current by then.
#[derive(Clone, Debug)]
pub enum Step {
    Record { attribute: NewAttribute, corrects: Option<usize> },
    Contest(usize),
    Confirm(usize),
    Remove(usize),
    Consent { decision: Decision, terms: Terms },
    Signal { kind: SignalKind, purposes: Vec<String>, lifted: bool, interaction: &'static str },
    Describe(SubjectDescribed),
    RefuseErasure(ErasureRefused),
    WithdrawRequest(usize),
}

#[derive(Clone, Debug)]
pub struct NewAttribute {
    key: &'static str,
    value: bool,
    category: &'static str,
    provenance: Provenance,
    sources: Vec<usize>,
    expires_at_ms: Option<u64>,
    observed_at_ms: u64,
    /// A service records it, and not the data subject.
    by_service: bool,
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
    let notice = proptest::option::of(proptest::sample::select(&["1", "2"][..]));
    (names, any::<bool>(), end(), notice).prop_map(
        |((purposes, categories, recipients), explicit, until_ms, version)| Terms {
            purposes,
            categories,
            recipients,
            explicit,
            until_ms,
            notice: version.map(|version| NoticeRef {
                id: "welcome".into(),
                version: version.into(),
                ..NoticeRef::default()
            }),
            ..Terms::default()
        },
    )
}

fn new_attribute() -> impl Strategy<Value = NewAttribute> {
    let words = (
        proptest::sample::select(&KEYS[..]),
        proptest::sample::select(&CATEGORIES[..]),
        proptest::sample::select(&PROVENANCES[..]),
    );
    let sources = prop_oneof![2 => Just(Vec::new()), 1 => proptest::collection::vec(0_usize..4, 1..3)];
    let observed = prop_oneof![3 => Just(START_MS), 1 => START_MS - 2..START_MS];
    (words, any::<bool>(), sources, end(), observed, any::<bool>()).prop_map(
        |((key, category, provenance), value, sources, expires_at_ms, observed_at_ms, by_service)| {
            NewAttribute {
                key,
                value,
                category,
                provenance,
                sources,
                expires_at_ms,
                observed_at_ms,
                by_service,
            }
        },
    )
}

/// The refusal of one of three requests for erasure.
fn refused_erasure() -> impl Strategy<Value = ErasureRefused> {
    let scopes = [ErasureScope::All, ErasureScope::Profile, ErasureScope::Category, ErasureScope::Key];
    let grounds = [Ground::LegalClaims, Ground::LegalClaims, Ground::Expression, Ground::Excessive];
    let what = (
        proptest::sample::select(scopes.to_vec()),
        proptest::sample::select(&CATEGORIES[..]),
        proptest::sample::select(&KEYS[..]),
    );
    let rest = (
        proptest::sample::select(grounds.to_vec()),
        some_of(&CATEGORIES, 0..3),
        some_of(&["legal-claims", "memory"], 0..3),
    );
    (0_u64..3, what, rest).prop_map(|(request, (scope, category, key), (ground, categories, purposes))| {
        ErasureRefused {
            request: event_id(1_000 + request),
            ground,
            whole: true,
            scope,
            category: if scope == ErasureScope::Category { category.into() } else { String::new() },
            key: if scope == ErasureScope::Key { key.into() } else { String::new() },
            categories,
            purposes,
            ..ErasureRefused::default()
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let corrects = prop_oneof![5 => Just(None), 1 => (0_usize..4).prop_map(Some)];
    let consent = (proptest::sample::select(&DECISIONS[..]), terms());
    let signal = (proptest::sample::select(&SIGNALS[..]), some_of(&PURPOSES, 0..2), any::<bool>());
    prop_oneof![
        6 => (new_attribute(), corrects).prop_map(|(attribute, corrects)| Step::Record { attribute, corrects }),
        1 => (0_usize..4).prop_map(Step::Contest),
        1 => (0_usize..4).prop_map(Step::Confirm),
        1 => (0_usize..4).prop_map(Step::Remove),
        6 => consent.prop_map(|(decision, terms)| Step::Consent { decision, terms }),
        1 => signal.prop_map(|(kind, purposes, lifted)| {
            Step::Signal { kind, purposes, lifted, interaction: "" }
        }),
        1 => prop_oneof![
            refused_erasure().prop_map(Step::RefuseErasure),
            (0_usize..3).prop_map(Step::WithdrawRequest),
        ],
    ]
}

/// Steps that occur only in [`varied_histories`]: decisions of guardians, descriptions, and pauses of one
/// conversation.
fn rarer_step() -> impl Strategy<Value = Step> {
    let consent = (proptest::sample::select(&DECISIONS[..]), terms(), any::<bool>());
    let bands = [AgeBand::Unspecified, AgeBand::Child, AgeBand::Teen, AgeBand::Adult, AgeBand::Unknown];
    let described = (
        proptest::sample::select(bands.to_vec()),
        proptest::sample::select(&[None, Some(13), Some(15), Some(16)][..]),
        proptest::sample::select(&["", "DE", "FR", "US-CA", "unknown"][..]),
        proptest::sample::select(&["", "", "1950", "1954", "1952-01-03", "1957-01-02", "1960-05"][..]),
    );
    let pause = (some_of(&PURPOSES, 0..2), any::<bool>(), proptest::sample::select(&CONVERSATIONS[..]));
    prop_oneof![
        3 => consent.prop_map(|(decision, terms, guardian)| {
            Step::Consent { decision, terms: Terms { guardian, ..terms } }
        }),
        2 => described.prop_map(|(band, years, place, born)| {
            let age_band = if born.is_empty() { band } else { AgeBand::Unspecified };
            let age_years = years.filter(|_| age_band == AgeBand::Teen);
            let (jurisdiction, born) = (place.into(), born.into());
            Step::Describe(SubjectDescribed { age_band, age_years, jurisdiction, born })
        }),
        1 => pause.prop_map(|(purposes, lifted, interaction)| {
            Step::Signal { kind: SignalKind::Pause, purposes, lifted, interaction }
        }),
    ]
}

/// Histories of up to sixteen events.
pub fn histories() -> impl Strategy<Value = Vec<Recorded>> {
    proptest::collection::vec((step(), 0..=STEP_MS), 0..16).prop_map(apply_steps)
}

/// Histories of up to sixteen events, some with descriptions of the data subject, decisions of guardians, and
/// signals for one conversation.
pub fn varied_histories() -> impl Strategy<Value = Vec<Recorded>> {
    let step = prop_oneof![2 => step(), 1 => rarer_step()];
    proptest::collection::vec((step, 0..=STEP_MS), 0..16).prop_map(apply_steps)
}

fn apply_steps(steps: Vec<(Step, u64)>) -> Vec<Recorded> {
    let (mut events, mut time_ms) = (Vec::new(), START_MS);
    for (step, later_ms) in steps {
        time_ms += later_ms / STEP_MS * STEP_MS;
        let by_service = matches!(&step, Step::Record { attribute, .. } if attribute.by_service);
        if let Some(event) = event(step, &SubjectState::fold(&events)) {
            let number = events.len() as u64;
            // Some decisions and signals arrive late: they state an earlier time.
            let is_late = matches!(event, Event::Consent { .. } | Event::Signal { .. }) && later_ms < 4;
            let late_ms = if is_late { later_ms * STEP_MS } else { 0 };
            let about_ms = time_ms.saturating_sub(late_ms);
            let recorded = recorded(number, time_ms, event);
            let service = Actor { role: Role::Service, name: RECIPIENTS[0].into() };
            let actor = if by_service { service } else { recorded.actor.clone() };
            events.push(Recorded { about_ms, actor, ..recorded });
        }
    }
    events
}

/// An event with its position, version and time.
pub fn recorded(number: u64, time_ms: u64, event: Event) -> Recorded {
    Recorded {
        event_id: event_id(number),
        position: number,
        version: number,
        recorded_at_ms: time_ms,
        sealed_at_ms: time_ms,
        about_ms: time_ms,
        actor: Actor { role: Role::Subject, name: String::new() },
        request_digest: Vec::new(),
        request_key: RequestKey::None,
        event,
    }
}

/// The id of the event with this number.
pub fn event_id(number: u64) -> EventId {
    EventId((u128::from(number) + 1).to_be_bytes())
}

/// The event of a step. Like the use cases, a step names only current attributes; `None` if the step needs a
/// current attribute and there is none.
fn event(step: Step, state: &SubjectState) -> Option<Event> {
    let current: Vec<EventId> = state.attributes.values().map(|current| current.event_id).collect();
    let select = |number: usize| (!current.is_empty()).then(|| current[number % current.len()]);
    Some(match step {
        Step::Record { attribute: new, corrects } => {
            let attribute = Attribute {
                key: new.key.into(),
                value: Secret::new(new.value.to_string()),
                category: new.category.into(),
                provenance: new.provenance,
                evidence: Vec::new(),
                derived_from: new.sources.iter().filter_map(|source| select(*source)).collect(),
                confidence: None,
                model: String::new(),
                observed_at_ms: new.observed_at_ms,
                expires_at_ms: new.expires_at_ms,
                from_replies: Vec::new(),
                claimed_provenance: Provenance::Unspecified,
                embedding: None,
            };
            match corrects.and_then(select) {
                Some(corrects) => Event::AttributeCorrected { corrects, attribute },
                None if state.is_observed_earlier(&attribute) => Event::EarlierAttributeRecorded(attribute),
                None => Event::AttributeRecorded(attribute),
            }
        }
        Step::Contest(number) => {
            Event::AttributeContested { attribute: select(number)?, reason: String::new() }
        }
        Step::Confirm(number) => Event::AttributeConfirmed { attribute: select(number)? },
        Step::Remove(number) => Event::AttributeRemoved { attribute: select(number)?, reason: String::new() },
        Step::Consent { decision, terms } => Event::Consent { decision, terms },
        Step::Signal { kind, purposes, lifted, interaction } => {
            Event::Signal { kind, purposes, lifted, interaction: interaction.into() }
        }
        Step::Describe(description) => Event::SubjectDescribed(description),
        Step::RefuseErasure(refused) => Event::ErasureRefused(refused),
        Step::WithdrawRequest(number) => {
            let kept = &state.rights.kept;
            let request = kept.iter().nth(number % kept.len().max(1))?.refused.request;
            Event::RequestWithdrawn(RequestWithdrawn { request })
        }
    })
}
