//! Tests of the requests that people make under their rights. Staff see whom a request is about and what it
//! asks for. A rectification is completed with the changes that were made, and a complaint with its outcome.
//! One test is about the record of processing activities (GDPR Art. 30).

use crate::erasure::{erasure, record, verify};
use crate::harness::{self, Harness, fact, stdout};
use sayso::proto::decide_request_request::{Complete, Decision, Refuse};
use sayso::proto::{self, ChangeKind, ErasureScope, Ground, RequestKind, RequestState, Role};
use tonic::Code;

fn complete(request_id: &str, reason: &str, keys: &[&str]) -> proto::DecideRequestRequest {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    let decision = Some(Decision::Complete(Complete { reason: reason.into(), keys }));
    proto::DecideRequestRequest { request_id: request_id.into(), decision, options: None }
}

fn submit(kind: RequestKind, details: &str, keys: &[&str]) -> proto::SubmitRequestRequest {
    proto::SubmitRequestRequest {
        kind: kind.into(),
        subject: "ada".into(),
        details: details.into(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..Default::default()
    }
}

/// The id at the beginning of what `sayso request submit` prints.
fn submit_by_command(harness: &Harness, arguments: &[&str]) -> String {
    let command = [&["request", "submit"], arguments].concat();
    let printed = stdout(&harness.cli(Role::Steward, "privacy-team", &command));
    let (_, rest) = printed.split_once("request ").unwrap();
    rest.split_once(':').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn request_show_shows_whom_a_request_is_about_and_all_that_it_asks() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    let wrong = ["rectification", "ada", "--key", "job", "--key", "boss", "--details", "I am a butcher"];
    let objection = ["objection", "ada", "--purpose", "memory"];
    for (arguments, expected) in [
        (&wrong[..], &["person: ada", "keys: job, boss", "in the person's own words: I am a butcher"][..]),
        (&objection[..], &["person: ada", "purposes: memory", "jurisdiction: gdpr"][..]),
        (&["restriction", "ada"][..], &["person: ada", "purposes: all"][..]),
    ] {
        let id = submit_by_command(&harness, arguments);
        let shown = stdout(&harness.cli(Role::Steward, "privacy-team", &["request", "show", &id]));
        for line in expected {
            assert!(shown.lines().any(|shown| shown == *line), "{line} in {shown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rectification_is_completed_with_what_was_changed() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let request = submit(RequestKind::Rectification, "I am a butcher", &["job"]);
    let id = ada.rights.submit_request(request).await.unwrap().into_inner().request_id;
    // Nothing was changed so far. A change of another attribute does not count, nor the same value again.
    record(&mut service, fact("ada", "home", "location", "Paris")).await;
    let job_again = record(&mut service, fact("ada", "job", "work", "baker")).await;
    let refused = steward.rights.decide_request(complete(&id, "", &[])).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("nothing was corrected"), "{refused}");

    let mut corrected = fact("ada", "job", "work", "butcher");
    corrected.attributes[0].corrects = job_again;
    let correction = record(&mut steward, corrected).await;
    let done = steward.rights.decide_request(complete(&id, "as you said", &[])).await.unwrap();
    let done = done.into_inner().request.unwrap();
    assert_eq!(done.state(), RequestState::Completed);
    let get = proto::GetRequestRequest { request_id: id.clone() };
    let seen = ada.rights.get_request(get.clone()).await.unwrap().into_inner().request.unwrap();
    assert_eq!(seen.changes, done.changes);
    let change = &seen.changes[0];
    assert_eq!(
        (seen.changes.len(), &change.event_id, change.key.as_str(), change.kind()),
        (1, &correction, "job", ChangeKind::Corrected)
    );
    let shown = stdout(&harness.cli(Role::Steward, "privacy-team", &["request", "show", &id]));
    assert!(shown.contains("changed: `job` was corrected"), "{shown}");

    // The erasure of the attribute leaves nothing that names it.
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();
    let seen = steward.rights.get_request(get).await.unwrap().into_inner().request.unwrap();
    assert_eq!((seen.state(), seen.changes.len(), seen.keys.len()), (RequestState::Completed, 0, 0));
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rectification_in_free_words_is_completed_with_the_keys_that_the_steward_names() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    let request = submit(RequestKind::Rectification, "I have no job", &[]);
    let id = steward.rights.submit_request(request).await.unwrap().into_inner().request_id;
    let unnamed = steward.rights.decide_request(complete(&id, "", &[])).await.unwrap_err();
    assert_eq!(unnamed.code(), Code::InvalidArgument, "{unnamed}");
    let remove = proto::RemoveAttributesRequest {
        subject: "ada".into(),
        keys: vec!["job".into()],
        ..Default::default()
    };
    steward.profile.remove_attributes(remove).await.unwrap();
    let command = ["request", "complete", &id, "--key", "job"];
    let printed = stdout(&harness.cli(Role::Steward, "privacy-team", &command));
    assert!(printed.contains("completed") && printed.contains("changed: `job` was removed"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_is_recorded_and_answered_with_its_outcome() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    record(&mut service, fact("ada", "job", "work", "baker")).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let empty = ada.rights.submit_request(submit(RequestKind::Complaint, " ", &[])).await.unwrap_err();
    assert_eq!(empty.code(), Code::InvalidArgument, "{empty}");
    let details = "nobody answered my objection";
    let made = ada.rights.submit_request(submit(RequestKind::Complaint, details, &[])).await.unwrap();
    let made = made.into_inner().request.unwrap();
    assert_eq!((made.kind(), made.state()), (RequestKind::Complaint, RequestState::Open));
    assert!(made.due_at.is_some());
    let list = harness.cli(Role::Steward, "privacy-team", &["request", "list"]);
    assert!(stdout(&list).contains("complaint  open"), "{}", stdout(&list));
    let silent = steward.rights.decide_request(complete(&made.request_id, "", &[])).await.unwrap_err();
    assert_eq!(silent.code(), Code::InvalidArgument, "the person has to learn the outcome: {silent}");
    let named =
        steward.rights.decide_request(complete(&made.request_id, "done", &["job"])).await.unwrap_err();
    assert_eq!(named.code(), Code::InvalidArgument, "only a rectification changes something: {named}");
    let answered = steward.rights.decide_request(complete(&made.request_id, "it was lost; we answered", &[]));
    assert_eq!(answered.await.unwrap().into_inner().request.unwrap().state(), RequestState::Completed);

    let arguments = ["complaint", "ada", "--details", "you ask every day"];
    let id = submit_by_command(&harness, &arguments);
    let refuse =
        Refuse { ground: Ground::NotMet.into(), reason: "the law requires it".into(), purposes: Vec::new() };
    let request = proto::DecideRequestRequest {
        request_id: id,
        decision: Some(Decision::Refuse(refuse)),
        options: None,
    };
    let refused = steward.rights.decide_request(request).await.unwrap().into_inner().request.unwrap();
    assert_eq!((refused.state(), refused.reason.as_str()), (RequestState::Refused, "the law requires it"));
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn access_to_an_automated_decision_and_its_appeal_are_answered_with_their_outcome() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "bank").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    record(&mut service, fact("ada", "income", "finance", "steady")).await;
    steward
        .profile
        .describe_subject(proto::DescribeSubjectRequest {
            subject: "ada".into(),
            jurisdiction: "US-CA".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    for (kind, name) in
        [(RequestKind::DecisionAccess, "decision-access"), (RequestKind::DecisionAppeal, "decision-appeal")]
    {
        let request = proto::SubmitRequestRequest {
            purposes: vec!["financial-decision".into()],
            ..submit(kind, "why was my loan refused?", &[])
        };
        let made = ada.rights.submit_request(request).await.unwrap().into_inner().request.unwrap();
        assert_eq!((made.kind(), made.state()), (kind, RequestState::Open));
        // California gives 45 days (Cal. Civ. Code s. 1798.130(a)(2)(A)).
        let days = (made.due_at.unwrap().seconds - made.submitted_at.unwrap().seconds) / 86_400;
        assert_eq!(days, 45);
        let list = harness.cli(Role::Steward, "privacy-team", &["request", "list"]);
        assert!(stdout(&list).contains(&format!("{name}  open")), "{}", stdout(&list));
        let silent = steward.rights.decide_request(complete(&made.request_id, "", &[])).await.unwrap_err();
        assert_eq!(silent.code(), Code::InvalidArgument, "the person has to learn the outcome: {silent}");
        let answered = steward.rights.decide_request(complete(&made.request_id, "sent by mail", &[])).await;
        let answered = answered.unwrap().into_inner().request.unwrap();
        assert_eq!((answered.state(), answered.reason.as_str()), (RequestState::Completed, "sent by mail"));
        submit_by_command(&harness, &[name, "ada", "--purpose", "housing-decision"]);
    }
    verify(&harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_processing_lists_purposes_that_are_declared_or_were_used() {
    let harness = crate::erasure::start_with(|config| {
        let purposes = &mut config.processing.purposes;
        purposes.insert("memory".into(), "to remember what people told the tutor".into());
        purposes.insert("fortune-telling".into(), "not in the vocabulary".into());
    })
    .await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut nosy = harness.as_role(Role::Service, "nosy").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    record(&mut tutor, fact("ada", "job", "work", "baker")).await;
    let given = harness::choice(proto::ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(harness::consent("ada", vec![given])).await.unwrap();
    let granted = tutor.grant.request_grant(harness::ask("ada")).await.unwrap().into_inner();
    assert_eq!(granted.allowed.len(), 1);
    // This grant allows nothing, so neither its recipient nor its purpose is processing.
    let nothing = proto::RequestGrantRequest { purpose: "advertising".into(), ..harness::ask("ada") };
    let nothing = nosy.grant.request_grant(nothing).await.unwrap().into_inner();
    assert!(!nothing.grant_id.is_empty() && nothing.allowed.is_empty());

    let request = proto::GetRecordOfProcessingRequest { html: true };
    let answer = steward.audit.get_record_of_processing(request).await.unwrap().into_inner();
    let record = answer.record.unwrap();
    let purposes: Vec<_> = record.purposes.iter().map(|each| (each.id.as_str(), each.used)).collect();
    assert_eq!(purposes, [("memory", false), ("tone-adaptation", true)]);
    let categories: Vec<_> = record.categories.iter().map(|each| (each.id.as_str(), each.stored)).collect();
    assert_eq!(categories, [("work", true)]);
    let recipients: Vec<_> = record.recipients.iter().map(|each| each.name.as_str()).collect();
    assert_eq!(recipients, ["tutor"]);
    assert!(record.gaps.iter().any(|gap| gap.contains("fortune-telling")), "{:?}", record.gaps);
    assert!(answer.html.contains("to remember what people told the tutor"));
    assert!(!answer.html.contains("advertising") && !answer.html.contains("religious"), "{}", answer.html);
}
