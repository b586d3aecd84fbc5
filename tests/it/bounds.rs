//! Bounds through the front door: who may publish them, what they stop, what falls with them, and what a person chooses.

use crate::harness::{self, Clients, Harness, NOTICE, ask, choice, consent, fact};
use ed25519_dalek::SigningKey;
use sayso::proto::{
    self, BoundsPublished, ConsentDecision, PersonalBoundsSet, Provenance, Reason, Role, Tier,
};
use sayso_proof::event::event_body::Event;
use sayso_proof::writer;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const NO_FAMILY: &str = "@id(\"no-family\")\n@title(\"No use of family\")\n@article(\"House rule 1\")\nforbid (principal, action in Action::\"use\", resource in Category::\"family\");\n";
const NO_INFERRED_SPECIAL: &str = "@id(\"no-inferred-special\")\n@title(\"No special conclusions\")\n@article(\"GDPR Art. 9(1)\")\n@reason(\"NOT_EXPLICIT\")\nforbid (principal, action in Action::\"infer\", resource)\nwhen { resource.special && !context.explicit };\n";

pub struct World {
    pub harness: Harness,
    pub service: Clients,
    pub steward: Clients,
    pub authority: Clients,
}

pub async fn world() -> World {
    let harness = Harness::start().await;
    let service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let authority = harness.as_role(Role::Authority, "regulator").await;
    harness::publish_notice(&mut steward).await;
    World { harness, service, steward, authority }
}

fn key(world: &World, role: &str) -> SigningKey {
    let seed = std::fs::read(world.harness.dir.path().join(format!("dev/{role}.key"))).unwrap();
    SigningKey::from_bytes(&seed.try_into().unwrap())
}

fn version(tier: Tier, pack: &str, version: &str, policies: &str) -> BoundsPublished {
    BoundsPublished {
        tier: tier.into(),
        pack: pack.into(),
        version: version.into(),
        policies: policies.into(),
        schema_digest: sayso::bounds::schema_digest().to_vec(),
        effective_from_ms: 0,
    }
}

fn signed(bounds: BoundsPublished, key: &SigningKey) -> proto::PublishBoundsRequest {
    let signature = Some(writer::sign(&Event::BoundsPublished(bounds.clone()), key));
    proto::PublishBoundsRequest { bounds: Some(bounds), signature, options: None }
}

async fn publish(world: &mut World, bounds: BoundsPublished) -> Result<proto::PublishBoundsResponse, Status> {
    let public = bounds.tier() == Tier::Public;
    let key = key(world, if public { "authority" } else { "steward" });
    let client = if public { &mut world.authority } else { &mut world.steward };
    client.bounds.publish_bounds(signed(bounds, &key)).await.map(tonic::Response::into_inner)
}

async fn record(world: &mut World, subject: &str, key: &str, category: &str) -> String {
    let request = fact(subject, key, category, "x");
    let answer = world.service.profile.record_attributes(request).await.unwrap().into_inner();
    answer.receipt.unwrap().events[0].event_id.clone()
}

async fn consented(world: &mut World, subject: &str) {
    let yes = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    world.steward.consent.record_consent(consent(subject, vec![yes])).await.unwrap();
}

async fn granted(world: &mut World, subject: &str) -> proto::RequestGrantResponse {
    world.service.grant.request_grant(ask(subject)).await.unwrap().into_inner()
}

fn keys(grant: &proto::RequestGrantResponse) -> Vec<String> {
    grant.allowed.iter().map(|allowed| allowed.key.clone()).collect()
}

async fn standing(world: &mut World, grant: &str) -> (bool, Reason) {
    let request = proto::CheckGrantRequest { grant_id: grant.into() };
    let answer = world.service.grant.check_grant(request).await.unwrap().into_inner();
    (answer.stands, answer.reason())
}

fn violations(status: &Status) -> Vec<String> {
    let found = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    found.into_iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect()
}

async fn ada(world: &mut World) {
    record(world, "ada", "tone", "communication-style").await;
    record(world, "ada", "sister", "family").await;
    consented(world, "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tier_takes_only_what_its_own_key_signed() {
    let mut world = world().await;
    let bounds = version(Tier::Public, "family", "1", NO_FAMILY);
    let (authority, steward) = (key(&world, "authority"), key(&world, "steward"));
    // The steward's credential does not reach public bounds, whoever signed them.
    let refused = world.steward.bounds.publish_bounds(signed(bounds.clone(), &authority)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // Nor is the authority's credential enough without the key.
    for key in [&steward, &SigningKey::from_bytes(&[1; 32])] {
        let refused = world.authority.bounds.publish_bounds(signed(bounds.clone(), key)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    }
    // What was signed is what is published.
    let changed = BoundsPublished { version: "2".into(), ..bounds.clone() };
    let request = proto::PublishBoundsRequest { bounds: Some(changed), ..signed(bounds.clone(), &authority) };
    assert_eq!(
        world.authority.bounds.publish_bounds(request).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let unsigned = proto::PublishBoundsRequest { signature: None, ..signed(bounds.clone(), &authority) };
    let refused = world.authority.bounds.publish_bounds(unsigned).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut operator = world.harness.as_role(Role::Operator, "ops").await;
    let refused = operator.bounds.publish_bounds(signed(bounds.clone(), &authority)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let individual = version(Tier::Individual, "family", "1", NO_FAMILY);
    let refused = world.steward.bounds.publish_bounds(signed(individual, &steward)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    publish(&mut world, bounds.clone()).await.unwrap();
    let again = publish(&mut world, bounds.clone()).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again:?}");
    let request = proto::GetBoundsRequest { as_of: None, history: true };
    let shown = world.steward.bounds.get_bounds(request).await.unwrap().into_inner().bounds;
    let family = shown.iter().find(|pack| pack.pack == "family").unwrap();
    assert_eq!(family.signed_by, authority.verifying_key().to_bytes());
    assert!(family.in_force && family.published_by.as_ref().unwrap().name == "regulator");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_validate_is_refused_with_line_and_column() {
    let mut world = world().await;
    let unknown =
        "@id(\"a\")\nforbid (principal, action in Action::\"use\", resource)\nwhen { context.nope };\n";
    let refused = publish(&mut world, version(Tier::Public, "p", "1", unknown)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(violations(&refused)[0].starts_with("bounds.policies: line 3, column 8: "), "{refused:?}");
    let permits = "@id(\"a\") permit (principal, action, resource);";
    let refused = publish(&mut world, version(Tier::Public, "p", "1", permits)).await.unwrap_err();
    assert!(violations(&refused)[0].contains("may only forbid"), "{refused:?}");
    let past = BoundsPublished { effective_from_ms: 1, ..version(Tier::Public, "p", "1", NO_FAMILY) };
    let refused = publish(&mut world, past).await.unwrap_err();
    assert!(violations(&refused)[0].starts_with("bounds.effective_from_ms"), "{refused:?}");
    let odd = BoundsPublished { schema_digest: vec![0; 32], ..version(Tier::Public, "P", "", NO_FAMILY) };
    let refused = publish(&mut world, odd).await.unwrap_err();
    assert_eq!(violations(&refused).len(), 3, "{refused:?}");
    let retired = publish(&mut world, version(Tier::Provider, "unknown", "1", "")).await.unwrap_err();
    assert_eq!(retired.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn narrower_bounds_revoke_at_once_what_they_contradict() {
    let mut world = world().await;
    ada(&mut world).await;
    record(&mut world, "ben", "tone", "communication-style").await;
    consented(&mut world, "ben").await;
    let (hers, his) = (granted(&mut world, "ada").await, granted(&mut world, "ben").await);
    assert_eq!(keys(&hers), ["sister", "tone"]);
    let watch = proto::WatchRevocationsRequest { after_cursor: None };
    let mut fallen = world.service.grant.watch_revocations(watch).await.unwrap().into_inner();
    fallen.message().await.unwrap().unwrap();

    let done = publish(&mut world, version(Tier::Provider, "family", "1", NO_FAMILY)).await.unwrap();
    assert_eq!(done.grants_revoked, 1);
    let event = done.receipt.unwrap().events[0].event_id.clone();
    assert_eq!(standing(&mut world, &hers.grant_id).await, (false, Reason::Forbidden));
    assert!(standing(&mut world, &his.grant_id).await.0);
    let fell = fallen.message().await.unwrap().unwrap();
    assert_eq!((fell.grant_ids, fell.cause_event_id), (vec![hers.grant_id.clone()], event));
    let next = granted(&mut world, "ada").await;
    assert_eq!(keys(&next), ["tone"]);
    let withheld = &next.withheld[0];
    assert_eq!((withheld.policy.as_str(), withheld.decided_by()), ("family/no-family", Tier::Provider));

    // Retired by its own tier's key, it says nothing any more.
    publish(&mut world, version(Tier::Provider, "family", "2", "")).await.unwrap();
    assert_eq!(keys(&granted(&mut world, "ada").await), ["sister", "tone"]);
    // Every version is kept, and a restart changes nothing.
    let mut world = World { harness: world.harness.restart().await, ..world };
    world.steward = world.harness.as_role(Role::Steward, "privacy-team").await;
    let request = proto::GetBoundsRequest { as_of: None, history: true };
    let shown = world.steward.bounds.get_bounds(request).await.unwrap().into_inner().bounds;
    let family: Vec<_> = shown
        .iter()
        .filter(|pack| pack.pack == "family")
        .map(|pack| (pack.version.as_str(), pack.in_force))
        .collect();
    assert_eq!(family, [("1", false), ("2", true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_comes_into_force_by_itself() {
    let mut world = world().await;
    ada(&mut world).await;
    let grant = granted(&mut world, "ada").await;
    let watch = proto::WatchRevocationsRequest { after_cursor: None };
    let mut fallen = world.service.grant.watch_revocations(watch).await.unwrap().into_inner();
    fallen.message().await.unwrap().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let later = BoundsPublished {
        effective_from_ms: now.as_millis() as u64 + 2_000,
        ..version(Tier::Public, "family", "1", NO_FAMILY)
    };
    assert_eq!(publish(&mut world, later.clone()).await.unwrap().grants_revoked, 0);
    assert!(standing(&mut world, &grant.grant_id).await.0);
    assert_eq!(keys(&granted(&mut world, "ada").await), ["sister", "tone"]);
    let fell = tokio::time::timeout(Duration::from_secs(20), fallen.message()).await.unwrap();
    let fell = fell.unwrap().unwrap();
    let at = fell.recorded_at.unwrap();
    let at_ms = at.seconds as u64 * 1_000 + at.nanos as u64 / 1_000_000;
    assert!(at_ms >= later.effective_from_ms, "{at_ms} {}", later.effective_from_ms);
    assert_eq!(fell.reason(), Reason::Forbidden);
    assert_eq!(standing(&mut world, &grant.grant_id).await, (false, Reason::Forbidden));
    assert_eq!(keys(&granted(&mut world, "ada").await), ["tone"]);
}
