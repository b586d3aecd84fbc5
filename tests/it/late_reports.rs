//! Tests of uses that are reported after their grant ended: the caller has to state the time of the use.

use crate::erasure::{record_ada, verify};
use crate::harness::{self, Clients, Harness, ask, choice, consent};
use prost_types::Timestamp;
use sayso::proto::{self, ConsentDecision, Role};
use std::time::{Duration, SystemTime};
use tonic::Code;

/// When a use is said to have been: so long ago.
fn ago(seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::from(SystemTime::now() - Duration::from_secs(seconds)))
}

async fn report(
    service: &mut Clients,
    grant_id: &str,
    about: Option<Timestamp>,
) -> Result<tonic::Response<proto::ReportUseResponse>, tonic::Status> {
    let options = Some(proto::WriteOptions { about, ..Default::default() });
    let (grant_id, reply) = (grant_id.to_owned(), "reply-1".to_owned());
    let used = proto::ReportUseRequest { grant_id, reply, options, ..Default::default() };
    service.grant.report_use(used).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_that_is_reported_after_the_grant_ended_has_to_be_dated() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    report(&mut service, &grant, None).await.unwrap();
    let used_at = Some(Timestamp::from(SystemTime::now()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    let no = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![no])).await.unwrap();
    let refused = report(&mut service, &grant, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("options.about"), "{}", refused.message());
    report(&mut service, &grant, used_at).await.unwrap();
    assert_eq!(verify(&harness)["grants"]["otherFaults"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_is_not_dated_long_before_its_grant() {
    let harness = Harness::start().await;
    let (mut service, _) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    report(&mut service, &grant, ago(60)).await.unwrap();
    let refused = report(&mut service, &grant, ago(3600)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(verify(&harness)["grants"]["otherFaults"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_that_is_dated_after_the_end_of_its_grant_is_recorded_and_found() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    let no = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![no])).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    report(&mut service, &grant, Some(Timestamp::from(SystemTime::now()))).await.unwrap();
    let bundle = harness.dir.path().join("found.tar.zst");
    let path = bundle.to_str().unwrap();
    harness::stdout(&harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", path]));
    let verified = harness::sayso(&["verify", path, "--key", &harness.daemon.vkey]).output().unwrap();
    assert_eq!(verified.status.code(), Some(4));
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(text.contains("had been revoked or contradicted when it was used"), "{text}");
}
