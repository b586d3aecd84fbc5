//! Tests that recording an attribute again unchanged ends nothing: no grant, no artifact, and no cached
//! attribute. Recording it with a change ends each of these, with the true reason.

use crate::erasure::verify;
use crate::harness::{self, Clients, Harness, ask, choice, consent, fact};
use sayso::proto::{self, ConsentDecision, RevocationReason, Role};

struct World {
    harness: Harness,
    service: Clients,
    steward: Clients,
}

async fn world() -> World {
    let harness = Harness::start().await;
    let service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let mut world = World { harness, service, steward };
    world.record("work", "x").await;
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    world.steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    world
}

impl World {
    async fn record(&mut self, category: &str, value: &str) {
        self.service.profile.record_attributes(fact("ada", "job", category, value)).await.unwrap();
    }

    async fn grant(&mut self) -> String {
        self.service.grant.request_grant(ask("ada")).await.unwrap().into_inner().grant_id
    }

    async fn build(&mut self, grant_id: &str) -> String {
        let request = proto::RegisterArtifactRequest {
            grant_id: grant_id.into(),
            kind: proto::ArtifactKind::Embedding.into(),
            sources: vec!["job".into()],
            ..Default::default()
        };
        self.service.grant.register_artifact(request).await.unwrap().into_inner().artifact_id
    }

    /// The reasons for which the grant, the artifact and the cached attribute ended; unspecified if not.
    async fn ended(&mut self, grant: &str, artifact: &str) -> Vec<RevocationReason> {
        let ids = vec![grant.to_owned(), artifact.to_owned(), format!("{grant}/job")];
        let request = proto::CheckIdsRequest { ids };
        let checked = self.service.grant.check_ids(request).await.unwrap().into_inner();
        checked.states.iter().map(proto::IdState::reason).collect()
    }
}

const VALID: [RevocationReason; 3] = [RevocationReason::Unspecified; 3];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_again_unchanged_ends_no_grant_and_no_artifact() {
    let mut world = world().await;
    let grant = world.grant().await;
    let early = world.build(&grant).await;
    world.record("work", "x").await;
    // This artifact names the first recording as its source, which is not the current one.
    let late = world.build(&grant).await;
    world.record("work", "x").await;
    for artifact in [&early, &late] {
        assert_eq!(world.ended(&grant, artifact).await, VALID);
    }
    verify(&world.harness);
    // The same is true after a restart, when the state is folded from the log.
    let harness = world.harness.restart().await;
    let service = harness.as_role(Role::Service, "tutor").await;
    let steward = harness.as_role(Role::Steward, "privacy-team").await;
    let mut world = World { harness, service, steward };
    for artifact in [&early, &late] {
        assert_eq!(world.ended(&grant, artifact).await, VALID);
    }
    // A change ends all of them, and says that it was one.
    world.record("preference", "x").await;
    for artifact in [&early, &late] {
        assert_eq!(world.ended(&grant, artifact).await, [RevocationReason::AttributeReplaced; 3]);
    }
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_ends_an_artifact_of_an_earlier_recording_with_its_reason() {
    let mut world = world().await;
    let grant = world.grant().await;
    world.record("work", "x").await;
    let artifact = world.build(&grant).await;
    let remove = proto::RemoveAttributesRequest {
        subject: "ada".into(),
        keys: vec!["job".into()],
        ..Default::default()
    };
    world.steward.profile.remove_attributes(remove).await.unwrap();
    assert_eq!(world.ended(&grant, &artifact).await, [RevocationReason::AttributeRemoved; 3]);
    // What is recorded later brings nothing back, and changes no reason but that of the attribute.
    world.record("work", "x").await;
    let replaced = RevocationReason::AttributeReplaced;
    let removed = RevocationReason::AttributeRemoved;
    assert_eq!(world.ended(&grant, &artifact).await, [removed, removed, replaced]);
    verify(&world.harness);
}
