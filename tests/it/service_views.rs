//! What a service can learn about a data subject. A grant gives it the current values of what was granted.
//! Other methods show only what concerns the service, and each view is recorded in the subject's stream.

use crate::bounds::{World, consented, events, granted, record, world};
use crate::harness::{ask, choice, consent, fact};
use sayso::proto::{self, ConsentDecision, DenialReason, EvaluateUseRequest, Gap, Role, WriteOptions};
use sayso_proof::event::event_body::Event;
use tonic::{Code, Status};
use tonic_types::StatusExt;

fn evaluate(subject: &str) -> EvaluateUseRequest {
    EvaluateUseRequest { subject: subject.into(), purpose: ask(subject).purpose, ..Default::default() }
}

/// The recorded views of ada: who viewed, and by which method. Omits views by the steward of these tests.
async fn recorded_views(world: &mut World) -> Vec<(String, String)> {
    let views = events(world, "ada").await.into_iter().filter_map(|event| match event.body?.event? {
        Event::RecordViewed(view) => Some((view.name, view.method)),
        _ => None,
    });
    views.filter(|(name, _)| name != "privacy-team").collect()
}

/// Whether two errors are the same in code, message and details.
fn is_same_error(one: &Status, other: &Status) -> bool {
    (one.code(), one.message(), one.details()) == (other.code(), other.message(), other.details())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_evaluation_shows_no_values_or_history_and_is_recorded() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    record(&mut world, "ada", "canary-illness", "health").await;
    consented(&mut world, "ada").await;
    let evaluation = world.service.grant.evaluate_use(evaluate("ada")).await.unwrap().into_inner();
    assert!(
        evaluation.any_allowed && evaluation.allowed.is_empty() && evaluation.profile_version == 0,
        "{evaluation:?}"
    );
    let [withheld] = evaluation.withheld.as_slice() else { panic!("{evaluation:?}") };
    assert_eq!(withheld.reason(), DenialReason::NotExplicit);
    let bare = proto::Withheld {
        reason: withheld.reason,
        decided_by: withheld.decided_by,
        explanation: withheld.explanation.clone(),
        ..Default::default()
    };
    assert_eq!(
        *withheld, bare,
        "only the reason, the tier and the explanation, and nothing about the attribute"
    );
    assert_eq!(recorded_views(&mut world).await, [("tutor".to_owned(), "EvaluateUse".to_owned())]);

    // A service's request may not name keys, categories, a past moment or another recipient. Such a request
    // is refused, and is not recorded as a view.
    let grant = granted(&mut world, "ada").await;
    let now = Some(prost_types::Timestamp::default());
    let version = |count| Some(proto::AsOf { moment: Some(proto::as_of::Moment::Version(count)) });
    let before = events(&mut world, "ada").await.len();
    for refused in [
        EvaluateUseRequest { keys: vec!["canary-illness".into()], ..evaluate("ada") },
        EvaluateUseRequest { categories: vec!["health".into()], ..evaluate("ada") },
        EvaluateUseRequest { as_of: version(1), ..evaluate("ada") },
        EvaluateUseRequest { bounds_as_of: now, ..evaluate("ada") },
        EvaluateUseRequest { as_of_grant: grant.grant_id.clone(), ..evaluate("ada") },
        EvaluateUseRequest { recipient: "other".into(), ..evaluate("ada") },
    ] {
        let status = world.service.grant.evaluate_use(refused.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{refused:?}");
    }
    assert_eq!(events(&mut world, "ada").await.len(), before);
    // Staff get the category and other details of what is withheld.
    let request = EvaluateUseRequest { recipient: "tutor".into(), as_of: version(1), ..evaluate("ada") };
    let staff = world.steward.grant.evaluate_use(request).await.unwrap().into_inner();
    assert!(!staff.any_allowed && staff.withheld[0].category == "communication-style", "{staff:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_sees_only_its_own_consents_at_a_version_that_others_do_not_change() {
    let mut world = world().await;
    let mut therapist = world.harness.as_role(Role::Service, "therapist").await;
    record(&mut world, "ada", "tone", "communication-style").await;
    let to = |recipients: &[&str]| {
        let mut given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
        given.recipients = recipients.iter().map(|name| (*name).to_owned()).collect();
        consent("ada", vec![given])
    };
    let request = || proto::ListConsentsRequest { subject: "ada".into(), ..Default::default() };
    world.steward.consent.record_consent(to(&["tutor", "therapist"])).await.unwrap();
    let visible = world.service.consent.list_consents(request()).await.unwrap().into_inner();
    let [shown] = visible.consents.as_slice() else { panic!("{visible:?}") };
    assert_eq!(shown.recipients, ["tutor"], "no other recipient is named");
    assert_eq!(shown.recorded_by.as_ref().unwrap().name, "", "the actor is not named");
    assert_eq!(visible.version, shown.position + 1);

    let _events = events(&mut world, "ada").await;

    // Events that concern other recipients do not change the version that the service sees.
    world.steward.consent.record_consent(to(&["therapist"])).await.unwrap();
    therapist.profile.record_attributes(fact("ada", "canary", "work", "x")).await.unwrap();
    therapist.grant.request_grant(ask("ada")).await.unwrap();
    let again = world.service.consent.list_consents(request()).await.unwrap().into_inner();
    assert_eq!(again, visible);
    let all = world.steward.consent.list_consents(request()).await.unwrap().into_inner();
    assert_eq!((all.consents.len(), all.version), (2, events(&mut world, "ada").await.len() as u64));
    let past = proto::AsOf { moment: Some(proto::as_of::Moment::Version(1)) };
    let past = proto::ListConsentsRequest { as_of: Some(past), ..request() };
    assert_eq!(world.service.consent.list_consents(past).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(recorded_views(&mut world).await, [("tutor".to_owned(), "ListConsents".to_owned())]);

    // The service can write with this version. The error for another version does not reveal the true one.
    let with = |version| proto::RequestGrantRequest {
        options: Some(WriteOptions { expected_version: Some(version), ..Default::default() }),
        ..ask("ada")
    };
    world.service.grant.request_grant(with(visible.version)).await.unwrap();
    let stale = world.service.grant.request_grant(with(all.version)).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    let info = stale.get_details_error_info().unwrap();
    assert!(info.reason == "STALE_VERSION" && info.metadata.is_empty(), "{info:?}");
    assert!(!stale.message().contains(char::is_numeric), "{}", stale.message());
    let withdrawn = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    world.steward.consent.record_consent(consent("ada", vec![withdrawn])).await.unwrap();
    assert!(is_same_error(
        &stale,
        &world.service.grant.request_grant(with(visible.version)).await.unwrap_err()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_not_told_of_grants_revoked_from_others() {
    let mut world = world().await;
    let mut other = world.harness.as_role(Role::Service, "other").await;
    record(&mut world, "ada", "tone", "communication-style").await;
    consented(&mut world, "ada").await;
    let own_grant = granted(&mut world, "ada").await.grant_id;
    let other_grant = other.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    let withdrawn = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    let options = Some(WriteOptions { proofs: true, idempotency_key: "no".into(), ..Default::default() });
    let request = proto::RecordConsentRequest { options, ..consent("ada", vec![withdrawn]) };
    let first = world.service.consent.record_consent(request.clone()).await.unwrap().into_inner();
    let again = world.service.consent.record_consent(request).await.unwrap().into_inner();
    for response in [first, again] {
        assert_eq!(response.revoked_grants, std::slice::from_ref(&own_grant));
        let receipt = response.receipt.unwrap();
        assert_eq!(receipt.events.len(), 2, "the decision and the revocation of its own grant: {receipt:?}");
        for event in &receipt.events {
            assert_eq!(event.subject_version, 0);
            let proof: sayso_proof::proof::TlogProof = event.proof.parse().unwrap();
            assert!(proof.extra.is_none() && proof.index == event.position);
        }
    }
    assert!(
        !world
            .service
            .grant
            .check_grant(proto::CheckGrantRequest { grant_id: own_grant, keys: Vec::new() })
            .await
            .unwrap()
            .into_inner()
            .valid
    );
    assert!(
        !other
            .grant
            .check_grant(proto::CheckGrantRequest { grant_id: other_grant, keys: Vec::new() })
            .await
            .unwrap()
            .into_inner()
            .valid
    );
    // The answer to the data subject lists all revoked grants.
    let mut ada = world.harness.as_role(Role::Subject, "ada").await;
    consented(&mut world, "ada").await;
    granted(&mut world, "ada").await;
    other.grant.request_grant(ask("ada")).await.unwrap();
    let pause = proto::RecordSignalRequest { kind: proto::SignalKind::Pause.into(), ..Default::default() };
    assert_eq!(ada.consent.record_signal(pause).await.unwrap().into_inner().revoked_grants.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_request_returns_no_values_of_an_ended_grant() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    consented(&mut world, "ada").await;
    let options = Some(WriteOptions { idempotency_key: "one".into(), ..Default::default() });
    let request = proto::RequestGrantRequest { options, ..ask("ada") };
    let first = world.service.grant.request_grant(request.clone()).await.unwrap().into_inner();
    let again = world.service.grant.request_grant(request.clone()).await.unwrap().into_inner();
    assert_eq!((&again.grant_id, &again.allowed), (&first.grant_id, &first.allowed));
    assert!(again.receipt.unwrap().replayed && again.gaps.is_empty());
    // Once a newer value is recorded for the key, the replayed answer no longer contains the old one.
    let newer = fact("ada", "tone", "communication-style", "newer");
    world.steward.profile.record_attributes(newer).await.unwrap();
    let again = world.service.grant.request_grant(request.clone()).await.unwrap().into_inner();
    assert!(again.allowed.is_empty(), "{again:?}");
    let withdrawn = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    world.steward.consent.record_consent(consent("ada", vec![withdrawn])).await.unwrap();
    let again = world.service.grant.request_grant(request).await.unwrap().into_inner();
    assert_eq!(again.gaps, [i32::from(Gap::GrantEnded)]);
    assert_eq!(again.grant_id, first.grant_id);
    assert!(again.allowed.is_empty() && again.withheld.is_empty(), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_explanation_of_its_grant_omits_others_and_is_recorded() {
    let mut world = world().await;
    let mut spy = world.harness.as_role(Role::Service, "canary-other").await;
    let mut request = fact("ada", "tone", "communication-style", "canary-value");
    request.attributes[0].evidence = vec!["canary-message".into()];
    spy.profile.record_attributes(request).await.unwrap();
    let mut given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    given.recipients = vec!["tutor".into(), "canary-third".into()];
    world.steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    let grant_id = granted(&mut world, "ada").await.grant_id;
    let request = proto::ExplainGrantRequest { grant_id };
    let explanation = world.service.grant.explain_grant(request.clone()).await.unwrap().into_inner();
    let text = format!("{explanation:?}");
    assert!(
        explanation.text.contains("tone") && !text.contains("canary") && !text.contains("privacy-team"),
        "{text}"
    );
    assert!(!explanation.proof.contains("extra "), "{}", explanation.proof);
    assert_eq!(recorded_views(&mut world).await, [("tutor".to_owned(), "ExplainGrant".to_owned())]);
    let staff = format!("{:?}", world.steward.grant.explain_grant(request).await.unwrap().into_inner());
    for word in ["canary-other", "canary-value", "canary-message", "canary-third", "privacy-team", "extra "] {
        assert!(staff.contains(word), "{word} in {staff}");
    }
}
