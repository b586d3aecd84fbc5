//! Names: ids, keys, recipients and conversations. A new name that could be mistaken for another is refused,
//! or accepted with a hint.

use crate::harness::{self, Clients, Harness, ask, choice, consent, fact};
use sayso::proto::{self, ConsentDecision, Provenance, Role};
use tonic::{Code, Status};
use tonic_types::StatusExt;

async fn start() -> (Harness, Clients, Clients) {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let service = harness.as_role(Role::Service, "tutor").await;
    (harness, service, steward)
}

/// Checks that a request is refused because of this field, and that the error names the character.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str, character: &str) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
    let found = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(found[0].field, field, "{status:?}");
    assert!(found[0].description.contains(character), "{status:?}");
}

const UNUSUAL: [(&str, &str); 6] = [
    ("Zoe\u{308}", "U+0308"),
    ("ada\u{200b}", "U+200B"),
    ("a\u{202e}da", "U+202E"),
    ("a\u{2028}da", "U+2028"),
    (" ada", "U+0020"),
    ("ada\u{a0}", "U+00A0"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_new_id_of_a_person_is_refused_by_every_method_and_the_character_is_named() {
    let (_harness, mut service, mut steward) = start().await;
    for (id, character) in UNUSUAL {
        let record = service.profile.record_attributes(fact(id, "tone", "work", "x")).await;
        refused(record, "subject", character);
        let no = choice(ConsentDecision::Refused, "memory", &[], false);
        refused(steward.consent.record_consent(consent(id, vec![no])).await, "subject", character);
        refused(service.grant.request_grant(ask(id)).await, "subject", character);
        let profile = proto::GetProfileRequest { subject: id.into(), ..Default::default() };
        refused(steward.profile.get_profile(profile).await, "subject", character);
        let describe = proto::DescribeSubjectRequest {
            subject: id.into(),
            age_band: proto::AgeBand::Adult.into(),
            ..Default::default()
        };
        refused(steward.profile.describe_subject(describe).await, "subject", character);
    }
    let known = proto::GetProfileRequest { subject: "Zoë".into(), ..Default::default() };
    assert_eq!(steward.profile.get_profile(known).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_recipient_or_conversation_is_refused_and_the_character_is_named() {
    let (harness, mut service, mut steward) = start().await;
    service.profile.record_attributes(fact("ada", "tone", "communication-style", "x")).await.unwrap();
    for (name, character) in UNUSUAL {
        let mut record = fact("ada", "pace", "work", "x");
        record.attributes.extend(fact("ada", name, "work", "x").attributes);
        refused(service.profile.record_attributes(record).await, "attributes[1].key", character);
        let mut yes = choice(ConsentDecision::Given, "memory", &[], false);
        yes.recipients = vec![name.into()];
        let answer = steward.consent.record_consent(consent("ada", vec![yes.clone()])).await;
        refused(answer, "choices[0].recipients", character);
        yes.recipients.clear();
        yes.interactions = vec![name.into()];
        let answer = steward.consent.record_consent(consent("ada", vec![yes])).await;
        refused(answer, "choices[0].interactions", character);
        let pause = proto::RecordSignalRequest {
            subject: "ada".into(),
            kind: proto::SignalKind::Pause.into(),
            interaction: name.into(),
            ..Default::default()
        };
        refused(steward.consent.record_signal(pause).await, "interaction", character);
        let bounds = proto::PersonalBounds { only_recipients: vec![name.into()], ..Default::default() };
        let set = proto::SetPersonalBoundsRequest {
            subject: "ada".into(),
            bounds: Some(bounds),
            ..Default::default()
        };
        refused(steward.bounds.set_personal_bounds(set).await, "bounds.only_recipients", character);
        let request = proto::RequestGrantRequest { interaction: name.into(), ..ask("ada") };
        refused(service.grant.request_grant(request).await, "interaction", character);
        let notice = proto::PublishNoticeRequest {
            id: name.into(),
            version: "1".into(),
            text: "text".into(),
            ..Default::default()
        };
        refused(steward.bounds.publish_notice(notice).await, "id", character);
        let token = harness.daemon.issuer.mint(Role::Service, name, 60).unwrap_err();
        assert!(token.to_string().contains(character), "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_a_purpose_the_name_of_an_artifact_and_the_id_of_a_reply_are_checked_alike() {
    let (_harness, mut service, mut steward) = start().await;
    service.profile.record_attributes(fact("ada", "tone", "communication-style", "x")).await.unwrap();
    let yes = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![yes])).await.unwrap();
    let grant_id = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    let used = proto::ReportUseRequest {
        grant_id: grant_id.clone(),
        reply: "r\u{200b}".into(),
        ..Default::default()
    };
    refused(service.grant.report_use(used).await, "reply", "U+200B");
    let artifact = proto::RegisterArtifactRequest {
        grant_id,
        kind: proto::ArtifactKind::Summary.into(),
        name: "s\u{feff}".into(),
        sources: vec!["tone".into()],
        ..Default::default()
    };
    refused(service.grant.register_artifact(artifact).await, "name", "U+FEFF");
    let purpose = proto::Purpose { id: "p\u{200b}".into(), title: "P".into(), ..Default::default() };
    let define = proto::DefinePurposeRequest { purpose: Some(purpose), ..Default::default() };
    refused(steward.bounds.define_purpose(define).await, "purpose.id", "U+200B");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_differs_only_in_case_or_look_is_recorded_with_a_hint() {
    let (_harness, mut service, mut steward) = start().await;
    let mut diet = fact("ada", "diet", "work", "x");
    diet.attributes[0].provenance = Provenance::Observed.into();
    service.profile.record_attributes(diet).await.unwrap();
    let record = |key: &str| {
        let mut record = fact("ada", "tone", "work", "x");
        record.attributes.extend(fact("ada", key, "work", "y").attributes);
        record
    };
    for key in ["Diet", "di\u{435}t", "DI\u{415}T"] {
        let answer = steward.profile.record_attributes(record(key)).await.unwrap().into_inner();
        let similar = &answer.similar_keys[0];
        assert!(similar.attribute == 1 && similar.key.eq_ignore_ascii_case("diet"), "{key}: {similar:?}");
        // Once it is recorded, it is a key like any other.
        let again = steward.profile.record_attributes(record(key)).await.unwrap().into_inner();
        assert!(again.similar_keys.is_empty(), "{key}");
    }
    let answer = steward.profile.record_attributes(record("diets")).await.unwrap().into_inner();
    assert!(answer.similar_keys.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gets_hints_about_its_own_keys_only_in_a_stream_too() {
    let (harness, mut service, mut steward) = start().await;
    let mut other = harness.as_role(Role::Service, "another").await;
    let observed = |key: &str| {
        let mut record = fact("ada", key, "work", "x");
        record.attributes[0].provenance = Provenance::Observed.into();
        record
    };
    service.profile.record_attributes(observed("diet")).await.unwrap();
    let answer = other.profile.record_attributes(observed("Diet")).await.unwrap().into_inner();
    assert!(answer.similar_keys.is_empty(), "{answer:?}");
    let messages = [proto::RecordStreamRequest { sequence: 1, record: Some(observed("DIET")) }];
    let mut answers = service.profile.record_stream(tokio_stream::iter(messages)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.similar_keys, [proto::SimilarKey { attribute: 0, key: "diet".into() }]);
    let options = Some(proto::WriteOptions { idempotency_key: "once".into(), ..Default::default() });
    let once = proto::RecordAttributesRequest { options, ..observed("diEt") };
    let first = steward.profile.record_attributes(once.clone()).await.unwrap().into_inner();
    let repeated = steward.profile.record_attributes(once).await.unwrap().into_inner();
    assert_eq!(first.similar_keys.len(), 1);
    assert_eq!(repeated.similar_keys, first.similar_keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_the_hint() {
    let (harness, _service, _steward) = start().await;
    let run = |arguments: &[&str]| harness.cli(Role::Steward, "privacy-team", arguments);
    harness::stdout(&run(&["record", "ada", "diet", "vegan", "--category", "work"]));
    let text = harness::stdout(&run(&["record", "ada", "Diet", "vegan", "--category", "work"]));
    assert!(text.contains("hint: `Diet` is a new key and looks like `diet`"), "{text}");
}
