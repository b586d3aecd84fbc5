//! Invalid requests get an error that names the field, and nothing is written.

use crate::harness::{self, Clients, Harness, ask, choice, consent, fact};
use prost::Message;
use sayso::proto::{self, ConsentDecision, Role};
use tonic::{Code, Status};
use tonic_types::StatusExt;

async fn start() -> (Harness, Clients, Clients) {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let service = harness.as_role(Role::Service, "tutor").await;
    (harness, service, steward)
}

fn fields(status: &Status) -> Vec<String> {
    let found = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    found.into_iter().map(|violation| violation.field).collect()
}

async fn tree_size(steward: &mut Clients) -> u64 {
    let request = proto::GetCheckpointRequest {};
    steward.audit.get_checkpoint(request).await.unwrap().into_inner().tree_size
}

type Change = Box<dyn Fn(&mut proto::AttributeInput)>;

#[tokio::test(flavor = "multi_thread")]
async fn an_error_about_a_malformed_attribute_names_the_field() {
    let (_harness, mut service, mut steward) = start().await;
    let before = tree_size(&mut steward).await;
    let cases: Vec<(&str, Change)> = vec![
        ("key", Box::new(|input| input.key.clear())),
        ("key", Box::new(|input| input.key = "x".repeat(257))),
        ("value_json", Box::new(|input| input.value_json = "{".into())),
        ("value_json", Box::new(|input| input.value_json = "{\"a\": 1, \"a\": 2}".into())),
        ("value_json", Box::new(|input| input.value_json = "\"\\ud83d\"".into())),
        ("value_json", Box::new(|input| input.value_json = "[12345678901234567890123]".into())),
        ("value_json", Box::new(|input| input.value_json = "[".repeat(40) + &"]".repeat(40))),
        ("value_json", Box::new(|input| input.value_json = format!("\"{}\"", "x".repeat(20_000)))),
        ("category", Box::new(|input| input.category = "helth".into())),
        ("provenance", Box::new(|input| input.provenance = 0)),
        ("confidence", Box::new(|input| input.confidence = Some(0.5))),
        ("evidence", Box::new(|input| input.evidence = vec!["x".into(); 65])),
        ("derived_from", Box::new(|input| input.derived_from = vec!["no uuid".into()])),
        (
            "observed_at",
            Box::new(|input| {
                input.observed_at = Some(prost_types::Timestamp { seconds: 9_000_000_000, nanos: 0 });
            }),
        ),
        (
            "expires_at",
            Box::new(|input| input.expires_at = Some(prost_types::Timestamp { seconds: 1, nanos: 0 })),
        ),
    ];
    for (field, change) in cases {
        let mut request = fact("ada", "tone", "work", "x");
        change(&mut request.attributes[0]);
        let status = service.profile.record_attributes(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
        assert_eq!(fields(&status), [format!("attributes[0].{field}")]);
    }
    let mut misspelt = fact("ada", "tone", "helth", "x");
    misspelt.attributes.push(misspelt.attributes[0].clone());
    let status = service.profile.record_attributes(misspelt).await.unwrap_err();
    assert_eq!(fields(&status).len(), 2, "every failing check is reported");
    assert!(status.message().contains("near: health"), "{}", status.message());
    let none = proto::RecordAttributesRequest { subject: "ada".into(), ..Default::default() };
    assert_eq!(service.profile.record_attributes(none).await.unwrap_err().code(), Code::InvalidArgument);
    let no_subject = service.profile.record_attributes(fact("", "tone", "work", "x")).await.unwrap_err();
    assert_eq!(fields(&no_subject), ["subject"]);
    assert_eq!(tree_size(&mut steward).await, before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_message_in_a_stream_gets_an_error_and_the_stream_continues() {
    use proto::record_stream_response::Outcome;
    let (_harness, mut service, _steward) = start().await;
    let message = |sequence, key: &str| {
        let record = Some(fact("ada", key, "work", "x"));
        proto::RecordStreamRequest { sequence, record }
    };
    let messages = [message(7, "tone"), message(8, &"k".repeat(257)), message(9, "pace")];
    let mut answers = service.profile.record_stream(tokio_stream::iter(messages)).await.unwrap().into_inner();
    for sequence in 7..10 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.sequence, sequence);
        match answer.outcome.unwrap() {
            Outcome::Receipt(_) => assert_ne!(sequence, 8),
            Outcome::Error(error) => {
                assert_eq!((sequence, error.reason.as_str()), (8, "INVALID_REQUEST"));
                assert!(error.message.contains("`record.attributes[0].key`"), "{}", error.message);
            }
        }
    }
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_must_name_a_published_notice_and_known_purposes() {
    let (_harness, mut service, mut steward) = start().await;
    let yes = || choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    let mut without = consent("ada", vec![yes()]);
    without.notice = None;
    assert_eq!(fields(&steward.consent.record_consent(without).await.unwrap_err()), ["notice"]);
    let mut unknown = consent("ada", vec![yes()]);
    unknown.notice.as_mut().unwrap().id = "another".into();
    assert_eq!(fields(&steward.consent.record_consent(unknown).await.unwrap_err()), ["notice"]);
    let mut other_text = consent("ada", vec![yes()]);
    other_text.notice.as_mut().unwrap().digest = vec![1; 32];
    assert_eq!(fields(&steward.consent.record_consent(other_text).await.unwrap_err()), ["notice.digest"]);
    let unknown = choice(ConsentDecision::Given, "tone-adaption", &[], false);
    let status = steward.consent.record_consent(consent("ada", vec![unknown])).await.unwrap_err();
    assert!(status.message().contains("near: tone-adaptation"), "{}", status.message());
    let mut purpose = ask("ada");
    purpose.purpose = "everything".into();
    service.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    assert_eq!(fields(&service.grant.request_grant(purpose).await.unwrap_err()), ["purpose"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_returned_as_it_was_written() {
    let (_harness, mut service, mut steward) = start().await;
    let text = "{ \"b\": [1.50, 1e2, -0.0],\t\"a\": \"\\u00e9\" }";
    let mut request = fact("ada", "odd", "work", "");
    request.attributes[0].value_json = text.into();
    service.profile.record_attributes(request).await.unwrap();
    let request = proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    let profile = steward.profile.get_profile(request).await.unwrap().into_inner();
    assert_eq!(profile.attributes[0].value_json, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotency_keys_and_expected_versions_are_enforced() {
    let (harness, mut service, mut steward) = start().await;
    let with = |value: &str, key: &str, version: Option<u64>| {
        let mut request = fact("ada", "tone", "work", value);
        let options = proto::WriteOptions {
            idempotency_key: key.into(),
            expected_version: version,
            ..Default::default()
        };
        request.options = Some(options);
        request
    };
    let first = service.profile.record_attributes(with("x", "one", None)).await.unwrap().into_inner();
    let again = service.profile.record_attributes(with("x", "one", None)).await.unwrap().into_inner();
    let (first, again) = (first.receipt.unwrap(), again.receipt.unwrap());
    assert_eq!(first.events, again.events);
    assert!(again.replayed && !first.replayed);
    let other = service.profile.record_attributes(with("y", "one", None)).await.unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists);
    // Another caller may use the same idempotency key.
    let mut second = harness.as_role(Role::Service, "second").await;
    second.profile.record_attributes(with("y", "one", None)).await.unwrap();
    let stale = service.profile.record_attributes(with("z", "", Some(7))).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    assert_eq!(stale.get_details_error_info().unwrap().reason, "STALE_VERSION");
    // For a service, the expected version counts only decisions that concern the service, and there are none
    // yet.
    service.profile.record_attributes(with("z", "", Some(0))).await.unwrap();
    let stale = steward.profile.record_attributes(with("z", "", Some(7))).await.unwrap_err();
    let info = stale.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.metadata["current_version"].as_str()), ("STALE_VERSION", "3"));
    steward.profile.record_attributes(with("z", "", Some(3))).await.unwrap();
    // After a restart, the same key still returns the original receipt.
    let harness = harness.restart().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let later = service.profile.record_attributes(with("x", "one", None)).await.unwrap().into_inner();
    assert_eq!(later.receipt.unwrap().events, first.events);
    drop(steward.audit.get_checkpoint(proto::GetCheckpointRequest {}).await);
}

/// A key that one method used cannot be used with another method. This is true even if the encoded requests
/// are the same, as they are for a contest and a removal of one attribute key.
#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_belongs_to_one_method() {
    let (_harness, mut service, mut steward) = start().await;
    service.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    let options = proto::WriteOptions { idempotency_key: "k".into(), ..Default::default() };
    let contest = proto::ContestAttributeRequest {
        subject: "ada".into(),
        key: "tone".into(),
        options: Some(options.clone()),
        ..Default::default()
    };
    let remove = proto::RemoveAttributesRequest {
        subject: "ada".into(),
        keys: vec!["tone".into()],
        options: Some(options.clone()),
        ..Default::default()
    };
    assert_eq!(contest.encode_to_vec(), remove.encode_to_vec(), "only the method tells them apart");
    steward.profile.contest_attribute(contest).await.unwrap();
    let refused = steward.profile.remove_attributes(remove).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
    let options = proto::WriteOptions { idempotency_key: "n".into(), ..Default::default() };
    let notice = |text: &str| proto::PublishNoticeRequest {
        id: "another".into(),
        version: "1".into(),
        text: text.into(),
        options: Some(options.clone()),
        ..Default::default()
    };
    steward.bounds.publish_notice(notice("one text")).await.unwrap();
    let again = steward.bounds.publish_notice(notice("one text")).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().replayed);
    let other = steward.bounds.publish_notice(notice("another text")).await.unwrap_err();
    assert_eq!(other.get_details_error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_from_a_cursor_ahead_of_the_log_is_refused() {
    let (_harness, mut service, mut steward) = start().await;
    let size = tree_size(&mut steward).await;
    let watch = |after_cursor| proto::WatchRevocationsRequest { after_cursor: Some(after_cursor) };
    service.grant.watch_revocations(watch(size)).await.unwrap();
    let refused = service.grant.watch_revocations(watch(size + 1_000)).await.unwrap_err();
    assert_eq!((refused.code(), fields(&refused)), (Code::InvalidArgument, vec!["after_cursor".to_owned()]));
    assert!(refused.message().contains(&format!("ends at {size}")), "{}", refused.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_must_state_its_scope() {
    let (_harness, mut service, mut steward) = start().await;
    service.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    let request = proto::SubmitRequestRequest {
        subject: "ada".into(),
        kind: proto::RequestKind::Erasure.into(),
        ..Default::default()
    };
    let status = steward.rights.submit_request(request.clone()).await.unwrap_err();
    assert_eq!(fields(&status), ["scope"]);
    let unknown = proto::SubmitRequestRequest {
        subject: "nobody".into(),
        scope: proto::ErasureScope::All.into(),
        ..request
    };
    assert_eq!(steward.rights.submit_request(unknown).await.unwrap_err().code(), Code::NotFound);
    let none = proto::RemoveAttributesRequest { subject: "ada".into(), ..Default::default() };
    assert_eq!(fields(&steward.profile.remove_attributes(none).await.unwrap_err()), ["keys"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_and_contests_revoke_grants_at_once() {
    let (_harness, mut service, mut steward) = start().await;
    service.profile.record_attributes(fact("ada", "tone", "work", "x")).await.unwrap();
    let yes = choice(ConsentDecision::Given, "personalization", &[], false);
    steward.consent.record_consent(consent("ada", vec![yes])).await.unwrap();
    let signal = |kind: proto::SignalKind, lift| proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: kind.into(),
        lift,
        ..Default::default()
    };
    for kind in [proto::SignalKind::Restriction, proto::SignalKind::Objection, proto::SignalKind::Pause] {
        let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
        assert_eq!(grant.allowed.len(), 1, "{kind:?}");
        let recorded = steward.consent.record_signal(signal(kind, false)).await.unwrap().into_inner();
        assert_eq!(recorded.revoked_grants.last(), Some(&grant.grant_id));
        assert!(service.grant.request_grant(ask("ada")).await.unwrap().into_inner().allowed.is_empty());
        steward.consent.record_signal(signal(kind, true)).await.unwrap();
    }
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    let contest =
        proto::ContestAttributeRequest { subject: "ada".into(), key: "tone".into(), ..Default::default() };
    steward.profile.contest_attribute(contest).await.unwrap();
    let check = proto::CheckGrantRequest { grant_id: grant.grant_id, keys: Vec::new() };
    let checked = service.grant.check_grant(check).await.unwrap().into_inner();
    assert_eq!(checked.reason(), proto::RevocationReason::Contested);
}
