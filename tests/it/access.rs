//! Who may call what: without a credential nobody, with one only what its role may.

use crate::harness::{self, Harness, ask, choice, consent, fact};
use sayso::proto::{self, ConsentDecision, Role};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_good_credential() {
    let harness = Harness::start().await;
    for token in [None, Some(""), Some("nonsense"), Some("a.b.c")] {
        let mut clients = harness.with_token(token).await;
        let denied = clients.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap_err();
        assert_eq!(denied.code(), Code::Unauthenticated, "{token:?}");
        let denied = clients.audit.get_checkpoint(proto::GetCheckpointRequest {}).await.unwrap_err();
        assert_eq!(denied.code(), Code::Unauthenticated);
        let denied = clients.operator.get_stats(proto::GetStatsRequest {}).await.unwrap_err();
        assert_eq!(denied.code(), Code::Unauthenticated);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_do_what_its_line_says() {
    let harness = Harness::start().await;
    let denied = |status: tonic::Status| assert_eq!(status.code(), Code::PermissionDenied);
    let profile = || proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    for role in [Role::Service, Role::Auditor, Role::Operator, Role::Authority] {
        let mut clients = harness.as_role(role, "somebody").await;
        denied(clients.profile.get_profile(profile()).await.unwrap_err());
    }
    for role in [Role::Steward, Role::Auditor, Role::Operator] {
        denied(harness.as_role(role, "somebody").await.grant.request_grant(ask("ada")).await.unwrap_err());
    }
    for role in [Role::Steward, Role::Service, Role::Operator] {
        let mut clients = harness.as_role(role, "somebody").await;
        denied(clients.audit.export_audit(proto::ExportAuditRequest::default()).await.unwrap_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reaches_themself_only_and_learns_nothing_of_others() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    service.profile.record_attributes(fact("ben", "tone", "work", "x")).await.unwrap();
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    ada.profile.record_attributes(fact("", "tone", "work", "mine")).await.unwrap();
    let profile = |subject: &str| proto::GetProfileRequest { subject: subject.into(), ..Default::default() };
    let own = ada.profile.get_profile(profile("")).await.unwrap().into_inner();
    assert_eq!(own.attributes.len(), 1);
    // Somebody who is there and somebody who is not look the same.
    let held = ada.profile.get_profile(profile("ben")).await.unwrap_err();
    let not_held = ada.profile.get_profile(profile("nobody")).await.unwrap_err();
    assert_eq!((held.code(), held.message()), (not_held.code(), not_held.message()));
    assert_eq!(held.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_their_recipients_alone() {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut other = harness.as_role(Role::Service, "other").await;
    tutor.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    let mut only_tutor = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    only_tutor.recipients = vec!["tutor".into()];
    steward.consent.record_consent(consent("ada", vec![only_tutor])).await.unwrap();
    // The recipient is the credential's name: consent for one is none for the other.
    let grant = tutor.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 1);
    assert!(other.grant.request_grant(ask("ada")).await.unwrap().into_inner().allowed.is_empty());
    let check = || proto::CheckGrantRequest { grant_id: grant.grant_id.clone() };
    assert!(tutor.grant.check_grant(check()).await.unwrap().into_inner().stands);
    let foreign = other.grant.check_grant(check()).await.unwrap_err();
    let mut guessed = grant.grant_id.clone();
    guessed.replace_range(guessed.len() - 1.., if guessed.ends_with('0') { "1" } else { "0" });
    let missing = other.grant.check_grant(proto::CheckGrantRequest { grant_id: guessed }).await.unwrap_err();
    assert_eq!((foreign.code(), foreign.message()), (missing.code(), missing.message()));
    assert_eq!(foreign.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    let harness = Harness::start().await;
    let endpoint = tonic::transport::Channel::from_shared(format!("http://{}", harness.daemon.grpc)).unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(endpoint.connect().await.unwrap());
    let request = tonic_health::pb::HealthCheckRequest::default();
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
}
