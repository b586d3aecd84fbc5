//! Tests of single decisions about a use: how withheld attributes are counted and explained, what derived
//! attributes depend on, and when a decision ends.

use super::*;
use crate::domain::attribute::{Attribute, Secret};
use crate::domain::consent::Decision as Consent;
use crate::domain::consent::Terms;
use crate::domain::event::{Event, Reason, SignalKind};
use crate::domain::histories::{event_id, recorded};
use crate::domain::ids::EventId;
use crate::domain::legal_basis::Basis;

pub(super) fn attribute(key: &str, category: &str, derived_from: &[u64]) -> Attribute {
    Attribute {
        key: key.into(),
        value: Secret::new("1".into()),
        category: category.into(),
        provenance: Provenance::Declared,
        evidence: Vec::new(),
        derived_from: derived_from.iter().map(|number| event_id(*number)).collect(),
        confidence: None,
        model: String::new(),
        observed_at_ms: 0,
        expires_at_ms: None,
        from_replies: Vec::new(),
        claimed_provenance: Provenance::Unspecified,
        embedding: None,
    }
}

pub(super) fn consent(decision: Consent, purposes: &[&str], categories: &[&str], explicit: bool) -> Event {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let terms =
        Terms { purposes: owned(purposes), categories: owned(categories), explicit, ..Terms::default() };
    Event::Consent { decision, terms }
}

fn record(attribute: Attribute) -> Event {
    Event::AttributeRecorded(attribute)
}

fn state(events: Vec<Event>) -> SubjectState {
    let events: Vec<_> =
        (0_u64..).zip(events).map(|(number, event)| recorded(number, number, event)).collect();
    SubjectState::fold(&events)
}

fn decided(events: Vec<Event>) -> Decision {
    decide(&default_bounds(), &state(events), &default_vocabulary())
}

fn allowed(decision: &Decision) -> Vec<&str> {
    decision.allowed.iter().map(|allowed| allowed.key.as_str()).collect()
}

/// The category, count, reason, deciding tier and deciding event of each withheld class.
fn withheld(decision: &Decision) -> Vec<(&str, u32, Reason, Tier, Option<EventId>)> {
    let classes = decision.withheld.iter();
    classes
        .map(|class| {
            let event = class.decided_by_event;
            (class.category.as_str(), class.count, class.reason, class.decided_by, event)
        })
        .collect()
}

#[test]
fn withheld_classes_are_counted_and_sorted_and_name_who_decided() {
    let mut observed = attribute("c", "work", &[]);
    observed.provenance = Provenance::Observed;
    let decision = decided(vec![
        record(attribute("a", "work", &[])),
        record(attribute("b", "work", &[])),
        record(observed),
        record(attribute("d", "health", &[])),
        record(attribute("e", "family", &[])),
        consent(Consent::Given, &["personalization"], &[], false),
        consent(Consent::Refused, &["memory"], &["work"], false),
    ]);
    assert_eq!(allowed(&decision), ["e"]);
    assert_eq!(decision.allowed[0].basis, Basis::Consent(event_id(5)));
    assert_eq!(
        withheld(&decision),
        [
            ("health", 1, Reason::NotExplicit, Tier::Public, None),
            ("work", 2, Reason::ConsentRefused, Tier::Individual, Some(event_id(6))),
            ("work", 1, Reason::ConsentRefused, Tier::Individual, Some(event_id(6))),
        ]
    );
    assert_eq!(decision.withheld[0].policy, "gdpr/art-9-explicit-consent");
    assert_eq!(decision.withheld[0].article, "GDPR Art. 9(2)(a)");
    assert_eq!(decision.withheld[1].policy, "gdpr/art-6-consent");
    assert_eq!(decision.bounds, [10, 11, 12, 13, 14, 15]);
    let without_consent = decided(vec![record(attribute("a", "work", &[]))]);
    assert_eq!(withheld(&without_consent), [("work", 1, Reason::NoConsent, Tier::Public, None)]);
}

#[test]
fn a_class_names_the_signal_that_decided() {
    let signal = |kind, purposes: &[&str]| Event::Signal {
        kind,
        purposes: purposes.iter().map(|purpose| (*purpose).to_owned()).collect(),
        lifted: false,
        interaction: String::new(),
    };
    let with = |signal| {
        decided(vec![
            record(attribute("a", "work", &[])),
            consent(Consent::Given, &["memory"], &[], false),
            signal,
        ])
    };
    let by_person = |reason| vec![("work", 1, reason, Tier::Individual, Some(event_id(2)))];
    assert_eq!(withheld(&with(signal(SignalKind::Restriction, &[]))), by_person(Reason::Restricted));
    assert_eq!(withheld(&with(signal(SignalKind::Pause, &[]))), by_person(Reason::Paused));
    assert_eq!(
        withheld(&with(signal(SignalKind::Objection, &["personalization"]))),
        by_person(Reason::Objected)
    );
    assert_eq!(allowed(&with(signal(SignalKind::Objection, &["safety"]))), ["a"]);
    // An opt-out from sale and sharing does not turn off personalization.
    assert_eq!(allowed(&with(signal(SignalKind::OptOut, &[]))), ["a"]);
}

#[test]
fn attributes_that_were_not_requested_are_neither_allowed_nor_counted() {
    let state = state(vec![
        record(attribute("a", "work", &[])),
        record(attribute("b", "language", &[])),
        record(attribute("c", "health", &[])),
        consent(Consent::Given, &["memory"], &[], false),
    ]);
    let (bounds, vocabulary) = (default_bounds(), default_vocabulary());
    let ask = |categories: &[&str], keys: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        bounds.decide(&state, &vocabulary, &memory(&owned(categories), &owned(keys)))
    };
    let by_category = ask(&["preference"], &[]);
    assert_eq!((allowed(&by_category), by_category.withheld.len()), (vec!["b"], 0));
    let by_key = ask(&[], &["a", "c"]);
    assert_eq!((allowed(&by_key), by_key.withheld.len()), (vec!["a"], 1));
    assert!(allowed(&ask(&["work"], &["b"])).is_empty());
}

#[test]
fn a_derived_attribute_is_withheld_with_its_sources() {
    let yes = || consent(Consent::Given, &["memory"], &["work", "family"], false);
    // 0: source, 1: derived from it, 2: derived from that.
    let chain = |source: &str| {
        vec![
            record(attribute("source", source, &[])),
            record(attribute("middle", "work", &[0])),
            record(attribute("a-last", "family", &[1])),
            yes(),
        ]
    };
    assert_eq!(allowed(&decided(chain("work"))), ["a-last", "middle", "source"]);
    let withheld_source = decided(chain("health"));
    assert!(allowed(&withheld_source).is_empty());
    let reasons: Vec<_> = withheld(&withheld_source).iter().map(|class| class.2).collect();
    assert_eq!(reasons, [Reason::SourceWithheld, Reason::NoConsent, Reason::SourceWithheld]);
    let mut removed = chain("work");
    removed.push(Event::AttributeRemoved { attribute: event_id(0), reason: String::new() });
    assert!(allowed(&decided(removed)).is_empty());
    let mut contested = chain("work");
    contested.push(Event::AttributeContested { attribute: event_id(0), reason: String::new() });
    assert!(allowed(&decided(contested)).is_empty());
    // The sources of a requested attribute need not be requested.
    let (bounds, vocabulary, keys) = (default_bounds(), default_vocabulary(), ["middle".to_owned()]);
    let asked = bounds.decide(&state(chain("work")), &vocabulary, &memory(&[], &keys));
    assert_eq!(allowed(&asked), ["middle"]);
}

#[test]
fn attributes_in_a_cycle_of_derivations_are_withheld() {
    let decision = decided(vec![
        record(attribute("a", "work", &[1])),
        record(attribute("b", "work", &[2])),
        record(attribute("c", "work", &[0])),
        record(attribute("d", "work", &[2])),
        record(attribute("e", "work", &[4])),
        record(attribute("f", "work", &[])),
        consent(Consent::Given, &["memory"], &[], false),
    ]);
    assert_eq!(allowed(&decision), ["f"]);
    assert_eq!(withheld(&decision), [("work", 5, Reason::SourceWithheld, Tier::Public, None)]);
}

#[test]
fn a_chain_of_derivations_may_be_as_long_as_a_profile() {
    let length = 50_000;
    // The keys are in reverse order, so that the last attribute of the chain is decided first.
    let mut events: Vec<Event> = (0..length)
        .map(|number: u64| {
            let sources: Vec<u64> = number.checked_sub(1).into_iter().collect();
            record(attribute(&format!("{:09}", length - number), "work", &sources))
        })
        .collect();
    events.push(consent(Consent::Given, &["memory"], &[], false));
    // Some attributes do not fit in one answer. No attribute is withheld for another reason.
    let decision = decided(events.clone());
    let [(_, left_out, reason, ..)] = withheld(&decision)[..] else { panic!("one class") };
    assert_eq!((decision.allowed.len() + left_out as usize, reason), (50_000, Reason::AnswerFull));
    events.push(Event::AttributeContested { attribute: event_id(0), reason: String::new() });
    assert!(decided(events).allowed.is_empty());
}

#[test]
fn a_decision_ends_when_the_first_consent_attribute_or_source_ends() {
    let until = |until_ms| {
        let mut given = consent(Consent::Given, &["memory"], &["work"], false);
        if let Event::Consent { terms, .. } = &mut given {
            terms.until_ms = Some(until_ms);
        }
        given
    };
    let mut source = attribute("a", "work", &[]);
    source.expires_at_ms = Some(NOW_MS + 5);
    let decision =
        decided(vec![record(source.clone()), record(attribute("b", "work", &[0])), until(NOW_MS + 9)]);
    let ends: Vec<_> = decision.allowed.iter().map(|allowed| allowed.ends_ms).collect();
    assert_eq!((ends, decision.ends_ms), (vec![Some(NOW_MS + 5); 2], Some(NOW_MS + 5)));
    let decision = decided(vec![record(attribute("b", "work", &[])), until(NOW_MS + 9)]);
    assert_eq!(decision.ends_ms, Some(NOW_MS + 9));
    assert_eq!(
        withheld(&decided(vec![record(attribute("b", "work", &[])), until(NOW_MS)]))[0].2,
        Reason::ConsentExpired
    );
    source.expires_at_ms = Some(NOW_MS);
    let decision = decided(vec![record(source), until(NOW_MS + 9)]);
    assert_eq!(withheld(&decision)[0].2, Reason::AttributeExpired);
}

/// An outcome that was cached for one recipient is not used for another.
#[test]
fn cached_outcomes_are_separate_for_each_recipient() {
    let text = "@id(\"no\") forbid (principal == Recipient::\"coach\", action, resource);";
    let bounds = compile(defaults().into_iter().chain([pack(Tier::Provider, "p", text)]).collect()).unwrap();
    for _ in 0..2 {
        assert_eq!(outcome(&bounds, &consented()), "allow");
        assert_eq!(outcome(&bounds, &CedarRequest { recipient: "coach".into(), ..consented() }), "p/no");
    }
}

#[test]
fn a_rule_that_uses_the_reason_of_a_contest_is_not_attributed_to_the_data_subject() {
    let text =
        "@id(\"a\") @reason(\"CONTESTED\") forbid (principal, action, resource in Category::\"work\");";
    let bounds = compile(vec![anything(), pack(Tier::Provider, "house", text)]).unwrap();
    let events = vec![
        record(attribute("job", "work", &[])),
        record(attribute("tea", "preference", &[])),
        consent(Consent::Given, &["memory"], &[], false),
        Event::AttributeContested { attribute: event_id(1), reason: String::new() },
    ];
    let mut packs = defaults();
    packs.push(pack(Tier::Provider, "house", text));
    let decision = decide(&bounds, &state(events.clone()), &default_vocabulary());
    let of_work = decision.withheld.iter().find(|class| class.category == "work").unwrap();
    assert_eq!((of_work.reason, of_work.decided_by), (Reason::Contested, Tier::Provider));
    // The data subject counts as having decided about the attribute that they contested.
    let decision = decide(&compile(packs).unwrap(), &state(events), &default_vocabulary());
    let of_tea = decision.withheld.iter().find(|class| class.category == "preference").unwrap();
    assert_eq!((of_tea.reason, of_tea.decided_by), (Reason::Contested, Tier::Individual));
}
