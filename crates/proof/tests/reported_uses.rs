//! Tests of what is recorded about grants after they were issued: uses, artifacts, reuse and revocations.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::bundle::{self, Options, Report, Source};
use sayso_proof::entry::Handle;
use sayso_proof::event::event_body::Event;
use sayso_proof::event::*;
use sayso_proof::replay::{Doubt, Fault};
use std::path::Path;

type Id = [u8; 16];

const HOUR_MS: u64 = 3_600_000;

fn ada() -> Handle {
    subject(1)
}

fn bob() -> Handle {
    subject(2)
}

fn wide() -> ConsentTerms {
    terms(&["personalization"], &[], &[])
}

/// A log in which Ada recorded something, consented and has one open grant.
struct World {
    log: Log,
    attribute: Id,
    grant: Id,
    grant_at: u64,
}

fn issued(attribute: Id, consent: Id, expires_at_ms: u64) -> Event {
    let Event::GrantIssued(issued) = grant(attribute, consent, "key", "food") else { panic!() };
    Event::GrantIssued(GrantIssued { expires_at_ms, ..issued })
}

impl World {
    fn new() -> Self {
        Self::lasting(HOUR_MS)
    }

    /// A log with a grant that lasts this long.
    fn lasting(lasts_ms: u64) -> Self {
        let mut log = Log::with_vocabulary();
        log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 3 }));
        let attribute = log.append(ada(), recorded(attribute("key", "food")));
        let consent = log.append(ada(), given(wide()));
        let grant_at = log.size();
        let expires_at_ms = log.now + lasts_ms;
        let grant = log.append(ada(), issued(attribute, consent, expires_at_ms));
        Self { log, attribute, grant, grant_at }
    }

    fn used(&self) -> GrantUsed {
        GrantUsed {
            grant: self.grant.to_vec(),
            shaped_by: vec![self.attribute.to_vec()],
            reply: "r".into(),
            count: 1,
            ..GrantUsed::default()
        }
    }

    fn report_use(&mut self) -> Id {
        let used = self.used();
        self.log.append(ada(), Event::GrantUsed(used))
    }

    fn revoked(&self) -> GrantRevoked {
        let token = hex::encode(&self.grant[8..]);
        GrantRevoked {
            grant: self.grant.to_vec(),
            reason: Reason::ConsentWithdrawn.into(),
            grant_id: format!("g{}-{token}", self.grant_at),
            recipient: "bot".into(),
            ..GrantRevoked::default()
        }
    }

    /// Appends an event in the same frame as the event before it.
    fn append_in_frame(&mut self, event: Event) -> Id {
        self.log.append_at_same_time(ada(), event)
    }

    /// Reports a use of this many milliseconds ago.
    fn report_late(&mut self, late_ms: u64) {
        let used = self.used();
        self.log.append_late(ada(), Event::GrantUsed(used), late_ms);
    }

    fn withdraw_and_revoke(&mut self) {
        self.log.append(ada(), withdrawn(wide()));
        let revoked = self.revoked();
        self.append_in_frame(Event::GrantRevoked(revoked));
    }

    fn artifact(&self) -> ArtifactRegistered {
        ArtifactRegistered {
            recipient: "bot".into(),
            sources: vec![self.attribute.to_vec()],
            grant: self.grant.to_vec(),
            purpose: "tone-adaptation".into(),
            ..ArtifactRegistered::default()
        }
    }

    fn faults(&self) -> Vec<Fault> {
        findings(&self.log).into_iter().map(|(_, fault)| fault).collect()
    }
}

#[test]
fn a_use_of_a_valid_grant_has_no_finding() {
    let mut world = World::new();
    world.report_use();
    assert_eq!(world.faults(), []);
}

#[test]
fn a_use_may_be_reported_after_the_grant_ended_if_it_is_dated_before() {
    let mut world = World::new();
    world.withdraw_and_revoke();
    let used = world.used();
    world.log.append_late(ada(), Event::GrantUsed(used.clone()), 2500);
    assert_eq!(world.faults(), []);
    world.log.append(ada(), Event::GrantUsed(used));
    assert_eq!(world.faults(), [Fault::UsedAfterRevocation]);
}

#[test]
fn a_use_after_the_expiry_of_the_grant_is_found() {
    let mut world = World::new();
    world.log.now += HOUR_MS;
    world.report_use();
    assert_eq!(world.faults(), [Fault::UsedAfterExpiry]);
}

#[test]
fn a_use_dated_long_before_its_grant_is_found() {
    let mut world = World::new();
    let used = world.used();
    world.log.append_late(ada(), Event::GrantUsed(used.clone()), 200_000);
    assert_eq!(world.faults(), []);
    world.log.append_late(ada(), Event::GrantUsed(used), HOUR_MS);
    assert_eq!(world.faults(), [Fault::UsedBefore]);
}

#[test]
fn a_use_of_a_grant_that_never_existed_or_is_another_persons_is_found() {
    let mut world = World::new();
    let used = GrantUsed { grant: vec![9; 16], ..world.used() };
    world.log.append(ada(), Event::GrantUsed(used));
    let used = world.used();
    world.log.append(bob(), Event::GrantUsed(used));
    assert_eq!(world.faults(), [Fault::UnknownReference, Fault::UnknownReference]);
}

#[test]
fn a_use_shaped_by_what_the_grant_does_not_allow_is_found() {
    let mut world = World::new();
    let other = world.log.append(ada(), recorded(attribute("other", "food")));
    let shaped_by = vec![world.attribute.to_vec(), other.to_vec()];
    let used = GrantUsed { shaped_by, ..world.used() };
    world.log.append(ada(), Event::GrantUsed(used));
    let report = report(&world.log);
    assert_eq!(report.grants.findings[0].fault, Fault::NotAllowed);
    assert_eq!(report.grants.findings[0].attribute, Some(hex::encode(other)));
    assert_eq!((report.grants.other_faults, report.grants.unjustified), (1, 0));
}

#[test]
fn a_repeated_request_that_was_answered_with_an_ended_grant_is_found() {
    let mut world = World::new();
    let given_again = |world: &World, last_ms| {
        Event::GrantGivenAgain(GrantGivenAgain {
            grant: world.grant.to_vec(),
            count: 1,
            first_ms: world.log.now,
            last_ms,
            recipient: "bot".into(),
        })
    };
    let (within, after) = (world.log.now + 500, world.log.now + 2 * HOUR_MS);
    let event = given_again(&world, within);
    world.log.append(ada(), event);
    assert_eq!(world.faults(), []);
    let event = given_again(&world, after);
    world.log.append(ada(), event);
    assert_eq!(world.faults(), [Fault::UsedAfterExpiry]);
}

#[test]
fn an_artifact_needs_a_valid_grant_of_its_recipient_purpose_and_sources() {
    let faults = |change: fn(&mut World, &mut ArtifactRegistered)| {
        let mut world = World::new();
        let mut artifact = world.artifact();
        change(&mut world, &mut artifact);
        world.log.append(ada(), Event::ArtifactRegistered(artifact));
        world.faults()
    };
    assert_eq!(faults(|_, _| ()), []);
    assert_eq!(faults(|_, artifact| artifact.recipient = "other".into()), [Fault::OtherRecipient]);
    assert_eq!(faults(|_, artifact| artifact.purpose = "advertising".into()), [Fault::OtherPurpose]);
    assert_eq!(faults(|_, artifact| artifact.sources.push(vec![9; 16])), [Fault::NotAllowed]);
    assert_eq!(faults(|_, artifact| artifact.grant = vec![9; 16]), [Fault::UnknownReference]);
    assert_eq!(faults(|world, _| world.withdraw_and_revoke()), [Fault::UsedAfterRevocation]);
    assert_eq!(faults(|world, _| world.log.now += HOUR_MS), [Fault::UsedAfterExpiry]);
}

#[test]
fn a_revocation_names_the_grant_its_recipient_and_its_cause() {
    let faults = |change: fn(&mut GrantRevoked)| {
        let mut world = World::new();
        world.log.append(ada(), withdrawn(wide()));
        let mut revoked = world.revoked();
        change(&mut revoked);
        world.append_in_frame(Event::GrantRevoked(revoked));
        world.faults()
    };
    assert_eq!(faults(|_| ()), []);
    assert_eq!(faults(|revoked| revoked.recipient = "other".into()), [Fault::OtherRecipient]);
    assert_eq!(faults(|revoked| revoked.grant_id = "g1-00".into()), [Fault::OtherRecipient]);
    assert_eq!(faults(|revoked| revoked.cause = vec![9; 16]), [Fault::UnknownReference]);
}

#[test]
fn a_grant_for_longer_than_a_day_is_found() {
    let grant_for = |lifetime_ms| {
        let mut log = Log::with_vocabulary();
        let attribute = log.append(ada(), recorded(attribute("key", "food")));
        let consent = log.append(ada(), given(wide()));
        let expires_at_ms = log.now + 1000 + lifetime_ms;
        log.append(ada(), issued(attribute, consent, expires_at_ms));
        let report = report(&log);
        (report.grants.unjustified, findings(&log).pop().map(|(_, fault)| fault))
    };
    assert_eq!(grant_for(24 * HOUR_MS), (0, None));
    assert_eq!(grant_for(24 * HOUR_MS + 1), (1, Some(Fault::TooLong)));
}

/// The findings after a change that the events of its frame follow, and then a view of the record.
fn faults_after(frame: Vec<Event>) -> Vec<(u64, Fault)> {
    let mut world = World::new();
    let change_at = world.log.size();
    for (number, event) in frame.into_iter().enumerate() {
        if number == 0 {
            world.log.append(ada(), event)
        } else {
            world.append_in_frame(event)
        };
    }
    world.log.append(ada(), Event::RecordViewed(RecordViewed::default()));
    findings(&world.log).into_iter().map(|(position, fault)| (position - change_at, fault)).collect()
}

#[test]
fn a_change_that_contradicts_a_grant_without_a_revocation_is_found() {
    let world = World::new();
    let attribute_id = || world.attribute.to_vec();
    let signal = |kind: SignalKind| SignalRecorded { kind: kind.into(), ..SignalRecorded::default() };
    let changes = [
        withdrawn(wide()),
        refused(terms(&["tone-adaptation"], &["food"], &["bot"])),
        Event::SignalRecorded(signal(SignalKind::Restriction)),
        Event::SignalRecorded(signal(SignalKind::Pause)),
        Event::SignalRecorded(signal(SignalKind::Objection)),
        Event::PersonalBoundsSet(PersonalBoundsSet { paused: true, ..PersonalBoundsSet::default() }),
        Event::AttributeContested(AttributeContested { attribute: attribute_id(), reason: String::new() }),
        Event::AttributeRemoved(AttributeRemoved { attribute: attribute_id(), reason: String::new() }),
        Event::AttributeExpired(AttributeExpired { attribute: attribute_id(), by_retention: true }),
        Event::AttributeCorrected(AttributeCorrected {
            corrects: attribute_id(),
            attribute: Some(attribute("key", "food")),
        }),
        recorded(Attribute { value_json: "\"y\"".into(), ..attribute("key", "food") }),
        recorded(attribute("key", "work")),
    ];
    for change in changes {
        assert_eq!(faults_after(vec![change.clone()]), [(0, Fault::NotRevoked)], "{change:?}");
        let revoked = Event::GrantRevoked(world.revoked());
        assert_eq!(faults_after(vec![change.clone(), revoked]), [], "{change:?}");
        let pending = Event::RevocationsPending(RevocationsPending { left: 1 });
        assert_eq!(faults_after(vec![change.clone(), pending]), [], "{change:?}");
    }
}

#[test]
fn a_change_that_leaves_a_grant_valid_needs_no_revocation() {
    let elsewhere = Event::SignalRecorded(SignalRecorded {
        kind: SignalKind::Pause.into(),
        interaction: "another conversation".into(),
        ..SignalRecorded::default()
    });
    let changes = [
        withdrawn(terms(&["advertising"], &[], &[])),
        withdrawn(terms(&[], &["work"], &[])),
        withdrawn(terms(&[], &[], &["other"])),
        given(wide()),
        elsewhere,
        // The same content again.
        recorded(attribute("key", "food")),
        recorded(attribute("other", "food")),
    ];
    for change in changes {
        assert_eq!(faults_after(vec![change.clone()]), [], "{change:?}");
    }
}

#[test]
fn a_missing_revocation_is_found_at_the_end_of_the_log_too() {
    let mut world = World::new();
    world.log.append(ada(), withdrawn(wide()));
    assert_eq!(world.faults(), [Fault::NotRevoked]);
}

#[test]
fn a_withdrawal_and_a_new_consent_do_not_hide_the_missing_revocation() {
    let mut world = World::new();
    world.log.append(ada(), withdrawn(wide()));
    world.log.append(ada(), given(wide()));
    assert_eq!(world.faults(), [Fault::NotRevoked]);
    world.report_use();
    assert_eq!(world.faults(), [Fault::NotRevoked, Fault::UsedAfterRevocation]);
}

#[test]
fn announced_revocations_are_listed_and_are_no_fault_until_something_is_allowed_again() {
    let mut world = World::new();
    world.log.append(ada(), withdrawn(wide()));
    world.append_in_frame(Event::RevocationsPending(RevocationsPending { left: 1 }));
    world.log.append(ada(), refused(terms(&["advertising"], &[], &[])));
    let report = report(&world.log);
    assert_eq!((report.grants.other_faults, report.grants.revocations_pending), (0, 1));
    assert!(report.is_fully_checked());
    world.log.append(ada(), given(wide()));
    assert_eq!(world.faults(), [Fault::NotRevoked]);
}

#[test]
fn revocations_that_are_announced_for_more_than_an_hour_are_not_checked_in_full() {
    for (late_ms, is_late) in [(3_500_000, false), (3_700_000, true), (30 * HOUR_MS, true)] {
        let mut world = World::lasting(24 * HOUR_MS);
        world.log.append(ada(), withdrawn(wide()));
        world.append_in_frame(Event::RevocationsPending(RevocationsPending { left: 1 }));
        world.log.now += late_ms;
        world.log.append(bob(), refused(wide()));
        let report = report(&world.log);
        assert_eq!((report.grants.other_faults, report.grants.revocations_pending), (0, 1));
        // Whether the grant has expired meanwhile makes no difference.
        assert_eq!(report.is_fully_checked(), !is_late, "{late_ms}");
    }
}

#[test]
fn announced_revocations_that_were_not_recorded_before_the_grant_expired_are_listed() {
    for (late_ms, faults, unchecked) in [(0, vec![Fault::NotRevoked], 0), (25 * HOUR_MS, vec![], 1)] {
        let mut world = World::lasting(24 * HOUR_MS);
        world.log.append(ada(), withdrawn(wide()));
        world.append_in_frame(Event::RevocationsPending(RevocationsPending { left: 1 }));
        for _ in 0..25 {
            world.log.now += late_ms / 25;
            world.log.append(bob(), refused(wide()));
        }
        world.log.append(ada(), Event::RevocationsPending(RevocationsPending { left: 0 }));
        let report = report(&world.log);
        assert_eq!((world.faults(), report.grants.revocations_unchecked), (faults, unchecked));
        let doubts = report.grants.unchecked_grants.iter().flat_map(|grant| grant.doubts.iter().copied());
        assert!(doubts.eq((unchecked > 0).then_some(Doubt::RevocationNotRecorded)));
    }
}

#[test]
fn announced_revocations_have_to_be_recorded_before_the_last_announcement() {
    let mut world = World::new();
    world.log.append(ada(), withdrawn(wide()));
    world.append_in_frame(Event::RevocationsPending(RevocationsPending { left: 1 }));
    world.log.append(ada(), Event::RevocationsPending(RevocationsPending { left: 0 }));
    assert_eq!(world.faults(), [Fault::NotRevoked]);
}

#[test]
fn a_use_that_a_required_notice_contradicts_is_found() {
    let mut log = Log::with_vocabulary();
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 3 }));
    log.publish_documents();
    let bounds = log.size() - 2;
    let notice = Some(published_notice());
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent = log.append(ada(), given(ConsentTerms { notice, ..wide() }));
    let Event::GrantIssued(issued) = issued(attribute_id, consent, log.now + HOUR_MS) else { panic!() };
    let grant = log.append(ada(), Event::GrantIssued(GrantIssued { bounds: vec![bounds], ..issued }));
    let used = GrantUsed { grant: grant.to_vec(), count: 1, ..GrantUsed::default() };
    log.append(ada(), Event::GrantUsed(used.clone()));
    let version = "2".to_owned();
    log.append_system_event(Event::NoticeRequired(NoticeRequired {
        id: "n".into(),
        version,
        ..NoticeRequired::default()
    }));
    let required_at = log.size() - 1;
    log.append_late(ada(), Event::GrantUsed(used.clone()), 1500);
    log.append(ada(), Event::GrantUsed(used));
    // The requirement is unsigned, which is another finding.
    let found = findings(&log);
    assert_eq!(found, [(required_at, Fault::UnsignedRule), (required_at + 2, Fault::NoticeOutdated)]);
}

/// Verifies one of the bundles beside the project, in `shared/data/bundles/`; none without that folder.
fn shared_bundle(name: &str, key: &str) -> Option<Vec<(u64, Fault)>> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder = above.map(|folder| folder.join("shared/data/bundles")).find(|folder| folder.is_dir())?;
    let key = std::fs::read_to_string(folder.join(key)).unwrap();
    let file = std::fs::File::open(folder.join(name)).unwrap();
    let source = Source::Archive(Box::new(std::io::BufReader::new(file)));
    let report = bundle::verify(source, &key.trim().parse().unwrap(), &Options::default(), &mut |_| ());
    let report = report.unwrap();
    assert_eq!(report.grants.revocations_unchecked, 0);
    Some(report.grants.findings.iter().map(|finding| (finding.position, finding.fault)).collect())
}

#[test]
fn a_use_long_after_a_withdrawal_that_revoked_nothing_is_found_in_a_forged_log() {
    let name = "10-use-long-after-withdrawal-no-revocation.tar.zst";
    let Some(found) = shared_bundle(name, "log.vkey") else { return };
    let of = |fault| found.iter().filter(|(_, found)| *found == fault).map(|(at, _)| *at).collect::<Vec<_>>();
    assert_eq!(of(Fault::UsedAfterExpiry), [154]);
    assert_eq!(of(Fault::NotRevoked), [153, 153], "{found:?}");
}

#[test]
fn a_log_of_many_changes_of_mind_has_all_its_revocations() {
    let name = "12-600-toggles-by-the-API-64s.key1.tar.zst";
    let Some(found) = shared_bundle(name, "key1.vkey") else { return };
    let of_uses =
        found.iter().filter(|(_, fault)| matches!(fault, Fault::NotRevoked | Fault::UnknownReference));
    assert_eq!(of_uses.collect::<Vec<_>>(), Vec::<&(u64, Fault)>::new());
}

/// The faults of a grant that withholds these classes, after Ada recorded `key` (food) and `job` (work).
fn faults_of_withheld(change: impl FnOnce(&mut Log, &mut GrantIssued)) -> Vec<Fault> {
    let mut world = World::new();
    world.log.append(ada(), recorded(attribute("job", "work")));
    world.log.append(ada(), withdrawn(terms(&[], &["work"], &[])));
    let consent = event_id(world.log.size() - 4);
    let Event::GrantIssued(mut issued) = issued(world.attribute, consent, world.log.now + HOUR_MS) else {
        panic!()
    };
    issued.withheld.push(WithheldClass {
        category: "work".into(),
        count: 1,
        reason: Reason::ConsentWithdrawn.into(),
        decided_by: Tier::Individual.into(),
        policy: "built-in/consent".into(),
        decided_by_event: event_id(world.log.size() - 1).to_vec(),
        ..WithheldClass::default()
    });
    change(&mut world.log, &mut issued);
    world.log.append(ada(), Event::GrantIssued(issued));
    world.faults()
}

#[test]
fn a_grant_that_no_ledger_issues_is_found() {
    let impossible = [Fault::ImpossibleGrant];
    assert_eq!(faults_of_withheld(|_, issued| issued.recipient.clear()), impossible);
    assert_eq!(faults_of_withheld(|log, issued| issued.expires_at_ms = log.now + 1000), impossible);
    assert_eq!(faults_of_withheld(|log, issued| issued.expires_at_ms = log.now + 1001), []);
    let version = |log: &Log| log.next_version(ada());
    assert_eq!(faults_of_withheld(|log, issued| issued.profile_version = version(log)), []);
    assert_eq!(faults_of_withheld(|log, issued| issued.profile_version = version(log) + 1), impossible);
    let twice = |_: &mut Log, issued: &mut GrantIssued| {
        issued.allowed.push(issued.allowed[0].clone());
        issued.withheld.clear();
    };
    assert_eq!(faults_of_withheld(twice), impossible);
}

#[test]
fn what_a_grant_allows_and_withholds_adds_up_to_what_was_requested() {
    assert_eq!(faults_of_withheld(|_, _| ()), []);
    let false_count = [Fault::WithheldCount];
    assert_eq!(faults_of_withheld(|_, issued| issued.withheld[0].count = 2), false_count);
    assert_eq!(faults_of_withheld(|_, issued| issued.withheld[0].category = "health".into()), false_count);
    assert_eq!(faults_of_withheld(|_, issued| issued.withheld.push(issued.withheld[0].clone())), false_count);
    let another = |log: &mut Log, _: &mut GrantIssued| {
        log.append(ada(), recorded(attribute("hobby", "work")));
    };
    assert_eq!(faults_of_withheld(another), false_count);
    // Only what was requested counts.
    assert_eq!(faults_of_withheld(|_, issued| issued.keys = vec!["key".into(), "job".into()]), []);
    assert_eq!(faults_of_withheld(|_, issued| issued.keys = vec!["key".into()]), false_count);
    assert_eq!(faults_of_withheld(|_, issued| issued.categories = vec!["preference".into()]), false_count);
}

/// The faults and the number of unchecked grants if the class about work has this reason.
fn of_reason(change: impl FnOnce(&mut Log, &mut WithheldClass)) -> (Vec<Fault>, u64) {
    let mut world = World::new();
    let adopted = DecisionRulesAdopted { edition: 2 };
    world.log.append_system_event(Event::DecisionRulesAdopted(adopted));
    world.log.append(ada(), recorded(attribute("job", "work")));
    let consent = event_id(world.log.size() - 4);
    let mut class = WithheldClass {
        category: "work".into(),
        count: 1,
        decided_by: Tier::Individual.into(),
        policy: "gdpr/article".into(),
        ..WithheldClass::default()
    };
    change(&mut world.log, &mut class);
    let attribute = world.attribute;
    let Event::GrantIssued(issued) = issued(attribute, consent, world.log.now + HOUR_MS) else { panic!() };
    let issued = GrantIssued { withheld: vec![class], ..issued };
    world.log.append(ada(), Event::GrantIssued(issued));
    (world.faults(), report(&world.log).grants.unchecked)
}

/// Reasons that a signal of the person gives.
const SIGNALS: [(Reason, SignalKind); 6] = [
    (Reason::Restricted, SignalKind::Restriction),
    (Reason::Objected, SignalKind::Objection),
    (Reason::Paused, SignalKind::Pause),
    (Reason::OptedOut, SignalKind::OptOut),
    (Reason::OptedOutAutomated, SignalKind::OptOutAutomated),
    (Reason::SensitiveLimited, SignalKind::LimitSensitive),
];

#[test]
fn a_signal_that_is_the_reason_for_withholding_is_named_and_in_force() {
    let is_false = (vec![Fault::WithheldReason], 0);
    for (reason, kind) in SIGNALS {
        // No such event is named.
        assert_eq!(of_reason(|_, class| class.reason = reason.into()), is_false, "{reason:?}");
        let of = |purpose: &str, is_lifted: bool| {
            of_reason(|log, class| {
                let (kind, purposes) = (kind.into(), vec![purpose.to_owned()]);
                let signal = SignalRecorded { kind, purposes, ..SignalRecorded::default() };
                let id = log.append(ada(), Event::SignalRecorded(signal));
                if is_lifted {
                    let lifted = SignalLifted { kind, ..SignalLifted::default() };
                    log.append(ada(), Event::SignalLifted(lifted));
                }
                (class.reason, class.decided_by_event) = (reason.into(), id.to_vec());
            })
        };
        assert_eq!(of("advertising", false), is_false, "{reason:?}");
        assert!(of("personalization", true).0.contains(&Fault::WithheldReason), "{reason:?}");
        // A signal that forbids the whole grant is a finding of its own.
        let (faults, _) = of("personalization", false);
        assert!(!faults.contains(&Fault::WithheldReason), "{reason:?}: {faults:?}");
        // A published policy may give any reason.
        let by_policy = of_reason(|_, class| {
            (class.reason, class.decided_by) = (reason.into(), Tier::Provider.into());
        });
        assert_eq!(by_policy, (vec![], 1), "{reason:?}");
    }
}

#[test]
fn a_reason_that_the_attributes_do_not_show_is_found_or_counted() {
    let reasons = [
        Reason::Contested,
        Reason::AttributeExpired,
        Reason::SourceWithheld,
        Reason::NotExplicit,
        Reason::KeptOnly,
    ];
    for reason in reasons {
        let of = |decided_by: Tier, policy: &str| {
            of_reason(|_, class| {
                (class.reason, class.decided_by) = (reason.into(), decided_by.into());
                class.policy = policy.into();
            })
        };
        let is_false = (vec![Fault::WithheldReason], 0);
        assert_eq!(of(Tier::Individual, "gdpr/article"), is_false, "{reason:?}");
        assert_eq!(of(Tier::Public, "built-in/consent"), is_false, "{reason:?}");
        assert_eq!(of(Tier::Public, "built-in/kept-only"), is_false, "{reason:?}");
        assert_eq!(of(Tier::Public, "gdpr/article"), (vec![], 1), "{reason:?}");
    }
    let contested = of_reason(|log, class| {
        let attribute = event_id(log.size() - 1).to_vec();
        log.append(ada(), Event::AttributeContested(AttributeContested { attribute, ..Default::default() }));
        class.reason = Reason::Contested.into();
    });
    assert_eq!(contested, (vec![], 0));
}

#[test]
fn what_a_ranking_did_not_choose_adds_up_to_what_was_permitted() {
    let ranked = |permitted, chosen| {
        move |log: &mut Log, issued: &mut GrantIssued| {
            log.append(ada(), recorded(attribute("spare", "food")));
            issued.ranking = Some(Ranking { permitted, chosen, ..Ranking::default() });
        }
    };
    assert_eq!(faults_of_withheld(ranked(2, 1)), []);
    assert_eq!(faults_of_withheld(ranked(1, 1)), [Fault::WithheldCount]);
    assert_eq!(faults_of_withheld(ranked(3, 1)), [Fault::WithheldCount]);
    assert_eq!(faults_of_withheld(ranked(3, 2)), [Fault::RankingCount]);
    // Also if the grant withholds nothing.
    let bare = |permitted| {
        move |log: &mut Log, issued: &mut GrantIssued| {
            ranked(permitted, 1)(log, issued);
            issued.withheld.clear();
        }
    };
    assert_eq!(faults_of_withheld(bare(3)), []);
    assert_eq!(faults_of_withheld(bare(2)), [Fault::WithheldCount]);
}

#[test]
fn a_grant_for_one_text_answers_no_other_request() {
    let mut world = World::new();
    let Event::GrantIssued(mut issued) =
        issued(world.attribute, event_id(world.grant_at - 1), world.log.now + HOUR_MS)
    else {
        panic!()
    };
    issued.ranking = Some(Ranking { permitted: 1, chosen: 1, ..Ranking::default() });
    let grant = world.log.append(ada(), Event::GrantIssued(issued)).to_vec();
    world.log.append(ada(), Event::GrantGivenAgain(GrantGivenAgain { grant, ..GrantGivenAgain::default() }));
    assert_eq!(world.faults(), [Fault::RankedAgain]);
}

#[test]
fn a_reason_for_withholding_is_true() {
    let false_reason = [Fault::WithheldReason];
    // The category is consented to.
    let consented = |log: &mut Log, _: &mut GrantIssued| {
        log.append(ada(), given(terms(&["personalization"], &["work"], &[])));
    };
    assert_eq!(faults_of_withheld(consented), false_reason);
    let by_consent = |_: &mut Log, issued: &mut GrantIssued| {
        issued.withheld[0].decided_by_event = issued.allowed[0].consent.clone();
    };
    assert_eq!(faults_of_withheld(by_consent), false_reason);
    assert_eq!(
        faults_of_withheld(|_, issued| issued.withheld[0].reason = Reason::Objected.into()),
        false_reason
    );
    let unknown = |_: &mut Log, issued: &mut GrantIssued| issued.withheld[0].decided_by_event = vec![9; 16];
    assert_eq!(faults_of_withheld(unknown), [Fault::UnknownReference]);
}

#[test]
fn a_use_from_before_a_withdrawal_is_no_finding_if_it_is_reported_after_new_rules() {
    let mut world = World::new();
    let garden = CategoryDefined { id: "garden".into(), ..CategoryDefined::default() };
    world.log.append_system_event(Event::CategoryDefined(garden));
    world.log.now += 10_000;
    world.withdraw_and_revoke();
    world.report_late(5_000);
    assert_eq!(world.faults(), []);
}

/// A log in which a notice is required after a grant, and another event follows; then the grant expires, and
/// a use is reported late. Returns the report on the log, and the position of the late report.
fn reported_after_the_expiry(after_required: bool, then: Option<Event>) -> (Report, u64) {
    let mut log = Log::with_vocabulary();
    log.append_system_event(Event::DecisionRulesAdopted(DecisionRulesAdopted { edition: 3 }));
    log.publish_documents();
    let bounds = log.size() - 2;
    let notice = Some(published_notice());
    let attribute_id = log.append(ada(), recorded(attribute("key", "food")));
    let consent = log.append(ada(), given(ConsentTerms { notice, ..wide() }));
    let Event::GrantIssued(issued) = issued(attribute_id, consent, log.now + HOUR_MS) else { panic!() };
    let grant = log.append(ada(), Event::GrantIssued(GrantIssued { bounds: vec![bounds], ..issued }));
    let used = GrantUsed { grant: grant.to_vec(), count: 1, ..GrantUsed::default() };
    let used_ms = log.now + if after_required { 60_000 } else { 500 };
    let required = NoticeRequired { id: "n".into(), version: "2".into(), ..NoticeRequired::default() };
    log.append_system_event(Event::NoticeRequired(required));
    log.now += 2 * HOUR_MS;
    if let Some(event) = then {
        log.append(ada(), event);
    }
    let late_ms = log.now + 1000 - used_ms;
    log.append_late(ada(), Event::GrantUsed(used), late_ms);
    (report(&log), log.size() - 1)
}

#[test]
fn a_use_under_an_outdated_notice_is_found_when_it_is_reported_after_the_expiry() {
    let late_findings = |after_required, then| {
        let (report, at) = reported_after_the_expiry(after_required, then);
        let of_report = report.grants.findings.iter().filter(|finding| finding.position == at);
        let faults: Vec<Fault> = of_report.map(|finding| finding.fault).collect();
        (faults, report.is_fully_checked())
    };
    assert_eq!(late_findings(true, None), (vec![Fault::NoticeOutdated], true));
    assert_eq!(late_findings(false, None), (vec![], true));
    // A later withdrawal hides whether the use was allowed, so the grant is listed.
    assert_eq!(late_findings(true, Some(withdrawn(wide()))), (vec![], false));
    assert_eq!(late_findings(false, Some(withdrawn(wide()))), (vec![], true));
}

#[test]
fn a_report_or_an_artifact_that_is_sealed_back_is_dated_by_when_it_was_recorded() {
    for back_ms in [2_000, 60_000, 119_000] {
        // The grant has expired, which the entry of somebody else shows.
        let (mut world, expires_at_ms) = (World::new(), START_MS + 12_000 + HOUR_MS);
        world.log.now = expires_at_ms + 1_500;
        world.log.append(bob(), Event::RecordViewed(RecordViewed::default()));
        let (recorded_ms, used, artifact) = (world.log.now, world.used(), world.artifact());
        for event in [Event::GrantUsed(used), Event::ArtifactRegistered(artifact)] {
            let body = EventBody { about_ms: recorded_ms, event: Some(event), ..EventBody::default() };
            world.log.append_body(ada(), recorded_ms - back_ms, &body);
        }
        assert_eq!(world.faults(), [Fault::UsedAfterExpiry, Fault::UsedAfterExpiry], "{back_ms}");
    }
}
