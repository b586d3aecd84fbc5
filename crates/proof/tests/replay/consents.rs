//! Tests which consents allow a grant, and which refusals override them.

use super::*;

#[test]
fn consent_covers_categories_and_purposes_by_name_or_ancestor() {
    assert_eq!(faults_after("food", wide(), nothing), []);
    assert_eq!(faults_after("food", terms(&["tone-adaptation"], &["preference"], &["bot"]), nothing), []);
    assert_eq!(
        faults_after("food", terms(&["tone-adaptation"], &["work"], &[]), nothing),
        [Fault::NoConsent]
    );
    assert_eq!(faults_after("food", terms(&["advertising"], &[], &[]), nothing), [Fault::NoConsent]);
    assert_eq!(
        faults_after("food", terms(&["personalization"], &[], &["other"]), nothing),
        [Fault::NoConsent]
    );
    assert_eq!(
        faults_after("food", ConsentTerms { until_ms: Some(START_MS), ..wide() }, nothing),
        [Fault::NoConsent]
    );
    assert_eq!(faults_after("unheard-of", wide(), nothing), [Fault::UndefinedCategory]);
}

#[test]
fn special_categories_need_explicit_consent_that_names_them() {
    assert_eq!(faults_after("allergy", wide(), nothing), [Fault::NoConsent]);
    assert_eq!(faults_after("allergy", explicit(&[]), nothing), [Fault::NoConsent]);
    assert_eq!(
        faults_after("allergy", terms(&["personalization"], &["health"], &[]), nothing),
        [Fault::NoConsent]
    );
    assert_eq!(faults_after("allergy", explicit(&["health"]), nothing), []);
    assert_eq!(faults_after("allergy", explicit(&["allergy"]), nothing), []);
    assert_eq!(faults_after("health", explicit(&["allergy"]), nothing), [Fault::NoConsent]);
}

#[test]
fn a_later_withdrawal_overrides_a_consent_that_it_covers() {
    let after = |terms: ConsentTerms| faults_after("food", wide(), event(withdrawn(terms)));
    assert_eq!(after(wide()), [Fault::Refused]);
    assert_eq!(after(terms(&[], &[], &[])), [Fault::Refused]);
    assert_eq!(after(terms(&["tone-adaptation"], &["preference"], &["bot"])), [Fault::Refused]);
    assert_eq!(after(terms(&["advertising"], &[], &[])), []);
    assert_eq!(after(terms(&[], &["work"], &[])), []);
    assert_eq!(after(terms(&[], &[], &["other"])), []);
}

#[test]
fn only_an_equal_or_narrower_consent_overrides_an_earlier_refusal() {
    let after_refusal = |refusal: ConsentTerms, consent: ConsentTerms| {
        let mut log = Log::with_vocabulary();
        let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
        log.append(ada(), refused(refusal));
        let consent_id = log.append(ada(), given(consent));
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        faults(&log)
    };
    assert_eq!(after_refusal(wide(), wide()), []);
    assert_eq!(after_refusal(wide(), terms(&["tone-adaptation"], &["food"], &["bot"])), []);
    assert_eq!(after_refusal(terms(&["tone-adaptation"], &[], &[]), wide()), [Fault::Refused]);
    assert_eq!(after_refusal(terms(&["personalization"], &["food"], &[]), wide()), [Fault::Refused]);
    assert_eq!(after_refusal(terms(&["personalization"], &[], &["bot"]), wide()), [Fault::Refused]);
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    log.append(ada(), refused(wide()));
    let consent_id = log.append_at_same_time(ada(), given(wide()));
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(faults(&log), [Fault::Refused], "at equal times, the refusal prevails");
}

/// The faults of a grant that cites the last of these decisions. Each decision comes with the number of
/// milliseconds by which it arrived late.
fn faults_after_decisions(decisions: Vec<(Event, u64)>) -> Vec<Fault> {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let mut last = attribute_id;
    for (decision, late_ms) in decisions {
        last = log.append_late(ada(), decision, late_ms);
    }
    log.append(ada(), grant(attribute_id, last, "key", "food"));
    faults(&log)
}

#[test]
fn a_decision_with_several_names_counts_like_one_decision_for_each() {
    let several = terms(&["personalization", "tone-adaptation"], &["food", "preference"], &[]);
    let after = |refusal: ConsentTerms, consent: ConsentTerms| {
        faults_after_decisions(vec![(refused(refusal), 0), (given(consent), 0)])
    };
    let narrow = terms(&["tone-adaptation"], &["food"], &[]);
    assert_eq!(after(narrow.clone(), several.clone()), []);
    assert_eq!(after(several.clone(), narrow), []);
    assert_eq!(after(several, wide()), [Fault::Refused]);
}

#[test]
fn the_end_of_a_later_consent_ends_the_earlier_one() {
    let ended = |terms: ConsentTerms| ConsentTerms { until_ms: Some(1), ..terms };
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    log.append(ada(), given(ended(terms(&["advertising"], &[], &[]))));
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(faults(&log), [], "the later consent does not cover the use");
    log.append(ada(), given(ended(wide())));
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(faults(&log), [Fault::NoConsent]);
}

#[test]
fn a_consent_or_lifting_that_arrives_late_undoes_nothing_recorded_after_it_was_said() {
    assert_eq!(faults_after_decisions(vec![(refused(wide()), 0), (given(wide()), 500)]), []);
    let late = faults_after_decisions(vec![(refused(wide()), 0), (given(wide()), 1_500)]);
    assert_eq!(late, [Fault::Refused]);
    let early_refusal = faults_after_decisions(vec![(refused(wide()), 5_000), (given(wide()), 1_500)]);
    assert_eq!(early_refusal, [Fault::Refused], "a refusal counts from when it was recorded");
    let kind = SignalKind::Restriction.into();
    for (late_ms, expected) in [(500, vec![]), (1_500, vec![Fault::Restricted])] {
        let found = faults_after("food", wide(), |log, _, _| {
            log.append(ada(), Event::SignalRecorded(SignalRecorded { kind, ..SignalRecorded::default() }));
            let lifted = Event::SignalLifted(SignalLifted { kind, ..SignalLifted::default() });
            log.append_late(ada(), lifted, late_ms);
        });
        assert_eq!(found, expected, "{late_ms} ms late");
    }
}

/// A data subject who wants to be asked each time consents to each conversation.
#[test]
fn a_consent_may_be_for_one_conversation() {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(ConsentTerms { interactions: vec!["chat-1".into()], ..wide() }));
    log.append(
        ada(),
        Event::PersonalBoundsSet(PersonalBoundsSet { ask_each_time: true, ..Default::default() }),
    );
    for interaction in ["chat-1", "chat-2", ""] {
        let Event::GrantIssued(issued) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
        log.append(ada(), Event::GrantIssued(GrantIssued { interaction: interaction.into(), ..issued }));
    }
    assert_eq!(faults(&log), [Fault::NoConsent, Fault::NoConsent]);
}

#[test]
fn an_unsigned_redefinition_of_an_early_log_keeps_no_meaning() {
    let faults = |edition: u32| {
        let mut log = Log::with_vocabulary();
        if edition > 0 {
            log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
        }
        let attribute_id = log.append(subject(1), recorded(attribute("key", "food")));
        let consent_id = log.append(subject(1), given(terms(&["personalization"], &[], &[])));
        log.append_system_event(Event::PurposeDefined(PurposeDefined {
            id: "tone-adaptation".into(),
            parent: "personalization".into(),
            title: "Sell to brokers".into(),
            same_meaning: true,
            ..PurposeDefined::default()
        }));
        log.append(subject(1), grant(attribute_id, consent_id, "key", "food"));
        findings(&log).into_iter().map(|(_, fault)| fault).collect::<Vec<_>>()
    };
    assert_eq!(faults(0), [Fault::NoConsent]);
    assert_eq!(faults(1), [Fault::NoConsent]);
    // From edition 2 on, the definition has to be signed.
    assert_eq!(faults(2), [Fault::UnsignedRule]);
}
