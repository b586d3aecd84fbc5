//! Tests that an attribute counts as inferred if somebody other than the person concluded it from a special
//! attribute, no matter which provenance the recorder claims.

use crate::erasure::verify;
use crate::harness::{self, Clients, Harness, choice, consent, fact, publish_notice};
use crate::package::{Unpacked, export};
use crate::side_channel::Served;
use sayso::proto::event_body::Event;
use sayso::proto::{self, ConsentDecision, DenialReason, Provenance, Role};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;
use tonic_types::StatusExt;

struct World {
    harness: Harness,
    service: Clients,
    steward: Clients,
    ada: Clients,
}

/// A ledger in which ada declared an illness.
async fn world() -> World {
    let harness = Harness::start().await;
    let service = harness.as_claim(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    publish_notice(&mut steward).await;
    ada.profile.record_attributes(fact("ada", "illness", "health", "migraine")).await.unwrap();
    World { harness, service, steward, ada }
}

impl World {
    /// Ada's attributes, by key.
    async fn profile(&mut self) -> BTreeMap<String, proto::ProfileAttribute> {
        let profile = self.ada.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap();
        let attributes = profile.into_inner().attributes.into_iter();
        attributes.map(|attribute| (attribute.key.clone(), attribute)).collect()
    }

    /// An attribute that is derived from the current attribute under another key.
    async fn derived(
        &mut self,
        key: &str,
        provenance: Provenance,
        source: &str,
    ) -> proto::RecordAttributesRequest {
        let mut request = fact("ada", key, "work", "often absent");
        request.attributes[0].provenance = provenance.into();
        request.attributes[0].derived_from = vec![self.profile().await[source].event_id.clone()];
        request
    }

    async fn decide(&mut self, decision: ConsentDecision, categories: &[&str]) {
        let request = consent("ada", vec![choice(decision, "memory", categories, true)]);
        self.steward.consent.record_consent(request).await.unwrap();
    }

    /// What a service may use, and why the rest is withheld.
    async fn ask(&mut self, keys: &[&str]) -> (proto::RequestGrantResponse, Vec<DenialReason>) {
        let request = proto::RequestGrantRequest {
            subject: "ada".into(),
            purpose: "memory".into(),
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            ..Default::default()
        };
        let grant = self.service.grant.request_grant(request).await.unwrap().into_inner();
        let reasons = grant.withheld.iter().map(proto::Withheld::reason).collect();
        (grant, reasons)
    }
}

async fn record(
    clients: &mut Clients,
    request: proto::RecordAttributesRequest,
) -> Result<proto::RecordAttributesResponse, tonic::Status> {
    clients.profile.record_attributes(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_observes_from_a_special_attribute_is_recorded_as_inferred_and_needs_its_consent() {
    let mut world = world().await;
    let observed = world.derived("absence", Provenance::Observed, "illness").await;
    let refused = record(&mut world.service, observed.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let details = refused.get_details_precondition_failure().unwrap();
    assert!(details.violations[0].description.contains("gdpr/art-9-inference"), "{details:?}");
    // Consent for the category of the attribute is not enough, because the attribute is concluded from
    // health.
    world.decide(ConsentDecision::Given, &["work"]).await;
    record(&mut world.service, observed.clone()).await.unwrap_err();
    world.decide(ConsentDecision::Given, &["health"]).await;
    record(&mut world.service, observed).await.unwrap();
    let second = world.derived("habit", Provenance::Observed, "absence").await;
    record(&mut world.service, second).await.unwrap();
    let profile = world.profile().await;
    for key in ["absence", "habit"] {
        let attribute = &profile[key];
        assert_eq!(attribute.provenance(), Provenance::Inferred, "{key}");
        assert_eq!(attribute.claimed_provenance(), Provenance::Observed);
        assert!(attribute.expires_at.is_some() && attribute.model == "tutor");
    }
    assert_eq!(profile["illness"].claimed_provenance(), Provenance::Unspecified);
    let package = export(&mut world.ada, "", proto::PackageKind::Access).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let package = Unpacked::of(&package, folder.path());
    let exported = package.json();
    let absence =
        exported["attributes"].as_array().unwrap().iter().find(|of| of["key"] == "absence").unwrap();
    assert_eq!(
        (&absence["provenance"], &absence["claimed_provenance"]),
        (&"inferred".into(), &"observed".into())
    );
    assert!(package.text("index.html").contains("stated as observed"));
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_declaration_is_the_persons_own_only_with_their_credential_or_confirmation() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    let own = world.derived("own", Provenance::Declared, "illness").await;
    record(&mut world.ada, own.clone()).await.unwrap();
    assert_eq!(world.profile().await["own"].provenance(), Provenance::Declared);
    let claimed = world.derived("claimed", Provenance::Declared, "illness").await;
    record(&mut world.steward, claimed).await.unwrap();
    // It does not replace what she said herself.
    let mut over = own;
    over.attributes[0].value_json = "\"never absent\"".into();
    assert_eq!(record(&mut world.steward, over).await.unwrap().superseded, [0]);
    let choices = proto::SetPersonalBoundsRequest {
        bounds: Some(proto::PersonalBounds { declared_only: true, ..Default::default() }),
        ..Default::default()
    };
    world.ada.bounds.set_personal_bounds(choices).await.unwrap();
    let keys = |grant: &proto::RequestGrantResponse| -> Vec<String> {
        grant.allowed.iter().map(|attribute| attribute.key.clone()).collect()
    };
    assert_eq!(keys(&world.ask(&["own", "claimed"]).await.0), ["own"]);
    let confirm = proto::ConfirmAttributeRequest { key: "claimed".into(), ..Default::default() };
    world.ada.profile.confirm_attribute(confirm).await.unwrap();
    assert_eq!(keys(&world.ask(&["own", "claimed"]).await.0), ["claimed", "own"]);
    // A channel records what people say, and this is a conclusion.
    let mut channel = world.harness.as_claim(Role::Channel, "app").await;
    let said = world.derived("said", Provenance::Declared, "illness").await;
    assert_eq!(record(&mut channel, said).await.unwrap_err().code(), Code::PermissionDenied);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inference_from_a_reply_counts_as_derived_from_the_special_attributes_that_shaped_it() {
    let mut world = world().await;
    world.steward.profile.record_attributes(fact("ada", "job", "work", "teacher")).await.unwrap();
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    let (grant, _) = world.ask(&["illness", "job"]).await;
    for (reply, shaped_by) in
        [("named", vec!["illness".to_owned()]), ("unnamed", vec![]), ("job", vec!["job".into()])]
    {
        let report = proto::ReportUseRequest {
            grant_id: grant.grant_id.clone(),
            reply: reply.into(),
            shaped_by,
            ..Default::default()
        };
        world.service.grant.report_use(report).await.unwrap();
    }
    let inferred = |reply: &str| {
        let mut request = fact("ada", reply, "work", "often absent");
        request.attributes[0].provenance = Provenance::Inferred.into();
        request.attributes[0].from_replies = vec![reply.to_owned()];
        request
    };
    for reply in ["named", "unnamed", "job"] {
        record(&mut world.service, inferred(reply)).await.unwrap();
    }
    // Another service that names the reply learns nothing about it.
    let mut other = world.harness.as_claim(Role::Service, "other").await;
    let mut named = inferred("named");
    named.attributes[0].key = "others".into();
    record(&mut other, named).await.unwrap();
    let profile = world.profile().await;
    let illness = vec![profile["illness"].event_id.clone()];
    assert_eq!(profile["named"].derived_from, illness);
    assert_eq!(profile["unnamed"].derived_from, illness);
    assert!(profile["job"].derived_from.is_empty() && profile["others"].derived_from.is_empty());
    assert_eq!(world.ask(&["named", "unnamed"]).await.0.allowed.len(), 2);
    world.decide(ConsentDecision::Withdrawn, &["health"]).await;
    let (grant, reasons) = world.ask(&["named", "unnamed"]).await;
    assert!(grant.allowed.is_empty());
    assert_eq!(reasons, [DenialReason::SourceWithheld]);
    // Without consent for health, the service may not conclude anything from that reply.
    let mut again = inferred("named");
    again.attributes[0].key = "again".into();
    assert_eq!(record(&mut world.service, again).await.unwrap_err().code(), Code::FailedPrecondition);
    verify(&world.harness);
}

/// Reports a reply that the illness shaped.
async fn report(world: &mut World, reply: &str) {
    let (grant, _) = world.ask(&["illness"]).await;
    let report = proto::ReportUseRequest {
        grant_id: grant.grant_id,
        reply: reply.into(),
        shaped_by: vec!["illness".into()],
        ..Default::default()
    };
    world.service.grant.report_use(report).await.unwrap();
}

/// An inference about work that was drawn from a reply.
fn from_reply(key: &str, reply: &str) -> proto::RecordAttributesRequest {
    let mut request = fact("ada", key, "work", "often absent");
    request.attributes[0].provenance = Provenance::Inferred.into();
    request.attributes[0].from_replies = vec![reply.to_owned()];
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_reported_late_completes_the_inferences_that_were_drawn_from_it() {
    let mut world = world().await;
    world.steward.profile.record_attributes(fact("ada", "job", "work", "teacher")).await.unwrap();
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    // The service infers first, and reports the reply afterwards.
    for (key, reply) in [("ill", "of-illness"), ("busy", "of-job"), ("other", "of-another")] {
        record(&mut world.service, from_reply(key, reply)).await.unwrap();
    }
    let mut other = world.harness.as_claim(Role::Service, "other").await;
    record(&mut other, from_reply("others", "of-illness")).await.unwrap();
    let standing = world.ask(&["ill", "busy"]).await.0;
    assert_eq!(standing.allowed.len(), 2);
    // Recorded again, it has the same content, and its grants stay valid, before the report as well as after
    // it.
    record(&mut world.service, from_reply("ill", "of-illness")).await.unwrap();
    assert!(stands(&mut world, &standing.grant_id).await);
    report(&mut world, "of-illness").await;
    assert!(stands(&mut world, &standing.grant_id).await);
    let (grant, _) = world.ask(&["job"]).await;
    let request = proto::ReportUseRequest {
        grant_id: grant.grant_id,
        reply: "of-job".into(),
        shaped_by: vec!["job".into()],
        ..Default::default()
    };
    world.service.grant.report_use(request).await.unwrap();
    let profile = world.profile().await;
    assert_eq!(profile["ill"].derived_from, [profile["illness"].event_id.clone()]);
    for key in ["busy", "other", "others"] {
        assert!(profile[key].derived_from.is_empty(), "{key}");
    }
    let grant = world.ask(&["ill"]).await.0;
    assert_eq!(grant.allowed.len(), 1, "both consents are in force");
    // Recorded again, it has the same content, and its grants stay valid.
    record(&mut world.service, from_reply("ill", "of-illness")).await.unwrap();
    assert!(stands(&mut world, &grant.grant_id).await && stands(&mut world, &standing.grant_id).await);
    world.decide(ConsentDecision::Withdrawn, &["health"]).await;
    let (grant, reasons) = world.ask(&["ill"]).await;
    assert!(grant.allowed.is_empty());
    assert_eq!(reasons, [DenialReason::SourceWithheld]);
    assert!(!stands(&mut world, &standing.grant_id).await);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_after_a_withdrawal_ends_the_grants_of_what_was_inferred_from_the_reply() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    let (of_illness, _) = world.ask(&["illness"]).await;
    record(&mut world.service, from_reply("late", "reply")).await.unwrap();
    let used_at = prost_types::Timestamp::from(std::time::SystemTime::now());
    world.decide(ConsentDecision::Withdrawn, &["health"]).await;
    let (grant, _) = world.ask(&["late"]).await;
    assert_eq!(grant.allowed.len(), 1, "nothing says yet that illness shaped the reply");
    let request = proto::ReportUseRequest {
        grant_id: of_illness.grant_id,
        reply: "reply".into(),
        options: Some(proto::WriteOptions { about: Some(used_at), ..Default::default() }),
        ..Default::default()
    };
    world.service.grant.report_use(request).await.unwrap();
    assert!(!stands(&mut world, &grant.grant_id).await);
    assert!(world.ask(&["late"]).await.0.allowed.is_empty());
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_that_were_inferred_from_each_other_are_withheld() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    record(&mut world.service, from_reply("absence", "reply")).await.unwrap();
    let mut strain = world.derived("strain", Provenance::Inferred, "absence").await;
    strain.attributes[0].category = "health".into();
    record(&mut world.service, strain).await.unwrap();
    let (grant, _) = world.ask(&["strain"]).await;
    assert_eq!(grant.allowed.len(), 1);
    let request = proto::ReportUseRequest {
        grant_id: grant.grant_id.clone(),
        reply: "reply".into(),
        shaped_by: vec!["strain".into()],
        ..Default::default()
    };
    world.service.grant.report_use(request).await.unwrap();
    assert!(!stands(&mut world, &grant.grant_id).await);
    for keys in [&["absence", "strain"][..], &["strain"], &["absence"]] {
        let (grant, reasons) = world.ask(keys).await;
        assert!(grant.allowed.is_empty(), "{keys:?}");
        assert!(reasons.iter().all(|reason| *reason == DenialReason::SourceWithheld), "{reasons:?}");
    }
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_256_attributes_may_name_one_reply() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["work"]).await;
    let many = |from: usize, count: usize| {
        let mut request = from_reply("first", "reply");
        let one = request.attributes[0].clone();
        let key = |number| proto::AttributeInput { key: format!("key-{number}"), ..one.clone() };
        request.attributes = (from..from + count).map(key).collect();
        request
    };
    for from in [0, 128] {
        record(&mut world.service, many(from, 128)).await.unwrap();
    }
    let refused = record(&mut world.service, many(256, 1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    // Recording one of them again adds none.
    record(&mut world.service, many(3, 1)).await.unwrap();
}

/// Whether a grant of the service stands.
async fn stands(world: &mut World, grant: &str) -> bool {
    let check = proto::CheckGrantRequest { grant_id: grant.to_owned(), ..Default::default() };
    let checked = world.service.grant.check_grant(check).await.unwrap().into_inner();
    checked.valid
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conclusion_needs_the_consent_for_a_special_source_that_is_not_current_any_more() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    report(&mut world, "reply").await;
    let absence = world.derived("absence", Provenance::Observed, "illness").await;
    record(&mut world.service, absence).await.unwrap();
    let remove = proto::RemoveAttributesRequest { keys: vec!["illness".into()], ..Default::default() };
    world.ada.profile.remove_attributes(remove).await.unwrap();
    let habit = world.derived("habit", Provenance::Observed, "absence").await;
    for request in [from_reply("late", "reply"), habit] {
        world.decide(ConsentDecision::Withdrawn, &["health"]).await;
        let refused = record(&mut world.service, request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        world.decide(ConsentDecision::Given, &["health"]).await;
        record(&mut world.service, request).await.unwrap();
    }
    let profile = world.profile().await;
    assert_eq!(profile["habit"].provenance(), Provenance::Inferred);
    assert_eq!(profile["habit"].claimed_provenance(), Provenance::Observed);
    assert!(world.ask(&["late", "habit"]).await.0.allowed.is_empty(), "their source is gone");
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inference_from_a_reply_is_usable_if_its_special_source_was_recorded_again_unchanged() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    report(&mut world, "reply").await;
    world.ada.profile.record_attributes(fact("ada", "illness", "health", "migraine")).await.unwrap();
    record(&mut world.service, from_reply("again", "reply")).await.unwrap();
    let profile = world.profile().await;
    assert_eq!(profile["again"].derived_from, [profile["illness"].event_id.clone()]);
    assert_eq!(world.ask(&["again"]).await.0.allowed.len(), 1);
    // With another value it is another source, and the reply was drawn from the old one.
    world.ada.profile.record_attributes(fact("ada", "illness", "health", "none")).await.unwrap();
    record(&mut world.service, from_reply("late", "reply")).await.unwrap();
    assert!(world.ask(&["again", "late"]).await.0.allowed.is_empty());
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::await_holding_lock, reason = "the store waits for the lock in a thread of its own")]
async fn other_writes_about_a_person_do_not_wait_for_the_history_that_a_reply_needs() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::start(dir.path()).await;
    let clients = |role: Role, name: &str| {
        Clients::over(&served.channel, Some(&served.token(0, harness::claim_for(role), name)))
    };
    let (mut ada, mut steward) = (clients(Role::Subject, "ada"), clients(Role::Steward, "team"));
    record(&mut ada, fact("ada", "job", "work", "teacher")).await.unwrap();
    let held = Arc::clone(&served.reading);
    let held = held.lock().unwrap();
    let inference = tokio::spawn(async move { record(&mut steward, from_reply("tired", "reply-1")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!inference.is_finished(), "it reads the history");
    let other = record(&mut ada, fact("ada", "city", "location", "Graz"));
    let recorded = tokio::time::timeout(Duration::from_secs(10), other).await;
    drop(held);
    recorded.expect("the write does not wait").unwrap();
    inference.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_late_report_does_to_attributes_is_the_act_of_the_ledger_and_not_the_persons_words() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    let mut illnesses = fact("ada", "illness", "health", "migraine");
    let one = illnesses.attributes[0].clone();
    let key = |number| proto::AttributeInput { key: format!("illness-{number}"), ..one.clone() };
    illnesses.attributes = (0..64).map(key).collect();
    world.ada.profile.record_attributes(illnesses).await.unwrap();
    // Through this service, people speak, too.
    let mut both = world.harness.as_role(Role::Service, "tutor").await;
    record(&mut both, from_reply("of-one", "one")).await.unwrap();
    record(&mut both, from_reply("of-all", "all")).await.unwrap();
    for (reply, keys) in [("one", &["illness"][..]), ("all", &[])] {
        let (grant, _) = world.ask(keys).await;
        let grant_id = grant.grant_id;
        let report = proto::ReportUseRequest { grant_id, reply: reply.into(), ..Default::default() };
        both.grant.report_use(report).await.unwrap();
    }
    let profile = world.profile().await;
    assert_eq!(profile["of-one"].derived_from, [profile["illness"].event_id.clone()]);
    assert!(!profile.contains_key("of-all"), "it would have 65 sources");
    let request = proto::ListEventsRequest { subject: "ada".into(), page_size: 1_000, ..Default::default() };
    let events = world.steward.profile.list_events(request).await.unwrap().into_inner().events;
    let bodies = events.iter().filter_map(|event| event.body.as_ref());
    let actors = |is_kind: fn(&Event) -> bool| -> Vec<Role> {
        let of_kind = bodies.clone().filter(|body| body.event.as_ref().is_some_and(is_kind));
        of_kind.map(|body| body.actor.clone().unwrap_or_default().role()).collect()
    };
    assert_eq!(actors(|event| matches!(event, Event::AttributeSourcesAdded(_))), [Role::Ledger]);
    assert_eq!(actors(|event| matches!(event, Event::AttributeRemoved(_))), [Role::Ledger]);
    assert_eq!(actors(|event| matches!(event, Event::GrantUsed(_))), [Role::Service; 2]);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_report_also_completes_what_was_inferred_through_other_replies() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    let reply_of = async |world: &mut World, key: &str, reply: &str| {
        let (grant, _) = world.ask(&[key]).await;
        let report = proto::ReportUseRequest {
            grant_id: grant.grant_id,
            reply: reply.into(),
            shaped_by: vec![key.into()],
            ..Default::default()
        };
        world.service.grant.report_use(report).await.unwrap();
    };
    // The reply of the illness is reported last. Between it and `last` are two replies and a derivation.
    record(&mut world.service, from_reply("first", "of-illness")).await.unwrap();
    reply_of(&mut world, "first", "of-first").await;
    record(&mut world.service, from_reply("second", "of-first")).await.unwrap();
    let derived = world.derived("derived", Provenance::Inferred, "second").await;
    record(&mut world.service, derived).await.unwrap();
    reply_of(&mut world, "derived", "of-derived").await;
    record(&mut world.service, from_reply("last", "of-derived")).await.unwrap();
    record(&mut world.service, from_reply("other", "of-nothing")).await.unwrap();
    assert_eq!(world.ask(&["first", "second", "derived", "last", "other"]).await.0.allowed.len(), 5);
    report(&mut world, "of-illness").await;
    let profile = world.profile().await;
    for key in ["first", "second", "last"] {
        assert!(profile[key].derived_from.contains(&profile["illness"].event_id), "{key}");
    }
    let standing = world.ask(&["first", "second", "derived", "last", "other"]).await.0;
    assert_eq!(standing.allowed.len(), 5, "both consents are in force");
    world.decide(ConsentDecision::Withdrawn, &["health"]).await;
    assert!(!stands(&mut world, &standing.grant_id).await);
    for key in ["first", "second", "derived", "last"] {
        let (grant, reasons) = world.ask(&[key]).await;
        assert!(grant.allowed.is_empty(), "{key}");
        assert_eq!(reasons, [DenialReason::SourceWithheld], "{key}");
    }
    assert_eq!(world.ask(&["other"]).await.0.allowed.len(), 1);
    verify(&world.harness);
}
