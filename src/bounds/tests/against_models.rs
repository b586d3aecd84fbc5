//! Compares decisions in random histories with those of a simple model of the default packs, and with those
//! of the verifier. The verifier shares no code with the model or with the code that decides.

use super::decision_table::{self, Facts};
use super::*;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::consent::Decision as Said;
use crate::domain::consent::Terms;
use crate::domain::consent_scope::ConsentCase;
use crate::domain::current_attribute::CurrentAttribute;
use crate::domain::default_vocabulary;
use crate::domain::event::{
    Actor, DecisionRulesAdopted, Draft, Event, GrantIssued, GrantedAttribute, Reason, Recorded, Role,
    SignalKind, codec,
};
use crate::domain::histories::{CATEGORIES, PURPOSES, RECIPIENTS, event_id, histories, recorded};
use crate::domain::ids::EventId;
use crate::domain::legal_basis::Basis;
use crate::domain::vocabulary::DECISION_RULES;
use proptest::prelude::*;
use sayso_proof::entry::{Handle, Header, SchemaVersion};
use sayso_proof::event::EventBody;
use sayso_proof::replay::{Fault, Replay};
use std::sync::LazyLock;

pub(super) static BOUNDS: LazyLock<Bounds> = LazyLock::new(default_bounds);
pub(super) static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(default_vocabulary);

/// The model of the default packs: the consent that allows an attribute, or why it may not be used. `derived`
/// are the attributes that the recursion has already entered; they are all derived from this attribute.
fn model(
    state: &SubjectState,
    current: &CurrentAttribute,
    case: &Case<'_>,
    derived: &[EventId],
) -> Result<Basis, Reason> {
    let derived: Vec<EventId> = derived.iter().copied().chain([current.event_id]).collect();
    let usable = |source: &EventId| {
        let source = state.attributes.values().find(|other| other.event_id == *source);
        source.is_some_and(|source| {
            !derived.contains(&source.event_id) && model(state, source, case, &derived).is_ok()
        })
    };
    let source_withheld = !current.attribute.derived_from.iter().all(usable);
    decision_table::decide(&Facts { source_withheld, ..facts(state, current, case) })
}

/// What the decision about an attribute depends on, apart from its sources and declared legal bases.
pub(super) fn facts(state: &SubjectState, current: &CurrentAttribute, case: &Case<'_>) -> Facts {
    let ancestry = VOCABULARY.purpose_ancestry(case.purpose);
    let signal = |kind| state.signal_against(kind, &ancestry).is_some();
    let (purpose, recipient, now_ms) = (case.purpose, case.recipient, case.now_ms);
    let category = current.attribute.category.as_str();
    let consent_case = ConsentCase { purpose, category, recipient, interaction: "", now_ms };
    let above = VOCABULARY.category_ancestry(category);
    let kept = state.rights.kept.iter().filter(|kept| kept.covers(&current.attribute.key, &above));
    let required: Vec<bool> = kept.map(|kept| kept.requires(purpose, &ancestry)).collect();
    Facts {
        kept: !required.is_empty() && !required.contains(&true),
        restricted: signal(SignalKind::Restriction),
        paused: signal(SignalKind::Pause),
        objected: signal(SignalKind::Objection),
        opted_out: purpose == "data-sale" && signal(SignalKind::OptOut),
        cover: state.consents.cover(&VOCABULARY, &consent_case),
        declared: None,
        contested: current.contested,
        expired: current.attribute.expires_at_ms.is_some_and(|end| end <= now_ms),
        source_withheld: false,
    }
}

fn outcomes(bounds: &Bounds, state: &SubjectState, case: &Case<'_>) -> Vec<Result<Basis, Reason>> {
    let one = |key: &String| {
        let keys = [key.clone()];
        let decision = bounds.decide(state, &VOCABULARY, &Case { keys: &keys, ..*case });
        match (decision.allowed.as_slice(), decision.withheld.as_slice()) {
            ([allowed], []) => Ok(allowed.basis),
            ([], [class]) => Err(class.reason),
            _ => panic!("an attribute is either allowed or withheld"),
        }
    };
    state.attributes.keys().map(one).collect()
}

fn allowed_keys(bounds: &Bounds, state: &SubjectState, case: &Case<'_>) -> Vec<String> {
    let decision = bounds.decide(state, &VOCABULARY, case);
    decision.allowed.into_iter().map(|allowed| allowed.key).collect()
}

pub(super) fn some_case() -> impl Strategy<Value = Case<'static>> {
    let words = (proptest::sample::select(&PURPOSES[..]), proptest::sample::select(&RECIPIENTS[..]));
    words.prop_map(|(purpose, recipient)| Case { recipient, purpose, ..memory(&[], &[]) })
}

/// Replays the default definitions, then further system events, and then the events of the data subject.
fn replay(more: &[Event], events: &[Recorded]) -> Replay {
    let mut replay = Replay::default();
    let (purposes, categories) = default_vocabulary::defaults();
    let vocabulary = purposes.into_iter().map(Event::PurposeDefined);
    let vocabulary = vocabulary.chain(categories.into_iter().map(Event::CategoryDefined));
    let rules = defaults().into_iter().map(Event::BoundsPublished).chain(vocabulary);
    let edition = Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: DECISION_RULES });
    for (number, event) in (10_u64..).zip(rules.chain([edition]).chain(more.iter().cloned())) {
        let actor = Actor { role: Role::Ledger, name: String::new() };
        apply(&mut replay, Handle::SYSTEM, &Recorded { actor, ..recorded(number, 0, event) });
    }
    events.iter().for_each(|event| apply(&mut replay, SUBJECT, event));
    replay
}

const SUBJECT: Handle = Handle([1; 16]);

fn apply(replay: &mut Replay, handle: Handle, event: &Recorded) {
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
        schema_version: SchemaVersion::One,
    };
    replay.apply(event.position, &header, Some(&body));
}

pub(super) fn faults(
    events: &[Recorded],
    case: &Case<'_>,
    allowed: Vec<(&CurrentAttribute, Basis)>,
) -> Vec<Fault> {
    faults_after(&[], events, case, allowed)
}

/// As [`faults`], with system events that follow the default definitions.
pub(super) fn faults_after(
    more: &[Event],
    events: &[Recorded],
    case: &Case<'_>,
    allowed: Vec<(&CurrentAttribute, Basis)>,
) -> Vec<Fault> {
    let cited = allowed.into_iter().map(|(current, basis)| GrantedAttribute {
        attribute: current.event_id,
        basis,
        key: current.attribute.key.clone(),
        category: current.attribute.category.clone(),
    });
    let grant = GrantIssued {
        recipient: case.recipient.into(),
        purpose: case.purpose.into(),
        allowed: cited.collect(),
        bounds: vec![10, 11, 12, 13, 14, 15],
        expires_at_ms: case.now_ms.saturating_add(1),
        ..GrantIssued::default()
    };
    let mut replay = replay(more, events);
    let issued = recorded(events.len() as u64, case.now_ms, Event::GrantIssued(grant));
    apply(&mut replay, SUBJECT, &issued);
    let replayed = replay.finish();
    assert_eq!(replayed.replayed, 1);
    // The random events before the grant can have findings of their own: they name requests that were never
    // made.
    let of_grant =
        replayed.findings.into_iter().filter(|found| found.grant == hex::encode(issued.event_id.0));
    of_grant.map(|finding| finding.fault).collect()
}

/// A service infers a contested attribute again, and then the data subject confirms it. The grant cites the
/// newest record of the attribute, because the newest record is current.
#[test]
fn the_verifier_agrees_on_an_inference_that_was_contested_recorded_again_and_confirmed() {
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
            claimed_provenance: Provenance::Unspecified,
            embedding: None,
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
    // Like the use case, confirm the current attribute under the key.
    let attribute = SubjectState::fold(&events).attributes["k"].event_id;
    events.push(recorded(4, 4, Event::AttributeConfirmed { attribute }));
    let state = SubjectState::fold(&events);
    let decision = BOUNDS.decide(&state, &VOCABULARY, &case);
    let basis = decision.allowed.first().unwrap().basis;
    assert_eq!(faults(&events, &case, vec![(&state.attributes["k"], basis)]), []);
}

proptest! {
    #![proptest_config(cases(1_500))]

    #[test]
    fn decisions_agree_with_the_model(events in histories(), case in some_case()) {
        let state = SubjectState::fold(&events);
        let expected: Vec<_> =
            state.attributes.values().map(|current| model(&state, current, &case, &[])).collect();
        prop_assert_eq!(&outcomes(&BOUNDS, &state, &case), &expected);
        // One decision about all attributes equals the decisions about each.
        let decision = BOUNDS.decide(&state, &VOCABULARY, &case);
        let yes: Vec<_> = expected.iter().flatten().copied().collect();
        prop_assert_eq!(decision.allowed.iter().map(|allowed| allowed.basis).collect::<Vec<_>>(), yes);
        let no: u32 = decision.withheld.iter().map(|class| class.count).sum();
        prop_assert_eq!(no as usize, expected.iter().filter(|outcome| outcome.is_err()).count());
    }

    /// The verifier finds no fault with a grant of the allowed attributes. It finds a fault with a grant of
    /// any other attribute, no matter which event the grant cites as the consent.
    #[test]
    fn the_verifier_agrees_with_decisions(events in histories(), case in some_case()) {
        let state = SubjectState::fold(&events);
        let decision = BOUNDS.decide(&state, &VOCABULARY, &case);
        let granted: Vec<_> = decision
            .allowed
            .iter()
            .map(|allowed| (state.attributes[&allowed.key].as_ref(), allowed.basis))
            .collect();
        prop_assert_eq!(faults(&events, &case, granted), Vec::<Fault>::new());
        let keys: Vec<&String> = decision.allowed.iter().map(|allowed| &allowed.key).collect();
        for (key, current) in &state.attributes {
            // Exception: a contested attribute is withheld here, but the verifier may find no fault.
            if keys.contains(&key) || current.contested || !current.attribute.derived_from.is_empty() {
                continue;
            }
            for number in 0..events.len() as u64 {
                prop_assert!(!faults(&events, &case, vec![(current, Basis::Consent(event_id(number)))]).is_empty());
            }
        }
    }
}

proptest! {
    // Each case compiles every default pack.
    #![proptest_config(cases(100))]

    /// Additional forbidding rules and signals.
    #[test]
    fn a_further_rule_or_signal_never_allows_more(
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
