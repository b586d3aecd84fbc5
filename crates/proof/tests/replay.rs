//! Tests of the replay of grants. For each rule that a grant must follow, a log breaks the rule, and the
//! replay reports this.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::Fault;

type Id = [u8; 16];

/// The faults of a log's grants, found by verifying a whole bundle.
fn faults(log: &Log) -> Vec<Fault> {
    findings(log).into_iter().map(|(_, fault)| fault).collect()
}

fn ada() -> sayso_proof::entry::Handle {
    subject(1)
}

fn explicit(categories: &[&str]) -> ConsentTerms {
    ConsentTerms { explicit: true, ..terms(&["personalization"], categories, &[]) }
}

fn wide() -> ConsentTerms {
    terms(&["personalization"], &[], &[])
}

/// The faults of a log with one attribute and one consent, then the changes of `between`, then a grant.
fn faults_after(category: &str, consent: ConsentTerms, between: impl FnOnce(&mut Log, Id, Id)) -> Vec<Fault> {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", category)));
    let consent_id = log.append(ada(), given(consent));
    between(&mut log, attribute_id, consent_id);
    log.append(ada(), grant(attribute_id, consent_id, "key", category));
    faults(&log)
}

/// Appends one event of the data subject.
fn event(event: Event) -> impl FnOnce(&mut Log, Id, Id) {
    move |log, _, _| {
        log.append(ada(), event);
    }
}

fn nothing(_: &mut Log, _: Id, _: Id) {}

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
fn nothing_is_allowed_between_a_restore_and_its_confirmation() {
    let restored = |of: u8, use_waits| {
        Event::BackupRestored(BackupRestored {
            restore: vec![of; 16],
            use_waits,
            ..BackupRestored::default()
        })
    };
    let confirmed = |of: u8| Event::RestoreConfirmed(RestoreConfirmed { restore: vec![of; 16] });
    let between = |events: Vec<Event>| {
        faults_after("food", wide(), |log, _, _| {
            for event in events {
                log.append_system_event(event);
            }
        })
    };
    assert_eq!(between(vec![restored(1, true)]), [Fault::RestoreUnconfirmed]);
    assert_eq!(between(vec![restored(1, true), confirmed(1)]), []);
    assert_eq!(
        between(vec![restored(1, true), restored(2, true), confirmed(1)]),
        [Fault::RestoreUnconfirmed]
    );
    // Older logs have restores that need no confirmation.
    assert_eq!(between(vec![restored(1, false)]), []);
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

#[test]
fn signals_forbid_use_until_they_are_lifted() {
    let signal = |kind: SignalKind, purposes: &[&str]| {
        let purposes = purposes.iter().map(ToString::to_string).collect();
        Event::SignalRecorded(SignalRecorded { kind: kind.into(), purposes, ..SignalRecorded::default() })
    };
    let lifted = |kind: SignalKind, purposes: &[&str]| {
        let purposes = purposes.iter().map(ToString::to_string).collect();
        Event::SignalLifted(SignalLifted { kind: kind.into(), purposes, ..SignalLifted::default() })
    };
    let with = |events: Vec<Event>| {
        faults_after("food", wide(), |log, _, _| {
            for event in events {
                log.append(ada(), event);
            }
        })
    };
    let (all, tone, personal): (&[&str], &[&str], &[&str]) =
        (&[], &["tone-adaptation"], &["personalization"]);
    assert_eq!(with(vec![signal(SignalKind::Restriction, all)]), [Fault::Restricted]);
    assert_eq!(with(vec![signal(SignalKind::Pause, personal)]), [Fault::Paused]);
    assert_eq!(with(vec![signal(SignalKind::Objection, tone)]), [Fault::Objected]);
    assert_eq!(with(vec![signal(SignalKind::Objection, &["advertising"])]), []);
    // An opt-out is about other purposes.
    assert_eq!(with(vec![signal(SignalKind::OptOut, all)]), []);
    assert_eq!(with(vec![signal(SignalKind::OptOutAutomated, all)]), []);
    assert_eq!(with(vec![signal(SignalKind::Pause, tone), lifted(SignalKind::Pause, all)]), []);
    assert_eq!(with(vec![signal(SignalKind::Pause, tone), lifted(SignalKind::Pause, tone)]), []);
    assert_eq!(with(vec![signal(SignalKind::Pause, all), lifted(SignalKind::Pause, tone)]), [Fault::Paused]);
    assert_eq!(with(vec![lifted(SignalKind::Pause, all), signal(SignalKind::Pause, all)]), [Fault::Paused]);
    assert_eq!(
        with(vec![signal(SignalKind::Pause, all), lifted(SignalKind::Objection, all)]),
        [Fault::Paused]
    );
}

#[test]
fn an_opt_out_forbids_advertising_from_edition_3_on() {
    let with = |edition: u32, purposes: &[&str]| {
        let consent = terms(&["advertising"], &[], &[]);
        let mut log = Log::with_vocabulary();
        let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
        let consent_id = log.append(ada(), given(consent));
        let purposes = purposes.iter().map(ToString::to_string).collect();
        let kind = SignalKind::OptOut.into();
        log.append(ada(), Event::SignalRecorded(SignalRecorded { kind, purposes, ..Default::default() }));
        log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
        let Event::GrantIssued(for_tone) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
        log.append(ada(), Event::GrantIssued(GrantIssued { purpose: "advertising".into(), ..for_tone }));
        faults(&log)
    };
    assert_eq!(with(3, &[]), [Fault::OptedOut]);
    assert_eq!(with(3, &["advertising"]), [Fault::OptedOut]);
    assert_eq!(with(3, &["personalization"]), []);
    assert_eq!(with(2, &[]), []);
}

#[test]
fn data_that_is_kept_after_a_refused_erasure_is_not_granted_from_edition_3_on() {
    let refused = |ground: Ground, scope: ErasureScope, named: &str, categories: &[&str]| ErasureRefused {
        request: vec![9; 16],
        ground: ground.into(),
        whole: true,
        scope: scope.into(),
        category: if scope == ErasureScope::Category { named.into() } else { String::new() },
        key: if scope == ErasureScope::Key { named.into() } else { String::new() },
        categories: categories.iter().map(ToString::to_string).collect(),
        purposes: vec!["tone-adaptation".into()],
        ..ErasureRefused::default()
    };
    let with = |edition: u32, events: Vec<Event>| {
        faults_after("food", wide(), |log, _, _| {
            log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
            let submitted = RequestSubmitted { request: vec![9; 16], ..RequestSubmitted::default() };
            log.append(ada(), Event::RequestSubmitted(submitted));
            for event in events {
                log.append(ada(), event);
            }
        })
    };
    let claims = |scope, named, categories| refused(Ground::LegalClaims, scope, named, categories);
    let all = || claims(ErasureScope::All, "", &[]);
    assert_eq!(with(3, vec![Event::ErasureRefused(all())]), [Fault::KeptOnly], "the purpose is not required");
    assert_eq!(with(2, vec![Event::ErasureRefused(all())]), []);
    let withdrawn = Event::RequestWithdrawn(RequestWithdrawn { request: vec![9; 16] });
    assert_eq!(with(3, vec![Event::ErasureRefused(all()), withdrawn]), []);
    for (refusal, is_kept) in [
        (claims(ErasureScope::Key, "key", &[]), true),
        (claims(ErasureScope::Key, "other", &[]), false),
        (claims(ErasureScope::Category, "preference", &[]), true),
        (claims(ErasureScope::Category, "work", &[]), false),
        (claims(ErasureScope::Profile, "", &["food"]), true),
        (claims(ErasureScope::Profile, "", &["work"]), false),
        (refused(Ground::Excessive, ErasureScope::All, "", &[]), false),
        (ErasureRefused { whole: false, ..all() }, false),
    ] {
        let expected: &[Fault] = if is_kept { &[Fault::KeptOnly] } else { &[] };
        assert_eq!(with(3, vec![Event::ErasureRefused(refusal.clone())]), expected, "{refusal:?}");
    }
}

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

#[test]
fn a_grant_cites_its_attributes_consents_and_bounds() {
    let mut log = Log::with_vocabulary();
    log.publish_documents();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let other = log.append(ada(), given(terms(&["advertising"], &[], &[])));
    let consent_id = log.append(ada(), given(wide()));
    let in_force = |event: Event| {
        let Event::GrantIssued(issued) = event else { panic!() };
        Event::GrantIssued(GrantIssued { bounds: vec![9], ..issued })
    };
    log.append(ada(), in_force(grant(attribute_id, other, "key", "food")));
    log.append(ada(), in_force(grant(other, consent_id, "key", "food")));
    log.append(ada(), in_force(grant(attribute_id, consent_id, "another", "food")));
    let change = |change: &dyn Fn(&mut GrantIssued)| {
        let Event::GrantIssued(mut issued) = in_force(grant(attribute_id, consent_id, "key", "food")) else {
            panic!()
        };
        change(&mut issued);
        Event::GrantIssued(issued)
    };
    log.append(ada(), change(&|grant| grant.keys = vec!["another".into()]));
    log.append(ada(), change(&|grant| grant.categories = vec!["work".into()]));
    log.append(ada(), change(&|grant| grant.bounds = vec![0]));
    log.append(ada(), change(&|grant| grant.bounds = vec![]));
    log.append(ada(), change(&|grant| grant.purpose = "unheard-of".into()));
    let found = faults(&log);
    let expected = [
        Fault::Citation,
        Fault::UnknownAttribute,
        Fault::Described,
        Fault::NotAskedFor,
        Fault::NotAskedFor,
        Fault::UnknownBounds,
        Fault::OtherBounds,
        Fault::UndefinedPurpose,
        Fault::NoConsent,
    ];
    assert_eq!(found, expected);
}

#[test]
fn events_after_a_grant_do_not_affect_it() {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    log.append(ada(), withdrawn(terms(&[], &[], &[])));
    log.append(subject(2), refused(terms(&[], &[], &[])));
    assert_eq!(faults(&log), []);
}

#[test]
fn definitions_take_effect_when_they_are_made() {
    let special = |special| {
        let (id, parent) = ("food".into(), "preference".into());
        Event::CategoryDefined(CategoryDefined { id, parent, special, ..CategoryDefined::default() })
    };
    let redefined = faults_after("food", wide(), |log, _, _| {
        log.append_system_event(special(true));
    });
    assert_eq!(redefined, [Fault::NoConsent]);
}

fn published(pack: &str, version: &str, effective_from_ms: u64) -> BoundsPublished {
    let (pack, version) = (pack.into(), version.into());
    BoundsPublished { pack, version, tier: 2, effective_from_ms, ..BoundsPublished::default() }
}

/// A grant must cite the effective versions of bounds: for each pack, the version with the highest rank.
#[test]
fn bounds_are_in_force_from_their_effective_time() {
    let mut log = Log::with_vocabulary();
    let first = log.size();
    log.append_system_event(Event::BoundsPublished(published("a", "1", 0)));
    log.append_system_event(Event::BoundsPublished(published("b", "1", 0)));
    log.append_system_event(Event::BoundsPublished(published("a", "2", START_MS + 1_000_000)));
    log.append_system_event(Event::BoundsPublished(published("a", "3", 0)));
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    for bounds in [vec![first + 1, first + 3], vec![first, first + 1], vec![first + 1, first + 2]] {
        let Event::GrantIssued(issued) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
        log.append(ada(), Event::GrantIssued(GrantIssued { bounds, ..issued }));
    }
    assert_eq!(faults(&log), [Fault::OtherBounds, Fault::OtherBounds]);
}

/// A data subject's own bounds are replayed without a policy engine.
#[test]
fn grants_are_checked_against_personal_bounds() {
    let never = |category: &str, purposes: &[&str]| {
        let purposes = purposes.iter().map(ToString::to_string).collect();
        PersonalBoundsSet {
            never: vec![NeverUse { category: category.into(), purposes }],
            ..PersonalBoundsSet::default()
        }
    };
    let of = PersonalBoundsSet::default;
    let own = [
        (of(), None),
        (never("preference", &[]), Some(Fault::PersonalBounds)),
        (never("work", &[]), None),
        (never("", &["personalization"]), Some(Fault::PersonalBounds)),
        (never("food", &["advertising"]), None),
        (PersonalBoundsSet { only_recipients: vec!["nobody".into()], ..of() }, Some(Fault::PersonalBounds)),
        (PersonalBoundsSet { paused: true, ..of() }, Some(Fault::Paused)),
        (PersonalBoundsSet { paused_interactions: vec!["chat".into()], ..of() }, None),
        (PersonalBoundsSet { ask_each_time: true, ..of() }, Some(Fault::NotAsked)),
    ];
    for (choices, fault) in own {
        let mut log = Log::with_vocabulary();
        let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
        let consent_id = log.append(ada(), given(wide()));
        log.append(ada(), Event::PersonalBoundsSet(choices.clone()));
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        // Choices that were taken back no longer apply.
        log.append(ada(), Event::PersonalBoundsSet(PersonalBoundsSet::default()));
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        assert_eq!(faults(&log), fault.into_iter().collect::<Vec<_>>(), "{choices:?}");
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

/// The operator of the ledger cannot publish bounds in another publisher's name.
#[test]
fn bounds_must_be_signed_once_the_log_has_subject_entries() {
    let mut log = Log::with_vocabulary();
    log.append_system_event(Event::BoundsPublished(published("first", "1", 0)));
    log.append(ada(), recorded(attribute("key", "food")));
    log.append_system_event(Event::BoundsPublished(published("later", "1", 0)));
    assert_eq!(faults(&log), [Fault::UnsignedRule]);
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

/// The faults of a grant of an attribute that is stated as declared but was derived from health, while the
/// person wants only their own statements to be used.
fn faults_of_a_conclusion(edition: u32, category: &str) -> Vec<Fault> {
    let mut log = Log::with_vocabulary();
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition }));
    let source = log.append(ada(), recorded(attribute("source", category)));
    let derived = Attribute { derived_from: vec![source.to_vec()], ..attribute("key", "food") };
    let derived = log.append(ada(), recorded(derived));
    log.append(ada(), given(explicit(&["health"])));
    let consent_id = log.append(ada(), given(wide()));
    let choices = PersonalBoundsSet { declared_only: true, ..PersonalBoundsSet::default() };
    log.append(ada(), Event::PersonalBoundsSet(choices));
    log.append(ada(), grant(derived, consent_id, "key", "food"));
    faults(&log)
}

#[test]
fn from_edition_3_on_what_was_derived_from_a_special_category_counts_as_inferred() {
    assert_eq!(faults_of_a_conclusion(2, "health"), []);
    assert_eq!(faults_of_a_conclusion(3, "health"), [Fault::PersonalBounds]);
    assert_eq!(faults_of_a_conclusion(3, "allergy"), [Fault::PersonalBounds]);
    assert_eq!(faults_of_a_conclusion(3, "work"), []);
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
