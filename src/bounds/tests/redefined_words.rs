//! Tests which consents cover a use after purposes were redefined. The daemon, a plain model and the
//! verifier must agree. The verifier shares no code with the daemon's decision.

use super::cases;
use crate::bounds::lapsed_consents::lapsed_consents;
use crate::bounds::rulebook::RulesHistory;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::consent::{Cover, Decision, NoConsent, Terms};
use crate::domain::consent_scope::ConsentCase;
use crate::domain::event::{
    Actor, CategoryDefined, DecisionRulesAdopted, Draft, Event, GrantIssued, GrantedAttribute, Provenance,
    PurposeDefined, Reason, Recorded, Role, Rung, codec,
};
use crate::domain::histories::recorded;
use crate::domain::ids::EventId;
use crate::domain::legal_basis::Basis;
use crate::domain::profile::SubjectState;
use proptest::prelude::*;
use sayso_proof::entry::{Handle, Header, SchemaVersion};
use sayso_proof::replay::Replay;
use std::collections::{BTreeMap, BTreeSet};

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const RUNGS: [Rung; 3] = [Rung::Unspecified, Rung::Style, Rung::Relevance];
pub(super) const START_MS: u64 = 1_000;

#[derive(Clone, Debug)]
enum Step {
    Define { id: usize, parent: Option<usize>, title: bool, rung: usize, same_meaning: bool, delay_ms: u64 },
    Say { yes: bool, purposes: Vec<usize>, stated_before_ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..IDS.len();
    let parent = proptest::option::of(0..IDS.len());
    let delay = prop_oneof![3 => Just(0), 1 => 1_u64..40];
    let define = (id, parent, any::<bool>(), 0..RUNGS.len(), any::<bool>(), delay).prop_map(
        |(id, parent, title, rung, same_meaning, delay_ms)| Step::Define {
            id,
            parent,
            title,
            rung,
            same_meaning,
            delay_ms,
        },
    );
    let purposes = proptest::collection::vec(0..IDS.len(), 1..3);
    let before = prop_oneof![2 => Just(0), 1 => 1_u64..40];
    let say = (prop_oneof![4 => Just(true), 1 => Just(false)], purposes, before)
        .prop_map(|(yes, purposes, stated_before_ms)| Step::Say { yes, purposes, stated_before_ms });
    prop_oneof![3 => define, 2 => say]
}

/// The system events and the events of a data subject, as the use cases could have recorded them.
pub(super) struct Log {
    pub system: Vec<Recorded>,
    pub subject: Vec<Recorded>,
    pub now_ms: u64,
}

pub(super) fn by(role: Role, event: Recorded) -> Recorded {
    Recorded { actor: Actor { role, name: String::new() }, ..event }
}

fn log(steps: &[(Step, bool)]) -> Log {
    let category = CategoryDefined { id: "work".into(), title: "Work".into(), ..Default::default() };
    let rules = Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 3 });
    let mut system = vec![
        by(Role::Ledger, recorded(0, START_MS, rules)),
        by(Role::Ledger, recorded(1, START_MS, Event::CategoryDefined(category))),
    ];
    let mut subject = vec![Recorded { version: 0, ..recorded(2, START_MS, attribute()) }];
    let (mut position, mut now_ms) = (3, START_MS);
    for (step, is_later) in steps {
        now_ms += if *is_later { 10 } else { 0 };
        match step {
            Step::Define { id, parent, title, rung, same_meaning, delay_ms } => {
                let purpose = PurposeDefined {
                    id: IDS[*id].into(),
                    parent: parent.map(|parent| IDS[parent].to_owned()).unwrap_or_default(),
                    title: if *title { "One" } else { "Two" }.into(),
                    rung: RUNGS[*rung],
                    same_meaning: *same_meaning,
                    effective_from_ms: if *delay_ms > 0 { now_ms + delay_ms } else { 0 },
                    ..PurposeDefined::default()
                };
                let defined = by(Role::Steward, recorded(position, now_ms, Event::PurposeDefined(purpose)));
                let history = RulesHistory::new(system.iter().cloned(), now_ms).unwrap();
                if history.check_definitions(std::slice::from_ref(&defined), now_ms).is_err() {
                    continue;
                }
                system.push(defined);
            }
            Step::Say { yes, purposes, stated_before_ms } => {
                let purposes = purposes.iter().map(|id| IDS[*id].to_owned()).collect();
                let decision = if *yes { Decision::Given } else { Decision::Refused };
                let event = Event::Consent { decision, terms: Terms { purposes, ..Terms::default() } };
                let version = subject.len() as u64;
                let about_ms = now_ms - stated_before_ms;
                subject.push(Recorded { version, about_ms, ..recorded(position, now_ms, event) });
            }
        }
        position += 1;
    }
    Log { system, subject, now_ms: now_ms + 15 }
}

pub(super) fn attribute() -> Event {
    Event::AttributeRecorded(Attribute {
        key: "k".into(),
        value: Secret::new("1".into()),
        category: "work".into(),
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
    })
}

/// A word of the model at a moment.
#[derive(Clone)]
struct Word {
    parent: String,
    title: String,
    rung: Rung,
    /// The moment, as time and position, from which it has had its meaning.
    meaning: (u64, u64),
}

type Words = BTreeMap<String, Word>;

/// A purpose and the purposes above it, nearest first.
fn above(words: &Words, id: &str) -> Vec<String> {
    let mut found = vec![id.to_owned()];
    while let Some(parent) = words.get(&found[found.len() - 1]).map(|word| &word.parent)
        && !parent.is_empty()
    {
        found.push(parent.clone());
    }
    found
}

fn highest_rung(words: &Words, id: &str) -> Rung {
    above(words, id).iter().filter_map(|id| Some(words.get(id)?.rung)).max().unwrap_or_default()
}

/// The words at a moment, and when each was first defined.
fn words_at(system: &[Recorded], at: (u64, u64)) -> (Words, BTreeMap<String, u64>) {
    let mut definitions: Vec<(u64, u64, &PurposeDefined)> = system
        .iter()
        .filter_map(|event| match &event.event {
            Event::PurposeDefined(purpose) => {
                Some((purpose.effective_from_ms.max(event.sealed_at_ms), event.position, purpose))
            }
            _ => None,
        })
        .collect();
    definitions.sort_by_key(|(start_ms, position, _)| (*start_ms, *position));
    let (mut words, mut first): (Words, BTreeMap<String, u64>) = (Words::new(), BTreeMap::new());
    for (start_ms, position, purpose) in definitions {
        if start_ms > at.0 || position > at.1 {
            continue;
        }
        let before = words.clone();
        let old = before.get(&purpose.id);
        let is_same = old.is_some_and(|old| purpose.same_meaning || old.title == purpose.title);
        let meaning = old.filter(|_| is_same).map_or((start_ms, position), |old| old.meaning);
        first.entry(purpose.id.clone()).or_insert(start_ms);
        let (parent, title) = (purpose.parent.clone(), purpose.title.clone());
        words.insert(purpose.id.clone(), Word { parent, title, rung: purpose.rung, meaning });
        for id in before.keys() {
            if highest_rung(&words, id) > highest_rung(&before, id) {
                words.get_mut(id).unwrap().meaning = (start_ms, position);
            }
        }
    }
    (words, first)
}

/// What the decisions say about a purpose, by the model.
struct Said {
    /// The events of the consents that allow it.
    allowing: BTreeSet<EventId>,
    /// If no consent allows it: why, and the decision that denies it.
    denied: (NoConsent, Option<EventId>),
}

/// The events of the consents that allow a purpose, by the model.
fn allowing(log: &Log, purpose: &str) -> BTreeSet<EventId> {
    said_about(log, purpose).allowing
}

fn said_about(log: &Log, purpose: &str) -> Said {
    let (now, first) = words_at(&log.system, (log.now_ms, u64::MAX));
    let ancestors = above(&now, purpose);
    let steps = |id: &String| ancestors.iter().position(|above| above == id);
    let said = |event: &Recorded, yes| if yes { event.about_ms } else { event.sealed_at_ms };
    let mut choices: Vec<(&Recorded, bool, String)> = Vec::new();
    for event in &log.subject {
        let Event::Consent { decision, terms } = &event.event else { continue };
        let named = terms.purposes.iter().cloned();
        choices.extend(named.map(|named| (event, decision.is_yes(), named)));
    }
    let covers = |event: &Recorded, named: &String| {
        let said_ms = said(event, true);
        let was_defined = first.get(named).is_some_and(|first| said_ms >= *first);
        let at_ms = if was_defined { said_ms } else { event.sealed_at_ms };
        let (then, _) = words_at(&log.system, (at_ms, event.position));
        let meaning = now.get(purpose).map(|word| word.meaning);
        let kept = meaning.is_some_and(|(since_ms, since)| since_ms <= at_ms && since <= event.position);
        kept && above(&then, purpose).contains(named) && steps(named).is_some()
    };
    let is_blocked = |event: &Recorded, named: &String| {
        choices.iter().any(|(no, yes, no_named)| {
            let Some(no_steps) = steps(no_named).filter(|_| !yes) else { return false };
            said(no, false) >= said(event, true) || steps(named).is_none_or(|steps| steps > no_steps)
        })
    };
    let allowing = choices
        .iter()
        .filter(|(event, yes, named)| *yes && covers(event, named) && !is_blocked(event, named));
    let allowing = allowing.map(|(event, ..)| event.event_id).collect();
    // A consent that would allow the purpose if its words had not been redefined comes first. It also lifts
    // what it lifted before.
    let about = |yes: bool| {
        choices
            .iter()
            .filter(move |(_, is_yes, _)| *is_yes == yes)
            .filter(|(_, _, named)| steps(named).is_some())
    };
    let by_new_words = about(true).filter(|(event, _, named)| !is_blocked(event, named));
    let newest = by_new_words.max_by_key(|(event, ..)| (event.about_ms, event.position));
    let is_lifted = |no: &Recorded, no_named: &String| {
        about(true).any(|(yes, _, named)| {
            yes.about_ms > no.sealed_at_ms && steps(named).unwrap() <= steps(no_named).unwrap()
        })
    };
    // A refusal that names several purposes counts with the nearest.
    let refusals: Vec<&Recorded> = about(false).map(|(no, ..)| *no).collect();
    let stands = |no: &&&Recorded| {
        let nearest = about(false).filter(|(other, ..)| other.position == no.position);
        let nearest = nearest.min_by_key(|(_, _, named)| steps(named)).unwrap();
        !is_lifted(no, &nearest.2)
    };
    let standing = refusals.iter().rev().find(stands).or(refusals.last());
    let denied = match (newest, standing) {
        (Some((yes, ..)), _) => (NoConsent::WordsChanged, Some(yes.event_id)),
        (None, Some(no)) => (NoConsent::Refused, Some(no.event_id)),
        (None, None) => (NoConsent::Silence, None),
    };
    Said { allowing, denied }
}

/// Whether the verifier finds no fault with a grant of the attribute under a consent.
pub(super) fn verifier_accepts(log: &Log, purpose: &str, consent: EventId) -> bool {
    let granted = GrantedAttribute {
        attribute: log.subject[0].event_id,
        basis: Basis::Consent(consent),
        key: "k".into(),
        category: "work".into(),
    };
    let grant = GrantIssued {
        recipient: "tutor".into(),
        purpose: purpose.into(),
        allowed: vec![granted],
        expires_at_ms: log.now_ms.saturating_add(1),
        ..GrantIssued::default()
    };
    let version = log.subject.len() as u64;
    let grant = Recorded { version, ..recorded(u64::MAX, log.now_ms, Event::GrantIssued(grant)) };
    let mut events: Vec<(Handle, &Recorded)> =
        log.system.iter().map(|event| (Handle::SYSTEM, event)).collect();
    events.extend(log.subject.iter().chain([&grant]).map(|event| (Handle([1; 16]), event)));
    events.sort_by_key(|(_, event)| event.position);
    let mut replay = Replay::default();
    for (handle, event) in events {
        let draft =
            Draft { about_ms: event.about_ms, actor: event.actor.clone(), event: event.event.clone() };
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
        replay.apply(event.position, &header, Some(&codec::encode(&draft, &[])));
    }
    replay.finish().unjustified == 0
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn consents_cover_what_their_words_covered_when_they_were_given(
        steps in proptest::collection::vec((step(), any::<bool>()), 1..16),
    ) {
        let log = log(&steps);
        let rules = RulesHistory::new(log.system.iter().cloned(), log.now_ms).unwrap().now();
        let state = SubjectState::fold(&log.subject);
        for purpose in IDS.into_iter().filter(|id| rules.vocabulary.has_purpose(id)) {
            let case =
                ConsentCase { purpose, category: "work", recipient: "tutor", interaction: "", now_ms: log.now_ms };
            let decided: BTreeSet<EventId> = state
                .consents
                .allowing(&rules.vocabulary, &case)
                .into_iter()
                .map(|(record, _)| record.event_id)
                .collect();
            let said = said_about(&log, purpose);
            prop_assert_eq!(&decided, &said.allowing, "{}", purpose);
            if let Cover::Denied { reason, by } = state.consents.cover(&rules.vocabulary, &case) {
                prop_assert_eq!((reason, by), said.denied, "{}", purpose);
            }
            for event in &log.subject {
                if matches!(&event.event, Event::Consent { decision, .. } if decision.is_yes()) {
                    let is_accepted = verifier_accepts(&log, purpose, event.event_id);
                    prop_assert_eq!(is_accepted, decided.contains(&event.event_id), "{}", purpose);
                }
            }
        }
    }

    /// If a use is denied because words were redefined, the person is listed to be asked again about its
    /// purpose, and only then.
    #[test]
    fn who_has_to_be_asked_again_is_listed_with_each_purpose_whose_words_changed(
        steps in proptest::collection::vec((step(), any::<bool>()), 1..16),
    ) {
        let log = log(&steps);
        let rules = RulesHistory::new(log.system.iter().cloned(), log.now_ms).unwrap().now();
        let state = SubjectState::fold(&log.subject);
        let mut expected = BTreeSet::new();
        for purpose in IDS.into_iter().filter(|id| rules.vocabulary.has_purpose(id)) {
            let said = said_about(&log, purpose);
            if let (true, (NoConsent::WordsChanged, Some(by))) = (said.allowing.is_empty(), said.denied) {
                expected.insert((by, purpose.to_owned()));
            }
        }
        let mut found = BTreeSet::new();
        for lapsed in lapsed_consents(&state, &rules, log.now_ms, log.now_ms) {
            prop_assert_eq!(lapsed.reason, Reason::WordsChanged);
            found.extend(lapsed.purposes.into_iter().map(|purpose| (lapsed.record.event_id, purpose)));
        }
        prop_assert_eq!(found, expected);
    }

    /// A consent that still allows something is listed as in force.
    #[test]
    fn a_consent_whose_words_all_changed_is_listed_as_ended(
        steps in proptest::collection::vec((step(), any::<bool>()), 1..16),
    ) {
        let log = log(&steps);
        let rules = RulesHistory::new(log.system.iter().cloned(), log.now_ms).unwrap().now();
        let state = SubjectState::fold(&log.subject);
        for record in state.consents.records().iter().filter(|record| record.decision.is_yes()) {
            let allows = IDS.iter().any(|purpose| allowing(&log, purpose).contains(&record.event_id));
            let in_force = state.consents.in_force(record, &rules.vocabulary, log.now_ms);
            prop_assert!(in_force || !allows, "a consent that still allows something is listed as ended");
        }
    }
}
