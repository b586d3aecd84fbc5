//! Tests what `sayso verify` says about the grants of a person after a part of their record was erased.

use crate::erasure::{erasure, record};
use crate::harness::{self, Clients, Harness, ask, choice, consent, fact, stdout};
use crate::rights::{AdvancedClock, start};
use sayso::proto::{self, ConsentDecision, ErasureScope, RetentionClass, Role};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Records two attributes of ada and her consent. Returns a service and a steward.
async fn record_ada(harness: &Harness) -> (Clients, Clients) {
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    record(&mut service, fact("ada", "music", "preference", "jazz")).await;
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    (service, steward)
}

/// The exit status and the text or JSON of `sayso verify` for an export of the log.
fn verify(harness: &Harness, flags: &[&str]) -> (Option<i32>, String) {
    let bundle = harness.dir.path().join("bundle.tar.zst");
    let _old = std::fs::remove_file(&bundle);
    let path = bundle.to_str().unwrap();
    stdout(&harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", path]));
    let arguments = [&["verify", path, "--key", &harness.daemon.vkey], flags].concat();
    let output = harness::sayso(&arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_attributes_leave_the_grants_after_them_checkable() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    service.grant.request_grant(ask("ada")).await.unwrap();
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();
    let after = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(after.allowed.len(), 1);
    let (status, text) = verify(&harness, &[]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.starts_with("verified: ") && text.contains("1 grant replayed"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_an_attribute_that_has_expired_since_is_listed_as_not_fully_checked() {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    let only = proto::RequestGrantRequest { keys: vec!["music".into()], ..ask("ada") };
    service.grant.request_grant(only).await.unwrap();
    assert_eq!(verify(&harness, &[]).0, Some(0));
    let rule = proto::SetRetentionRequest {
        class: RetentionClass::Profile.into(),
        category: "work".into(),
        keep: Some(prost_types::Duration { seconds: 5 * 86_400, nanos: 0 }),
        ..Default::default()
    };
    steward.rights.set_retention(rule).await.unwrap();
    clock.0.store(6 * 86_400_000, Ordering::SeqCst);
    let (mut status, mut text) = (None, String::new());
    for _ in 0..100 {
        (status, text) = verify(&harness, &[]);
        if status != Some(0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, Some(6), "{text}");
    assert!(text.contains("1 grant not checked in full"), "{text}");
    let position = grant.grant_id.trim_start_matches('g').split('-').next().unwrap();
    let listed = format!("position {position}, grant `");
    let line = text.lines().find(|line| line.starts_with(&listed)).unwrap();
    assert!(line.ends_with("not fully checked: an allowed attribute is missing"), "{line}");
    let (status, json) = verify(&harness, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status, Some(6));
    assert_eq!(json["grants"]["unchecked"], "1");
    let listed = &json["grants"]["uncheckedGrants"][0];
    assert_eq!((&listed["position"], &listed["doubts"][0]), (&position.into(), &"attribute_missing".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_from_before_an_erasure_confirms_what_the_erasure_states() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    record(&mut service, fact("ben", "job", "work", "smith")).await;
    service.grant.request_grant(ask("ada")).await.unwrap();
    let earlier = harness.dir.path().join("earlier.tar.zst");
    let path = earlier.to_str().unwrap();
    stdout(&harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", path]));
    let (status, text) = verify(&harness, &["--earlier", path]);
    assert_eq!(status, Some(0), "{text}");
    // The vocabulary that the log began with is one line.
    assert!(text.contains(" definitions that Sayso ships\n") && !text.contains("definitions, at "), "{text}");
    assert!(text.contains("; erased since: 0") && text.contains(", 1 earlier export, "), "{text}");
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();
    let (status, text) = verify(&harness, &["--earlier", path]);
    assert_eq!(status, Some(0), "{text}");
    steward.rights.submit_request(erasure("ben", ErasureScope::All, "")).await.unwrap();
    let withdrawn = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![withdrawn])).await.unwrap();
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    let (status, json) = verify(&harness, &["--json", "--earlier", path, "--earlier", path]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["given"]["earlierExports"]), (Some(0), &2.into()), "{json}");
    let of = &json["earlier"][1];
    // Of ada, two attributes, a consent and a grant; of ben, an attribute. The erasures of everything state
    // no kinds: the erasure of the key stated those of an attribute and the grant.
    assert_eq!((&of["erasedSince"], &of["notStated"]), (&"5".into(), &"3".into()), "{of}");
    let (_, text) = verify(&harness, &[]);
    assert!(
        text.contains("erased entries had been: the log has at most the operator's statement of their kinds"),
        "{text}"
    );
    let other = Harness::start().await;
    let (status, _) = verify(&other, &["--earlier", path]);
    assert_eq!(status, Some(1));
}
