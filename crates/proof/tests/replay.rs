//! Grants replayed: each rule of the decision, by a log that breaks it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::bundle::{self, Options, Source};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::Fault;

type Id = [u8; 16];

/// What verification finds wrong with the grants of a log, after going through a whole bundle.
fn faults(log: &Log) -> Vec<Fault> {
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    let report = bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ()).unwrap();
    let wrong = report.grants.unjustified + report.grants.bounds_unsigned;
    assert_eq!(wrong > 0, !report.grants.findings.is_empty());
    assert_eq!(report.grants_hold(), report.grants.findings.is_empty());
    report.grants.findings.iter().map(|finding| finding.fault).collect()
}

fn ada() -> sayso_proof::entry::Handle {
    person(1)
}

fn explicit(categories: &[&str]) -> ConsentTerms {
    ConsentTerms { explicit: true, ..terms(&["personalization"], categories, &[]) }
}

fn wide() -> ConsentTerms {
    terms(&["personalization"], &[], &[])
}

/// A log with one fact and one consent, changed by `between`, and then a grant of the fact.
fn one(category: &str, consent: ConsentTerms, between: impl FnOnce(&mut Log, Id, Id)) -> Vec<Fault> {
    let mut log = Log::with_vocabulary();
    let fact = log.about(ada(), recorded(attribute("key", category)));
    let yes = log.about(ada(), given(consent));
    between(&mut log, fact, yes);
    log.about(ada(), grant(fact, yes, "key", category));
    faults(&log)
}

/// The person does this in between.
fn then(event: Event) -> impl FnOnce(&mut Log, Id, Id) {
    move |log, _, _| {
        log.about(ada(), event);
    }
}

fn nothing(_: &mut Log, _: Id, _: Id) {}

#[test]
fn consent_covers_by_name_or_ancestor() {
    assert_eq!(one("food", wide(), nothing), []);
    assert_eq!(one("food", terms(&["tone-adaptation"], &["preference"], &["bot"]), nothing), []);
    assert_eq!(one("food", terms(&["tone-adaptation"], &["work"], &[]), nothing), [Fault::NoConsent]);
    assert_eq!(one("food", terms(&["advertising"], &[], &[]), nothing), [Fault::NoConsent]);
    assert_eq!(one("food", terms(&["personalization"], &[], &["other"]), nothing), [Fault::NoConsent]);
    assert_eq!(one("food", ConsentTerms { until_ms: Some(START_MS), ..wide() }, nothing), [Fault::NoConsent]);
    assert_eq!(one("unheard-of", wide(), nothing), [Fault::UndefinedCategory]);
}

#[test]
fn special_categories_are_explicit_and_named() {
    assert_eq!(one("allergy", wide(), nothing), [Fault::NoConsent]);
    assert_eq!(one("allergy", explicit(&[]), nothing), [Fault::NoConsent]);
    assert_eq!(one("allergy", terms(&["personalization"], &["health"], &[]), nothing), [Fault::NoConsent]);
    assert_eq!(one("allergy", explicit(&["health"]), nothing), []);
    assert_eq!(one("allergy", explicit(&["allergy"]), nothing), []);
    assert_eq!(one("health", explicit(&["allergy"]), nothing), [Fault::NoConsent]);
}

#[test]
fn a_no_after_a_yes_stands() {
    let after = |terms: ConsentTerms| one("food", wide(), then(withdrawn(terms)));
    assert_eq!(after(wide()), [Fault::Refused]);
    assert_eq!(after(terms(&[], &[], &[])), [Fault::Refused]);
    assert_eq!(after(terms(&["tone-adaptation"], &["preference"], &["bot"])), [Fault::Refused]);
    assert_eq!(after(terms(&["advertising"], &[], &[])), []);
    assert_eq!(after(terms(&[], &["work"], &[])), []);
    assert_eq!(after(terms(&[], &[], &["other"])), []);
}

#[test]
fn after_a_restore_nothing_is_allowed_before_it_is_confirmed() {
    let restored = |of: u8, use_waits| {
        Event::BackupRestored(BackupRestored {
            restore: vec![of; 16],
            use_waits,
            ..BackupRestored::default()
        })
    };
    let confirmed = |of: u8| Event::RestoreConfirmed(RestoreConfirmed { restore: vec![of; 16] });
    let between = |events: Vec<Event>| {
        one("food", wide(), |log, _, _| {
            for event in events {
                log.about_nobody(event);
            }
        })
    };
    assert_eq!(between(vec![restored(1, true)]), [Fault::RestoreUnconfirmed]);
    assert_eq!(between(vec![restored(1, true), confirmed(1)]), []);
    assert_eq!(
        between(vec![restored(1, true), restored(2, true), confirmed(1)]),
        [Fault::RestoreUnconfirmed]
    );
    // Logs that went back before there was anything to wait for.
    assert_eq!(between(vec![restored(1, false)]), []);
}

#[test]
fn only_an_equal_or_narrower_yes_lifts_a_no() {
    let before = |no: ConsentTerms, yes: ConsentTerms| {
        let mut log = Log::with_vocabulary();
        let fact = log.about(ada(), recorded(attribute("key", "food")));
        log.about(ada(), refused(no));
        let yes = log.about(ada(), given(yes));
        log.about(ada(), grant(fact, yes, "key", "food"));
        faults(&log)
    };
    assert_eq!(before(wide(), wide()), []);
    assert_eq!(before(wide(), terms(&["tone-adaptation"], &["food"], &["bot"])), []);
    assert_eq!(before(terms(&["tone-adaptation"], &[], &[]), wide()), [Fault::Refused]);
    assert_eq!(before(terms(&["personalization"], &["food"], &[]), wide()), [Fault::Refused]);
    assert_eq!(before(terms(&["personalization"], &[], &["bot"]), wide()), [Fault::Refused]);
    let mut log = Log::with_vocabulary();
    let fact = log.about(ada(), recorded(attribute("key", "food")));
    log.about(ada(), refused(wide()));
    let yes = log.about_at_once(ada(), given(wide()));
    log.about(ada(), grant(fact, yes, "key", "food"));
    assert_eq!(faults(&log), [Fault::Refused], "of one moment, no wins");
}

#[test]
fn signals_come_first() {
    let signal = |kind: SignalKind, purposes: &[&str]| {
        let purposes = purposes.iter().map(ToString::to_string).collect();
        Event::SignalRecorded(SignalRecorded { kind: kind.into(), purposes, ..SignalRecorded::default() })
    };
    let lifted = |kind: SignalKind, purposes: &[&str]| {
        let purposes = purposes.iter().map(ToString::to_string).collect();
        Event::SignalLifted(SignalLifted { kind: kind.into(), purposes, ..SignalLifted::default() })
    };
    let with = |events: Vec<Event>| {
        one("food", wide(), |log, _, _| {
            for event in events {
                log.about(ada(), event);
            }
        })
    };
    let (all, tone, personal): (&[&str], &[&str], &[&str]) =
        (&[], &["tone-adaptation"], &["personalization"]);
    assert_eq!(with(vec![signal(SignalKind::Restriction, all)]), [Fault::Restricted]);
    assert_eq!(with(vec![signal(SignalKind::Pause, personal)]), [Fault::Paused]);
    assert_eq!(with(vec![signal(SignalKind::Objection, tone)]), [Fault::Objected]);
    assert_eq!(with(vec![signal(SignalKind::Objection, &["advertising"])]), []);
    assert_eq!(with(vec![signal(SignalKind::OptOut, all)]), []);
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
fn what_is_no_longer_held_is_not_granted() {
    let removed = one("food", wide(), |log, fact, _| {
        let event = AttributeRemoved { attribute: fact.to_vec(), reason: String::new() };
        log.about(ada(), Event::AttributeRemoved(event));
    });
    assert_eq!(removed, [Fault::Removed]);
    let corrected = one("food", wide(), |log, fact, _| {
        let attribute = Some(attribute("key", "food"));
        log.about(
            ada(),
            Event::AttributeCorrected(AttributeCorrected { corrects: fact.to_vec(), attribute }),
        );
    });
    assert_eq!(corrected, [Fault::Corrected]);
    let replaced = one("food", wide(), then(recorded(attribute("key", "food"))));
    assert_eq!(replaced, [Fault::Replaced]);
    let contested = |then: Option<()>| {
        one("food", wide(), |log, fact, _| {
            let attribute = fact.to_vec();
            let reason = String::new();
            log.about(
                ada(),
                Event::AttributeContested(AttributeContested { attribute: attribute.clone(), reason }),
            );
            if then.is_some() {
                log.about(ada(), Event::AttributeConfirmed(AttributeConfirmed { attribute }));
            }
        })
    };
    assert_eq!((contested(None), contested(Some(()))), (vec![Fault::Contested], vec![]));
}

/// A log that grants the second of two facts.
fn second(
    first: Attribute,
    fact: impl FnOnce(Id) -> Attribute,
    between: impl FnOnce(&mut Log, Id),
) -> Vec<Fault> {
    let mut log = Log::with_vocabulary();
    let first = log.about(ada(), recorded(first));
    let attribute = fact(first);
    let (key, category) = (attribute.key.clone(), attribute.category.clone());
    let fact = log.about(ada(), recorded(attribute));
    let yes = log.about(ada(), given(wide()));
    between(&mut log, first);
    log.about(ada(), grant(fact, yes, &key, &category));
    faults(&log)
}

#[test]
fn inferences_yield_and_derivations_fall_with_their_sources() {
    let inferred = |_| Attribute { provenance: Provenance::Inferred.into(), ..attribute("key", "food") };
    assert_eq!(second(attribute("key", "food"), inferred, |_, _| ()), [Fault::DeclaredOtherwise]);
    let derived =
        |source: Id| Attribute { derived_from: vec![source.to_vec()], ..attribute("other", "food") };
    assert_eq!(second(attribute("key", "food"), derived, |_, _| ()), []);
    assert_eq!(second(attribute("key", "health"), derived, |_, _| ()), [Fault::SourceWithheld]);
    let remove = |log: &mut Log, first: Id| {
        let event = AttributeRemoved { attribute: first.to_vec(), reason: String::new() };
        log.about(ada(), Event::AttributeRemoved(event));
    };
    assert_eq!(second(attribute("key", "food"), derived, remove), [Fault::SourceWithheld]);
    let expiring = Attribute { expires_at_ms: Some(START_MS), ..attribute("key", "food") };
    assert_eq!(second(expiring.clone(), derived, |_, _| ()), [Fault::SourceWithheld]);
    assert_eq!(second(attribute("a", "food"), |_| expiring, |_, _| ()), [Fault::Expired]);
}

#[test]
fn a_grant_cites_what_it_rests_on() {
    let mut log = Log::with_vocabulary();
    log.documents();
    let fact = log.about(ada(), recorded(attribute("key", "food")));
    let other = log.about(ada(), given(terms(&["advertising"], &[], &[])));
    let yes = log.about(ada(), given(wide()));
    let in_force = |event: Event| {
        let Event::GrantIssued(issued) = event else { panic!() };
        Event::GrantIssued(GrantIssued { bounds: vec![9], ..issued })
    };
    log.about(ada(), in_force(grant(fact, other, "key", "food")));
    log.about(ada(), in_force(grant(other, yes, "key", "food")));
    log.about(ada(), in_force(grant(fact, yes, "another", "food")));
    let change = |change: &dyn Fn(&mut GrantIssued)| {
        let Event::GrantIssued(mut issued) = in_force(grant(fact, yes, "key", "food")) else { panic!() };
        change(&mut issued);
        Event::GrantIssued(issued)
    };
    log.about(ada(), change(&|grant| grant.keys = vec!["another".into()]));
    log.about(ada(), change(&|grant| grant.categories = vec!["work".into()]));
    log.about(ada(), change(&|grant| grant.bounds = vec![0]));
    log.about(ada(), change(&|grant| grant.bounds = vec![]));
    log.about(ada(), change(&|grant| grant.purpose = "unheard-of".into()));
    let found = faults(&log);
    let due = [
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
    assert_eq!(found, due);
}

#[test]
fn what_came_after_a_grant_does_not_touch_it() {
    let mut log = Log::with_vocabulary();
    let fact = log.about(ada(), recorded(attribute("key", "food")));
    let yes = log.about(ada(), given(wide()));
    log.about(ada(), grant(fact, yes, "key", "food"));
    log.about(ada(), withdrawn(terms(&[], &[], &[])));
    log.about(person(2), refused(terms(&[], &[], &[])));
    assert_eq!(faults(&log), []);
}

#[test]
fn definitions_count_from_when_they_are_made() {
    let special = |special| {
        let category = CategoryDefined { id: "food".into(), special, ..CategoryDefined::default() };
        Event::CategoryDefined(category)
    };
    let late = one("food", wide(), |log, _, _| {
        log.about_nobody(special(true));
    });
    assert_eq!(late, [Fault::NoConsent]);
}

fn published(pack: &str, effective_from_ms: u64) -> BoundsPublished {
    BoundsPublished { pack: pack.into(), tier: 2, effective_from_ms, ..BoundsPublished::default() }
}

/// A grant cites the versions whose time has come, of each pack the one that came last.
#[test]
fn bounds_are_in_force_from_their_time() {
    let mut log = Log::with_vocabulary();
    let first = log.size();
    log.about_nobody(Event::BoundsPublished(published("a", 0)));
    log.about_nobody(Event::BoundsPublished(published("b", 0)));
    log.about_nobody(Event::BoundsPublished(published("a", START_MS + 1_000_000)));
    log.about_nobody(Event::BoundsPublished(published("a", 0)));
    let fact = log.about(ada(), recorded(attribute("key", "food")));
    let yes = log.about(ada(), given(wide()));
    for bounds in [vec![first + 1, first + 3], vec![first, first + 1], vec![first + 1, first + 2]] {
        let Event::GrantIssued(issued) = grant(fact, yes, "key", "food") else { panic!() };
        log.about(ada(), Event::GrantIssued(GrantIssued { bounds, ..issued }));
    }
    assert_eq!(faults(&log), [Fault::OtherBounds, Fault::OtherBounds]);
}

/// The person's own bounds are replayed without a policy engine.
#[test]
fn what_a_person_chose_is_held_against_grants() {
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
        let fact = log.about(ada(), recorded(attribute("key", "food")));
        let yes = log.about(ada(), given(wide()));
        log.about(ada(), Event::PersonalBoundsSet(choices.clone()));
        log.about(ada(), grant(fact, yes, "key", "food"));
        // Taken back, nothing of it holds.
        log.about(ada(), Event::PersonalBoundsSet(PersonalBoundsSet::default()));
        log.about(ada(), grant(fact, yes, "key", "food"));
        assert_eq!(faults(&log), fault.into_iter().collect::<Vec<_>>(), "{choices:?}");
    }
}

/// Who wants to be asked each time is asked about each conversation.
#[test]
fn a_yes_may_be_for_one_conversation() {
    let mut log = Log::with_vocabulary();
    let fact = log.about(ada(), recorded(attribute("key", "food")));
    let yes = log.about(ada(), given(ConsentTerms { interactions: vec!["chat-1".into()], ..wide() }));
    log.about(
        ada(),
        Event::PersonalBoundsSet(PersonalBoundsSet { ask_each_time: true, ..Default::default() }),
    );
    for interaction in ["chat-1", "chat-2", ""] {
        let Event::GrantIssued(issued) = grant(fact, yes, "key", "food") else { panic!() };
        log.about(ada(), Event::GrantIssued(GrantIssued { interaction: interaction.into(), ..issued }));
    }
    assert_eq!(faults(&log), [Fault::NoConsent, Fault::NoConsent]);
}

/// Whoever runs the ledger can't publish in somebody else's name.
#[test]
fn bounds_are_signed_once_the_log_has_begun() {
    let mut log = Log::with_vocabulary();
    log.about_nobody(Event::BoundsPublished(published("first", 0)));
    log.about(ada(), recorded(attribute("key", "food")));
    log.about_nobody(Event::BoundsPublished(published("later", 0)));
    assert_eq!(faults(&log), [Fault::UnsignedBounds]);
}
