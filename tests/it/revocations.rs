//! A withdrawal, refusal or objection is always accepted, and its revocations are in effect once it is
//! acknowledged. This is true even if there are more grants to revoke than fit in one frame (the entries of
//! one write), and while other callers fill the queue.

use crate::harness::{self, Clients, Harness, choice, config, consent, fact, publish_notice};
use crate::rights::AdvancedClock;
use sayso::config::Config;
use sayso::daemon::Daemon;
use sayso::domain::event::CategoryDefined;
use sayso::proto::{self, AgeBand, ConsentDecision, RevocationReason, Role, SignalKind};
use sayso_proof::event::event_body::Event;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

const PURPOSE: &str = "tone-adaptation";
const CATEGORY: &str = "communication-style";
/// The number of open grants: more than can be revoked in the frame of the decision.
const MANY_GRANTS: usize = 300;
/// A limit for each wait, longer than any of them takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(60);

struct World {
    harness: Harness,
    clock: Arc<AdvancedClock>,
    service: Clients,
    steward: Clients,
}

async fn world(change: impl FnOnce(&mut Config)) -> World {
    world_in(tempfile::tempdir().unwrap(), change).await
}

async fn world_in(dir: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> World {
    let mut config = config(dir.path());
    config.rights.expiry_interval_ms = 10;
    change(&mut config);
    let clock = Arc::new(AdvancedClock::default());
    let daemon = Daemon::start_with(&config, clock.clone()).await.unwrap();
    let harness = Harness { dir, daemon };
    let service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy").await;
    if steward
        .bounds
        .get_notice(proto::GetNoticeRequest { id: "welcome".into(), ..Default::default() })
        .await
        .is_err()
    {
        publish_notice(&mut steward).await;
    }
    World { harness, clock, service, steward }
}

/// Records one attribute about `subject`, and a consent.
async fn create_subject(steward: &mut Clients, subject: &str) {
    steward.profile.record_attributes(fact(subject, "tone", CATEGORY, "brief")).await.unwrap();
    let given = choice(ConsentDecision::Given, PURPOSE, &[], false);
    steward.consent.record_consent(consent(subject, vec![given])).await.unwrap();
}

async fn grant(service: &mut Clients, subject: &str, interaction: usize) -> Result<String, Status> {
    let request = proto::RequestGrantRequest {
        subject: subject.into(),
        purpose: PURPOSE.into(),
        interaction: format!("chat-{interaction}"),
        ttl: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        ..Default::default()
    };
    let granted = service.grant.request_grant(request).await?.into_inner();
    assert_eq!(granted.allowed.len(), 1, "the attribute may be used");
    Ok(granted.grant_id)
}

fn artifact(grant_id: &str, number: usize) -> proto::RegisterArtifactRequest {
    proto::RegisterArtifactRequest {
        grant_id: grant_id.into(),
        kind: proto::ArtifactKind::Embedding.into(),
        name: format!("vectors-{number}"),
        ..Default::default()
    }
}

/// Opens `count` grants about one data subject, over 16 concurrent tasks.
async fn open_grants(service: &Clients, subject: &str, count: usize) -> Vec<String> {
    let mut opening = JoinSet::new();
    for task in 0..16 {
        let (mut service, subject) = (service.clone(), subject.to_owned());
        opening.spawn(async move {
            let mut opened = Vec::new();
            for number in (task..count).step_by(16) {
                opened.push(grant(&mut service, &subject, number).await.unwrap());
            }
            opened
        });
    }
    let all: Vec<String> = opening.join_all().await.into_iter().flatten().collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), count);
    all
}

/// Registers `count` artifacts with a grant, over 16 concurrent tasks.
async fn register_artifacts(service: &Clients, grant_id: &str, count: usize) -> Vec<String> {
    let mut registering = JoinSet::new();
    for task in 0..16 {
        let (mut service, grant_id) = (service.clone(), grant_id.to_owned());
        registering.spawn(async move {
            let mut registered = Vec::new();
            for number in (task..count).step_by(16) {
                let request = artifact(&grant_id, number);
                registered
                    .push(service.grant.register_artifact(request).await.unwrap().into_inner().artifact_id);
            }
            registered
        });
    }
    registering.join_all().await.into_iter().flatten().collect()
}

/// Returns whether a grant is valid, and the reason if it was revoked.
async fn check_grant(service: &mut Clients, grant_id: &str) -> (bool, RevocationReason) {
    let request = proto::CheckGrantRequest { grant_id: grant_id.into(), keys: Vec::new() };
    let standing = service.grant.check_grant(request).await.unwrap().into_inner();
    (standing.valid, standing.reason())
}

async fn assert_all_revoked(service: &mut Clients, grants: &[String], reason: RevocationReason) {
    for grant in grants {
        assert_eq!(check_grant(service, grant).await, (false, reason), "{grant}");
    }
}

fn signal(subject: &str, kind: SignalKind, lift: bool) -> proto::RecordSignalRequest {
    proto::RecordSignalRequest { subject: subject.into(), kind: kind.into(), lift, ..Default::default() }
}

/// The number of recorded revocations of grants and of artifacts, and the number that is still pending.
async fn recorded_revocations(steward: &mut Clients, subject: &str) -> (usize, usize, u32) {
    let (mut grants, mut artifacts, mut left) = (0, 0, 0);
    let mut request =
        proto::ListEventsRequest { subject: subject.into(), page_size: 1_000, ..Default::default() };
    loop {
        let page = steward.profile.list_events(request.clone()).await.unwrap().into_inner();
        for event in page.events {
            match event.body.and_then(|body| body.event) {
                Some(Event::GrantRevoked(_)) => grants += 1,
                Some(Event::ArtifactInvalidated(_)) => artifacts += 1,
                Some(Event::RevocationsPending(pending)) => left = pending.left,
                _ => {}
            }
        }
        if page.next_page_token.is_empty() {
            return (grants, artifacts, left);
        }
        request.page_token = page.next_page_token;
    }
}

/// Waits until every revocation is recorded.
async fn wait_until_recorded(steward: &mut Clients, subject: &str, grants: usize, artifacts: usize) {
    let waited = async {
        while recorded_revocations(steward, subject).await != (grants, artifacts, 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(TIMEOUT, waited).await.is_err() {
        panic!(
            "recorded {:?}, expected ({grants}, {artifacts}, 0)",
            recorded_revocations(steward, subject).await
        );
    }
}

/// Reads from the watch until it has reported `count` grants and artifacts, and returns their ids.
async fn revoked_ids(
    watch: &mut Streaming<proto::WatchRevocationsResponse>,
    count: usize,
) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    while ids.len() < count {
        let next = tokio::time::timeout(TIMEOUT, watch.message())
            .await
            .expect("no revocation within the timeout")
            .unwrap()
            .unwrap();
        ids.extend(next.grant_ids.into_iter().chain(next.artifact_ids));
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_accepted_with_the_maximum_of_open_grants_and_artifacts() {
    let World { mut service, mut steward, harness, .. } = world(|_| {}).await;
    create_subject(&mut steward, "ada").await;
    let grants = open_grants(&service, "ada", 1_024).await;
    let artifacts = register_artifacts(&service, &grants[0], 1_024).await;
    let mut watch = service.grant.watch_revocations(proto::WatchRevocationsRequest::default()).await;
    let watch = watch.as_mut().unwrap().get_mut();
    let refusal = consent("ada", vec![choice(ConsentDecision::Withdrawn, PURPOSE, &[], false)]);
    let changed = steward.consent.record_consent(refusal).await.unwrap().into_inner();
    assert_eq!(changed.revoked_grants.len(), grants.len());
    assert_all_revoked(&mut service, &grants, RevocationReason::ConsentWithdrawn).await;
    let all: BTreeSet<String> = grants.iter().chain(&artifacts).cloned().collect();
    assert_eq!(revoked_ids(watch, all.len()).await, all);
    wait_until_recorded(&mut steward, "ada", grants.len(), artifacts.len()).await;
    // A later consent reopens none of them.
    let given = consent("ada", vec![choice(ConsentDecision::Given, PURPOSE, &[], false)]);
    steward.consent.record_consent(given).await.unwrap();
    assert_all_revoked(&mut service, &grants, RevocationReason::ConsentWithdrawn).await;
    grant(&mut service, "ada", 5_000).await.unwrap();
    drop((service, steward));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_refusal_is_accepted_with_more_grants_than_fit_in_its_frame() {
    let World { mut service, mut steward, harness, .. } = world(|_| {}).await;
    let kinds = [
        ("refused", RevocationReason::ConsentRefused),
        ("restricted", RevocationReason::Restricted),
        ("objected", RevocationReason::Objected),
        ("paused", RevocationReason::Paused),
        ("own-bounds", RevocationReason::Paused),
        ("contested", RevocationReason::Contested),
        ("removed", RevocationReason::AttributeRemoved),
        ("child", RevocationReason::GuardianNeeded),
    ];
    for (subject, reason) in kinds {
        create_subject(&mut steward, subject).await;
        let grants = open_grants(&service, subject, MANY_GRANTS).await;
        refuse(&mut steward, subject).await;
        let (standing, why) = check_grant(&mut service, &grants[MANY_GRANTS - 1]).await;
        assert!(!standing, "{subject}");
        if subject != "own-bounds" {
            assert_eq!(why, reason, "{subject}");
        }
        for grant in &grants {
            assert!(!check_grant(&mut service, grant).await.0, "{subject}: {grant}");
        }
        wait_until_recorded(&mut steward, subject, MANY_GRANTS, 0).await;
    }
    drop((service, steward));
    harness.stop().await;
}

async fn refuse(steward: &mut Clients, subject: &str) {
    match subject {
        "refused" => {
            let refusal = choice(ConsentDecision::Refused, PURPOSE, &[], false);
            steward.consent.record_consent(consent(subject, vec![refusal])).await.unwrap();
        }
        "restricted" => {
            steward.consent.record_signal(signal(subject, SignalKind::Restriction, false)).await.unwrap();
        }
        "objected" => {
            steward.consent.record_signal(signal(subject, SignalKind::Objection, false)).await.unwrap();
        }
        "paused" => {
            steward.consent.record_signal(signal(subject, SignalKind::Pause, false)).await.unwrap();
        }
        "own-bounds" => {
            let bounds = proto::PersonalBounds { paused: true, ..Default::default() };
            let request = proto::SetPersonalBoundsRequest {
                subject: subject.into(),
                bounds: Some(bounds),
                ..Default::default()
            };
            steward.bounds.set_personal_bounds(request).await.unwrap();
        }
        "contested" => {
            let request = proto::ContestAttributeRequest {
                subject: subject.into(),
                key: "tone".into(),
                ..Default::default()
            };
            steward.profile.contest_attribute(request).await.unwrap();
        }
        "removed" => {
            let request = proto::RemoveAttributesRequest {
                subject: subject.into(),
                keys: vec!["tone".into()],
                ..Default::default()
            };
            steward.profile.remove_attributes(request).await.unwrap();
        }
        "child" => {
            let request = proto::DescribeSubjectRequest {
                subject: subject.into(),
                age_band: AgeBand::Child.into(),
                jurisdiction: "DE".into(),
                ..Default::default()
            };
            steward.profile.describe_subject(request).await.unwrap();
        }
        other => panic!("{other}"),
    }
}

/// The definition of a category with which a log begins.
fn defined_category(id: &str) -> CategoryDefined {
    let (_, categories) = sayso::domain::default_vocabulary::defaults();
    categories.into_iter().find(|category| category.id == id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_rules_reach_everyone_even_if_one_person_has_more_grants_than_fit_in_a_frame() {
    let World { mut service, mut steward, harness, .. } = world(|_| {}).await;
    for subject in ["ada", "ben"] {
        create_subject(&mut steward, subject).await;
    }
    let grants = open_grants(&service, "ada", 1_024).await;
    let grant_of_ben = grant(&mut service, "ben", 1).await.unwrap();
    let special = CategoryDefined { special: true, ..defined_category(CATEGORY) };
    let define = harness::category(&steward, special, &harness::provider_key(harness.dir.path())).await;
    steward.bounds.define_category(define).await.unwrap();
    assert_all_revoked(&mut service, &grants, RevocationReason::NotExplicit).await;
    assert_all_revoked(&mut service, &[grant_of_ben], RevocationReason::NotExplicit).await;
    wait_until_recorded(&mut steward, "ada", grants.len(), 0).await;
    wait_until_recorded(&mut steward, "ben", 1, 0).await;
    drop((service, steward));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_grants_and_artifacts_are_limited_per_recipient_and_data_subject() {
    let limit = |config: &mut Config| (config.limits.open_grants_max, config.limits.artifacts_max) = (5, 3);
    let World { mut service, mut steward, harness, .. } = world(limit).await;
    for subject in ["ada", "ben"] {
        create_subject(&mut steward, subject).await;
    }
    let grants = open_grants(&service, "ada", 5).await;
    let refused = grant(&mut service, "ada", 6).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "OPEN_LIMIT_REACHED");
    grant(&mut service, "ben", 1).await.unwrap();
    let mut coach = harness.as_role(Role::Service, "coach").await;
    grant(&mut coach, "ada", 1).await.unwrap();
    register_artifacts(&service, &grants[0], 3).await;
    let refused = service.grant.register_artifact(artifact(&grants[0], 4)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    // Revoked grants and their artifacts no longer count toward the limits.
    steward.consent.record_signal(signal("ada", SignalKind::Pause, false)).await.unwrap();
    steward.consent.record_signal(signal("ada", SignalKind::Pause, true)).await.unwrap();
    let fresh = grant(&mut service, "ada", 7).await.unwrap();
    register_artifacts(&service, &fresh, 3).await;
    drop((service, steward, coach));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recipient_is_told_when_an_artifact_expires() {
    let World { mut service, mut steward, harness, clock } = world(|_| {}).await;
    create_subject(&mut steward, "ada").await;
    let grant = grant(&mut service, "ada", 1).await.unwrap();
    let brief = prost_types::Duration { seconds: 600, nanos: 0 };
    let request = proto::RegisterArtifactRequest { ttl: Some(brief), ..artifact(&grant, 1) };
    let short = service.grant.register_artifact(request).await.unwrap().into_inner();
    let long = service.grant.register_artifact(artifact(&grant, 2)).await.unwrap().into_inner();
    assert!(short.expires_at.unwrap().seconds < long.expires_at.unwrap().seconds);
    let too_long = prost_types::Duration { seconds: 86_400 * 401, nanos: 0 };
    let request = proto::RegisterArtifactRequest { ttl: Some(too_long), ..artifact(&grant, 3) };
    assert_eq!(service.grant.register_artifact(request).await.unwrap_err().code(), Code::InvalidArgument);
    let watch = proto::WatchRevocationsRequest { after_cursor: Some(0) };
    let mut watch = service.grant.watch_revocations(watch).await.unwrap().into_inner();
    clock.0.store(601_000, Ordering::SeqCst);
    assert_eq!(revoked_ids(&mut watch, 1).await, BTreeSet::from([short.artifact_id.clone()]));
    let list = proto::ListArtifactsRequest { subject: "ada".into(), ..Default::default() };
    let listed = steward.grant.list_artifacts(list).await.unwrap().into_inner().artifacts;
    let reason = |id: &str| listed.iter().find(|each| each.artifact_id == id).unwrap().reason();
    assert_eq!(reason(&short.artifact_id), RevocationReason::ArtifactExpired);
    assert_eq!(reason(&long.artifact_id), RevocationReason::Unspecified);
    wait_until_recorded(&mut steward, "ada", 0, 1).await;
    drop((service, steward, watch));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_waits_for_room_in_a_full_queue() {
    let full = |config: &mut Config| config.limits.queue_requests_max = 1;
    let World { service, mut steward, harness, .. } = world(full).await;
    let subjects: Vec<String> = (0..24).map(|number| format!("person-{number}")).collect();
    for subject in &subjects {
        create_subject(&mut steward, subject).await;
    }
    let mut load = JoinSet::new();
    for number in 0..24 {
        let (mut service, subjects) = (service.clone(), subjects.clone());
        load.spawn(async move {
            let mut refused = 0_u32;
            for round in 0..40 {
                let ask = proto::RequestGrantRequest {
                    subject: subjects[(number + round) % subjects.len()].clone(),
                    purpose: PURPOSE.into(),
                    ..Default::default()
                };
                refused += u32::from(service.grant.request_grant(ask).await.is_err());
            }
            refused
        });
    }
    let mut withdrawals = JoinSet::new();
    for subject in subjects {
        let mut steward = steward.clone();
        withdrawals.spawn(async move {
            let refusal = choice(ConsentDecision::Withdrawn, PURPOSE, &[], false);
            steward.consent.record_consent(consent(&subject, vec![refusal])).await.map(|_| ())
        });
    }
    for answer in withdrawals.join_all().await {
        answer.unwrap();
    }
    let refused: u32 = load.join_all().await.into_iter().sum();
    println!("{refused} grant requests were refused at the same time");
    drop((service, steward));
    harness.stop().await;
}
