//! Access control through the API: calls without a valid credential are rejected, and each role may call only
//! its own methods.

use crate::harness::{self, Harness, ask, choice, consent, fact};
use sayso::proto::record_stream_response::Outcome;
use sayso::proto::{self, ConsentDecision, Role, Tier};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_a_valid_credential_is_rejected() {
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
async fn each_role_may_call_only_its_own_methods() {
    let harness = Harness::start().await;
    let denied = |status: Status| assert_eq!(status.code(), Code::PermissionDenied);
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

/// Asserts that a call was denied, and that the denial names the caller's role and the allowed roles, in its
/// message and in its details.
fn assert_roles<T: std::fmt::Debug>(answer: Result<Response<T>, Status>, caller: &str, allowed: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    let end = format!(" (caller's role: {caller}; roles allowed: {allowed})");
    assert!(status.message().ends_with(&end), "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().metadata["allowed_roles"], allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_denial_names_the_role_of_the_caller_and_the_allowed_roles() {
    let harness = Harness::start().await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let mut tutor = harness.as_claim(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;

    // The role may not call the method.
    let profile = proto::GetProfileRequest { subject: "bea".into(), ..Default::default() };
    assert_roles(tutor.profile.get_profile(profile.clone()).await, "service", "subject, steward");

    // A person's credential names another person. The allowed roles are those that may call the method.
    assert_roles(ada.profile.get_profile(profile).await, "subject", "steward");
    let consents = proto::ListConsentsRequest { subject: "bea".into(), ..Default::default() };
    let all_but_subject = "service, channel, service-channel, steward";
    assert_roles(ada.consent.list_consents(consents.clone()).await, "subject", all_but_subject);

    // The role may call the method, but not with this request.
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    let of_guardian = proto::RecordConsentRequest { guardian: true, ..consent("ada", vec![given]) };
    let controller = "channel, service-channel, steward";
    assert_roles(ada.consent.record_consent(of_guardian).await, "subject", controller);
    let past = Some(proto::AsOf { moment: Some(proto::as_of::Moment::Version(1)) });
    let past_consents = proto::ListConsentsRequest { as_of: past, ..consents };
    assert_roles(tutor.consent.list_consents(past_consents).await, "service", "subject, steward");
    let past_use = proto::EvaluateUseRequest {
        subject: "ada".into(),
        purpose: "tone-adaptation".into(),
        as_of: past,
        ..Default::default()
    };
    assert_roles(tutor.grant.evaluate_use(past_use).await, "service", "subject, steward");
    let of_other = proto::ReportErasureRequest {
        recipient: "other".into(),
        recipient_role: Role::Service.into(),
        ..Default::default()
    };
    assert_roles(tutor.grant.report_erasure(of_other).await, "service", "steward");

    // Bounds of another tier, and bounds without a signature.
    for (tier, publisher) in [(Tier::Public, "authority"), (Tier::Provider, "steward")] {
        let bounds = crate::bounds::version(tier, "house", "1", "");
        let request = proto::PublishBoundsRequest { bounds: Some(bounds.into()), ..Default::default() };
        assert_roles(steward.bounds.publish_bounds(request).await, "steward", publisher);
    }

    // A message of a stream.
    let record = Some(fact("ada", "tone", "work", "x"));
    let messages = tokio_stream::once(proto::RecordStreamRequest { sequence: 1, record });
    let mut answers = tutor.profile.record_stream(messages).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(Outcome::Error(error)) = answer.outcome else { panic!("{answer:?}") };
    let end = format!("(caller's role: service; roles allowed: {controller})");
    assert!(error.message.ends_with(&end), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_reads_only_their_own_profile_and_cannot_tell_who_else_is_recorded() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    service.profile.record_attributes(fact("ben", "tone", "work", "x")).await.unwrap();
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    ada.profile.record_attributes(fact("", "tone", "work", "mine")).await.unwrap();
    let profile = |subject: &str| proto::GetProfileRequest { subject: subject.into(), ..Default::default() };
    let own = ada.profile.get_profile(profile("")).await.unwrap().into_inner();
    assert_eq!(own.attributes.len(), 1);
    // The error is the same for a recorded person and for an unknown person.
    let recorded = ada.profile.get_profile(profile("ben")).await.unwrap_err();
    let unknown = ada.profile.get_profile(profile("nobody")).await.unwrap_err();
    assert_eq!((recorded.code(), recorded.message()), (unknown.code(), unknown.message()));
    assert_eq!(recorded.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_visible_only_to_its_recipient() {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut other = harness.as_role(Role::Service, "other").await;
    tutor.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    let mut only_tutor = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    only_tutor.recipients = vec!["tutor".into()];
    steward.consent.record_consent(consent("ada", vec![only_tutor])).await.unwrap();
    // The recipient is the name in the credential, so consent for one service does not cover another.
    let grant = tutor.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 1);
    assert!(other.grant.request_grant(ask("ada")).await.unwrap().into_inner().allowed.is_empty());
    let check = || proto::CheckGrantRequest { grant_id: grant.grant_id.clone(), keys: Vec::new() };
    assert!(tutor.grant.check_grant(check()).await.unwrap().into_inner().valid);
    let foreign = other.grant.check_grant(check()).await.unwrap_err();
    let guessed = unknown_grant_id(&grant.grant_id);
    let missing = other
        .grant
        .check_grant(proto::CheckGrantRequest { grant_id: guessed, keys: Vec::new() })
        .await
        .unwrap_err();
    assert_eq!((foreign.code(), foreign.message()), (missing.code(), missing.message()));
    assert_eq!(foreign.code(), Code::NotFound);
}

/// The id of a grant that never existed: the given id with another last character.
fn unknown_grant_id(grant: &str) -> String {
    let (rest, last) = grant.split_at(grant.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_recipient_and_stewards_learn_that_a_grant_was_erased() {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut other = harness.as_role(Role::Service, "other").await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    tutor.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    let yes = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![yes])).await.unwrap();
    let grant = tutor.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    let guessed = unknown_grant_id(&grant);
    let erase = proto::SubmitRequestRequest {
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        subject: "ada".into(),
        ..Default::default()
    };
    steward.rights.submit_request(erase).await.unwrap();
    let check = |id: &String| proto::CheckGrantRequest { grant_id: id.clone(), keys: Vec::new() };
    let explain = |id: &String| proto::ExplainGrantRequest { grant_id: id.clone() };
    let used = |id: &String| proto::ReportUseRequest {
        grant_id: id.clone(),
        reply: "r".into(),
        ..Default::default()
    };
    let checked = tutor.grant.check_grant(check(&grant)).await.unwrap().into_inner();
    assert_eq!((checked.valid, checked.reason()), (false, proto::RevocationReason::Erased));
    let erased = [
        tutor.grant.explain_grant(explain(&grant)).await.unwrap_err(),
        tutor.grant.report_use(used(&grant)).await.unwrap_err(),
        steward.grant.explain_grant(explain(&grant)).await.unwrap_err(),
    ];
    for status in erased {
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    }
    let missing = proto::CheckGrantRequest { grant_id: "g9999-0000000000000000".into(), keys: Vec::new() };
    let missing = other.grant.check_grant(missing).await.unwrap_err();
    for status in [
        other.grant.check_grant(check(&grant)).await.unwrap_err(),
        other.grant.check_grant(check(&guessed)).await.unwrap_err(),
        other.grant.explain_grant(explain(&grant)).await.unwrap_err(),
        other.grant.report_use(used(&grant)).await.unwrap_err(),
        tutor.grant.check_grant(check(&guessed)).await.unwrap_err(),
        tutor.grant.explain_grant(explain(&guessed)).await.unwrap_err(),
        tutor.grant.report_use(used(&guessed)).await.unwrap_err(),
        steward.grant.explain_grant(explain(&guessed)).await.unwrap_err(),
        ada.grant.explain_grant(explain(&grant)).await.unwrap_err(),
    ] {
        let error = (status.code(), status.message(), status.details());
        assert_eq!(error, (Code::NotFound, missing.message(), missing.details()));
    }
    // The answer is the same after a restart.
    let harness = harness.restart().await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let checked = tutor.grant.check_grant(check(&grant)).await.unwrap().into_inner();
    assert_eq!(checked.reason(), proto::RevocationReason::Erased);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_service_reports_serving() {
    let harness = Harness::start().await;
    let endpoint = tonic::transport::Channel::from_shared(format!("http://{}", harness.daemon.grpc)).unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(endpoint.connect().await.unwrap());
    let request = tonic_health::pb::HealthCheckRequest::default();
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(answer.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);
}
