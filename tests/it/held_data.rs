//! Data whose erasure was refused (GDPR Art. 17(3)) is used only for what the legal ground of the refusal
//! requires, until the person withdraws the request or the data is erased.

use crate::erasure::{erasure, history, hold, record_ada, start_with, verify};
use crate::harness::{self, Clients, Harness, choice, consent, fact};
use sayso::proto::decide_request_request::{Accept, Decision, Refuse};
use sayso::proto::{
    self, ConsentDecision, DenialReason, ErasureScope, Ground, RequestState, RevocationReason, Role,
};
use tonic::Code;

/// Requests a grant for a purpose. Returns its id, the allowed keys, and the reasons for which others are
/// withheld.
async fn ask(service: &mut Clients, purpose: &str) -> (String, Vec<String>, Vec<DenialReason>) {
    let request =
        proto::RequestGrantRequest { subject: "ada".into(), purpose: purpose.into(), ..Default::default() };
    let grant = service.grant.request_grant(request).await.unwrap().into_inner();
    let reasons = grant.withheld.iter().map(proto::Withheld::reason).collect();
    (grant.grant_id, grant.allowed.into_iter().map(|allowed| allowed.key).collect(), reasons)
}

async fn standing(service: &mut Clients, grant_id: &str) -> (bool, RevocationReason) {
    let check = proto::CheckGrantRequest { grant_id: grant_id.into(), keys: Vec::new() };
    let checked = service.grant.check_grant(check).await.unwrap().into_inner();
    (checked.valid, checked.reason())
}

async fn submit(caller: &mut Clients, request: proto::SubmitRequestRequest) -> proto::SubmitRequestResponse {
    caller.rights.submit_request(request).await.unwrap().into_inner()
}

async fn consent_to(steward: &mut Clients, purpose: &str) {
    let given = choice(ConsentDecision::Given, purpose, &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
}

fn withdraw(request_id: &str) -> proto::WithdrawRequestRequest {
    proto::WithdrawRequestRequest { request_id: request_id.into(), options: None }
}

fn decide(request_id: &str, decision: Decision) -> proto::DecideRequestRequest {
    proto::DecideRequestRequest { request_id: request_id.into(), decision: Some(decision), options: None }
}

async fn state_of(caller: &mut Clients, request_id: &str) -> RequestState {
    let request = proto::GetRequestRequest { request_id: request_id.into() };
    caller.rights.get_request(request).await.unwrap().into_inner().request.unwrap().state()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_a_hold_refuses_stops_every_use_but_what_its_ground_requires() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    consent_to(&mut steward, "legal-claims").await;
    let claims = proto::PlaceHoldRequest { purposes: vec!["legal-claims".into()], ..hold("ada", &[]) };
    for purposes in [&["tone-adaptation"][..], &["legal-obligation"], &["nothing"]] {
        let purposes = purposes.iter().map(|purpose| (*purpose).to_owned()).collect();
        let other = proto::PlaceHoldRequest { purposes, ..hold("ada", &[]) };
        assert_eq!(steward.rights.place_hold(other).await.unwrap_err().code(), Code::InvalidArgument);
    }
    steward.rights.place_hold(claims).await.unwrap();
    let (grant, keys, _) = ask(&mut service, "tone-adaptation").await;
    assert_eq!(keys.len(), 4, "a hold alone stops no use");
    let cache = proto::RegisterArtifactRequest {
        grant_id: grant.clone(),
        kind: proto::ArtifactKind::Cache.into(),
        ..Default::default()
    };
    service.grant.register_artifact(cache).await.unwrap();

    let made = submit(&mut ada, erasure("", ErasureScope::All, "")).await;
    assert_eq!(made.request.unwrap().state(), RequestState::Refused);
    assert_eq!(made.revoked_grants, std::slice::from_ref(&grant));
    assert_eq!(standing(&mut service, &grant).await, (false, RevocationReason::KeptOnly));
    let artifacts = proto::ListArtifactsRequest { subject: "ada".into(), ..Default::default() };
    let artifacts = service.grant.list_artifacts(artifacts).await.unwrap().into_inner().artifacts;
    assert_eq!(artifacts[0].reason(), RevocationReason::KeptOnly);
    // What is recorded later is in the scope too.
    service.profile.record_attributes(fact("ada", "later", "work", "x")).await.unwrap();
    let (withheld, keys, reasons) = ask(&mut service, "tone-adaptation").await;
    assert!(keys.is_empty());
    assert!(reasons.iter().all(|reason| *reason == DenialReason::KeptOnly), "{reasons:?}");
    let why = harness::stdout(&harness.cli(Role::Steward, "privacy-team", &["why", &withheld]));
    assert!(why.contains("under hold `case-17`") && why.contains("Art. 17(3)(e)"), "{why}");
    // The legal ground of the refusal requires this use, and the person consented to it.
    let (claims, keys, _) = ask(&mut service, "legal-claims").await;
    assert!(keys.contains(&"job".into()) && !keys.is_empty());
    assert!(standing(&mut service, &claims).await.0);

    // Only the person may withdraw a request that they submitted themselves.
    let denied = steward.rights.withdraw_request(withdraw(&made.request_id)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let withdrawn = ada.rights.withdraw_request(withdraw(&made.request_id)).await.unwrap().into_inner();
    assert_eq!(withdrawn.request.unwrap().state(), RequestState::Withdrawn);
    let twice = ada.rights.withdraw_request(withdraw(&made.request_id)).await.unwrap_err();
    assert_eq!(twice.code(), Code::FailedPrecondition);
    assert_eq!(ask(&mut service, "tone-adaptation").await.1.len(), 5);
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_erasure_of_one_category_or_key_stops_the_use_of_that_alone() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    steward.rights.place_hold(hold("ada", &["work"])).await.unwrap();
    let category = submit(&mut steward, erasure("ada", ErasureScope::Category, "work")).await;
    let key = submit(&mut steward, erasure("ada", ErasureScope::Key, "job")).await;
    assert_eq!(category.request.unwrap().state(), RequestState::Refused);
    assert_eq!(key.request.unwrap().state(), RequestState::Refused);
    assert_eq!(ask(&mut service, "tone-adaptation").await.1, ["CANARY-KEY-knee", "shoes"]);
    // The staff withdraw what the staff submitted.
    steward.rights.withdraw_request(withdraw(&category.request_id)).await.unwrap();
    let (_, keys, reasons) = ask(&mut service, "tone-adaptation").await;
    assert_eq!((keys.len(), reasons), (3, vec![DenialReason::KeptOnly]));
    assert!(!keys.contains(&"job".into()));
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
    // The state is the same after a restart.
    drop((service, steward));
    let harness = harness.restart().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    assert_eq!(ask(&mut service, "tone-adaptation").await.1.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_erasure_is_open_again_once_its_hold_is_lifted_and_use_does_not_resume() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let placed = steward.rights.place_hold(hold("ada", &[])).await.unwrap().into_inner();
    let made = submit(&mut steward, erasure("ada", ErasureScope::Key, "job")).await;
    let open = proto::ListRequestsRequest::default();
    let listed = steward.rights.list_requests(open.clone()).await.unwrap().into_inner();
    assert!(listed.requests.is_empty());
    let lift =
        proto::LiftHoldRequest { subject: "ada".into(), hold_id: placed.hold_id, ..Default::default() };
    steward.rights.lift_hold(lift).await.unwrap();
    let listed = steward.rights.list_requests(open).await.unwrap().into_inner();
    assert_eq!(listed.requests[0].request_id, made.request_id);
    assert_eq!(state_of(&mut steward, &made.request_id).await, RequestState::Open);
    let (_, keys, _) = ask(&mut service, "tone-adaptation").await;
    assert_eq!(keys.len(), 3, "the person has not changed their mind");
    let accept = decide(&made.request_id, Decision::Accept(Accept::default()));
    let done = steward.rights.decide_request(accept).await.unwrap().into_inner();
    assert_eq!(done.request.unwrap().state(), RequestState::Completed);
    assert!(done.certificate.is_some());
    // A value that is recorded after the erasure may be used.
    service.profile.record_attributes(fact("ada", "job", "work", "cook")).await.unwrap();
    assert_eq!(ask(&mut service, "tone-adaptation").await.1.len(), 4);
    assert_eq!(verify(&harness)["grants"]["unchecked"], "0");
}

/// Places a hold for legal claims. Returns its id.
async fn place(steward: &mut Clients, categories: &[&str], purposes: &[&str]) -> String {
    let purposes = purposes.iter().map(|&purpose| purpose.to_owned()).collect();
    let request = proto::PlaceHoldRequest { purposes, ..hold("ada", categories) };
    steward.rights.place_hold(request).await.unwrap().into_inner().hold_id
}

async fn lift(steward: &mut Clients, hold_id: String) {
    let request = proto::LiftHoldRequest { subject: "ada".into(), hold_id, ..Default::default() };
    steward.rights.lift_hold(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_keeps_nothing_in_scope_allows_no_use_and_does_not_keep_a_request_refused() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    consent_to(&mut steward, "legal-claims").await;
    place(&mut steward, &["family"], &["legal-claims"]).await;
    let work = place(&mut steward, &["work"], &[]).await;
    let made = submit(&mut steward, erasure("ada", ErasureScope::Category, "work")).await;
    assert_eq!(made.request.unwrap().state(), RequestState::Refused);
    let (_, keys, _) = ask(&mut service, "legal-claims").await;
    assert!(!keys.contains(&"job".into()), "{keys:?}");
    lift(&mut steward, work).await;
    assert_eq!(state_of(&mut steward, &made.request_id).await, RequestState::Open);
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_that_only_one_of_two_covering_holds_requires_is_stopped() {
    for second in [&["work"][..], &[]] {
        let harness = Harness::start().await;
        let (mut service, mut steward) = record_ada(&harness).await;
        consent_to(&mut steward, "legal-claims").await;
        place(&mut steward, &["work"], &["legal-claims"]).await;
        submit(&mut steward, erasure("ada", ErasureScope::Key, "job")).await;
        place(&mut steward, second, &[]).await;
        let boss = submit(&mut steward, erasure("ada", ErasureScope::Key, "boss")).await;
        assert_eq!(boss.request.unwrap().state(), RequestState::Refused);
        let (_, keys, _) = ask(&mut service, "legal-claims").await;
        assert_eq!(keys, ["job"], "one hold kept the job, two keep the boss: {second:?}");
        assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_erasure_is_open_again_once_the_remaining_holds_keep_only_a_part_of_it() {
    let harness = Harness::start().await;
    let (_, mut steward) = record_ada(&harness).await;
    place(&mut steward, &["work"], &[]).await;
    let all = place(&mut steward, &[], &[]).await;
    let profile = submit(&mut steward, erasure("ada", ErasureScope::Profile, "")).await.request_id;
    let job = submit(&mut steward, erasure("ada", ErasureScope::Key, "job")).await.request_id;
    lift(&mut steward, all).await;
    assert_eq!(state_of(&mut steward, &profile).await, RequestState::Open);
    assert_eq!(state_of(&mut steward, &job).await, RequestState::Refused, "the hold on work keeps the job");
    let accept = decide(&profile, Decision::Accept(Accept::default()));
    let done = steward.rights.decide_request(accept).await.unwrap().into_inner();
    assert_eq!(done.request.unwrap().state(), RequestState::Partly);
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hold_kept_of_an_erasure_is_requested_again_once_the_hold_is_lifted() {
    let harness = Harness::start().await;
    let (_, mut steward) = record_ada(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let work = place(&mut steward, &["work"], &[]).await;
    let health = place(&mut steward, &["health"], &[]).await;
    let made = submit(&mut ada, erasure("ada", ErasureScope::Profile, "")).await;
    assert_eq!(made.request.unwrap().state(), RequestState::Partly);
    let open = async |steward: &mut Clients| {
        let open = proto::ListRequestsRequest::default();
        steward.rights.list_requests(open).await.unwrap().into_inner().requests
    };
    assert_eq!(open(&mut steward).await.len(), 0);
    lift(&mut steward, health).await;
    let harness = harness.restart().await;
    let mut steward = harness.as_role(Role::Steward, "maria").await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let requests = open(&mut steward).await;
    assert_eq!(requests.len(), 1, "nothing of the person's may be forgotten");
    let follow_up = requests[0].request_id.clone();
    assert_ne!(follow_up, made.request_id);
    assert_eq!(requests[0].follows_request_id, made.request_id);

    // The person wanted the erasure, so no other caller can withdraw it.
    let refused = steward.rights.withdraw_request(withdraw(&follow_up)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let accept = decide(&follow_up, Decision::Accept(Accept::default()));
    let done = steward.rights.decide_request(accept).await.unwrap().into_inner();
    assert_eq!(done.request.unwrap().state(), RequestState::Partly, "the hold on work remains");

    lift(&mut steward, work).await;
    let requests = open(&mut steward).await;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].follows_request_id, follow_up);
    let accept = decide(&requests[0].request_id, Decision::Accept(Accept::default()));
    let done = steward.rights.decide_request(accept).await.unwrap().into_inner();
    assert_eq!(done.request.unwrap().state(), RequestState::Completed);
    assert!(!history(&mut ada, "ada").await.contains("CANARY-JOB"));
    assert_eq!(open(&mut steward).await.len(), 0);
    assert_eq!(verify(&harness)["grants"]["unchecked"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_a_steward_refuses_on_a_legal_ground_stops_uses_and_on_another_ground_does_not() {
    let harness = start_with(|config| config.rights.steward_decides_erasures = true).await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    consent_to(&mut steward, "legal-obligation").await;
    let refuse = |id: &str, ground: Ground, purposes: &[&str]| {
        let purposes = purposes.iter().map(|purpose| (*purpose).to_owned()).collect();
        decide(id, Decision::Refuse(Refuse { ground: ground.into(), reason: "kept".into(), purposes }))
    };
    let first = submit(&mut ada, erasure("", ErasureScope::Category, "work")).await.request_id;
    steward.rights.decide_request(refuse(&first, Ground::Excessive, &[])).await.unwrap();
    assert_eq!(ask(&mut service, "tone-adaptation").await.1.len(), 4);

    let second = submit(&mut ada, erasure("", ErasureScope::Category, "work")).await.request_id;
    let (grant, ..) = ask(&mut service, "tone-adaptation").await;
    for (ground, purpose) in [
        (Ground::Excessive, "legal-obligation"),
        (Ground::LegalClaims, "legal-obligation"),
        (Ground::LegalObligation, "tone-adaptation"),
    ] {
        let wrong = steward.rights.decide_request(refuse(&second, ground, &[purpose])).await.unwrap_err();
        assert_eq!(wrong.code(), Code::InvalidArgument, "{ground:?} {purpose}");
    }
    let tax = refuse(&second, Ground::LegalObligation, &["legal-obligation"]);
    steward.rights.decide_request(tax).await.unwrap();
    assert_eq!(standing(&mut service, &grant).await, (false, RevocationReason::KeptOnly));
    assert_eq!(ask(&mut service, "tone-adaptation").await.1.len(), 2);
    assert_eq!(ask(&mut service, "legal-obligation").await.1, ["boss", "job"]);
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
    // A retention rule for requests does not end the refusal: the person's request still stands.
    let keep = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let rule = proto::SetRetentionRequest {
        class: proto::RetentionClass::Requests.into(),
        keep,
        ..Default::default()
    };
    steward.rights.set_retention(rule).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert_eq!(ask(&mut service, "tone-adaptation").await.1.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_whose_retention_ends_under_a_hold_is_kept_and_not_used() {
    let harness = start_with(|config| config.rights.expiry_interval_ms = 10).await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let placed = steward.rights.place_hold(hold("ada", &[])).await.unwrap().into_inner();
    assert_eq!(ask(&mut service, "tone-adaptation").await.1.len(), 4);
    let rule = proto::SetRetentionRequest {
        class: proto::RetentionClass::Profile.into(),
        category: "work".into(),
        keep: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    steward.rights.set_retention(rule).await.unwrap();
    until(async || ask(&mut service, "tone-adaptation").await.1 == ["CANARY-KEY-knee", "shoes"]).await;
    assert!(history(&mut steward, "ada").await.contains("CANARY-JOB"), "the hold keeps it");
    let lift =
        proto::LiftHoldRequest { subject: "ada".into(), hold_id: placed.hold_id, ..Default::default() };
    steward.rights.lift_hold(lift).await.unwrap();
    until(async || !history(&mut steward, "ada").await.contains("CANARY-JOB")).await;
    assert_ne!(verify(&harness)["grants"]["unchecked"], "0", "grants of the expired attributes");
}

/// Waits until the condition is true, at most about 12 s.
async fn until(mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if condition().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the condition did not become true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_erasure_is_not_open_again_when_its_retention_ends() {
    let harness = start_with(|config| {
        config.rights.steward_decides_erasures = true;
        config.rights.expiry_interval_ms = 10;
    })
    .await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let made = submit(&mut ada, erasure("", ErasureScope::Category, "work")).await.request_id;
    ada.rights.withdraw_request(withdraw(&made)).await.unwrap();
    let rule = proto::SetRetentionRequest {
        class: proto::RetentionClass::Requests.into(),
        keep: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    steward.rights.set_retention(rule).await.unwrap();
    for _ in 0..25 {
        let accept = decide(&made, Decision::Accept(Accept::default()));
        assert!(steward.rights.decide_request(accept).await.is_err(), "the person withdrew it");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(ask(&mut service, "tone-adaptation").await.1.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erasure_of_the_profile_that_was_refused_before_new_data_may_be_used_and_the_log_verifies() {
    for refused in [ErasureScope::Profile, ErasureScope::Category] {
        let harness = Harness::start().await;
        let (mut service, mut steward) = record_ada(&harness).await;
        let held = steward.rights.place_hold(hold("ada", &[])).await.unwrap().into_inner();
        let category = if refused == ErasureScope::Category { "work" } else { "" };
        let made = submit(&mut steward, erasure("ada", refused, category)).await;
        assert_eq!(made.request.unwrap().state(), RequestState::Refused);
        lift(&mut steward, held.hold_id).await;
        match refused {
            ErasureScope::Profile => {
                let accept = Decision::Accept(Accept::default());
                steward.rights.decide_request(decide(&made.request_id, accept)).await.unwrap();
            }
            _ => drop(submit(&mut steward, erasure("ada", ErasureScope::Profile, "")).await),
        }
        service.profile.record_attributes(fact("ada", "new", "work", "x")).await.unwrap();
        consent_to(&mut steward, "tone-adaptation").await;
        assert_eq!(ask(&mut service, "tone-adaptation").await.1, ["new"], "{refused:?}");
        assert_eq!(verify(&harness)["grants"]["unjustified"], "0", "{refused:?}");
    }
}
