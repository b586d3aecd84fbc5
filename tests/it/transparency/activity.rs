//! The activity that the transparency report is tested with: one day of ten data subjects and two services.

use super::{ERASED, subjects};
use crate::harness::{self, Clients, Harness, choice, consent, facts};
use sayso::proto::{self, ConsentDecision, Role};

/// Imports the attributes and runs one day of ten data subjects and two services. Erases one
/// subject.
pub async fn run_day(harness: &Harness, steward: &mut Clients) {
    let file = facts().display().to_string();
    harness::stdout(&harness.cli(Role::Service, "tutor", &["import", &file]));
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    let mut coach = harness.as_role(Role::Service, "coach").await;
    harness::publish_notice(steward).await;
    for (at, subject) in subjects().iter().enumerate() {
        record_decisions(steward, subject, at).await;
        request_and_use(&mut tutor, subject, "tone-adaptation", at).await;
        if at % 4 != 3 {
            request_and_use(&mut coach, subject, "memory", at + 1).await;
        }
        withdraw(steward, subject, at).await;
        contest_inferences(steward, subject, at).await;
        submit_requests(steward, subject, at).await;
    }
    let erase = proto::SubmitRequestRequest {
        subject: ERASED.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: proto::ErasureScope::All.into(),
        ..Default::default()
    };
    steward.rights.submit_request(erase).await.unwrap();
}

/// Describes the subject and records consent; some subjects refuse or leave a purpose out.
async fn record_decisions(steward: &mut Clients, subject: &str, at: usize) {
    let declared = harness::fact(subject, "language/first", "language", &format!("language {}", at % 2));
    steward.profile.record_attributes(declared).await.unwrap();
    let described = proto::DescribeSubjectRequest {
        subject: subject.into(),
        age_band: proto::AgeBand::Adult.into(),
        jurisdiction: "DE".into(),
        ..Default::default()
    };
    steward.profile.describe_subject(described).await.unwrap();
    let mut choices = Vec::new();
    if at == 4 {
        choices.push(choice(ConsentDecision::Refused, "tone-adaptation", &[], false));
    } else {
        choices.push(choice(ConsentDecision::Given, "tone-adaptation", &[], false));
        choices.push(choice(ConsentDecision::Given, "tone-adaptation", &["health"], true));
    }
    if at != 7 {
        choices.push(choice(ConsentDecision::Given, "memory", &[], false));
    }
    steward.consent.record_consent(consent(subject, choices)).await.unwrap();
}

/// Requests a grant, reports replies shaped by it, and registers artifacts.
async fn request_and_use(service: &mut Clients, subject: &str, purpose: &str, uses: usize) {
    let ask =
        proto::RequestGrantRequest { subject: subject.into(), purpose: purpose.into(), ..Default::default() };
    let grant = service.grant.request_grant(ask).await.unwrap().into_inner();
    let keys: Vec<String> = grant.allowed.iter().map(|allowed| allowed.key.clone()).collect();
    for reply in 0..(uses % 3) + usize::from(!keys.is_empty()) {
        let shaped_by = keys.iter().skip(reply * 7).step_by(5).take(3).cloned().collect();
        let used = proto::ReportUseRequest {
            grant_id: grant.grant_id.clone(),
            reply: format!("{subject}-{purpose}-{reply}"),
            shaped_by,
            count: u32::try_from(reply).unwrap() + 1,
            ai_disclosure_shown: reply != 1,
            options: None,
        };
        service.grant.report_use(used).await.unwrap();
    }
    if let Some(key) = keys.first() {
        infer_from_reply(service, subject, key, &format!("{subject}-{purpose}-0")).await;
        for number in 0..uses % 3 {
            let built = proto::RegisterArtifactRequest {
                grant_id: grant.grant_id.clone(),
                kind: proto::ArtifactKind::Summary.into(),
                name: format!("summary {number}"),
                sources: keys.iter().rev().take(2).cloned().collect(),
                options: None,
                ttl: None,
            };
            service.grant.register_artifact(built).await.unwrap();
        }
    }
}

/// Submits requests for access and portability: some are completed, some refused, some extended.
async fn submit_requests(steward: &mut Clients, subject: &str, at: usize) {
    use proto::decide_request_request::{Accept, Complete, Decision, Extend, Refuse};
    let submit = |kind: proto::RequestKind| proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: kind.into(),
        ..Default::default()
    };
    let access = steward.rights.submit_request(submit(proto::RequestKind::Access)).await.unwrap();
    let access = access.into_inner().request_id;
    if at.is_multiple_of(2) {
        steward.rights.submit_request(submit(proto::RequestKind::Portability)).await.unwrap();
    }
    let refuse = Refuse {
        ground: proto::Ground::Excessive.into(),
        reason: "asked daily".into(),
        purposes: Vec::new(),
    };
    let decisions = match at {
        0..6 => {
            vec![
                Decision::Accept(Accept::default()),
                Decision::Complete(Complete { reason: "sent".into(), keys: Vec::new() }),
            ]
        }
        8 => vec![Decision::Refuse(refuse)],
        _ => vec![Decision::Extend(Extend { reason: "many of them".into() })],
    };
    for decision in decisions {
        let request = proto::DecideRequestRequest {
            request_id: access.clone(),
            decision: Some(decision),
            options: None,
        };
        steward.rights.decide_request(request).await.unwrap();
    }
}

/// Records two inferences from a reply: one under the key that had shaped the reply, and one under a new key.
async fn infer_from_reply(service: &mut Clients, subject: &str, key: &str, reply: &str) {
    let inferred = |key: &str| proto::AttributeInput {
        key: key.into(),
        value_json: "\"likes to be asked\"".into(),
        category: "activity".into(),
        provenance: proto::Provenance::Inferred.into(),
        from_replies: vec![reply.to_owned()],
        ..Default::default()
    };
    let request = proto::RecordAttributesRequest {
        subject: subject.into(),
        attributes: vec![inferred(key), inferred("habit/new")],
        options: None,
    };
    service.profile.record_attributes(request).await.unwrap();
}

/// Some subjects withdraw consent; some pause.
async fn withdraw(steward: &mut Clients, subject: &str, at: usize) {
    if at.is_multiple_of(3) || at >= 6 {
        let withdrawal = choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
        steward.consent.record_consent(consent(subject, vec![withdrawal])).await.unwrap();
    }
    if at >= 5 {
        let pause = proto::RecordSignalRequest {
            subject: subject.into(),
            kind: proto::SignalKind::Pause.into(),
            ..Default::default()
        };
        steward.consent.record_signal(pause).await.unwrap();
    }
}

/// Contests two inferences. One is removed afterwards; for some subjects the contest of the other is
/// withdrawn.
async fn contest_inferences(steward: &mut Clients, subject: &str, at: usize) {
    let request = proto::GetProfileRequest {
        subject: subject.into(),
        as_of: None,
        rebuild: false,
        ..Default::default()
    };
    let profile = steward.profile.get_profile(request).await.unwrap().into_inner();
    let inferred =
        profile.attributes.iter().filter(|attribute| attribute.provenance() == proto::Provenance::Inferred);
    let keys: Vec<String> = inferred.map(|attribute| attribute.key.clone()).take(3).collect();
    if at == 2 {
        return;
    }
    for key in &keys[..2] {
        let contest = proto::ContestAttributeRequest {
            subject: subject.into(),
            key: key.clone(),
            ..Default::default()
        };
        steward.profile.contest_attribute(contest).await.unwrap();
    }
    let remove = proto::RemoveAttributesRequest {
        subject: subject.into(),
        keys: vec![keys[0].clone(), keys[2].clone()],
        ..Default::default()
    };
    steward.profile.remove_attributes(remove).await.unwrap();
    if at >= 4 {
        let confirm = proto::ConfirmAttributeRequest {
            subject: subject.into(),
            key: keys[1].clone(),
            ..Default::default()
        };
        steward.profile.confirm_attribute(confirm).await.unwrap();
    }
}
