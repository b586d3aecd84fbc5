//! If a part of a history is missing, only what depends on that part becomes uncheckable. The tests forge
//! logs as an operator with the log's key can.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::bundle::{self, Options, Report, Source, VerifyFailure};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::{Doubt, Fault};

type Id = [u8; 16];

fn ada() -> sayso_proof::entry::Handle {
    subject(1)
}

fn wide() -> ConsentTerms {
    terms(&["personalization"], &[], &[])
}

fn try_verify(log: &Log) -> Result<Report, VerifyFailure> {
    let bytes = log.bundle();
    let source = Source::Archive(Box::new(bytes.as_slice()));
    bundle::verify(source, &log.verifier(), &Options::default(), &mut |_| ())
}

/// The faults and doubts about the grants of a log.
fn verify(log: &Log) -> (Vec<Fault>, Vec<Doubt>) {
    let report = try_verify(log).unwrap();
    let grants = &report.grants;
    let is_listed = !grants.unchecked_grants.is_empty();
    assert_eq!(report.is_fully_checked(), !is_listed && report.withheld == 0);
    let unchecked = grants.unchecked + grants.revocations_unchecked + grants.reports_unchecked;
    assert_eq!(unchecked as usize, grants.unchecked_grants.len());
    let faults = grants.findings.iter().map(|finding| finding.fault).collect();
    let doubts = grants.unchecked_grants.iter().flat_map(|grant| grant.doubts.iter().copied()).collect();
    (faults, doubts)
}

/// A log with an attribute and a consent of ada: their ids.
fn log_of_ada() -> (Log, Id, Id) {
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(wide()));
    (log, attribute_id, consent_id)
}

/// Appends an event and erases it right away; then anything else of ada's makes a gap.
fn append_erased(log: &mut Log, event: Event, stated: Option<ErasedKind>) {
    let position = log.size();
    log.append(ada(), event);
    match stated {
        Some(kind) => log.erase_stating(&[(position, kind)]),
        None => log.erase(&[position], true),
    }
}

/// Appends an event whose content the bundle withholds, so that it may still exist.
fn append_withheld(log: &mut Log, event: Event) {
    log.append(ada(), event);
    *log.keys.last_mut().unwrap() = None;
}

fn pause() -> Event {
    let kind = SignalKind::Pause.into();
    Event::SignalRecorded(SignalRecorded { kind, ..SignalRecorded::default() })
}

#[test]
fn a_missing_attribute_or_use_hides_no_withdrawal() {
    for (event, kind) in [
        (recorded(attribute("other", "food")), ErasedKind::Attribute),
        (grant([1; 16], [2; 16], "other", "food"), ErasedKind::Other),
    ] {
        let (mut log, attribute_id, consent_id) = log_of_ada();
        append_erased(&mut log, event, Some(kind));
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        assert_eq!(verify(&log), (vec![], vec![]), "{kind:?}");
        log.append(ada(), withdrawn(wide()));
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        assert_eq!(verify(&log), (vec![Fault::Refused], vec![]), "{kind:?}");
    }
}

#[test]
fn a_decision_that_is_missing_or_may_be_makes_later_grants_uncheckable() {
    for stated in [Some(ErasedKind::Decision), Some(ErasedKind::Unspecified), None] {
        let (mut log, attribute_id, consent_id) = log_of_ada();
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        log.append(ada(), Event::RecordViewed(RecordViewed::default()));
        append_erased(&mut log, withdrawn(wide()), stated);
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        assert_eq!(verify(&log), (vec![], vec![Doubt::DecisionsMissing]), "{stated:?}");
        let report = try_verify(&log).unwrap();
        assert_eq!((report.grants.replayed, report.grants.unchecked), (1, 1));
    }
}

#[test]
fn a_withheld_entry_may_be_a_decision() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    log.append(ada(), withdrawn(wide()));
    *log.keys.last_mut().unwrap() = None;
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(verify(&log), (vec![], vec![Doubt::DecisionsMissing]));
}

#[test]
fn a_grant_of_an_erased_attribute_is_checked_as_far_as_it_says_what_it_was() {
    let erased = |category: &str| {
        let (mut log, attribute_id, consent_id) = log_of_ada();
        let position = log.size() - 2;
        log.append(ada(), grant(attribute_id, consent_id, "key", category));
        log.erase_stating(&[(position, ErasedKind::Attribute)]);
        verify(&log)
    };
    assert_eq!(erased("food"), (vec![], vec![Doubt::AttributeMissing]));
    assert_eq!(erased("health"), (vec![Fault::NoConsent], vec![]));
    assert_eq!(erased("unheard-of"), (vec![Fault::UndefinedCategory], vec![]));
}

/// The faults and doubts about a grant of the attribute and consent at these positions of ada's, which were
/// erased before the grant or after it, with or without a statement of what they were.
fn of_erased(positions: &[u64], is_before: bool, is_stated: bool) -> (Vec<Fault>, Vec<Doubt>) {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    let kind = |at: u64| if at == 9 { ErasedKind::Attribute } else { ErasedKind::Decision };
    let stated: Vec<_> = positions.iter().map(|at| (*at, kind(*at))).collect();
    let erase =
        |log: &mut Log| if is_stated { log.erase_stating(&stated) } else { log.erase(positions, true) };
    if is_before {
        erase(&mut log);
    }
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    if !is_before {
        erase(&mut log);
    }
    verify(&log)
}

#[test]
fn a_grant_of_what_had_been_erased_is_found_although_no_end_is_recorded() {
    for is_stated in [true, false] {
        for positions in [&[9][..], &[10], &[9, 10]] {
            let before = of_erased(positions, true, is_stated);
            assert_eq!(before, (vec![Fault::Erased], vec![]), "{positions:?}");
            let (faults, doubts) = of_erased(positions, false, is_stated);
            assert!(faults.is_empty() && !doubts.is_empty(), "{positions:?}: {faults:?} {doubts:?}");
        }
    }
}

#[test]
fn a_grant_cites_no_more_missing_events_than_were_not_erased_yet() {
    for allowed in [1, 2] {
        let (mut log, _, consent_id) = log_of_ada();
        let first = log.size();
        log.append(ada(), recorded(attribute("key", "food")));
        log.append(ada(), recorded(attribute("key", "food")));
        log.erase_stating(&[(first, ErasedKind::Attribute)]);
        let Event::GrantIssued(issued) = grant([1; 16], consent_id, "key", "food") else { panic!() };
        let of = |number: u64| GrantedAttribute {
            attribute: event_id(first + number).to_vec(),
            ..issued.allowed[0].clone()
        };
        let allowed: Vec<_> = (0..allowed).map(of).collect();
        let is_one = allowed.len() == 1;
        log.append(ada(), Event::GrantIssued(GrantIssued { allowed, ..issued.clone() }));
        log.erase_stating(&[(first + 1, ErasedKind::Attribute)]);
        let expected =
            if is_one { (vec![], vec![Doubt::AttributeMissing]) } else { (vec![Fault::Erased], vec![]) };
        assert_eq!(verify(&log), expected);
    }
}

#[test]
fn grants_cite_no_more_missing_events_than_are_missing() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    append_withheld(&mut log, withdrawn(wide()));
    log.append(ada(), grant([0x11; 16], [0x22; 16], "key", "food"));
    assert_eq!(verify(&log).0, [Fault::Citation], "one entry is missing, and two are cited");
    log.append(ada(), grant([0x11; 16], consent_id, "key", "food"));
    assert_eq!(verify(&log).1, [Doubt::DecisionsMissing, Doubt::AttributeMissing]);
    log.append(ada(), grant([0x33; 16], consent_id, "key", "food"));
    log.append(ada(), grant(consent_id, consent_id, "key", "food"));
    log.append(ada(), grant(attribute_id, attribute_id, "key", "food"));
    let faults = [Fault::Citation, Fault::UnknownAttribute, Fault::UnknownAttribute, Fault::Citation];
    assert_eq!(verify(&log).0, faults);
}

#[test]
fn a_grant_does_not_cite_what_comes_after_it() {
    let (mut log, attribute_id, _) = log_of_ada();
    append_withheld(&mut log, given(wide()));
    log.append(ada(), refused(terms(&["advertising"], &[], &[])));
    let next = event_id(log.size() + 1);
    log.append(ada(), grant(attribute_id, next, "key", "food"));
    assert_eq!(verify(&log).0, []);
    assert_eq!(log.append(ada(), given(wide())), next);
    assert_eq!(verify(&log).0, [Fault::Citation]);
}

#[test]
fn what_contradicts_a_grant_after_the_gap_counts() {
    let after_gap = |event: Event| {
        let (mut log, attribute_id, consent_id) = log_of_ada();
        append_withheld(&mut log, withdrawn(wide()));
        log.append(ada(), event);
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        // The missing event may be the consent that this grant cites.
        log.append(ada(), grant(attribute_id, [0x22; 16], "key", "food"));
        let (faults, doubts) = verify(&log);
        (faults, doubts.len())
    };
    assert_eq!(after_gap(withdrawn(wide())), (vec![Fault::Refused; 2], 0));
    assert_eq!(after_gap(pause()), (vec![Fault::Paused; 2], 0));
    let choices = PersonalBoundsSet { paused: true, ..PersonalBoundsSet::default() };
    assert_eq!(after_gap(Event::PersonalBoundsSet(choices)), (vec![Fault::Paused; 2], 0));
    assert_eq!(after_gap(recorded(attribute("key", "food"))), (vec![Fault::Replaced; 2], 0));
    let contested = AttributeContested { attribute: event_id(9).to_vec(), reason: String::new() };
    assert_eq!(after_gap(Event::AttributeContested(contested)), (vec![Fault::Contested; 2], 0));
    assert_eq!(after_gap(refused(terms(&["advertising"], &[], &[]))), (vec![], 3));
}

#[test]
fn what_a_missing_decision_may_have_undone_is_no_finding() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    log.append(ada(), pause());
    append_erased(&mut log, withdrawn(wide()), None);
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(verify(&log), (vec![], vec![Doubt::DecisionsMissing]));
}

#[test]
fn what_needs_no_history_is_always_checked() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    append_erased(&mut log, withdrawn(wide()), None);
    let Event::GrantIssued(good) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
    log.append(ada(), Event::GrantIssued(GrantIssued { bounds: vec![1], ..good.clone() }));
    log.append(ada(), Event::GrantIssued(GrantIssued { purpose: "unheard-of".into(), ..good.clone() }));
    log.append(ada(), Event::GrantIssued(GrantIssued { keys: vec!["another".into()], ..good.clone() }));
    let restored = BackupRestored { restore: vec![1; 16], use_waits: true, ..BackupRestored::default() };
    log.append_system_event(Event::BackupRestored(restored));
    log.append(ada(), Event::GrantIssued(good));
    let faults = [
        Fault::UnknownBounds,
        Fault::UndefinedPurpose,
        Fault::NoConsent,
        Fault::NotAskedFor,
        Fault::RestoreUnconfirmed,
    ];
    assert_eq!(verify(&log).0, faults);
}

#[test]
fn erasures_of_other_streams_do_not_count_for_a_gap() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    let first = log.size();
    log.append(ada(), recorded(attribute("old", "food")));
    // Bob's decision has the same version as the attribute that ada's gap begins with.
    log.append(subject(2), given(wide()));
    log.append(subject(2), given(wide()));
    log.append(subject(2), withdrawn(wide()));
    log.append(ada(), recorded(attribute("older", "food")));
    log.erase_stating(&[(first, ErasedKind::Attribute), (first + 4, ErasedKind::Attribute)]);
    log.erase_stating(&[(first + 3, ErasedKind::Decision)]);
    log.append(subject(2), recorded(attribute("key", "food")));
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(verify(&log), (vec![], vec![]));
}

#[test]
fn erasures_that_contradict_each_other_state_nothing() {
    for (first, second) in [
        (ErasedKind::Attribute, ErasedKind::Attribute),
        (ErasedKind::Attribute, ErasedKind::Decision),
        (ErasedKind::Other, ErasedKind::Attribute),
    ] {
        let (mut log, attribute_id, consent_id) = log_of_ada();
        let position = log.size();
        log.append(ada(), withdrawn(wide()));
        log.erase_stating(&[(position, first)]);
        log.erase_stating(&[(position, second)]);
        log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
        let expected = if first == second { vec![] } else { vec![Doubt::DecisionsMissing] };
        assert_eq!(verify(&log), (vec![], expected), "{first:?} {second:?}");
    }
}

#[test]
fn an_erasure_states_one_kind_and_one_version_for_each_position() {
    for (kinds, versions, reason) in [
        (vec![1, 1], vec![], "one kind for each position"),
        (vec![], vec![0, 1], "one version for each position"),
    ] {
        let (mut log, _, _) = log_of_ada();
        let position = log.size();
        log.append(ada(), withdrawn(wide()));
        log.erased.insert(position);
        let discarded = vec![PositionRange { first: position, last: position }];
        let erasure = ErasureCompleted { discarded, kinds, versions, ..ErasureCompleted::default() };
        log.append_system_event(Event::ErasureCompleted(erasure));
        let failure = try_verify(&log).unwrap_err();
        assert!(failure.reason.contains(reason), "{failure}");
    }
}

#[test]
fn a_grant_that_is_dated_back_does_not_use_what_had_expired() {
    let expires_at_ms = START_MS + 100_000;
    let faults = |sealed_at_ms: u64, other_at_ms: u64| {
        let mut log = Log::with_vocabulary();
        let expiring = Attribute { expires_at_ms: Some(expires_at_ms), ..attribute("key", "food") };
        let attribute_id = log.append(ada(), recorded(expiring));
        let consent_id = log.append(ada(), given(wide()));
        log.now = other_at_ms - 1000;
        log.append(subject(2), given(wide()));
        log.now = sealed_at_ms - 1000;
        let Event::GrantIssued(issued) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
        let expires_at_ms = sealed_at_ms + 1;
        log.append(ada(), Event::GrantIssued(GrantIssued { expires_at_ms, ..issued }));
        let report = try_verify(&log).unwrap();
        assert!(report.is_fully_checked());
        report.grants.findings.into_iter().map(|finding| finding.fault).collect::<Vec<_>>()
    };
    assert_eq!(faults(expires_at_ms - 1, expires_at_ms - 1), []);
    // The log ordered the grant after an entry that was sealed a little later.
    assert_eq!(faults(expires_at_ms - 1, expires_at_ms + 400), []);
    assert_eq!(faults(expires_at_ms - 1, expires_at_ms + 1_000), [Fault::Expired]);
    assert_eq!(faults(expires_at_ms - 1, expires_at_ms + 120_000), [Fault::Misdated, Fault::Expired]);
}

#[test]
fn a_consent_that_ends_after_a_decision_still_counts_if_a_grant_before_it_is_dated_later() {
    let until_ms = START_MS + 100_000;
    let mut log = Log::with_vocabulary();
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent_id = log.append(ada(), given(ConsentTerms { until_ms: Some(until_ms), ..wide() }));
    let Event::GrantIssued(issued) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
    let issued = GrantIssued { expires_at_ms: until_ms, ..issued };
    log.append(ada(), Event::GrantIssued(issued.clone()));
    let now = log.now;
    log.now = until_ms + 10_000;
    log.append(subject(2), given(wide()));
    log.now = now;
    // Its moment is when it was recorded, after the end of the consent. It allows nothing.
    log.append(ada(), Event::GrantIssued(GrantIssued { allowed: vec![], ..issued }));
    log.append(ada(), refused(terms(&["advertising"], &[], &[])));
    assert_eq!(verify(&log), (vec![], vec![]));
}

#[test]
fn entries_that_were_sealed_slightly_out_of_order_are_no_finding() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    log.now += 60_000;
    log.append(subject(2), given(wide()));
    log.now -= 62_000;
    log.append(ada(), withdrawn(wide()));
    let again = log.append(ada(), given(wide()));
    log.append(ada(), grant(attribute_id, again, "key", "food"));
    assert_eq!(verify(&log), (vec![], vec![]));
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    assert_eq!(verify(&log), (vec![Fault::Citation], vec![]));
}

#[test]
fn a_consent_that_is_dated_ahead_by_a_little_loses_to_the_withdrawal_after_it() {
    let (mut log, attribute_id, _) = log_of_ada();
    log.now += 60_000;
    let ahead = log.append(ada(), given(wide()));
    log.now -= 60_000;
    log.append(ada(), withdrawn(wide()));
    log.append(ada(), grant(attribute_id, ahead, "key", "food"));
    assert_eq!(verify(&log), (vec![Fault::Refused], vec![]));
}

/// The faults of a log in which `event` comes after an open grant and a gap, and the number of grants of
/// which it is not known whether they had to be revoked.
fn after_a_gap(kind: ErasedKind, event: impl FnOnce(&mut Log, Id)) -> (Vec<Fault>, u64) {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    let grant_id = append_open_grant(&mut log, attribute_id, consent_id);
    append_erased(&mut log, recorded(attribute("other", "food")), Some(kind));
    event(&mut log, grant_id);
    log.append(ada(), Event::RecordViewed(RecordViewed::default()));
    let grants = try_verify(&log).unwrap().grants;
    assert_eq!(grants.unchecked_grants.len() as u64, grants.revocations_unchecked);
    (grants.findings.iter().map(|finding| finding.fault).collect(), grants.revocations_unchecked)
}

fn append_open_grant(log: &mut Log, attribute_id: Id, consent_id: Id) -> Id {
    let Event::GrantIssued(open) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
    let expires_at_ms = log.now + 3_600_000;
    log.append(ada(), Event::GrantIssued(GrantIssued { expires_at_ms, ..open }))
}

fn withdraw(log: &mut Log, _: Id) {
    log.append(ada(), withdrawn(wide()));
}

fn revoke(log: &mut Log, grant: Id) {
    let revoked = GrantRevoked { grant: grant.to_vec(), ..GrantRevoked::default() };
    log.append_at_same_time(ada(), Event::GrantRevoked(revoked));
}

#[test]
fn revocations_are_looked_for_after_something_was_erased() {
    for kind in [ErasedKind::Attribute, ErasedKind::Other] {
        let nothing = after_a_gap(kind, |_, _| ());
        assert_eq!(nothing, (vec![], 0), "{kind:?}");
        let missing = after_a_gap(kind, withdraw);
        assert_eq!(missing, (vec![Fault::NotRevoked], 0), "{kind:?}");
        let revoked = after_a_gap(kind, |log, grant| {
            log.append(ada(), withdrawn(wide()));
            revoke(log, grant);
        });
        assert_eq!(revoked, (vec![], 0), "{kind:?}");
    }
}

#[test]
fn a_missing_decision_may_have_contradicted_the_grants_that_were_open() {
    assert_eq!(after_a_gap(ErasedKind::Decision, |_, _| ()), (vec![], 1));
    // What contradicts the grant after the gap contradicts it in any case.
    let missing = after_a_gap(ErasedKind::Decision, withdraw);
    assert_eq!(missing, (vec![Fault::NotRevoked], 1));
    // The revocation may be among the missing entries.
    let unknown = after_a_gap(ErasedKind::Unspecified, withdraw);
    assert_eq!(unknown, (vec![], 1));
}

#[test]
fn grants_that_had_ended_before_the_gap_are_not_in_doubt() {
    for is_revoked in [true, false] {
        let (mut log, attribute_id, consent_id) = log_of_ada();
        let grant_id = append_open_grant(&mut log, attribute_id, consent_id);
        if is_revoked {
            log.append(ada(), withdrawn(wide()));
            revoke(&mut log, grant_id);
        } else {
            log.now += 3_600_000;
            log.append(ada(), Event::RecordViewed(RecordViewed::default()));
        }
        append_erased(&mut log, withdrawn(wide()), Some(ErasedKind::Decision));
        log.append(ada(), Event::RecordViewed(RecordViewed::default()));
        assert_eq!(verify(&log), (vec![], vec![]));
    }
}

#[test]
fn a_revocation_that_is_missing_before_a_gap_is_found() {
    for (kind, expected) in [
        (ErasedKind::Attribute, vec![Fault::NotRevoked]),
        (ErasedKind::Decision, vec![Fault::NotRevoked]),
        (ErasedKind::Unspecified, vec![]),
    ] {
        let (mut log, attribute_id, consent_id) = log_of_ada();
        append_open_grant(&mut log, attribute_id, consent_id);
        log.append(ada(), withdrawn(wide()));
        append_erased(&mut log, given(wide()), Some(kind));
        log.append(ada(), Event::RecordViewed(RecordViewed::default()));
        let report = try_verify(&log).unwrap();
        let found: Vec<Fault> = report.grants.findings.iter().map(|finding| finding.fault).collect();
        assert_eq!(found, expected, "{kind:?}");
        assert!(!(report.grants_hold() && report.is_fully_checked()), "{kind:?}");
    }
}

#[test]
fn a_grant_of_an_erased_attribute_has_to_be_revoked_when_the_attribute_expires() {
    let log = |is_revoked: bool, is_issued_again: bool| {
        let (mut log, attribute_id, consent_id) = log_of_ada();
        let grant_id = append_open_grant(&mut log, attribute_id, consent_id);
        let attribute = attribute_id.to_vec();
        log.append(ada(), Event::AttributeExpired(AttributeExpired { attribute, ..Default::default() }));
        if is_revoked {
            revoke(&mut log, grant_id);
        }
        log.erase_stating(&[(log.size() - 4 - u64::from(is_revoked), ErasedKind::Attribute)]);
        if is_issued_again {
            append_open_grant(&mut log, attribute_id, consent_id);
        }
        log.append(ada(), Event::RecordViewed(RecordViewed::default()));
        verify(&log)
    };
    assert_eq!(log(true, false), (vec![], vec![Doubt::AttributeMissing]));
    assert_eq!(log(false, false), (vec![Fault::NotRevoked], vec![Doubt::AttributeMissing]));
    assert_eq!(log(true, true).0, [Fault::Expired]);
}

#[test]
fn a_sealed_log_is_not_taken_as_checked() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    log.append(ada(), withdrawn(wide()));
    log.append(ada(), grant(attribute_id, consent_id, "key", "food"));
    log.withheld = true;
    let report = try_verify(&log).unwrap();
    assert!(report.grants_hold() && !report.is_fully_checked());
    assert_eq!((report.withheld, report.grants.unchecked), (4, 0));
}

/// The faults and doubts about a use of a grant that was erased after it was used, if this is what the
/// erasure states, and about uses of this many grants that never existed.
fn of_erased_grant(stated: Option<ErasedKind>, invented: u8) -> (Vec<Fault>, Vec<Doubt>) {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    let position = log.size();
    let grant_id = append_open_grant(&mut log, attribute_id, consent_id);
    let used =
        |grant: Id| Event::GrantUsed(GrantUsed { grant: grant.to_vec(), count: 1, ..GrantUsed::default() });
    log.append(ada(), used(grant_id));
    match stated {
        Some(kind) => log.erase_stating(&[(position, kind)]),
        None => log.erase(&[position], true),
    }
    for number in 0..invented {
        log.append(ada(), used([number; 16]));
    }
    verify(&log)
}

#[test]
fn a_report_on_a_missing_grant_is_counted_and_not_one_on_an_invented_grant() {
    for stated in [Some(ErasedKind::Other), Some(ErasedKind::Unspecified), None] {
        assert_eq!(of_erased_grant(stated, 0), (vec![], vec![Doubt::GrantMissing]), "{stated:?}");
        let (faults, doubts) = of_erased_grant(stated, 1);
        assert_eq!((faults, doubts.len()), (vec![Fault::UnknownReference], 1), "{stated:?}");
    }
    let (faults, _) = of_erased_grant(Some(ErasedKind::Attribute), 0);
    assert_eq!(faults, [Fault::UnknownReference]);
}

#[test]
fn a_report_on_a_withheld_grant_is_counted() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    let grant_id = append_open_grant(&mut log, attribute_id, consent_id);
    *log.keys.last_mut().unwrap() = None;
    let used = GrantUsed { grant: grant_id.to_vec(), count: 1, ..GrantUsed::default() };
    log.append(ada(), Event::GrantUsed(used));
    assert_eq!(verify(&log), (vec![], vec![Doubt::GrantMissing]));
}

#[test]
fn an_event_that_is_named_before_it_was_recorded_is_found() {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    append_erased(&mut log, Event::RecordViewed(RecordViewed::default()), Some(ErasedKind::Other));
    let used_at = log.size();
    let next = event_id(used_at + 1);
    let used = GrantUsed { grant: next.to_vec(), count: 1, ..GrantUsed::default() };
    log.append(ada(), Event::GrantUsed(used));
    assert_eq!(verify(&log), (vec![], vec![Doubt::GrantMissing]));
    assert_eq!(append_open_grant(&mut log, attribute_id, consent_id), next);
    assert_eq!(findings(&log), [(used_at, Fault::UnknownReference)]);
}

/// The faults and doubts about a grant that withholds `count` attributes about work. Ada has one, and another
/// one that was erased before the grant or after it, or withheld.
fn of_withheld(count: u32, erased: Option<bool>) -> (Vec<Fault>, Vec<Doubt>) {
    let (mut log, attribute_id, consent_id) = log_of_ada();
    log.append(ada(), recorded(attribute("job", "work")));
    log.append(ada(), withdrawn(terms(&[], &["work"], &[])));
    let position = log.size();
    log.append(ada(), recorded(attribute("hobby", "work")));
    let stated = [(position, ErasedKind::Attribute)];
    match erased {
        Some(true) => log.erase_stating(&stated),
        Some(false) => {}
        None => *log.keys.last_mut().unwrap() = None,
    }
    let Event::GrantIssued(issued) = grant(attribute_id, consent_id, "key", "food") else { panic!() };
    let class = WithheldClass { category: "work".into(), count, ..WithheldClass::default() };
    log.append(ada(), Event::GrantIssued(GrantIssued { withheld: vec![class], ..issued }));
    if erased == Some(false) {
        log.erase_stating(&stated);
        log.append(ada(), Event::RecordViewed(RecordViewed::default()));
    }
    verify(&log)
}

#[test]
fn what_a_grant_withholds_is_checked_after_an_erasure_and_counted_if_it_cannot_be() {
    // What was erased before no longer counts.
    assert_eq!(of_withheld(1, Some(true)), (vec![], vec![]));
    assert_eq!(of_withheld(2, Some(true)), (vec![Fault::WithheldCount], vec![]));
    assert_eq!(of_withheld(2, Some(false)), (vec![], vec![Doubt::WithheldUnknown]));
    let (faults, doubts) = of_withheld(2, None);
    assert!(faults.is_empty() && doubts.contains(&Doubt::WithheldUnknown), "{doubts:?}");
}
