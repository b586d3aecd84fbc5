//! Erasure through the API: of all data and of parts, repeated, under a hold, during exports and during
//! writes.

use crate::harness::{self, Clients, Harness, ask, choice, consent, contains, fact, files_below};
use sayso::daemon::Daemon;
use sayso::proto::{
    self, ConsentDecision, ErasureScope, Ground, RequestKind, RequestState, RevocationReason, Role,
};
use sayso_proof::checkpoint::VerifierKey;
use std::path::Path;
use tonic::Code;

pub fn erasure(subject: &str, scope: ErasureScope, name: &str) -> proto::SubmitRequestRequest {
    let name_if = |of: ErasureScope| if scope == of { name.to_owned() } else { String::new() };
    proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: RequestKind::Erasure.into(),
        scope: scope.into(),
        keys: if scope == ErasureScope::Key { vec![name.to_owned()] } else { Vec::new() },
        category: name_if(ErasureScope::Category),
        ..Default::default()
    }
}

fn with_idempotency_key(mut request: proto::SubmitRequestRequest, key: &str) -> proto::SubmitRequestRequest {
    request.options = Some(proto::WriteOptions { idempotency_key: key.into(), ..Default::default() });
    request
}

pub async fn record(service: &mut Clients, request: proto::RecordAttributesRequest) -> String {
    let receipt = service.profile.record_attributes(request).await.unwrap().into_inner().receipt.unwrap();
    receipt.events[0].event_id.clone()
}

async fn keys(steward: &mut Clients, subject: &str) -> Vec<String> {
    let request = proto::GetProfileRequest {
        subject: subject.into(),
        as_of: None,
        rebuild: true,
        ..Default::default()
    };
    let rebuilt = steward.profile.get_profile(request.clone()).await.unwrap().into_inner();
    let request = proto::GetProfileRequest { rebuild: false, ..request };
    assert_eq!(steward.profile.get_profile(request).await.unwrap().into_inner(), rebuilt);
    rebuilt.attributes.into_iter().map(|attribute| attribute.key).collect()
}

/// The events of a subject, in debug format, one a line.
pub async fn history(steward: &mut Clients, subject: &str) -> String {
    let request = proto::ListEventsRequest { subject: subject.into(), ..Default::default() };
    let page = steward.profile.list_events(request).await.unwrap().into_inner();
    page.events.iter().map(|event| format!("{event:?}\n")).collect()
}

/// The answer of `sayso verify` for an export. The status is 6 if a grant of erased attributes is in the log.
pub fn verify(harness: &Harness) -> serde_json::Value {
    let bundle = harness.dir.path().join("bundle.tar.zst");
    let _old = std::fs::remove_file(&bundle);
    let path = bundle.to_str().unwrap();
    harness::stdout(&harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", path]));
    let key: VerifierKey = harness.daemon.vkey.parse().unwrap();
    let verified = harness::sayso(&["--json", "verify", path, "--key", &key.to_string()]).output().unwrap();
    let is_intact = matches!(verified.status.code(), Some(0 | 6));
    assert!(is_intact, "{}", String::from_utf8_lossy(&verified.stderr));
    serde_json::from_slice(&verified.stdout).unwrap()
}

/// Records two work attributes, a health attribute, a preference derived from it, and consents of ada.
/// Returns a service and a steward.
pub async fn record_ada(harness: &Harness) -> (Clients, Clients) {
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    record(&mut service, fact("ada", "job", "work", "CANARY-JOB baker")).await;
    record(&mut service, fact("ada", "boss", "work", "CANARY-BOSS grumpy")).await;
    let health = record(&mut service, fact("ada", "CANARY-KEY-knee", "health", "CANARY-KNEE hurts")).await;
    let mut derived = fact("ada", "shoes", "preference", "CANARY-SHOES soft");
    derived.attributes[0].derived_from = vec![health];
    // She derives it herself: a service would need her explicit consent first.
    record(&mut harness.as_role(Role::Subject, "ada").await, derived).await;
    let yes = choice(ConsentDecision::Given, "tone-adaptation", &["health"], true);
    let all = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![yes, all])).await.unwrap();
    (service, steward)
}

/// Asserts that no file except the exported bundle contains these texts in the clear.
fn assert_gone(dir: &Path, texts: &[&str]) {
    for file in files_below(dir).iter().filter(|file| !file.ends_with("bundle.tar.zst")) {
        let bytes = std::fs::read(file).unwrap();
        assert!(texts.iter().all(|text| !contains(&bytes, text.as_bytes())), "text in {file:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_a_key_erases_everything_that_names_it_or_is_derived_from_it() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let full = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(full.allowed.len(), 4);
    let only = proto::RequestGrantRequest { keys: vec!["job".into()], ..ask("ada") };
    let narrow = service.grant.request_grant(only).await.unwrap().into_inner();
    let mut revocations = service
        .grant
        .watch_revocations(proto::WatchRevocationsRequest { after_cursor: None })
        .await
        .unwrap()
        .into_inner();
    revocations.message().await.unwrap().unwrap();

    let request = erasure("ada", ErasureScope::Key, "CANARY-KEY-knee");
    let erased = steward
        .rights
        .submit_request(with_idempotency_key(request.clone(), "once"))
        .await
        .unwrap()
        .into_inner();
    let certificate = erased.certificate.clone().unwrap();
    assert_eq!(certificate.erased_by_category.get("health"), Some(&1));
    assert_eq!(certificate.erased_by_category.get("preference"), Some(&1), "the derived attribute");
    assert_eq!(erased.request.unwrap().state(), RequestState::Completed);
    let revocation = revocations.message().await.unwrap().unwrap();
    assert_eq!(
        (revocation.grant_ids.clone(), revocation.reason()),
        (vec![full.grant_id.clone()], RevocationReason::PartlyErased)
    );
    assert_eq!(revocation.erased_scope(), ErasureScope::Key);

    assert_eq!(keys(&mut steward, "ada").await, ["boss", "job"]);
    let seen = history(&mut steward, "ada").await;
    assert!(!seen.contains("CANARY-KEY") && !seen.contains("CANARY-KNEE") && !seen.contains("CANARY-SHOES"));
    assert!(seen.contains("CANARY-JOB"));
    for (grant, stands) in [(&full, false), (&narrow, true)] {
        let check = proto::CheckGrantRequest { grant_id: grant.grant_id.clone(), keys: Vec::new() };
        let checked = service.grant.check_grant(check).await.unwrap().into_inner();
        assert_eq!(checked.valid, stands);
        assert!(stands || checked.reason() == RevocationReason::PartlyErased);
    }
    // A repeated idempotency key returns the same erasure. A new request finds nothing to erase.
    let again = steward
        .rights
        .submit_request(with_idempotency_key(request.clone(), "once"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.request_id, erased.request_id);
    assert_eq!(steward.rights.submit_request(request).await.unwrap_err().code(), Code::NotFound);
    // An observation from before the erasure is refused under the erased key. A new observation is accepted.
    let mut late = fact("ada", "CANARY-KEY-knee", "work", "late");
    late.attributes[0].observed_at = Some(prost_types::Timestamp { seconds: 1_600_000_000, nanos: 0 });
    let refused = service.profile.record_attributes(late).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    record(&mut service, fact("ada", "knee", "health", "better")).await;

    let report = verify(&harness);
    assert_eq!(report["erased"], certificate.entries_discarded.to_string());
    assert_eq!(report["grants"]["unjustified"], "0");
    drop((revocations, service, steward));
    let harness = harness.restart().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    assert_eq!(keys(&mut steward, "ada").await, ["boss", "job", "knee"]);
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
    assert_gone(harness.stop().await.path(), &["CANARY-KEY", "CANARY-KNEE", "CANARY-SHOES"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_a_category_or_the_profile_keeps_consents() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::Category, "work")).await.unwrap();
    let certificate = erased.into_inner().certificate.unwrap();
    assert_eq!(certificate.erased_by_category.get("work"), Some(&2));
    assert_eq!(keys(&mut steward, "ada").await, ["CANARY-KEY-knee", "shoes"]);
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 2);

    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::Profile, "")).await.unwrap();
    let certificate = erased.into_inner().certificate.unwrap();
    assert_eq!(certificate.scope(), ErasureScope::Profile);
    assert_eq!((certificate.recipients.len(), certificate.recipients[0].grants), (1, 1));
    assert!(keys(&mut steward, "ada").await.is_empty());
    let request = proto::ListConsentsRequest { subject: "ada".into(), as_of: None, ..Default::default() };
    let consents = steward.consent.list_consents(request).await.unwrap().into_inner().consents;
    assert_eq!(consents.len(), 2, "consents stay as evidence");
    let seen = history(&mut steward, "ada").await;
    assert!(!seen.contains("CANARY"), "{seen}");
    verify(&harness);

    // Then everything is erased.
    let all = with_idempotency_key(erasure("ada", ErasureScope::All, ""), "all");
    let erased = steward.rights.submit_request(all.clone()).await.unwrap().into_inner();
    let again = steward.rights.submit_request(all).await.unwrap().into_inner();
    assert_eq!((again.request_id, again.certificate.unwrap().position), {
        (erased.request_id.clone(), erased.certificate.unwrap().position)
    });
    let request = proto::GetRequestRequest { request_id: erased.request_id };
    let kept = steward.rights.get_request(request).await.unwrap().into_inner().request.unwrap();
    assert_eq!((kept.state(), kept.subject.as_str()), (RequestState::Completed, ""));
    assert_eq!(verify(&harness)["subjects"], "0");
    assert_gone(harness.stop().await.path(), &["CANARY"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_erasure_and_an_erasure_of_an_unknown_person_are_not_found() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let all = || erasure("ada", ErasureScope::All, "");
    steward.rights.submit_request(all()).await.unwrap();
    let second = steward.rights.submit_request(all()).await.unwrap_err();
    let unknown = steward.rights.submit_request(erasure("nobody", ErasureScope::All, "")).await.unwrap_err();
    assert_eq!((second.code(), second.message()), (unknown.code(), unknown.message()));
    assert_eq!(second.code(), Code::NotFound);
    // A service may spool a write: prepare it and send it later. A spooled write from before the erasure is
    // refused. A new write starts a new record.
    let mut spooled = fact("ada", "job", "work", "old");
    spooled.attributes[0].observed_at = Some(prost_types::Timestamp { seconds: 1_600_000_000, nanos: 0 });
    let refused = service.profile.record_attributes(spooled).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    record(&mut service, fact("ada", "job", "work", "new")).await;
    assert_eq!(keys(&mut steward, "ada").await, ["job"]);
    assert_eq!(verify(&harness)["subjects"], "1");
}

/// A service may spool writes: prepare them before an erasure, and send them after it. The daemon records
/// none of these writes. It records a person's no (`late_refusals`).
#[tokio::test(flavor = "multi_thread")]
async fn spooled_data_and_consents_are_refused_after_an_erasure() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    let before = prost_types::Timestamp::from(std::time::SystemTime::now());
    let spooled = || Some(proto::WriteOptions { about: Some(before), ..Default::default() });
    // This write succeeds once before the erasure. The erasure also erases the write's idempotency key.
    let keyed = |mut request: proto::RecordAttributesRequest| {
        request.options = Some(proto::WriteOptions {
            idempotency_key: "spooled".into(),
            about: Some(before),
            ..Default::default()
        });
        request
    };
    let again = keyed(fact("ada", "hobby", "work", "CANARY-SPOOL"));
    record(&mut service, again.clone()).await;
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();

    let refused = |status: tonic::Status| assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    refused(service.profile.record_attributes(again).await.unwrap_err());
    let mut late = fact("ada", "hobby", "work", "CANARY-SPOOL");
    late.options = spooled();
    refused(service.profile.record_attributes(late.clone()).await.unwrap_err());
    let stream = proto::RecordStreamRequest { sequence: 1, record: Some(late) };
    let mut answers = service.profile.record_stream(tokio_stream::iter([stream])).await.unwrap().into_inner();
    let outcome = answers.message().await.unwrap().unwrap().outcome.unwrap();
    let proto::record_stream_response::Outcome::Error(error) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.reason, "ERASED");
    let mut yes = consent("ada", vec![choice(ConsentDecision::Given, "tone-adaptation", &[], false)]);
    yes.options = spooled();
    refused(service.consent.record_consent(yes).await.unwrap_err());
    // Reports of use and artifacts need a grant, and the grant was erased.
    let used = proto::ReportUseRequest { grant_id: grant.clone(), reply: "r1".into(), ..Default::default() };
    let late = service.grant.report_use(used).await.unwrap_err();
    let built = proto::RegisterArtifactRequest {
        grant_id: grant.clone(),
        kind: proto::ArtifactKind::Embedding.into(),
        name: "vectors".into(),
        ..Default::default()
    };
    for status in [late, service.grant.register_artifact(built).await.unwrap_err()] {
        assert!(matches!(status.code(), Code::NotFound | Code::FailedPrecondition), "{status:?}");
    }
    let check = proto::CheckGrantRequest { grant_id: grant, keys: Vec::new() };
    assert!(!service.grant.check_grant(check).await.unwrap().into_inner().valid);
    let request = proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    assert_eq!(
        steward.profile.get_profile(request).await.unwrap_err().code(),
        Code::NotFound,
        "nothing was recorded after the erasure"
    );
    assert_eq!(verify(&harness)["subjects"], "0");
    assert_gone(harness.stop().await.path(), &["CANARY"]);
}

pub fn hold(subject: &str, categories: &[&str]) -> proto::PlaceHoldRequest {
    proto::PlaceHoldRequest {
        subject: subject.into(),
        ground: Ground::LegalClaims.into(),
        code: "case-17".into(),
        categories: categories.iter().map(|category| (*category).to_owned()).collect(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_blocks_an_erasure_visibly_until_it_is_lifted() {
    let harness = Harness::start().await;
    let (_, mut steward) = record_ada(&harness).await;
    let placed = steward.rights.place_hold(hold("ada", &[])).await.unwrap().into_inner();
    for scope in [erasure("ada", ErasureScope::All, ""), erasure("ada", ErasureScope::Key, "job")] {
        let answer = steward.rights.submit_request(scope).await.unwrap().into_inner();
        let refused = answer.request.unwrap();
        assert_eq!((refused.state(), refused.ground()), (RequestState::Refused, Ground::LegalClaims));
        assert!(answer.certificate.is_none());
    }
    assert_eq!(keys(&mut steward, "ada").await.len(), 4);
    assert!(history(&mut steward, "ada").await.contains("ErasureRefused"));
    let output = harness.cli(Role::Steward, "privacy-team", &["erase", "ada", "--scope", "all"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Art. 17(3)(e)"));
    // The data subject sees the hold but cannot place one.
    let mut person = harness.as_role(Role::Subject, "ada").await;
    let seen = person.rights.list_holds(proto::ListHoldsRequest::default()).await.unwrap().into_inner();
    assert_eq!(seen.holds[0].code, "case-17");
    assert_eq!(person.rights.place_hold(hold("ada", &[])).await.unwrap_err().code(), Code::PermissionDenied);
    let lift = proto::LiftHoldRequest {
        subject: "ada".into(),
        hold_id: placed.hold_id,
        reason: "settled".into(),
        ..Default::default()
    };
    steward.rights.lift_hold(lift.clone()).await.unwrap();
    assert_eq!(steward.rights.lift_hold(lift).await.unwrap_err().code(), Code::NotFound);
    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    assert!(erased.into_inner().certificate.is_some());
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_on_a_category_keeps_only_that_category_and_not_for_use() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    steward.rights.place_hold(hold("ada", &["work"])).await.unwrap();
    let answer = steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    let answer = answer.into_inner();
    let request = answer.request.unwrap();
    assert_eq!((request.state(), request.ground()), (RequestState::Partly, Ground::LegalClaims));
    let certificate = answer.certificate.unwrap();
    assert!(certificate.kept[0].entries >= 2);
    assert!(certificate.document.contains("Art. 17(3)(e)"));
    assert!(keys(&mut steward, "ada").await.is_empty(), "data under a hold is not in the profile");
    let seen = history(&mut steward, "ada").await;
    assert!(seen.contains("CANARY-JOB") || seen.contains("job"), "{seen}");
    assert!(!seen.contains("CANARY-KEY") && !seen.contains("ConsentGiven"), "{seen}");
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert!(grant.allowed.is_empty());
    // An erasure of a key in the held category is refused.
    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();
    assert_eq!(erased.into_inner().request.unwrap().state(), RequestState::Refused);
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_overtaken_by_an_erasure_is_complete_or_aborted() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    for number in 0..40 {
        let long = "x".repeat(12_000);
        record(&mut service, fact("ben", &format!("n{number}"), "work", &long)).await;
    }
    let mut auditor = harness.as_role(Role::Auditor, "auditor").await;
    let mut export =
        auditor.audit.export_audit(proto::ExportAuditRequest::default()).await.unwrap().into_inner();
    let first = export.message().await.unwrap();
    assert!(first.is_some());
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();
    let end = loop {
        match export.message().await {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(status) => break Some(status.code()),
        }
    };
    // The export is complete, or it is aborted because the erasure overtook it. It never has a gap.
    assert!(matches!(end, None | Some(Code::Aborted)), "{end:?}");
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_during_a_burst_of_writes_keeps_every_later_write() {
    let harness = Harness::start().await;
    let (service, mut steward) = record_ada(&harness).await;
    let mut writers = Vec::new();
    for writer in 0..8 {
        let mut service = service.clone();
        writers.push(tokio::spawn(async move {
            let mut outcomes = Vec::new();
            for number in 0..12 {
                let write = fact("ada", &format!("w{writer}-{number}"), "work", "CANARY-BURST");
                outcomes.push(service.profile.record_attributes(write).await.map_err(|status| status.code()));
            }
            outcomes
        }));
    }
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let part = steward.rights.submit_request(erasure("ada", ErasureScope::Category, "health")).await;
    assert!(part.is_ok(), "{part:?}");
    let all =
        steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap().into_inner();
    let erased_at = all.certificate.unwrap().position;
    let mut after = 0;
    for writer in writers {
        for outcome in writer.await.unwrap() {
            match outcome {
                Ok(done) => {
                    let at = done.into_inner().receipt.unwrap().events[0].position;
                    after += usize::from(at > erased_at);
                }
                Err(code) => assert_eq!(code, Code::FailedPrecondition),
            }
        }
    }
    // Every write that was acknowledged after the erasure is in the profile, under a new handle.
    let request =
        proto::GetProfileRequest { subject: "ada".into(), as_of: None, rebuild: true, ..Default::default() };
    let recorded = match steward.profile.get_profile(request).await {
        Ok(profile) => profile.into_inner().attributes.len(),
        Err(status) => {
            assert_eq!(status.code(), Code::NotFound);
            0
        }
    };
    assert!(recorded >= after, "{recorded} of {after}");
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_verifies_offline_and_shows_which_recipients_acknowledged() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    service.grant.request_grant(ask("ada")).await.unwrap();
    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();
    let id = erased.into_inner().request_id;
    let after = proto::WatchRevocationsRequest { after_cursor: Some(0) };
    let mut revocations = service.grant.watch_revocations(after).await.unwrap().into_inner();
    revocations.message().await.unwrap();
    let revocation = revocations.message().await.unwrap().unwrap();
    assert_eq!(revocation.reason(), RevocationReason::PartlyErased);
    let acknowledge = proto::AcknowledgeRequest { cursor: revocation.cursor, options: None };
    service.grant.acknowledge(acknowledge).await.unwrap();

    let file = harness.dir.path().join("certificate.txt");
    let path = file.to_str().unwrap();
    let shown = harness.cli(Role::Steward, "privacy-team", &["certificate", &id, "-o", path]);
    assert!(harness::stdout(&shown).contains(": acknowledged"));
    let check = |path: &str| {
        let key = harness.daemon.vkey.clone();
        harness::sayso(&["--json", "verify", path, "--key", &key]).output().unwrap()
    };
    let verified = harness::json(&check(path));
    assert_eq!((&verified["scope"], &verified["erasedByCategory"]["work"]), (&"key".into(), &"1".into()));
    assert_eq!(verified["recipients"][0]["acknowledged"], true);
    // A certificate with a changed word or with the proof of another erasure does not verify.
    let text = std::fs::read_to_string(&file).unwrap();
    for (from, to) in [("\"work\":1", "\"work\":0"), ("\"scope\":\"key\"", "\"scope\":\"all\"")] {
        assert!(text.contains(from));
        std::fs::write(&file, text.replace(from, to)).unwrap();
        assert_eq!(check(path).status.code(), Some(4));
    }
    let of_another = record(&mut service, fact("ben", "job", "work", "x")).await;
    assert!(!of_another.is_empty());
    let proof = steward.rights.submit_request(erasure("ben", ErasureScope::All, "")).await.unwrap();
    let proof = proof.into_inner().certificate.unwrap().proof;
    let note = text.split("\n\nc2sp.org").next().unwrap();
    std::fs::write(&file, format!("{note}\n\n{proof}")).unwrap();
    assert_eq!(check(path).status.code(), Some(4));
}

/// Starts a daemon with a changed configuration.
pub async fn start_with(change: impl FnOnce(&mut sayso::config::Config)) -> Harness {
    let dir = tempfile::tempdir().unwrap();
    let mut config = harness::config(dir.path());
    change(&mut config);
    let daemon = Daemon::start(&config).await.unwrap();
    Harness { dir, daemon }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_can_require_a_steward_to_decide_erasures() {
    let harness = start_with(|config| config.rights.steward_decides_erasures = true).await;
    let (_, mut steward) = record_ada(&harness).await;
    let mut person = harness.as_role(Role::Subject, "ada").await;
    let submitted =
        person.rights.submit_request(erasure("", ErasureScope::Key, "job")).await.unwrap().into_inner();
    assert_eq!(submitted.request.unwrap().state(), RequestState::Open);
    assert_eq!(keys(&mut steward, "ada").await.len(), 4);
    let open =
        steward.rights.list_requests(proto::ListRequestsRequest::default()).await.unwrap().into_inner();
    assert_eq!((open.requests.len(), open.requests[0].subject.as_str()), (1, "ada"));
    let accept = proto::decide_request_request::Accept { reason: "identified".into() };
    let decide = proto::DecideRequestRequest {
        request_id: submitted.request_id.clone(),
        decision: Some(proto::decide_request_request::Decision::Accept(accept)),
        options: None,
    };
    let decided = steward.rights.decide_request(decide.clone()).await.unwrap().into_inner();
    assert!(decided.certificate.is_some());
    let request = decided.request.unwrap();
    assert_eq!(request.state(), RequestState::Completed);
    assert_eq!((request.decided_by.unwrap().name.as_str(), request.keys.len()), ("privacy-team", 0));
    assert_eq!(keys(&mut steward, "ada").await.len(), 3);
    assert!(
        !history(&mut steward, "ada").await.contains("job"),
        "the erasure also removed the request that named the key"
    );
    let open =
        steward.rights.list_requests(proto::ListRequestsRequest::default()).await.unwrap().into_inner();
    assert!(open.requests.is_empty());
    let again = steward.rights.decide_request(decide).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
}
