//! Tests what forbids a use even if there is a consent to it: signals, refused erasures and unconfirmed
//! restores.

use super::*;

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
    // Early logs have restores that need no confirmation.
    assert_eq!(between(vec![restored(1, false)]), []);
    let adopted = |edition| Event::DecisionRulesAdopted(DecisionRulesAdopted { edition });
    assert_eq!(between(vec![adopted(2), restored(1, false)]), [Fault::RestoreUnconfirmed]);
    assert_eq!(between(vec![adopted(2), restored(1, false), confirmed(1)]), []);
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
