//! Tests the answers that each caller gets after a part of a person's data was erased, and what explanations
//! say about the erased data.

use crate::erasure::{erasure, record};
use crate::harness::{self, Clients, Harness, ask, choice, consent, fact, stdout};
use crate::rights::{AdvancedClock, start};
use sayso::proto::{
    self, ConsentDecision, ErasureScope, Gap, RetentionClass, RevocationReason, Role, WatchRevocationsRequest,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::Code;

/// Records two attributes of ada and her consent. Returns a service and a steward.
async fn record_ada(harness: &Harness) -> (Clients, Clients) {
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    record(&mut service, fact("ada", "music", "preference", "jazz")).await;
    give(&mut steward, "tone-adaptation", &[]).await;
    (service, steward)
}

async fn give(steward: &mut Clients, purpose: &str, recipients: &[&str]) {
    let mut given = choice(ConsentDecision::Given, purpose, &[], false);
    given.recipients = recipients.iter().map(|name| (*name).to_owned()).collect();
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
}

async fn refuse(steward: &mut Clients, decision: ConsentDecision, purpose: &str, categories: &[&str]) {
    let no = choice(decision, purpose, categories, false);
    steward.consent.record_consent(consent("ada", vec![no])).await.unwrap();
}

fn check(grant_id: &str, keys: &[&str]) -> proto::CheckGrantRequest {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    proto::CheckGrantRequest { grant_id: grant_id.into(), keys }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_erasure_says_what_was_erased_and_never_that_the_person_was() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    let other = harness.as_role(Role::Service, "other").await.grant.request_grant(ask("ada")).await;
    let other = other.unwrap().into_inner().grant_id;
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();

    // The recipient learns why the grant ended, what was erased, and which of the keys that it names were
    // erased.
    let checked = service.grant.check_grant(check(&grant, &["job", "music", "boss"])).await.unwrap();
    let checked = checked.into_inner();
    assert_eq!(
        (checked.valid, checked.reason(), checked.erased_scope()),
        (false, RevocationReason::PartlyErased, ErasureScope::Key)
    );
    assert_eq!(checked.erased_keys, ["job"]);
    let printed = harness.cli(Role::Service, "tutor", &["check", &grant, "--key", "job", "--key", "music"]);
    assert_eq!(printed.status.code(), Some(5));
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("under one key was erased") && printed.contains("erased: job\n"), "{printed}");
    assert!(!printed.contains("person's data was erased"), "{printed}");

    let from_start = WatchRevocationsRequest { after_cursor: Some(0) };
    let mut watch = service.grant.watch_revocations(from_start).await.unwrap().into_inner();
    watch.message().await.unwrap();
    let revoked = watch.message().await.unwrap().unwrap();
    assert_eq!(revoked.grant_ids, std::slice::from_ref(&grant));
    assert_eq!(
        (revoked.reason(), revoked.erased_scope()),
        (RevocationReason::PartlyErased, ErasureScope::Key)
    );

    // The person, stewards and the recipient learn why there is no explanation. Another service does not.
    let explain = proto::ExplainGrantRequest { grant_id: grant.clone() };
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    for clients in [&mut service, &mut steward, &mut ada] {
        let why = clients.grant.explain_grant(explain.clone()).await.unwrap_err();
        assert_eq!(why.code(), Code::FailedPrecondition, "{why}");
        assert!(why.message().contains("what was recorded under one key was erased"), "{why}");
    }
    let mut ben = harness.as_role(Role::Subject, "ben").await;
    record(&mut service, fact("ben", "job", "work", "cook")).await;
    assert_eq!(ben.grant.explain_grant(explain.clone()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(service.grant.check_grant(check(&other, &[])).await.unwrap_err().code(), Code::NotFound);

    // The error of a late write about the erased part does not say that the person was erased.
    let mut late = fact("ada", "job", "work", "late");
    late.attributes[0].observed_at = Some(prost_types::Timestamp { seconds: 1_600_000_000, nanos: 0 });
    let refused = service.profile.record_attributes(late).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("before an erasure that covers it"), "{refused}");

    // A category is named to the person and stewards only: the grant may have had only what was derived from
    // it.
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    steward.rights.submit_request(erasure("ada", ErasureScope::Category, "preference")).await.unwrap();
    let explain = proto::ExplainGrantRequest { grant_id: grant.clone() };
    let why = ada.grant.explain_grant(explain.clone()).await.unwrap_err();
    assert!(why.message().contains("one category") && why.message().contains("`preference`"), "{why}");
    let why = service.grant.explain_grant(explain).await.unwrap_err();
    assert!(why.message().contains("one category") && !why.message().contains("preference"), "{why}");

    // After a restart with a new index, the answers are the same.
    let dir = harness.stop().await;
    std::fs::remove_dir_all(dir.path().join("log/index")).unwrap();
    let harness = Harness::start_in(dir).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let checked = service.grant.check_grant(check(&grant, &["job", "music"])).await.unwrap().into_inner();
    assert_eq!(checked.erased_scope(), ErasureScope::Category);
    assert_eq!(checked.erased_keys, ["music"], "the erasure that ended this grant erased only the music");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_of_everything_still_says_so() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    let checked = service.grant.check_grant(check(&grant, &["job", "music"])).await.unwrap().into_inner();
    assert_eq!((checked.reason(), checked.erased_scope()), (RevocationReason::Erased, ErasureScope::All));
    assert_eq!(checked.erased_keys, ["job", "music"]);
}

/// What `sayso why` says about the grant's only consent.
fn why(harness: &Harness, grant: &str) -> String {
    stdout(&harness.cli(Role::Steward, "privacy-team", &["why", grant]))
}

#[tokio::test(flavor = "multi_thread")]
async fn why_says_narrowed_only_of_a_consent_that_was_narrowed() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    // None of these takes away something that the consent covers: another purpose, and a special category,
    // which the consent does not cover.
    refuse(&mut steward, ConsentDecision::Refused, "advertising", &[]).await;
    refuse(&mut steward, ConsentDecision::Refused, "tone-adaptation", &["health"]).await;
    let text = why(&harness, &grant);
    assert!(!text.contains("narrowed") && !text.contains("withdrawn"), "{text}");
    refuse(&mut steward, ConsentDecision::Withdrawn, "tone-adaptation", &["finance"]).await;
    let text = why(&harness, &grant);
    assert!(text.contains("narrowed on"), "{text}");
    refuse(&mut steward, ConsentDecision::Refused, "personalization", &[]).await;
    let text = why(&harness, &grant);
    assert!(text.contains("; refused on") && !text.contains("narrowed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_does_not_say_narrowed_of_what_the_consent_did_not_allow_then() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = async |service: &mut Clients, purpose: &str| {
        let request = proto::RequestGrantRequest { purpose: purpose.into(), ..ask("ada") };
        service.grant.request_grant(request).await.unwrap().into_inner().grant_id
    };
    // The person refuses a purpose that was defined after the consent, and that the consent does not cover.
    give(&mut steward, "personalization", &[]).await;
    let wide = grant(&mut service, "content-relevance").await;
    let guessing = proto::Purpose {
        id: "guessing".into(),
        parent: "personalization".into(),
        title: "Guess what the person wants".into(),
        ..Default::default()
    };
    let request = proto::DefinePurposeRequest { purpose: Some(guessing), ..Default::default() };
    steward.bounds.define_purpose(request).await.unwrap();
    refuse(&mut steward, ConsentDecision::Refused, "guessing", &[]).await;
    assert!(!why(&harness, &wide).contains("narrowed"), "{}", why(&harness, &wide));
    // The person repeats a refusal that the wider consent never lifted.
    refuse(&mut steward, ConsentDecision::Refused, "memory", &["work"]).await;
    assert!(why(&harness, &wide).contains("narrowed on"));
    give(&mut steward, "memory", &[]).await;
    let memory = grant(&mut service, "memory").await;
    refuse(&mut steward, ConsentDecision::Refused, "memory", &["work"]).await;
    assert!(!why(&harness, &memory).contains("narrowed"), "{}", why(&harness, &memory));
    refuse(&mut steward, ConsentDecision::Withdrawn, "memory", &["finance"]).await;
    assert!(why(&harness, &memory).contains("narrowed on"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_does_not_learn_that_consent_was_withdrawn_from_another() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    give(&mut steward, "memory", &["tutor", "coach"]).await;
    let memory = proto::RequestGrantRequest { purpose: "memory".into(), ..ask("ada") };
    let grant = service.grant.request_grant(memory).await.unwrap().into_inner().grant_id;
    let mut no = choice(ConsentDecision::Withdrawn, "memory", &[], false);
    no.recipients = vec!["coach".into()];
    steward.consent.record_consent(consent("ada", vec![no])).await.unwrap();
    let explain = proto::ExplainGrantRequest { grant_id: grant.clone() };
    let seen = service.grant.explain_grant(explain).await.unwrap().into_inner();
    assert_eq!(seen.consents[0].change_since, "", "{seen:?}");
    assert!(why(&harness, &grant).contains("narrowed on"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_repeated_after_retention_names_what_is_gone() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 2);
    let repeat = |grant: &str| proto::EvaluateUseRequest {
        subject: "ada".into(),
        as_of_grant: grant.into(),
        ..Default::default()
    };
    let whole = steward.grant.evaluate_use(repeat(&grant.grant_id)).await.unwrap().into_inner();
    assert_eq!((whole.allowed.len(), whole.gaps.len(), whole.missing_keys.len()), (2, 0, 0));
    let mut rule = proto::SetRetentionRequest {
        class: RetentionClass::Profile.into(),
        category: "work".into(),
        keep: Some(prost_types::Duration { seconds: 5 * 86_400, nanos: 0 }),
        ..Default::default()
    };
    steward.rights.set_retention(rule.clone()).await.unwrap();
    clock.0.store(6 * 86_400_000, Ordering::SeqCst);
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let mut repeated = proto::EvaluateUseResponse::default();
    for _ in 0..600 {
        repeated = steward.grant.evaluate_use(repeat(&grant.grant_id)).await.unwrap().into_inner();
        if !repeated.gaps.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(repeated.gaps().collect::<Vec<_>>(), [Gap::EventsGone]);
    assert_eq!((repeated.allowed.len(), repeated.missing_keys.as_slice()), (1, &["job".to_owned()][..]));
    let arguments = ["evaluate", "ada", "--as-of-grant", &grant.grant_id];
    let printed = stdout(&harness.cli(Role::Steward, "privacy-team", &arguments));
    assert!(printed.contains("gone since: job"), "{printed}");
    // The explanation still counts and names what the grant had allowed.
    let text = why(&harness, &grant.grant_id);
    assert!(text.contains("granted 2 of 2 attributes"), "{text}");
    assert!(text.contains("`job` (work); it reached the end of its retention on"), "{text}");

    // When the record of the grant itself has reached its end, the answer says that this may be the cause.
    (rule.class, rule.category) = (RetentionClass::Uses.into(), String::new());
    steward.rights.set_retention(rule).await.unwrap();
    let mut gone = Ok(());
    for _ in 0..600 {
        gone = steward.grant.evaluate_use(repeat(&grant.grant_id)).await.map(|_| ());
        if gone.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let gone = gone.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound, "{gone}");
    assert!(gone.message().contains("end of its retention"), "{gone}");
}
