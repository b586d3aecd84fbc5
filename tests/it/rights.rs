//! Requests of data subjects, retention and artifacts through the API, on a clock that tests can move
//! forward.

use crate::erasure::{erasure, history, record, verify};
use crate::harness::{self, Clients, Harness, ask, choice, config, consent, contains, fact, files_below};
use sayso::clock::{Clock, SystemClock};
use sayso::daemon::Daemon;
use sayso::proto::decide_request_request::{Accept, Complete, Decision, Extend, Refuse};
use sayso::proto::{
    self, ConsentDecision, ErasureScope, Ground, RequestKind, RequestState, RetentionClass, RevocationReason,
    Role,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::Code;

const DAY_MS: u64 = 86_400_000;

/// The machine's clock, moved forward by a number of milliseconds.
#[derive(Default)]
pub struct AdvancedClock(pub AtomicU64);

impl Clock for AdvancedClock {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }

    fn fill(&self, bytes: &mut [u8]) {
        SystemClock.fill(bytes);
    }
}

pub async fn start(clock: Arc<AdvancedClock>, dir: tempfile::TempDir) -> Harness {
    let mut config = config(dir.path());
    config.rights.expiry_interval_ms = 10;
    let daemon = Daemon::start_with(&config, clock).await.unwrap();
    Harness { dir, daemon }
}

fn submit(kind: RequestKind, subject: &str) -> proto::SubmitRequestRequest {
    proto::SubmitRequestRequest { kind: kind.into(), subject: subject.into(), ..Default::default() }
}

fn decide(request_id: &str, decision: Decision) -> proto::DecideRequestRequest {
    proto::DecideRequestRequest { request_id: request_id.into(), decision: Some(decision), options: None }
}

/// The ids of all open requests, the next due first.
async fn open_requests(steward: &mut Clients) -> Vec<String> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        // Each page has one request, so that the test also covers page tokens.
        let request = proto::ListRequestsRequest { page_size: 1, page_token, ..Default::default() };
        let page = steward.rights.list_requests(request).await.unwrap().into_inner();
        found.extend(page.requests.into_iter().map(|request| request.request_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_requests_are_listed_by_due_date_until_they_are_decided() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    record(&mut service, fact("ben", "job", "work", "cook")).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let slow = proto::SubmitRequestRequest {
        jurisdiction: proto::Jurisdiction::California.into(),
        ..submit(RequestKind::Access, "")
    };
    let slow = ada.rights.submit_request(slow).await.unwrap().into_inner();
    let quick = steward.rights.submit_request(submit(RequestKind::Portability, "ben")).await.unwrap();
    let quick = quick.into_inner();
    let wrong = proto::SubmitRequestRequest {
        keys: vec!["job".into()],
        details: "it is butcher".into(),
        ..submit(RequestKind::Rectification, "")
    };
    let wrong = ada.rights.submit_request(wrong).await.unwrap().into_inner();
    assert_eq!(
        open_requests(&mut steward).await,
        [&quick, &wrong, &slow].map(|made| made.request_id.clone())
    );
    // A subject sees only their own requests; another subject's request is not found.
    let own = ada.rights.list_requests(proto::ListRequestsRequest::default()).await.unwrap().into_inner();
    assert_eq!(own.requests.len(), 2);
    let other = proto::GetRequestRequest { request_id: quick.request_id.clone() };
    assert_eq!(ada.rights.get_request(other.clone()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(steward.rights.get_request(other).await.unwrap().into_inner().request.unwrap().subject, "ben");

    let extend = |id: &str| decide(id, Decision::Extend(Extend { reason: "many of them".into() }));
    let extended = steward.rights.decide_request(extend(&quick.request_id)).await.unwrap().into_inner();
    let extended = extended.request.unwrap();
    let days = |time: &Option<prost_types::Timestamp>| time.as_ref().unwrap().seconds / 86_400;
    let span = days(&extended.due_at) - days(&extended.submitted_at);
    assert!((89..=92).contains(&span), "{span}");
    assert_eq!(extended.extended_because, "many of them");
    let twice = steward.rights.decide_request(extend(&quick.request_id)).await.unwrap_err();
    assert_eq!(twice.code(), Code::FailedPrecondition);
    assert_eq!(
        open_requests(&mut steward).await,
        [&wrong, &slow, &quick].map(|made| made.request_id.clone())
    );

    let refuse = |reason: &str, ground: Ground| Refuse {
        ground: ground.into(),
        reason: reason.into(),
        purposes: Vec::new(),
    };
    let without_reason = decide(&wrong.request_id, Decision::Refuse(refuse("", Ground::Excessive)));
    assert_eq!(
        steward.rights.decide_request(without_reason).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    let refused = decide(&wrong.request_id, Decision::Refuse(refuse("asked daily", Ground::Excessive)));
    let refused = steward.rights.decide_request(refused).await.unwrap().into_inner().request.unwrap();
    assert_eq!((refused.state(), refused.ground()), (RequestState::Refused, Ground::Excessive));
    let accepted = decide(&slow.request_id, Decision::Accept(Accept::default()));
    steward.rights.decide_request(accepted).await.unwrap();
    drop((ada, service, steward));

    // The list is the same after a restart with a rebuilt index.
    let dir = harness.stop().await;
    std::fs::remove_dir_all(dir.path().join("log/index")).unwrap();
    let harness = start(clock, dir).await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    assert_eq!(open_requests(&mut steward).await, [&slow, &quick].map(|made| made.request_id.clone()));
    let done =
        decide(&slow.request_id, Decision::Complete(Complete { reason: "sent".into(), keys: Vec::new() }));
    let done = steward.rights.decide_request(done).await.unwrap().into_inner().request.unwrap();
    assert_eq!(
        (done.state(), done.decided_by.unwrap().name.as_str()),
        (RequestState::Completed, "privacy-team")
    );
    steward.rights.submit_request(erasure("ben", ErasureScope::All, "")).await.unwrap();
    assert!(open_requests(&mut steward).await.is_empty(), "an erasure removes the subject's requests");
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_or_objection_takes_effect_at_once_and_ends_when_it_is_refused() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    for (kind, reason) in [
        (RequestKind::Restriction, RevocationReason::Restricted),
        (RequestKind::Objection, RevocationReason::Objected),
    ] {
        let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
        assert_eq!(grant.allowed.len(), 1);
        let mut ada = harness.as_role(Role::Subject, "ada").await;
        let purposes = vec!["tone-adaptation".to_owned()];
        let request = proto::SubmitRequestRequest { purposes, ..submit(kind, "") };
        let made = ada.rights.submit_request(request).await.unwrap().into_inner();
        assert!(made.revoked_grants.contains(&grant.grant_id) && made.revoked_grants.len() == 1);
        let check = proto::CheckGrantRequest { grant_id: grant.grant_id, keys: Vec::new() };
        assert_eq!(service.grant.check_grant(check).await.unwrap().into_inner().reason(), reason);
        let none = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
        assert!(none.allowed.is_empty());
        let refuse =
            Refuse { ground: Ground::NotMet.into(), reason: "not given".into(), purposes: Vec::new() };
        steward.rights.decide_request(decide(&made.request_id, Decision::Refuse(refuse))).await.unwrap();
    }
    assert_eq!(service.grant.request_grant(ask("ada")).await.unwrap().into_inner().allowed.len(), 1);
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
}

/// Waits until the condition is true. Fails if it is still false after about 12 s.
pub async fn wait_until(mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the condition did not become true");
}

/// The number of the subject's attributes; `None` if the subject does not exist.
async fn attribute_count(steward: &mut Clients, subject: &str) -> Option<usize> {
    let request = proto::GetProfileRequest { subject: subject.into(), ..Default::default() };
    Some(steward.profile.get_profile(request).await.ok()?.into_inner().attributes.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_and_consent_expire_by_themselves_and_the_log_records_it() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let later = |days: i64| {
        let seconds = i64::try_from(clock.now_ms() / 1000).unwrap() + days * 86_400;
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    };
    let mut short = fact("ada", "mood", "preference", "CANARY-MOOD");
    short.attributes[0].expires_at = later(2);
    let mood = record(&mut service, short).await;
    let mut derived = fact("ada", "music", "preference", "CANARY-MUSIC");
    derived.attributes[0].derived_from = vec![mood];
    record(&mut service, derived).await;
    record(&mut service, fact("ada", "job", "work", "CANARY-JOB")).await;
    record(&mut service, fact("ada", "home", "location", "CANARY-HOME")).await;
    let mut given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    given.expires_at = later(3);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    let rule = |class: RetentionClass, category: &str, days: i64| proto::SetRetentionRequest {
        class: class.into(),
        category: category.into(),
        keep: Some(prost_types::Duration { seconds: days * 86_400, nanos: 0 }),
        ..Default::default()
    };
    steward.rights.set_retention(rule(RetentionClass::Profile, "work", 5)).await.unwrap();
    let wrong = steward.rights.set_retention(rule(RetentionClass::Uses, "work", 5)).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);

    clock.0.store(2 * DAY_MS + 60_000, Ordering::SeqCst);
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    wait_until(async || attribute_count(&mut steward, "ada").await == Some(2)).await;
    clock.0.store(3 * DAY_MS + 60_000, Ordering::SeqCst);
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    wait_until(async || history(&mut steward, "ada").await.contains("ConsentExpired")).await;
    clock.0.store(6 * DAY_MS, Ordering::SeqCst);
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    wait_until(async || attribute_count(&mut steward, "ada").await == Some(1)).await;
    wait_until(async || !history(&mut steward, "ada").await.contains("CANARY-JOB")).await;
    let seen = history(&mut steward, "ada").await;
    assert_eq!(seen.matches("AttributeExpired(").count(), 2, "{seen}");
    assert!(!seen.contains("CANARY-MOOD") && !seen.contains("CANARY-MUSIC") && !seen.contains("CANARY-JOB"));
    verify(&harness);

    // When the retention of everything has ended, the subject is removed.
    for class in [RetentionClass::Profile, RetentionClass::Consent] {
        steward.rights.set_retention(rule(class, "", 7)).await.unwrap();
    }
    clock.0.store(20 * DAY_MS, Ordering::SeqCst);
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    wait_until(async || attribute_count(&mut steward, "ada").await.is_none()).await;
    assert_eq!(verify(&harness)["subjects"], "0");
    let dir = harness.stop().await;
    for file in files_below(dir.path()).iter().filter(|file| !file.ends_with("bundle.tar.zst")) {
        assert!(!contains(&std::fs::read(file).unwrap(), b"CANARY"), "{file:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_are_invalidated_when_their_sources_change_or_are_erased() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    for key in ["job", "boss", "desk"] {
        record(&mut service, fact("ada", key, "work", "x")).await;
    }
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    let mut built = Vec::new();
    for source in ["job", "boss", "desk"] {
        let request = proto::RegisterArtifactRequest {
            grant_id: grant.grant_id.clone(),
            kind: proto::ArtifactKind::Embedding.into(),
            name: format!("vectors of {source}"),
            sources: vec![source.into()],
            options: None,
            ttl: None,
        };
        built.push(service.grant.register_artifact(request).await.unwrap().into_inner().artifact_id);
    }
    let after = proto::WatchRevocationsRequest { after_cursor: None };
    let mut fallen = service.grant.watch_revocations(after).await.unwrap().into_inner();
    fallen.message().await.unwrap();
    let mut told = async || {
        loop {
            let fell = fallen.message().await.unwrap().unwrap();
            if !fell.artifact_ids.is_empty() {
                return fell;
            }
        }
    };
    let remove = proto::RemoveAttributesRequest {
        subject: "ada".into(),
        keys: vec!["job".into()],
        ..Default::default()
    };
    steward.profile.remove_attributes(remove).await.unwrap();
    let fell = told().await;
    assert_eq!(
        (&fell.artifact_ids, fell.reason()),
        (&vec![built[0].clone()], RevocationReason::AttributeRemoved)
    );
    let acknowledge = proto::AcknowledgeRequest { cursor: fell.cursor, options: None };
    service.grant.acknowledge(acknowledge).await.unwrap();
    // The second artifact's source is replaced.
    record(&mut service, fact("ada", "boss", "work", "y")).await;
    assert_eq!(told().await.artifact_ids, [built[1].clone()]);
    let list = || proto::ListArtifactsRequest { subject: "ada".into(), ..Default::default() };
    let listed = steward.grant.list_artifacts(list()).await.unwrap().into_inner().artifacts;
    let states: Vec<_> = listed.iter().map(|each| (each.reason(), each.acknowledged)).collect();
    assert_eq!(
        states,
        [
            (RevocationReason::AttributeRemoved, true),
            (RevocationReason::AttributeReplaced, false),
            (RevocationReason::Unspecified, false)
        ]
    );
    assert_eq!(listed[2].purpose, "tone-adaptation");
    let mut other = harness.as_role(Role::Service, "other").await;
    assert!(other.grant.list_artifacts(list()).await.unwrap().into_inner().artifacts.is_empty());
    // The third artifact's source is erased, and with it the grant, which every artifact names.
    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::Key, "desk")).await.unwrap();
    assert_eq!(told().await.artifact_ids, built);
    assert_eq!(erased.into_inner().certificate.unwrap().recipients[0].artifacts, 3);
    verify(&harness);
}
