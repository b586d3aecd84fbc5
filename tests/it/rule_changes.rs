//! New bounds and changed categories revoke open grants. They also invalidate the artifacts that services
//! built, even those of grants that are no longer open. Also tests the default expiry of inferences.

use crate::bounds::{
    World, conclusion, consented, events, granted, publish, record, standing, version, world,
};
use crate::harness::{self, Clients, Harness, ask};
use crate::rights::AdvancedClock;
use sayso::daemon::Daemon;
use sayso::domain::event::CategoryDefined;
use sayso::proto::{self, RevocationReason, Role, Tier};
use sayso_proof::event::event_body::Event;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tonic::Streaming;

const NO_FAMILY: &str = "@id(\"no-family\")\n@title(\"No use of family\")\n@article(\"House rule 1\")\nforbid (principal, action in Action::\"use\", resource in Category::\"family\");\n";
const DAY_MS: u64 = 86_400_000;

type Revocations = Streaming<proto::WatchRevocationsResponse>;

/// Opens a watch of revocations and reads its first message.
async fn watch(service: &mut Clients) -> Revocations {
    let request = proto::WatchRevocationsRequest { after_cursor: None };
    let mut revocations = service.grant.watch_revocations(request).await.unwrap().into_inner();
    revocations.message().await.unwrap().unwrap();
    revocations
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

async fn category(
    by: &Clients,
    id: &str,
    parent: &str,
    special: bool,
    dir: &Path,
) -> proto::DefineCategoryRequest {
    let category = CategoryDefined {
        id: id.into(),
        parent: parent.into(),
        title: id.into(),
        special,
        ..Default::default()
    };
    harness::category(by, category, &harness::provider_key(dir)).await
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
    let tone_artifact = register(&mut world.service, &grant, "tone").await;
    let sister_artifact = register(&mut world.service, &grant, "sister").await;
    while standing(&mut world, &grant).await.0 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let mut revocations = watch(&mut world.service).await;
    let published = publish(&mut world, version(Tier::Provider, "family", "1", NO_FAMILY)).await.unwrap();
    assert_eq!(published.grants_revoked, 0);
    let revocation = revocations.message().await.unwrap().unwrap();
    assert_eq!(
        (&revocation.artifact_ids, revocation.reason()),
        (&vec![sister_artifact], RevocationReason::Forbidden)
    );
    assert_eq!(revocation.cause_event_id, published.receipt.unwrap().events[0].event_id);
    // The artifact built from another attribute is still valid. A second pack with the same rule does not
    // invalidate an artifact a second time.
    let listed = proto::ListArtifactsRequest { subject: "ada".into(), ..Default::default() };
    let listed = world.steward.grant.list_artifacts(listed).await.unwrap().into_inner().artifacts;
    let standing: Vec<_> = listed
        .iter()
        .filter(|each| each.reason() == RevocationReason::Unspecified)
        .map(|each| &each.artifact_id)
        .collect();
    assert_eq!(standing, [&tone_artifact]);
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
    let request = category(&world.steward, "diet", "", false, world.harness.dir.path()).await;
    world.steward.bounds.define_category(request).await.unwrap();
    record(&mut world, "ada", "tone", "communication-style").await;
    record(&mut world, "ada", "lunch", "diet").await;
    record(&mut world, "ben", "tone", "communication-style").await;
    consented(&mut world, "ada").await;
    consented(&mut world, "ben").await;
    let (grant_of_ada, grant_of_ben) = (granted(&mut world, "ada").await, granted(&mut world, "ben").await);
    assert_eq!(grant_of_ada.allowed.len(), 2);
    let artifact = register(&mut world.service, &grant_of_ada.grant_id, "lunch").await;
    let mut revocations = watch(&mut world.service).await;
    let request = category(&world.steward, "diet", "health", true, world.harness.dir.path()).await;
    let defined = world.steward.bounds.define_category(request).await.unwrap();
    let cause = defined.into_inner().receipt.unwrap().events[0].event_id.clone();
    assert_eq!(standing(&mut world, &grant_of_ada.grant_id).await, (false, RevocationReason::NotExplicit));
    assert!(standing(&mut world, &grant_of_ben.grant_id).await.0);
    let revocation = revocations.message().await.unwrap().unwrap();
    assert_eq!(
        (&revocation.grant_ids, revocation.reason()),
        (&vec![grant_of_ada.grant_id.clone()], RevocationReason::NotExplicit)
    );
    assert_eq!(revocation.cause_event_id, cause);
    let revocation = revocations.message().await.unwrap().unwrap();
    assert_eq!((&revocation.artifact_ids, &revocation.cause_event_id), (&vec![artifact], &cause));
    // A new category that no attribute uses revokes nothing. A restart gives the same result.
    let request = category(&world.steward, "dinner", "diet", false, world.harness.dir.path()).await;
    world.steward.bounds.define_category(request).await.unwrap();
    assert!(standing(&mut world, &grant_of_ben.grant_id).await.0);
    let World { harness, service, steward, authority } = world;
    drop((revocations, service, steward, authority));
    let harness = harness.restart().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut check = async |grant: &str| {
        let request = proto::CheckGrantRequest { grant_id: grant.into(), keys: Vec::new() };
        service.grant.check_grant(request).await.unwrap().into_inner().valid
    };
    assert!(!check(&grant_of_ada.grant_id).await && check(&grant_of_ben.grant_id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inference_without_an_expiry_expires_after_the_configured_period() {
    let clock = Arc::new(AdvancedClock::default());
    let dir = tempfile::tempdir().unwrap();
    let mut config = harness::config(dir.path());
    config.inferences.lasts_days = 20;
    config.inferences.lasts_days_by_category = [("preference".into(), 2), ("music".into(), 5)].into();
    let daemon = Daemon::start_with(&config, Arc::clone(&clock) as _).await.unwrap();
    let harness = Harness { dir, daemon };
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let request = category(&steward, "music", "preference", false, harness.dir.path()).await;
    steward.bounds.define_category(request).await.unwrap();
    let request = category(&steward, "jazz", "music", false, harness.dir.path()).await;
    steward.bounds.define_category(request).await.unwrap();
    for (key, of) in [("a", "work"), ("b", "preference"), ("c", "jazz")] {
        service.profile.record_attributes(conclusion("ada", key, of)).await.unwrap();
    }
    let mut with_expiry = conclusion("ada", "d", "preference");
    let at = prost_types::Timestamp::from(
        std::time::SystemTime::now() + std::time::Duration::from_secs(9 * 86_400),
    );
    with_expiry.attributes[0].expires_at = Some(at);
    service.profile.record_attributes(with_expiry).await.unwrap();
    let request =
        proto::GetProfileRequest { subject: "ada".into(), as_of: None, rebuild: false, ..Default::default() };
    let attributes = steward.profile.get_profile(request).await.unwrap().into_inner().attributes;
    let days: Vec<i64> = attributes
        .iter()
        .map(|each| (each.expires_at.unwrap().seconds - each.recorded_at.unwrap().seconds + 60) / 86_400)
        .collect();
    assert_eq!(days, [20, 2, 5, 9]);
    // The expiry is recorded in the event, so a later change of the configuration does not affect it.
    clock.0.store(6 * DAY_MS, Ordering::SeqCst);
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    let keys = async |steward: &mut Clients| {
        let request = proto::GetProfileRequest {
            subject: "ada".into(),
            as_of: None,
            rebuild: false,
            ..Default::default()
        };
        let attributes = steward.profile.get_profile(request).await.unwrap().into_inner().attributes;
        attributes.into_iter().map(|attribute| attribute.key).collect::<Vec<_>>()
    };
    while keys(&mut steward).await != ["a", "d"] {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
