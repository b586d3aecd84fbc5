//! Tests that a partial erasure leaves no reference to erased data. The forensic tool opens every entry that
//! the current keys can open, and none of these entries has the id of an erased event.

use crate::erasure::{erasure, record, verify};
use crate::forensic_tool::{Findings, Image};
use crate::harness::{self, Clients, Harness, ask, choice, consent, fact};
use sayso::proto::{self, ConsentDecision, ErasureScope, RevocationReason, Role};
use std::collections::BTreeSet;

type Id = [u8; 16];

fn ids(image: &Image) -> BTreeSet<Id> {
    image.entries().into_iter().map(|(entry, _)| entry.header.event_id).collect()
}

/// The number of opened events that name this event.
fn naming(findings: &Findings, id: &Id) -> usize {
    // Ids are bytes in the debug format: `[1, 2, 3]`.
    let shown = format!("{id:?}");
    findings.texts.iter().filter(|text| text.contains(&shown)).count()
}

/// Where erased events are still named: in opened events, and in the bytes of the log.
fn left(before: &Image, after: &Image) -> (usize, Vec<String>) {
    let erased: Vec<Id> = ids(before).difference(&ids(after)).copied().collect();
    let findings = Findings::of(after, after);
    let mut named = Vec::new();
    for id in &erased {
        let count = naming(&findings, id);
        let files =
            after.files_with(id).into_iter().filter(|path| path.extension().is_some_and(|e| e == "seg"));
        let files = files.count();
        if count + files > 0 {
            named.push(format!("{} in {count} events and {files} segments", hex::encode(id)));
        }
    }
    (erased.len(), named)
}

fn id_of(text: &str) -> Id {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    hex::decode(digits).unwrap().try_into().unwrap()
}

async fn artifact(service: &mut Clients, grant_id: &str, source: &str) -> String {
    let request = proto::RegisterArtifactRequest {
        grant_id: grant_id.into(),
        kind: proto::ArtifactKind::Summary.into(),
        name: format!("summary of {source}"),
        sources: vec![source.into()],
        ..Default::default()
    };
    service.grant.register_artifact(request).await.unwrap().into_inner().artifact_id
}

/// Gives consent for these categories.
async fn give(steward: &mut Clients, categories: &[&str]) {
    let given = choice(ConsentDecision::Given, "tone-adaptation", categories, false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_of_an_erased_event_is_left_where_grants_withheld_something_because_of_it() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    give(&mut steward, &["preference"]).await;
    record(&mut service, fact("ada", "music", "preference", "jazz")).await;
    let source = record(&mut service, fact("ada", "hk", "work", "baker")).await;
    let mut derived = fact("ada", "bread", "preference", "rye");
    derived.attributes[0].derived_from = vec![source.clone()];
    record(&mut service, derived).await;
    // This grant withholds `bread`, because its source may not be used, and allows `music`.
    let withheld = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(withheld.allowed.len(), 1, "{withheld:?}");
    // This one withholds `hk`, because the person contested it.
    give(&mut steward, &["preference", "work"]).await;
    let contest = proto::ContestAttributeRequest {
        subject: "ada".into(),
        key: "hk".into(),
        reason: "no".into(),
        ..Default::default()
    };
    steward.profile.contest_attribute(contest).await.unwrap();
    let contested = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    // Nothing that is erased is in this grant.
    let only = proto::RequestGrantRequest { keys: vec!["music".into()], ..ask("ada") };
    let other = service.grant.request_grant(only).await.unwrap().into_inner();
    let before = Image::of(harness.dir.path());
    let control = naming(&Findings::of(&before, &before), &id_of(&source));
    assert!(control >= 3, "the attribute, the contest and a grant name it: {control}");

    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "hk")).await.unwrap();
    let (erased, named) = left(&before, &Image::of(harness.dir.path()));
    assert!(erased >= 3, "{erased}");
    assert_eq!(named, Vec::<String>::new(), "of {erased} erased events");
    for (grant, stands) in [(&withheld, false), (&contested, false), (&other, true)] {
        let check = proto::CheckGrantRequest { grant_id: grant.grant_id.clone(), keys: Vec::new() };
        let checked = service.grant.check_grant(check).await.unwrap().into_inner();
        assert_eq!(checked.valid, stands);
        assert!(stands || checked.reason() == RevocationReason::PartlyErased);
    }
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_of_an_erased_grant_is_left_in_artifacts_and_an_erased_refusal_in_no_grant() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    give(&mut steward, &[]).await;
    record(&mut service, fact("ada", "music", "preference", "jazz")).await;
    record(&mut service, fact("ada", "hk", "work", "baker")).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 2);
    let grant = grant.grant_id;
    let built = artifact(&mut service, &grant, "music").await;
    // The refused erasure keeps `hk` from use. A later grant names the refusal.
    let placed =
        steward.rights.place_hold(crate::erasure::hold("ada", &["work"])).await.unwrap().into_inner();
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "hk")).await.unwrap();
    let kept = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(kept.allowed.len(), 1, "{kept:?}");
    let lift = proto::LiftHoldRequest {
        subject: "ada".into(),
        hold_id: placed.hold_id,
        reason: "over".into(),
        ..Default::default()
    };
    steward.rights.lift_hold(lift).await.unwrap();
    let before = Image::of(harness.dir.path());
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "hk")).await.unwrap();
    let (erased, named) = left(&before, &Image::of(harness.dir.path()));
    assert!(erased >= 3, "{erased}");
    assert_eq!(named, Vec::<String>::new(), "of {erased} erased events");
    let list = proto::ListArtifactsRequest { subject: "ada".into(), ..Default::default() };
    let listed = steward.grant.list_artifacts(list).await.unwrap().into_inner().artifacts;
    assert!(listed.is_empty(), "{built} ended with its grant: {listed:?}");
    verify(&harness);
}

/// Reports a reply under a grant, and records an inference that was drawn from the reply.
async fn infer(service: &mut Clients, grant_id: &str, reply: &str, shaped_by: &[&str], key: &str) {
    let report = proto::ReportUseRequest {
        grant_id: grant_id.into(),
        reply: reply.into(),
        shaped_by: shaped_by.iter().map(|key| (*key).to_owned()).collect(),
        ..Default::default()
    };
    service.grant.report_use(report).await.unwrap();
    let mut inferred = fact("ada", key, "work", "gets up early");
    inferred.attributes[0].provenance = proto::Provenance::Inferred.into();
    inferred.attributes[0].from_replies = vec![reply.to_owned()];
    record(service, inferred).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inference_from_a_reply_that_an_erased_attribute_shaped_is_erased_and_what_was_inferred_from_it() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut other = harness.as_role(Role::Service, "other").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    give(&mut steward, &[]).await;
    record(&mut service, fact("ada", "hk", "work", "baker")).await;
    record(&mut service, fact("ada", "music", "preference", "jazz")).await;
    let grant = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    infer(&mut service, &grant, "r1", &["hk"], "from-hk").await;
    infer(&mut service, &grant, "r2", &["music"], "from-music").await;
    // A report that names no attributes leaves open which of the grant's shaped the reply.
    infer(&mut service, &grant, "r3", &[], "from-either").await;
    let next = service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id;
    infer(&mut service, &next, "r4", &["from-hk"], "from-from-hk").await;
    // The reply of another service has the same name.
    let only = proto::RequestGrantRequest { keys: vec!["music".into()], ..ask("ada") };
    let others = other.grant.request_grant(only).await.unwrap().into_inner().grant_id;
    infer(&mut other, &others, "r1", &["music"], "others").await;

    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::Key, "hk")).await.unwrap();
    let counts = erased.into_inner().certificate.unwrap().erased_by_category;
    assert_eq!(counts.get("work"), Some(&4), "{counts:?}");
    let request = proto::GetProfileRequest { subject: "ada".into(), rebuild: true, ..Default::default() };
    let left = steward.profile.get_profile(request).await.unwrap().into_inner().attributes;
    let left: Vec<_> = left.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(left, ["from-music", "music", "others"]);
    let granted = service.grant.request_grant(ask("ada")).await.unwrap().into_inner();
    assert_eq!(granted.allowed.len(), 3);
    assert_eq!(verify(&harness)["grants"]["unjustified"], "0");
}
