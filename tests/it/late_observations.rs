//! Tests which of two attributes under one key is current. An older observation that arrives late never hides
//! a newer one.

use crate::erasure::verify;
use crate::harness::{Clients, Harness, choice, consent, fact, publish_notice};
use sayso::proto::{self, ConsentDecision, Provenance, Role, event_body::Event};
use std::time::{SystemTime, UNIX_EPOCH};

struct World {
    harness: Harness,
    service: Clients,
    steward: Clients,
    ada: Clients,
    now_s: i64,
}

async fn world() -> World {
    let harness = Harness::start().await;
    let service = harness.as_claim(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let ada = harness.as_role(Role::Subject, "ada").await;
    publish_notice(&mut steward).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    World { harness, service, steward, ada, now_s: i64::try_from(now.as_secs()).unwrap() }
}

impl World {
    /// An attribute under the key `pulse` that was observed some seconds ago.
    fn pulse(&self, provenance: Provenance, value: &str, ago_s: i64) -> proto::RecordAttributesRequest {
        let mut request = fact("ada", "pulse", "work", value);
        request.attributes[0].provenance = provenance.into();
        request.attributes[0].observed_at =
            Some(prost_types::Timestamp { seconds: self.now_s - ago_s, nanos: 0 });
        request
    }

    /// The service observes a pulse. Returns the indexes of attributes that are not in the profile.
    async fn observe(&mut self, value: &str, ago_s: i64) -> Vec<u32> {
        let request = self.pulse(Provenance::Observed, value, ago_s);
        record(&mut self.service, request).await
    }

    /// The values in the profile.
    async fn values(&mut self) -> Vec<String> {
        let profile = self.ada.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap();
        profile.into_inner().attributes.into_iter().map(|attribute| attribute.value_json).collect()
    }

    async fn event_id(&mut self) -> String {
        let profile = self.ada.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap();
        profile.into_inner().attributes[0].event_id.clone()
    }

    async fn grant(&mut self) -> proto::RequestGrantResponse {
        let request = proto::RequestGrantRequest {
            subject: "ada".into(),
            purpose: "memory".into(),
            ..Default::default()
        };
        self.service.grant.request_grant(request).await.unwrap().into_inner()
    }

    async fn stands(&mut self, grant: &proto::RequestGrantResponse) -> bool {
        let check = proto::CheckGrantRequest { grant_id: grant.grant_id.clone(), keys: Vec::new() };
        self.service.grant.check_grant(check).await.unwrap().into_inner().valid
    }

    async fn decide(&mut self, decision: ConsentDecision, categories: &[&str]) {
        let request = consent("ada", vec![choice(decision, "memory", categories, true)]);
        self.steward.consent.record_consent(request).await.unwrap();
    }
}

async fn record(clients: &mut Clients, request: proto::RecordAttributesRequest) -> Vec<u32> {
    clients.profile.record_attributes(request).await.unwrap().into_inner().superseded
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_observation_that_arrives_late_is_kept_as_history_and_ends_no_grant() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["work"]).await;
    assert_eq!(world.observe("newer", 60).await, Vec::<u32>::new());
    let grant = world.grant().await;
    assert_eq!(world.observe("older", 120).await, [0]);
    assert_eq!(world.values().await, ["\"newer\""]);
    assert!(world.stands(&grant).await);
    assert_eq!(world.grant().await.allowed[0].value_json, "\"newer\"");
    let request = proto::ListEventsRequest { page_size: 1_000, ..Default::default() };
    let page = world.ada.profile.list_events(request).await.unwrap().into_inner();
    let events = page.events.into_iter().filter_map(|event| event.body?.event);
    let late = events.filter_map(|event| match event {
        Event::EarlierAttributeRecorded(earlier) => Some(earlier.attribute.unwrap().value_json),
        _ => None,
    });
    assert_eq!(late.collect::<Vec<_>>(), ["\"older\""]);
    // At equal times, the later recording counts. It ends the grant, because the value differs.
    assert_eq!(world.observe("equal", 60).await, Vec::<u32>::new());
    assert_eq!(world.values().await, ["\"equal\""]);
    assert!(!world.stands(&grant).await);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_of_one_request_are_placed_by_when_they_were_observed() {
    let mut world = world().await;
    let mut request = world.pulse(Provenance::Observed, "first", 60);
    for (value, ago_s) in [("second", 90), ("third", 30), ("fourth", 45)] {
        request.attributes.extend(world.pulse(Provenance::Observed, value, ago_s).attributes);
    }
    assert_eq!(record(&mut world.service, request).await, [1, 3]);
    assert_eq!(world.values().await, ["\"third\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_a_correction_and_a_removal_count_whenever_the_value_was_observed() {
    let mut world = world().await;
    let inferred = world.pulse(Provenance::Inferred, "inferred", 10);
    record(&mut world.service, inferred).await;
    // What the person declares replaces an inference that was made later.
    let declared = world.pulse(Provenance::Declared, "declared", 100);
    assert_eq!(record(&mut world.ada, declared).await, Vec::<u32>::new());
    assert_eq!(world.values().await, ["\"declared\""]);
    // An older statement does not replace a newer one, but a correction does.
    let older = world.pulse(Provenance::Declared, "older", 200);
    assert_eq!(record(&mut world.ada, older).await, [0]);
    let mut correction = world.pulse(Provenance::Declared, "corrected", 300);
    correction.attributes[0].corrects = world.event_id().await;
    assert_eq!(record(&mut world.ada, correction).await, Vec::<u32>::new());
    assert_eq!(world.values().await, ["\"corrected\""]);
    let remove = proto::RemoveAttributesRequest { keys: vec!["pulse".into()], ..Default::default() };
    world.ada.profile.remove_attributes(remove).await.unwrap();
    assert_eq!(world.values().await, Vec::<String>::new());
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_category_reaches_the_newer_value_although_an_older_one_was_filed_elsewhere() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["health", "work"]).await;
    let mut health = world.pulse(Provenance::Observed, "fast", 10);
    health.attributes[0].category = "health".into();
    record(&mut world.service, health).await;
    let grant = world.grant().await;
    assert_eq!(grant.allowed.len(), 1);
    world.observe("slow", 60).await;
    assert!(world.stands(&grant).await);
    world.decide(ConsentDecision::Withdrawn, &["health"]).await;
    assert!(!world.stands(&grant).await);
    assert!(world.grant().await.allowed.is_empty());
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_not_told_that_another_service_observed_something_later() {
    let mut world = world().await;
    let mut other = world.harness.as_claim(Role::Service, "other").await;
    let newer = world.pulse(Provenance::Observed, "newer", 10);
    record(&mut other, newer).await;
    assert_eq!(world.observe("older", 60).await, Vec::<u32>::new());
    assert_eq!(world.values().await, ["\"newer\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_moves_no_correction_over_a_value_that_was_observed_later() {
    let mut world = world().await;
    world.observe("newer", 10).await;
    let mut tempo = world.pulse(Provenance::Observed, "older", 60);
    tempo.attributes[0].key = "tempo".into();
    record(&mut world.service, tempo).await;
    let profile = world.ada.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap();
    let attributes = profile.into_inner().attributes;
    let tempo = attributes.iter().find(|attribute| attribute.key == "tempo").unwrap();
    let mut correction = world.pulse(Provenance::Observed, "older", 60);
    correction.attributes[0].corrects = tempo.event_id.clone();
    let refused = world.service.profile.record_attributes(correction.clone()).await.unwrap_err();
    assert!(refused.message().contains("`attributes[0].corrects`"), "{refused:?}");
    assert_eq!(world.values().await.len(), 2);
    correction.attributes[0].provenance = Provenance::Declared.into();
    assert_eq!(record(&mut world.steward, correction).await, Vec::<u32>::new());
    assert_eq!(world.values().await, ["\"older\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_from_before_a_contest_does_not_end_it() {
    let mut world = world().await;
    let given = choice(ConsentDecision::Given, "memory", &[], false);
    world.steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    world.observe("60", 10).await;
    assert_eq!(world.grant().await.allowed.len(), 1);
    let contest = proto::ContestAttributeRequest { key: "pulse".into(), ..Default::default() };
    world.ada.profile.contest_attribute(contest).await.unwrap();
    let confirm = |about| proto::ConfirmAttributeRequest {
        key: "pulse".into(),
        options: Some(proto::WriteOptions { about, ..Default::default() }),
        ..Default::default()
    };
    let earlier = prost_types::Timestamp { seconds: world.now_s - 5, nanos: 0 };
    world.ada.profile.confirm_attribute(confirm(Some(earlier))).await.unwrap();
    assert!(world.grant().await.allowed.is_empty());
    world.ada.profile.confirm_attribute(confirm(None)).await.unwrap();
    assert_eq!(world.grant().await.allowed.len(), 1);
    verify(&world.harness);
}
