//! The decision against a plain model, and against the verifier, which is written without a line of it.

use super::*;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::codec;
use crate::domain::consent::Decision as Said;
use crate::domain::consent::{ConsentCase, Cover, NoConsent, Terms};
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::default_vocabulary;
use crate::domain::event::{Draft, Event, Recorded, SignalKind};
use crate::domain::histories::{CATEGORIES, PURPOSES, RECIPIENTS, event_id, histories, recorded};
use crate::domain::ids::EventId;
use proptest::prelude::*;
use sayso_proof::entry::{Handle, Header};
use sayso_proof::event::{EventBody, GrantIssued, GrantedAttribute, Reason};
use sayso_proof::replay::{Fault, Replay};
use std::sync::LazyLock;

pub(super) static BOUNDS: LazyLock<Bounds> = LazyLock::new(default_bounds);
pub(super) static WORDS: LazyLock<Vocabulary> = LazyLock::new(default_vocabulary);

/// Why an attribute may not be used, or the consent that allows it; the default packs in one sentence a line.
fn plainly(
    state: &SubjectState,
    held: &CurrentAttribute,
    case: &Case<'_>,
    above: &[EventId],
) -> Result<EventId, Reason> {
    let line = WORDS.purpose_ancestry(case.purpose);
    let signal = |kind| state.signal_against(kind, &line).is_some();
    let (purpose, recipient, now_ms) = (case.purpose, case.recipient, case.now_ms);
    let asked =
        ConsentCase { purpose, category: &held.attribute.category, recipient, interaction: "", now_ms };
    let cover = state.consents.cover(&WORDS, &asked);
    let above: Vec<EventId> = above.iter().copied().chain([held.event_id]).collect();
    let usable = |source: &EventId| {
        let source = state.attributes.values().find(|held| held.event_id == *source);
        source.is_some_and(|source| {
            !above.contains(&source.event_id) && plainly(state, source, case, &above).is_ok()
        })
    };
    let expired = held.attribute.expires_at_ms.is_some_and(|end| end <= now_ms);
    match cover {
        _ if signal(SignalKind::Restriction) => Err(Reason::Restricted),
        _ if signal(SignalKind::Pause) => Err(Reason::Paused),
        _ if signal(SignalKind::Objection) => Err(Reason::Objected),
        Cover::Denied { reason: NoConsent::NotExplicit, .. } => Err(Reason::NotExplicit),
        Cover::Denied { reason: NoConsent::Silence, .. } => Err(Reason::NoConsent),
        Cover::Denied { reason: NoConsent::Refused, .. } => Err(Reason::ConsentRefused),
        Cover::Denied { reason: NoConsent::Withdrawn, .. } => Err(Reason::ConsentWithdrawn),
        Cover::Denied { reason: NoConsent::Expired, .. } => Err(Reason::ConsentExpired),
        _ if held.contested => Err(Reason::Contested),
        _ if expired => Err(Reason::AttributeExpired),
        _ if !held.attribute.derived_from.iter().all(usable) => Err(Reason::SourceWithheld),
        Cover::Allowed { by, .. } => Ok(by),
    }
}

fn outcomes(bounds: &Bounds, state: &SubjectState, case: &Case<'_>) -> Vec<Result<EventId, Reason>> {
    let one = |key: &String| {
        let keys = [key.clone()];
        let decision = bounds.decide(state, &WORDS, &Case { keys: &keys, ..*case });
        match (decision.allowed.as_slice(), decision.withheld.as_slice()) {
            ([allowed], []) => Ok(allowed.consent),
            ([], [class]) => Err(class.reason()),
            _ => panic!("an attribute is either allowed or withheld"),
        }
    };
    state.attributes.keys().map(one).collect()
}

fn allowed_keys(bounds: &Bounds, state: &SubjectState, case: &Case<'_>) -> Vec<String> {
    let decision = bounds.decide(state, &WORDS, case);
    decision.allowed.into_iter().map(|allowed| allowed.key).collect()
}

pub(super) fn some_case() -> impl Strategy<Value = Case<'static>> {
    let words = (proptest::sample::select(&PURPOSES[..]), proptest::sample::select(&RECIPIENTS[..]));
    words.prop_map(|(purpose, recipient)| Case { recipient, purpose, ..memory(&[], &[]) })
}

/// The log's own definitions, then the person's events.
fn replay(events: &[Recorded]) -> Replay {
    let mut replay = Replay::default();
    let (purposes, categories) = default_vocabulary::defaults();
    let words = purposes.into_iter().map(Event::PurposeDefined);
    let words = words.chain(categories.into_iter().map(Event::CategoryDefined));
    let rules = defaults().into_iter().map(Event::BoundsPublished).chain(words);
    for (number, event) in (10_u64..).zip(rules) {
        take(&mut replay, Handle::SYSTEM, &recorded(number, 0, event));
    }
    events.iter().for_each(|event| take(&mut replay, PERSON, event));
    replay
}

const PERSON: Handle = Handle([1; 16]);

fn take(replay: &mut Replay, handle: Handle, event: &Recorded) {
    let draft = Draft { about_ms: event.about_ms, actor: event.actor.clone(), event: event.event.clone() };
    let body: EventBody = codec::encode(&draft, &[]);
    let header = Header {
        event_id: event.event_id.0,
        handle,
        version: event.version,
        previous: None,
        sealed_at_ms: event.sealed_at_ms,
        idempotency: None,
        key_commitment: None,
    };
    replay.apply(event.position, &header, Some(&body));
}

pub(super) fn faults(
    events: &[Recorded],
    case: &Case<'_>,
    allowed: Vec<(&CurrentAttribute, EventId)>,
) -> Vec<Fault> {
    let cited = allowed.into_iter().map(|(held, consent)| GrantedAttribute {
        attribute: held.event_id.0.to_vec(),
        consent: consent.0.to_vec(),
        key: held.attribute.key.clone(),
        category: held.attribute.category.clone(),
    });
    let grant = GrantIssued {
        recipient: case.recipient.into(),
        purpose: case.purpose.into(),
        allowed: cited.collect(),
        bounds: vec![10, 11, 12, 13, 14],
        ..GrantIssued::default()
    };
    let mut replay = replay(events);
    take(&mut replay, PERSON, &recorded(events.len() as u64, case.now_ms, Event::GrantIssued(grant)));
    let replayed = replay.finish();
    assert_eq!(replayed.replayed, 1);
    replayed.findings.into_iter().map(|finding| finding.fault).collect()
}

/// A model comes to a contested conclusion again, and then the person says that it is right after all: what
/// is granted is the newest record of it, which is the only one that nothing has replaced.
#[test]
fn the_verifier_agrees_on_a_conclusion_that_came_again() {
    let inferred = || {
        Event::AttributeRecorded(Attribute {
            key: "k".into(),
            value: Secret::new("1".into()),
            category: "work".into(),
            provenance: Provenance::Inferred,
            evidence: Vec::new(),
            derived_from: Vec::new(),
            confidence: None,
            model: String::new(),
            observed_at_ms: 0,
            expires_at_ms: None,
            from_replies: Vec::new(),
        })
    };
    let terms = Terms { purposes: vec!["memory".into()], ..Terms::default() };
    let mut events: Vec<Recorded> = (0..)
        .zip([
            Event::Consent { decision: Said::Given, terms },
            inferred(),
            Event::AttributeContested { attribute: event_id(1), reason: String::new() },
            inferred(),
        ])
        .map(|(number, event)| recorded(number, number, event))
        .collect();
    let case = memory(&[], &[]);
    assert!(allowed_keys(&BOUNDS, &SubjectState::fold(&events), &case).is_empty());
    // As the use case does: what is confirmed is what is held under the key.
    let attribute = SubjectState::fold(&events).attributes["k"].event_id;
    events.push(recorded(4, 4, Event::AttributeConfirmed { attribute }));
    let state = SubjectState::fold(&events);
    let decision = BOUNDS.decide(&state, &WORDS, &case);
    let consent = decision.allowed.first().unwrap().consent;
    assert_eq!(faults(&events, &case, vec![(&state.attributes["k"], consent)]), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn the_decision_is_the_plain_one(events in histories(), case in some_case()) {
        let state = SubjectState::fold(&events);
        let plain: Vec<_> = state.attributes.values().map(|held| plainly(&state, held, &case, &[])).collect();
        prop_assert_eq!(&outcomes(&BOUNDS, &state, &case), &plain);
        // All at once as one by one.
        let decision = BOUNDS.decide(&state, &WORDS, &case);
        let yes: Vec<_> = plain.iter().flatten().copied().collect();
        prop_assert_eq!(decision.allowed.iter().map(|allowed| allowed.consent).collect::<Vec<_>>(), yes);
        let no: u32 = decision.withheld.iter().map(|class| class.count).sum();
        prop_assert_eq!(no as usize, plain.iter().filter(|outcome| outcome.is_err()).count());
    }

    /// The verifier finds nothing wrong with what is decided, and something with everything else.
    #[test]
    fn the_verifier_agrees(events in histories(), case in some_case()) {
        let state = SubjectState::fold(&events);
        let decision = BOUNDS.decide(&state, &WORDS, &case);
        let granted: Vec<_> = decision
            .allowed
            .iter()
            .map(|allowed| (state.attributes[&allowed.key].as_ref(), allowed.consent))
            .collect();
        prop_assert_eq!(faults(&events, &case, granted), Vec::<Fault>::new());
        let keys: Vec<&String> = decision.allowed.iter().map(|allowed| &allowed.key).collect();
        for (key, held) in &state.attributes {
            // A conclusion that was contested before is withheld here and no fault there.
            if keys.contains(&key) || held.contested || !held.attribute.derived_from.is_empty() {
                continue;
            }
            for number in 0..events.len() as u64 {
                prop_assert!(!faults(&events, &case, vec![(held, event_id(number))]).is_empty());
            }
        }
    }
}

proptest! {
    // Each case compiles every default pack.
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// More rules, more signals and more no never allow more.
    #[test]
    fn nothing_that_forbids_allows_more(
        events in histories(),
        case in some_case(),
        category in proptest::sample::select(&CATEGORIES[..]),
        what in 0_usize..4,
    ) {
        let before = allowed_keys(&BOUNDS, &SubjectState::fold(&events), &case);
        let text = format!("@id(\"no\") forbid (principal, action, resource in Category::\"{category}\");");
        let number = events.len() as u64;
        let mut more = events;
        let mut signal = |kind| {
            let event = Event::Signal { kind, purposes: Vec::new(), lifted: false, interaction: String::new() };
            more.push(recorded(number, NOW_MS, event));
        };
        let tier = [Tier::Public, Tier::Provider, Tier::Individual][what % 3];
        match what {
            0 => signal(SignalKind::Objection),
            1 => signal(SignalKind::OptOut),
            _ => {}
        }
        let bounds = compile(defaults().into_iter().chain([pack(tier, "more", &text)]).collect()).unwrap();
        let after = allowed_keys(&bounds, &SubjectState::fold(&more), &case);
        prop_assert!(after.iter().all(|key| before.contains(key)));
    }
}
