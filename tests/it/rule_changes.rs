//! What falls when bounds or words change: open grants, and what services built, whether a grant is open or
//! not.

use crate::bounds::{
    World, conclusion, consented, events, granted, publish, record, standing, version, world,
};
use crate::harness::{self, Clients, Harness, ask};
use crate::rights::Ahead;
use sayso::daemon::Daemon;
use sayso::proto::{self, Category, RevocationReason, Role, Tier};
use sayso_proof::event::event_body::Event;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tonic::Streaming;

const NO_FAMILY: &str = "@id(\"no-family\")\n@title(\"No use of family\")\n@article(\"House rule 1\")\nforbid (principal, action in Action::\"use\", resource in Category::\"family\");\n";
const DAY_MS: u64 = 86_400_000;

type Invalidated = Streaming<proto::WatchRevocationsResponse>;

async fn watch(service: &mut Clients) -> Invalidated {
    let request = proto::WatchRevocationsRequest { after_cursor: None };
    let mut fallen = service.grant.watch_revocations(request).await.unwrap().into_inner();
    fallen.message().await.unwrap().unwrap();
    fallen
}

async fn register(service: &mut Clients, grant_id: &str, source: &str) -> String {
    let request = proto::RegisterArtifactRequest {
        grant_id: grant_id.into(),
        kind: proto::ArtifactKind::Embedding.into(),
        name: format!("vectors of {source}"),
        sources: vec![source.into()],
        options: None,
        ttl: None,
    };
    service.grant.register_artifact(request).await.unwrap().into_inner().artifact_id
}

fn category(id: &str, parent: &str, special: bool) -> proto::DefineCategoryRequest {
    let category =
        Category { id: id.into(), parent: parent.into(), title: id.into(), special, ..Default::default() };
    proto::DefineCategoryRequest { category: Some(category), options: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_bounds_invalidate_artifacts_even_of_expired_grants() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    record(&mut world, "ada", "sister", "family").await;
    consented(&mut world, "ada").await;
    let brief = proto::RequestGrantRequest {
        ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..ask("ada")
    };
    let grant = world.service.grant.request_grant(brief).await.unwrap().into_inner().grant_id;
    let of_tone = register(&mut world.service, &grant, "tone").await;
    let of_sister = register(&mut world.service, &grant, "sister").await;
    while standing(&mut world, &grant).await.0 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut fallen = watch(&mut world.service).await;
    let done = publish(&mut world, version(Tier::Provider, "family", "1", NO_FAMILY)).await.unwrap();
    assert_eq!(done.grants_revoked, 0);
    let fell = fallen.message().await.unwrap().unwrap();
    assert_eq!((&fell.artifact_ids, fell.reason()), (&vec![of_sister], RevocationReason::Forbidden));
    assert_eq!(fell.cause_event_id, done.receipt.unwrap().events[0].event_id);
    // Published again, nothing falls twice, and what rests on another fact still stands.
    let listed = proto::ListArtifactsRequest { subject: "ada".into(), ..Default::default() };
    let listed = world.steward.grant.list_artifacts(listed).await.unwrap().into_inner().artifacts;
    let standing: Vec<_> = listed
        .iter()
        .filter(|each| each.reason() == RevocationReason::Unspecified)
        .map(|each| &each.artifact_id)
        .collect();
    assert_eq!(standing, [&of_tone]);
    let other = NO_FAMILY.replace("no-family", "no-family-either");
    publish(&mut world, version(Tier::Provider, "other", "1", &other)).await.unwrap();
    let invalidated = |recorded: &&proto::RecordedEvent| {
        matches!(recorded.body.as_ref().unwrap().event, Some(Event::ArtifactInvalidated(_)))
    };
    assert_eq!(events(&mut world, "ada").await.iter().filter(invalidated).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn making_a_category_special_revokes_open_grants() {
    let mut world = world().await;
    world.steward.bounds.define_category(category("diet", "", false)).await.unwrap();
    record(&mut world, "ada", "tone", "communication-style").await;
    record(&mut world, "ada", "lunch", "diet").await;
    record(&mut world, "ben", "tone", "communication-style").await;
    consented(&mut world, "ada").await;
    consented(&mut world, "ben").await;
    let (hers, his) = (granted(&mut world, "ada").await, granted(&mut world, "ben").await);
    assert_eq!(hers.allowed.len(), 2);
    let built = register(&mut world.service, &hers.grant_id, "lunch").await;
    let mut fallen = watch(&mut world.service).await;
    let defined = world.steward.bounds.define_category(category("diet", "health", true)).await.unwrap();
    let cause = defined.into_inner().receipt.unwrap().events[0].event_id.clone();
    assert_eq!(standing(&mut world, &hers.grant_id).await, (false, RevocationReason::NotExplicit));
    assert!(standing(&mut world, &his.grant_id).await.0);
    let fell = fallen.message().await.unwrap().unwrap();
    assert_eq!(
        (&fell.grant_ids, fell.reason()),
        (&vec![hers.grant_id.clone()], RevocationReason::NotExplicit)
    );
    assert_eq!(fell.cause_event_id, cause);
    let fell = fallen.message().await.unwrap().unwrap();
    assert_eq!((&fell.artifact_ids, &fell.cause_event_id), (&vec![built], &cause));
    // A word that changes nothing for anybody takes nothing along, and a restart finds the same.
    world.steward.bounds.define_category(category("dinner", "diet", false)).await.unwrap();
    assert!(standing(&mut world, &his.grant_id).await.0);
    let World { harness, service, steward, authority } = world;
    drop((fallen, service, steward, authority));
    let harness = harness.restart().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut check = async |grant: &str| {
        let request = proto::CheckGrantRequest { grant_id: grant.into() };
        service.grant.check_grant(request).await.unwrap().into_inner().stands
    };
    assert!(!check(&hers.grant_id).await && check(&his.grant_id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inference_without_an_expiry_expires_after_the_configured_period() {
    let clock = Arc::new(Ahead::default());
    let dir = tempfile::tempdir().unwrap();
    let mut config = harness::config(dir.path());
    config.inferences.lasts_days = 20;
    config.inferences.lasts_days_by_category = [("preference".into(), 2), ("music".into(), 5)].into();
    let daemon = Daemon::start_with(&config, Arc::clone(&clock) as _).await.unwrap();
    let harness = Harness { dir, daemon };
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    steward.bounds.define_category(category("music", "preference", false)).await.unwrap();
    steward.bounds.define_category(category("jazz", "music", false)).await.unwrap();
    for (key, of) in [("a", "work"), ("b", "preference"), ("c", "jazz")] {
        service.profile.record_attributes(conclusion("ada", key, of)).await.unwrap();
    }
    let mut named = conclusion("ada", "d", "preference");
    let at = prost_types::Timestamp::from(
        std::time::SystemTime::now() + std::time::Duration::from_secs(9 * 86_400),
    );
    named.attributes[0].expires_at = Some(at);
    service.profile.record_attributes(named).await.unwrap();
    let request =
        proto::GetProfileRequest { subject: "ada".into(), as_of: None, rebuild: false, ..Default::default() };
    let held = steward.profile.get_profile(request).await.unwrap().into_inner().attributes;
    let days: Vec<i64> = held
        .iter()
        .map(|held| (held.expires_at.unwrap().seconds - held.recorded_at.unwrap().seconds + 60) / 86_400)
        .collect();
    assert_eq!(days, [20, 2, 5, 9]);
    // The end is in the event: with its time it goes, whatever the configuration says by then.
    clock.0.store(6 * DAY_MS, Ordering::SeqCst);
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    let keys = async |steward: &mut Clients| {
        let request = proto::GetProfileRequest {
            subject: "ada".into(),
            as_of: None,
            rebuild: false,
            ..Default::default()
        };
        let held = steward.profile.get_profile(request).await.unwrap().into_inner().attributes;
        held.into_iter().map(|held| held.key).collect::<Vec<_>>()
    };
    while keys(&mut steward).await != ["a", "d"] {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
