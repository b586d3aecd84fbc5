//! Tests of notices. A provider can require a version of a notice, so that people are asked again. Rules can
//! depend on the age of a consent, and on the version of its notice. Refusals stay in force, regardless of
//! the notice that they name.

use crate::bounds::{World, publish, record, standing, version, world, world_of};
use crate::harness::{self, NOTICE, ask, choice, consent, provider_key};
use crate::rights::{AdvancedClock, start};
use sayso::domain::event::{Event, NoticeRequired};
use sayso::proto::{self, ConsentDecision, DenialReason, RevocationReason, Role, Tier};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tonic::{Code, Status};

const DAY_MS: u64 = 86_400_000;

async fn publish_version(world: &mut World, version: &str) {
    let request = proto::PublishNoticeRequest {
        id: NOTICE.into(),
        version: version.into(),
        text: format!("version {version}"),
        ..Default::default()
    };
    world.steward.bounds.publish_notice(request).await.unwrap();
}

fn required(version: &str, effective_from_ms: u64) -> NoticeRequired {
    NoticeRequired { id: NOTICE.into(), version: version.into(), effective_from_ms }
}

async fn require(world: &mut World, notice: NoticeRequired) -> Result<u64, Status> {
    let key = provider_key(world.harness.dir.path());
    let signature = harness::signed(&world.steward, &Event::NoticeRequired(notice.clone()), &key).await;
    let (notice, signature) = (Some(notice.into()), Some(signature));
    let request = proto::RequireNoticeRequest { notice, options: None, signature };
    world.steward.bounds.require_notice(request).await.map(|answer| answer.into_inner().grants_revoked)
}

/// Moves the clock. Earlier credentials have expired by then.
async fn advance(world: &mut World, clock: &AdvancedClock, ms: u64) {
    clock.0.fetch_add(ms, Ordering::SeqCst);
    world.service = world.harness.as_role(Role::Service, "tutor").await;
    world.steward = world.harness.as_role(Role::Steward, "privacy-team").await;
}

/// A request that records one decision of ada about a purpose, made with this version of the notice.
fn decision(decision: ConsentDecision, purpose: &str, version: &str) -> proto::RecordConsentRequest {
    let notice = proto::NoticeServed { id: NOTICE.into(), version: version.into(), ..Default::default() };
    let choices = vec![choice(decision, purpose, &[], false)];
    proto::RecordConsentRequest { notice: Some(notice), ..consent("ada", choices) }
}

async fn decide(world: &mut World, of: proto::RecordConsentRequest) {
    world.steward.consent.record_consent(of).await.unwrap();
}

async fn granted(world: &mut World) -> proto::RequestGrantResponse {
    let ttl = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    let request = proto::RequestGrantRequest { ttl, ..ask("ada") };
    world.service.grant.request_grant(request).await.unwrap().into_inner()
}

/// The number of allowed attributes, and the reasons for which others are withheld.
async fn outcome(world: &mut World) -> (usize, Vec<DenialReason>) {
    let grant = granted(world).await;
    (grant.allowed.len(), grant.withheld.iter().map(proto::Withheld::reason).collect())
}

const ALLOWED: (usize, Vec<DenialReason>) = (1, Vec::new());

fn denied(reason: DenialReason) -> (usize, Vec<DenialReason>) {
    (0, vec![reason])
}

async fn in_force(world: &mut World) -> Vec<bool> {
    let request = proto::ListConsentsRequest { subject: "ada".into(), ..Default::default() };
    let consents = world.steward.consent.list_consents(request).await.unwrap().into_inner().consents;
    consents.iter().map(|consent| consent.in_force).collect()
}

/// The log verifies with the binary, and every grant in it is justified.
async fn verify(world: World) {
    let bundle = world.harness.dir.path().join("log.tar.zst");
    let bundle = bundle.to_str().unwrap();
    harness::stdout(&world.harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", bundle]));
    let key = world.harness.daemon.vkey.clone();
    let verified = harness::sayso(&["--json", "verify", bundle, "--key", &key]).output().unwrap();
    let report = harness::json(&verified);
    assert_eq!((&report["grants"]["unjustified"], &report["grants"]["replayed"]), (&"0".into(), &"3".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_to_an_earlier_version_stop_counting_when_a_later_one_is_required() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    decide(&mut world, decision(ConsentDecision::Given, "tone-adaptation", "1")).await;
    let grant = granted(&mut world).await.grant_id;
    publish_version(&mut world, "2").await;
    assert!(standing(&mut world, &grant).await.0, "a new version alone ends nothing");

    assert_eq!(require(&mut world, required("2", 0)).await.unwrap(), 1);
    assert_eq!(standing(&mut world, &grant).await, (false, RevocationReason::NoticeOutdated));
    let withheld = granted(&mut world).await.withheld.remove(0);
    assert_eq!(withheld.reason(), DenialReason::NoticeOutdated);
    assert_eq!((withheld.decided_by(), withheld.policy.as_str()), (Tier::Provider, "built-in/notice"));
    assert_eq!(withheld.decided_by_event, "");
    assert_eq!(in_force(&mut world).await, [false]);

    // A caller that shows the earlier version gets an error that says so. A refusal in the same request is
    // still recorded.
    let mut mixed = decision(ConsentDecision::Given, "tone-adaptation", "1");
    mixed.choices.push(choice(ConsentDecision::Refused, "advertising", &[], false));
    let refused = world.steward.consent.record_consent(mixed).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(format!("{refused:?}").contains("must be `2` or later"), "{refused:?}");
    assert_eq!(in_force(&mut world).await.len(), 2);

    decide(&mut world, decision(ConsentDecision::Renewed, "tone-adaptation", "2")).await;
    assert_eq!(outcome(&mut world).await, ALLOWED);
    verify(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_of_a_notice_has_one_text_even_if_two_are_published_at_once() {
    let world = world().await;
    for version in 2..12 {
        let mut publishing = tokio::task::JoinSet::new();
        for text in 0..8 {
            let mut steward = world.harness.as_role(Role::Steward, "privacy-team").await;
            let (version, text) = (version.to_string(), format!("text {text}"));
            let request =
                proto::PublishNoticeRequest { id: NOTICE.into(), version, text, ..Default::default() };
            publishing.spawn(async move { steward.bounds.publish_notice(request).await });
        }
        let mut published = 0;
        for answer in publishing.join_all().await {
            match answer {
                Ok(_) => published += 1,
                Err(refused) => assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}"),
            }
        }
        assert_eq!(published, 1, "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_from_before_that_arrives_late_is_recorded_and_does_not_count() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    let said_at = std::time::SystemTime::now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    publish_version(&mut world, "2").await;
    require(&mut world, required("2", 0)).await.unwrap();
    let mut late = decision(ConsentDecision::Given, "tone-adaptation", "1");
    late.options.get_or_insert_default().about = Some(said_at.into());
    decide(&mut world, late).await;
    assert_eq!(in_force(&mut world).await, [false]);
    assert_eq!(outcome(&mut world).await, denied(DenialReason::NoticeOutdated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_stays_whatever_its_notice() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    decide(&mut world, decision(ConsentDecision::Refused, "tone-adaptation", "1")).await;
    publish_version(&mut world, "2").await;
    require(&mut world, required("2", 0)).await.unwrap();
    // A wider consent does not lift the refusal, although the refusal names the earlier version.
    decide(&mut world, decision(ConsentDecision::Given, "personalization", "2")).await;
    assert_eq!(outcome(&mut world).await, denied(DenialReason::ConsentRefused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_version_is_signed_waits_for_its_time_and_is_never_taken_back() {
    let clock = Arc::new(AdvancedClock::default());
    let mut world = world_of(start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await).await;
    record(&mut world, "ada", "tone", "communication-style").await;
    decide(&mut world, decision(ConsentDecision::Given, "tone-adaptation", "1")).await;
    for version in ["2", "3"] {
        publish_version(&mut world, version).await;
    }
    let unsigned =
        proto::RequireNoticeRequest { notice: Some(required("2", 0).into()), ..Default::default() };
    let unsigned = world.steward.bounds.require_notice(unsigned).await.unwrap_err();
    assert_eq!(unsigned.code(), Code::PermissionDenied);
    for (version, says) in [("9", "published version"), ("1", "first version")] {
        let refused = require(&mut world, required(version, 0)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(format!("{refused:?}").contains(says), "{refused:?}");
    }
    let now_ms = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let from_ms = now_ms + DAY_MS / 2;
    assert_eq!(require(&mut world, required("3", from_ms)).await.unwrap(), 0);
    let grant = granted(&mut world).await.grant_id;
    assert!(standing(&mut world, &grant).await.0);
    // Version 2 may still be required from an earlier time than version 3, but not from a later one.
    let later = require(&mut world, required("2", from_ms + 1)).await.unwrap_err();
    assert!(format!("{later:?}").contains("must be later than `3`"), "{later:?}");

    advance(&mut world, &clock, DAY_MS * 3 / 4).await;
    assert_eq!(standing(&mut world, &grant).await, (false, RevocationReason::NoticeOutdated));
    assert_eq!(outcome(&mut world).await, denied(DenialReason::NoticeOutdated));
    for version in ["2", "3"] {
        let back = require(&mut world, required(version, 0)).await.unwrap_err();
        assert_eq!(back.code(), Code::InvalidArgument, "{version}");
    }
    assert_eq!(outcome(&mut world).await, denied(DenialReason::NoticeOutdated));
    decide(&mut world, decision(ConsentDecision::Given, "tone-adaptation", "3")).await;
    assert_eq!(outcome(&mut world).await, ALLOWED);
}

pub const YEARLY: &str = "@id(\"fresh\")\n@title(\"Consent counts for 180 days\")\n@reason(\"CONSENT_TOO_OLD\")\nforbid (principal, action in Action::\"use\", resource) when { context.consent_days >= 180 };\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_ends_a_consent_by_its_age_and_with_it_the_grants() {
    let clock = Arc::new(AdvancedClock::default());
    let mut world = world_of(start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await).await;
    record(&mut world, "ada", "tone", "communication-style").await;
    decide(&mut world, decision(ConsentDecision::Given, "tone-adaptation", "1")).await;
    publish(&mut world, version(Tier::Provider, "fresh", "1", YEARLY)).await.unwrap();
    advance(&mut world, &clock, 180 * DAY_MS - DAY_MS / 24).await;
    // The grant asks for a day, and ends when the consent is too old, within an hour.
    let grant = granted(&mut world).await;
    assert_eq!(grant.allowed.len(), 1);
    let now_s = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let ends_in_s = grant.expires_at.unwrap().seconds - now_s - (180 * 86_400 - 3_600);
    assert!((3_500..=3_600).contains(&ends_in_s), "{ends_in_s}");
    advance(&mut world, &clock, DAY_MS / 24).await;
    assert_eq!(standing(&mut world, &grant.grant_id).await, (false, RevocationReason::GrantExpired));
    assert_eq!(outcome(&mut world).await, denied(DenialReason::ConsentTooOld));
    // The age counts from the newest consent.
    decide(&mut world, decision(ConsentDecision::Renewed, "tone-adaptation", "1")).await;
    assert_eq!(outcome(&mut world).await, ALLOWED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_ends_by_itself_when_its_consent_gets_too_old_for_a_rule() {
    let clock = Arc::new(AdvancedClock::default());
    let mut world = world_of(start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await).await;
    record(&mut world, "ada", "tone", "communication-style").await;
    decide(&mut world, decision(ConsentDecision::Given, "tone-adaptation", "1")).await;
    publish(&mut world, version(Tier::Provider, "fresh", "1", YEARLY)).await.unwrap();
    advance(&mut world, &clock, 180 * DAY_MS - DAY_MS / 24).await;
    let request = proto::RegisterArtifactRequest {
        grant_id: granted(&mut world).await.grant_id,
        kind: proto::ArtifactKind::Summary.into(),
        ..Default::default()
    };
    world.service.grant.register_artifact(request).await.unwrap();
    let list = proto::ListArtifactsRequest { subject: "ada".into(), ..Default::default() };
    let reason = async |world: &mut World| {
        let artifacts =
            world.service.grant.list_artifacts(list.clone()).await.unwrap().into_inner().artifacts;
        artifacts[0].reason()
    };
    assert_eq!(reason(&mut world).await, RevocationReason::Unspecified);
    advance(&mut world, &clock, DAY_MS / 24).await;
    for _ in 0..600 {
        if reason(&mut world).await == RevocationReason::ConsentTooOld {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the artifact did not end");
}

const SECOND_ONLY: &str = "@id(\"second\")\n@title(\"Only consents to the second version\")\nforbid (principal, action in Action::\"use\", resource) unless { context.notice == \"welcome\" && context.notice_version == \"2\" };\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_asks_for_the_version_of_the_notice() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    decide(&mut world, decision(ConsentDecision::Given, "tone-adaptation", "1")).await;
    assert_eq!(outcome(&mut world).await, ALLOWED);
    let grant = granted(&mut world).await.grant_id;
    publish(&mut world, version(Tier::Provider, "second", "1", SECOND_ONLY)).await.unwrap();
    assert_eq!(standing(&mut world, &grant).await, (false, RevocationReason::Forbidden));
    assert_eq!(outcome(&mut world).await, denied(DenialReason::Forbidden));
    publish_version(&mut world, "2").await;
    decide(&mut world, decision(ConsentDecision::Given, "tone-adaptation", "2")).await;
    assert_eq!(outcome(&mut world).await, ALLOWED);
    // The earlier consent still counts elsewhere; the grant names the one that the rule accepts.
    assert_eq!(in_force(&mut world).await, [true, true]);
}

/// Every page of the list of consents for which people have to be asked again.
async fn to_ask(
    world: &mut World,
    subjects: &[&str],
    within_days: u32,
    page_size: u32,
) -> Vec<proto::OutdatedConsent> {
    let mut request = proto::ListOutdatedConsentsRequest {
        subjects: subjects.iter().map(|id| (*id).to_owned()).collect(),
        within_days,
        page_size,
        page_token: String::new(),
    };
    let mut found = Vec::new();
    loop {
        let page = world.steward.consent.list_outdated_consents(request.clone()).await.unwrap().into_inner();
        assert!(page_size == 0 || page.consents.len() <= page_size as usize);
        found.extend(page.consents);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return found;
        }
    }
}

async fn decide_for(world: &mut World, subject: &str, of: proto::RecordConsentRequest) {
    decide(world, proto::RecordConsentRequest { subject: subject.into(), ..of }).await;
}

/// How often the steward looked at this list, by the person's own history.
async fn views(world: &World, subject: &str) -> usize {
    let mut own = world.harness.as_role(Role::Subject, subject).await;
    let request = proto::ListEventsRequest { page_size: 1_000, ..Default::default() };
    let events = own.profile.list_events(request).await.unwrap().into_inner().events;
    events.iter().filter(|event| format!("{event:?}").contains("ListOutdatedConsents")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_has_to_be_asked_again_is_listed_with_purpose_reason_and_time() {
    let mut world = world().await;
    let given = |purpose: &str, version: &str| decision(ConsentDecision::Given, purpose, version);
    for subject in ["ada", "ben", "cleo"] {
        decide_for(&mut world, subject, given("tone-adaptation", "1")).await;
        decide_for(&mut world, subject, given("memory", "1")).await;
    }
    publish_version(&mut world, "2").await;
    // Ben consented again to one of the two, Cleo refused one, and Dora saw the second version alone.
    decide_for(&mut world, "ben", given("memory", "2")).await;
    decide_for(&mut world, "cleo", decision(ConsentDecision::Withdrawn, "memory", "1")).await;
    decide_for(&mut world, "dora", given("memory", "2")).await;
    assert_eq!(to_ask(&mut world, &[], 0, 0).await, []);
    require(&mut world, required("2", 0)).await.unwrap();

    let named = to_ask(&mut world, &["dora", "cleo", "nobody", "ada", "ben"], 0, 1).await;
    let who: Vec<(&str, &str)> =
        named.iter().map(|item| (item.subject.as_str(), item.purposes[0].as_str())).collect();
    let tone = "tone-adaptation";
    assert_eq!(who, [("cleo", tone), ("ada", tone), ("ada", "memory"), ("ben", tone)]);
    for item in &named {
        assert_eq!(item.reason(), DenialReason::NoticeOutdated);
        assert_eq!((item.required_version.as_str(), item.purposes.len()), ("2", 1));
        assert_eq!(item.notice.as_ref().unwrap().version, "1");
        assert!(item.since.unwrap().seconds >= item.said_at.unwrap().seconds);
    }
    // Each person who is named in the request sees the view in their history.
    assert_eq!((views(&world, "ada").await, views(&world, "dora").await), (1, 1));

    // Without names, the same consents are listed by handle, on pages of any size.
    for page_size in [0, 1, 3] {
        let everybody = to_ask(&mut world, &[], 0, page_size).await;
        let mut ids: Vec<&str> = everybody.iter().map(|item| item.event_id.as_str()).collect();
        assert!(everybody.iter().all(|item| item.subject.is_empty() && item.handle.len() == 32));
        let mut expected: Vec<&str> = named.iter().map(|item| item.event_id.as_str()).collect();
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected, "pages of {page_size}");
    }
    let mut service = world.harness.as_role(Role::Service, "tutor").await;
    let refused = service.consent.list_outdated_consents(proto::ListOutdatedConsentsRequest::default());
    assert_eq!(refused.await.unwrap_err().code(), Code::PermissionDenied);
    let wrong = proto::ListOutdatedConsentsRequest { page_token: "x-y".into(), ..Default::default() };
    let refused = world.steward.consent.list_outdated_consents(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_soon_is_listed_so_many_days_before() {
    let clock = Arc::new(AdvancedClock::default());
    let mut world = world_of(start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await).await;
    record(&mut world, "ada", "tone", "communication-style").await;
    decide(&mut world, decision(ConsentDecision::Given, "tone-adaptation", "1")).await;
    publish(&mut world, version(Tier::Provider, "fresh", "1", YEARLY)).await.unwrap();
    advance(&mut world, &clock, 170 * DAY_MS).await;
    // The rule ends the consent after 180 days. It concerns only those about whom there is something to use.
    decide_for(&mut world, "ben", decision(ConsentDecision::Given, "memory", "1")).await;
    assert_eq!(to_ask(&mut world, &[], 9, 0).await, []);
    let aged = to_ask(&mut world, &["ada", "ben"], 11, 0).await;
    let [item] = &aged[..] else { panic!("{aged:?}") };
    assert_eq!((item.reason(), item.policy.as_str()), (DenialReason::ConsentTooOld, "fresh/fresh"));
    assert_eq!((item.subject.as_str(), &item.purposes), ("ada", &vec!["tone-adaptation".to_owned()]));
    assert_eq!(item.since.unwrap().seconds - item.said_at.unwrap().seconds, 180 * 86_400);
    advance(&mut world, &clock, 11 * DAY_MS).await;
    assert_eq!(to_ask(&mut world, &["ada"], 0, 0).await.len(), 1, "still listed when it is too old");
    decide(&mut world, decision(ConsentDecision::Renewed, "tone-adaptation", "1")).await;
    assert_eq!(to_ask(&mut world, &[], 30, 0).await, []);

    // Version 2 is required from a later time on, and Cleo's consent has an end.
    publish_version(&mut world, "2").await;
    let now_ms = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap() + 181 * DAY_MS;
    require(&mut world, required("2", now_ms + 20 * DAY_MS)).await.unwrap();
    let mut short = decision(ConsentDecision::Given, "memory", "2");
    let end = i64::try_from((now_ms + 5 * DAY_MS) / 1_000).unwrap();
    short.choices[0].expires_at = Some(prost_types::Timestamp { seconds: end, nanos: 0 });
    decide_for(&mut world, "cleo", short).await;
    assert_eq!(to_ask(&mut world, &["cleo", "ada"], 4, 0).await, []);
    let soon = to_ask(&mut world, &["cleo", "ada"], 21, 0).await;
    let found: Vec<(&str, DenialReason, i64)> =
        soon.iter().map(|item| (item.subject.as_str(), item.reason(), item.since.unwrap().seconds)).collect();
    let required_s = i64::try_from((now_ms + 20 * DAY_MS) / 1_000).unwrap();
    let expected =
        [("cleo", DenialReason::ConsentExpired, end), ("ada", DenialReason::NoticeOutdated, required_s)];
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_require_a_version_and_list_who_has_to_be_asked() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    for subject in ["ada", "ben"] {
        decide_for(&mut world, subject, decision(ConsentDecision::Given, "tone-adaptation", "1")).await;
    }
    publish_version(&mut world, "2").await;
    let steward = |arguments: &[&str]| world.harness.cli(Role::Steward, "privacy-team", arguments);
    let key = world.harness.dir.path().join("dev/steward.key");
    let require = ["notice", "require", NOTICE, "--version", "2", "--key", key.to_str().unwrap()];
    let previewed = harness::stdout(&steward(&[&require[..], &["--preview"]].concat()));
    assert!(previewed.contains("decisions would change for 1 person"), "{previewed}");
    assert!(
        harness::stdout(&steward(&["consent", "ask"])).contains("0 people to ask, of 2 records examined")
    );
    let required = harness::stdout(&steward(&require));
    assert!(required.contains("0 grants revoked"), "{required}");

    let people = world.harness.dir.path().join("people.txt");
    std::fs::write(&people, "ben\nnobody\nada\n").unwrap();
    let listed = harness::stdout(&steward(&["consent", "ask", "--people", people.to_str().unwrap()]));
    let lines: Vec<&str> = listed.lines().collect();
    let says =
        "tone-adaptation: the person consented to a version of the notice that no longer counts (from ";
    assert!(lines[0].starts_with(&format!("ben  {says}")) && lines[1].starts_with(&format!("ada  {says}")));
    assert!(lines[0].contains("show version 2 or later"), "{listed}");
    assert_eq!(lines[2], "2 people to ask, of 2 records examined");
    let everybody = harness::stdout(&steward(&["consent", "ask", "--within", "30d"]));
    assert!(everybody.contains("name people, or give a file with --people"), "{everybody}");
    let one = harness::json(&steward(&["--json", "consent", "ask", "ada"]));
    assert_eq!((&one["subject"], &one["requiredVersion"]), (&"ada".into(), &"2".into()));
}
