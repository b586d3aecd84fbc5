//! Tests which attributes can be granted: not those that were removed, corrected, replaced or contested, nor
//! those that expired or whose source may not be used.

use super::*;

#[test]
fn attributes_that_ended_or_are_contested_are_not_granted() {
    let removed = faults_after("food", wide(), |log, attribute_id, _| {
        let event = AttributeRemoved { attribute: attribute_id.to_vec(), reason: String::new() };
        log.append(ada(), Event::AttributeRemoved(event));
    });
    assert_eq!(removed, [Fault::Removed]);
    let corrected = faults_after("food", wide(), |log, attribute_id, _| {
        let attribute = Some(attribute("key", "food"));
        log.append(
            ada(),
            Event::AttributeCorrected(AttributeCorrected { corrects: attribute_id.to_vec(), attribute }),
        );
    });
    assert_eq!(corrected, [Fault::Corrected]);
    let replaced = faults_after("food", wide(), event(recorded(attribute("key", "food"))));
    assert_eq!(replaced, [Fault::Replaced]);
    let contested = |confirmed: bool| {
        faults_after("food", wide(), |log, attribute_id, _| {
            let attribute = attribute_id.to_vec();
            let reason = String::new();
            log.append(
                ada(),
                Event::AttributeContested(AttributeContested { attribute: attribute.clone(), reason }),
            );
            if confirmed {
                log.append(ada(), Event::AttributeConfirmed(AttributeConfirmed { attribute }));
            }
        })
    };
    assert_eq!((contested(false), contested(true)), (vec![Fault::Contested], vec![]));
}

/// The faults of a log that grants the second of two attributes.
fn faults_of_second(
    first: Attribute,
    second: impl FnOnce(Id) -> Attribute,
    between: impl FnOnce(&mut Log, Id),
) -> Vec<Fault> {
    let mut log = Log::with_vocabulary();
    let first = log.append(ada(), recorded(first));
    let second = second(first);
    let (key, category) = (second.key.clone(), second.category.clone());
    let attribute_id = log.append(ada(), recorded(second));
    let consent_id = log.append(ada(), given(wide()));
    between(&mut log, first);
    log.append(ada(), grant(attribute_id, consent_id, &key, &category));
    faults(&log)
}

#[test]
fn an_inference_yields_to_everything_that_was_declared_or_confirmed_when_it_was_recorded() {
    let mut log = Log::with_vocabulary();
    let inferred = || Attribute { provenance: Provenance::Inferred.into(), ..attribute("key", "food") };
    log.append(ada(), recorded(attribute("key", "food")));
    let confirmed = log.append(ada(), recorded(inferred()));
    log.append(ada(), Event::AttributeConfirmed(AttributeConfirmed { attribute: confirmed.to_vec() }));
    let second = log.append(ada(), recorded(inferred()));
    let removed = AttributeRemoved { attribute: confirmed.to_vec(), ..AttributeRemoved::default() };
    log.append(ada(), Event::AttributeRemoved(removed));
    let consent = log.append(ada(), given(wide()));
    log.append(ada(), grant(second, consent, "key", "food"));
    assert_eq!(faults(&log), [Fault::DeclaredOtherwise], "what the person declared still stands");
}

#[test]
fn inferences_yield_to_declarations_and_derived_attributes_depend_on_their_sources() {
    let inferred = |_| Attribute { provenance: Provenance::Inferred.into(), ..attribute("key", "food") };
    assert_eq!(faults_of_second(attribute("key", "food"), inferred, |_, _| ()), [Fault::DeclaredOtherwise]);
    let derived =
        |source: Id| Attribute { derived_from: vec![source.to_vec()], ..attribute("other", "food") };
    assert_eq!(faults_of_second(attribute("key", "food"), derived, |_, _| ()), []);
    assert_eq!(faults_of_second(attribute("key", "health"), derived, |_, _| ()), [Fault::SourceWithheld]);
    let remove = |log: &mut Log, first: Id| {
        let event = AttributeRemoved { attribute: first.to_vec(), reason: String::new() };
        log.append(ada(), Event::AttributeRemoved(event));
    };
    assert_eq!(faults_of_second(attribute("key", "food"), derived, remove), [Fault::SourceWithheld]);
    let expiring = Attribute { expires_at_ms: Some(START_MS), ..attribute("key", "food") };
    assert_eq!(faults_of_second(expiring.clone(), derived, |_, _| ()), [Fault::SourceWithheld]);
    assert_eq!(faults_of_second(attribute("a", "food"), |_| expiring, |_, _| ()), [Fault::Expired]);
}

/// A log whose data subject has an attribute that was observed at one time and then one that was observed at
/// another, both under the same key. Returns the faults of a grant of each.
fn faults_of_recordings(
    edition: u32,
    observed_ms: [u64; 2],
    provenances: [Provenance; 2],
) -> [Vec<Fault>; 2] {
    [0, 1].map(|granted: usize| {
        let mut log = Log::with_vocabulary();
        log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
        let recordings = [0, 1].map(|number: usize| {
            log.append(
                ada(),
                recorded(Attribute {
                    observed_at_ms: observed_ms[number],
                    provenance: provenances[number].into(),
                    ..attribute("key", "food")
                }),
            )
        });
        let consent_id = log.append(ada(), given(wide()));
        log.append(ada(), grant(recordings[granted], consent_id, "key", "food"));
        faults(&log)
    })
}

#[test]
fn from_edition_3_on_an_older_observation_that_arrives_late_does_not_hide_a_newer_one() {
    use Provenance::{Declared, Inferred, Observed};
    let (held, replaced) = (Vec::new(), vec![Fault::Replaced]);
    let observed = [Observed; 2];
    assert_eq!(faults_of_recordings(2, [20, 10], observed), [replaced.clone(), held.clone()]);
    assert_eq!(faults_of_recordings(3, [20, 10], observed), [held.clone(), replaced.clone()]);
    assert_eq!(faults_of_recordings(3, [10, 10], observed), [replaced.clone(), held.clone()]);
    assert_eq!(faults_of_recordings(3, [10, 20], observed), [replaced.clone(), held.clone()]);
    // An inference gives way to what the person declares, whenever either was observed.
    assert_eq!(faults_of_recordings(3, [20, 10], [Inferred, Declared]), [replaced, held]);
}

#[test]
fn an_earlier_attribute_is_history_and_no_grant_allows_it() {
    let mut log = Log::with_vocabulary();
    let newer = log.append(ada(), recorded(attribute("key", "food")));
    let earlier = Event::EarlierAttributeRecorded(EarlierAttributeRecorded {
        attribute: Some(attribute("key", "food")),
    });
    let earlier = log.append(ada(), earlier);
    let consent_id = log.append(ada(), given(wide()));
    log.append(ada(), grant(newer, consent_id, "key", "food"));
    log.append(ada(), grant(earlier, consent_id, "key", "food"));
    assert_eq!(faults(&log), [Fault::Replaced]);
}

#[test]
fn a_contest_takes_back_a_confirmation_so_what_the_person_declares_replaces_the_inference() {
    let mut log = Log::with_vocabulary();
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 3 }));
    let stated = |provenance: Provenance, observed_at_ms| {
        let provenance = provenance.into();
        recorded(Attribute { observed_at_ms, provenance, ..attribute("key", "food") })
    };
    let inferred = log.append(ada(), stated(Provenance::Inferred, 20)).to_vec();
    let confirmed = AttributeConfirmed { attribute: inferred.clone() };
    log.append(ada(), Event::AttributeConfirmed(confirmed));
    let contested = AttributeContested { attribute: inferred, ..AttributeContested::default() };
    log.append(ada(), Event::AttributeContested(contested));
    let declared = log.append(ada(), stated(Provenance::Declared, 10));
    let consent_id = log.append(ada(), given(wide()));
    log.append(ada(), grant(declared, consent_id, "key", "food"));
    assert_eq!(faults(&log), []);
}

#[test]
fn from_edition_4_on_a_confirmation_from_before_a_contest_does_not_end_it() {
    let with = |edition: u32, late_ms: u64| {
        faults_after("food", wide(), |log, id, _| {
            log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
            let attribute = id.to_vec();
            let contested = AttributeContested { attribute: attribute.clone(), ..Default::default() };
            log.append(ada(), Event::AttributeContested(contested));
            let confirmed = AttributeConfirmed { attribute };
            log.append_late(ada(), Event::AttributeConfirmed(confirmed), late_ms);
        })
    };
    assert_eq!(with(4, 500), [], "it was said after the contest, which is a second older");
    assert_eq!(with(4, 1_500), [Fault::Contested]);
    assert_eq!(with(3, 1_500), []);
}
