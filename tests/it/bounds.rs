//! Bounds through the API: who may publish them, which uses and recordings they forbid, which grants they
//! revoke, and the personal bounds that a data subject sets.

use crate::harness::{self, Clients, Harness, ask, choice, consent, fact};
use ed25519_dalek::SigningKey;
use sayso::domain::event::{BoundsPublished, Event};
use sayso::proto::{
    self, ConsentDecision, DenialReason, PersonalBounds, Provenance, RevocationReason, Role, Tier,
};
use sayso_proof::event::event_body;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const NO_FAMILY: &str = "@id(\"no-family\")\n@title(\"No use of family\")\n@article(\"House rule 1\")\nforbid (principal, action in Action::\"use\", resource in Category::\"family\");\n";

pub struct World {
    pub harness: Harness,
    pub service: Clients,
    pub steward: Clients,
    pub authority: Clients,
}

pub async fn world() -> World {
    world_of(Harness::start().await).await
}

pub async fn world_of(harness: Harness) -> World {
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

pub fn version(tier: Tier, pack: &str, version: &str, policies: &str) -> BoundsPublished {
    BoundsPublished {
        tier,
        pack: pack.into(),
        version: version.into(),
        policies: policies.into(),
        schema_digest: sayso::bounds::schema_digest().to_vec(),
        effective_from_ms: 0,
    }
}

async fn signed(by: &Clients, bounds: BoundsPublished, key: &SigningKey) -> proto::PublishBoundsRequest {
    let signature = Some(harness::signed(by, &Event::BoundsPublished(bounds.clone()), key).await);
    proto::PublishBoundsRequest { bounds: Some(bounds.into()), signature, options: None }
}

pub async fn publish(
    world: &mut World,
    bounds: BoundsPublished,
) -> Result<proto::PublishBoundsResponse, Status> {
    let public = bounds.tier == Tier::Public;
    let key = key(world, if public { "authority" } else { "steward" });
    let client = if public { &mut world.authority } else { &mut world.steward };
    let request = signed(client, bounds, &key).await;
    client.bounds.publish_bounds(request).await.map(tonic::Response::into_inner)
}

pub async fn record(world: &mut World, subject: &str, key: &str, category: &str) -> String {
    let request = fact(subject, key, category, "x");
    let answer = world.service.profile.record_attributes(request).await.unwrap().into_inner();
    answer.receipt.unwrap().events[0].event_id.clone()
}

pub async fn consented(world: &mut World, subject: &str) {
    let yes = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    world.steward.consent.record_consent(consent(subject, vec![yes])).await.unwrap();
}

pub async fn granted(world: &mut World, subject: &str) -> proto::RequestGrantResponse {
    world.service.grant.request_grant(ask(subject)).await.unwrap().into_inner()
}

pub fn keys(grant: &proto::RequestGrantResponse) -> Vec<String> {
    grant.allowed.iter().map(|allowed| allowed.key.clone()).collect()
}

pub async fn standing(world: &mut World, grant: &str) -> (bool, RevocationReason) {
    let request = proto::CheckGrantRequest { grant_id: grant.into(), keys: Vec::new() };
    let answer = world.service.grant.check_grant(request).await.unwrap().into_inner();
    (answer.valid, answer.reason())
}

fn violations(status: &Status) -> Vec<String> {
    let found = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    found.into_iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect()
}

/// Records two attributes of ada, one of them about family, and a consent that covers both.
async fn record_ada(world: &mut World) {
    record(world, "ada", "tone", "communication-style").await;
    record(world, "ada", "sister", "family").await;
    consented(world, "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tier_accepts_only_bounds_signed_with_its_own_key() {
    let mut world = world().await;
    let bounds = version(Tier::Public, "family", "1", NO_FAMILY);
    let (authority, steward) = (key(&world, "authority"), key(&world, "steward"));
    // A steward's credential cannot publish public bounds, even with the authority's signature.
    let request = signed(&world.steward, bounds.clone(), &authority).await;
    let refused = world.steward.bounds.publish_bounds(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // The authority's credential is not enough without the authority's signature.
    for key in [&steward, &SigningKey::from_bytes(&[1; 32])] {
        let request = signed(&world.authority, bounds.clone(), key).await;
        let refused = world.authority.bounds.publish_bounds(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    }
    // The signature must match the bounds.
    let changed = BoundsPublished { version: "2".into(), ..bounds.clone() };
    let request = signed(&world.authority, bounds.clone(), &authority).await;
    let changed = proto::PublishBoundsRequest { bounds: Some(changed.into()), ..request.clone() };
    assert_eq!(
        world.authority.bounds.publish_bounds(changed).await.unwrap_err().code(),
        Code::PermissionDenied
    );
    let unsigned = proto::PublishBoundsRequest { signature: None, ..request.clone() };
    let refused = world.authority.bounds.publish_bounds(unsigned).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut operator = world.harness.as_role(Role::Operator, "ops").await;
    let refused = operator.bounds.publish_bounds(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let individual = version(Tier::Individual, "family", "1", NO_FAMILY);
    let individual = proto::PublishBoundsRequest { bounds: Some(individual.into()), ..Default::default() };
    let refused = world.steward.bounds.publish_bounds(individual).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    // A provider's pack cannot use the name of a shipped legal pack.
    let refused = publish(&mut world, version(Tier::Provider, "gdpr", "9", NO_FAMILY)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");

    publish(&mut world, bounds.clone()).await.unwrap();
    let again = publish(&mut world, bounds.clone()).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again:?}");
    let request = proto::ListBoundsRequest { history: true, ..Default::default() };
    let shown = world.steward.bounds.list_bounds(request).await.unwrap().into_inner().bounds;
    let family = shown.iter().find(|pack| pack.pack == "family").unwrap();
    assert_eq!(family.signed_by, authority.verifying_key().to_bytes());
    assert!(family.in_force && family.published_by.as_ref().unwrap().name == "regulator");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_policies_are_rejected_with_line_and_column() {
    let mut world = world().await;
    let unknown =
        "@id(\"a\")\nforbid (principal, action in Action::\"use\", resource)\nwhen { context.nope };\n";
    let refused = publish(&mut world, version(Tier::Public, "p", "1", unknown)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(violations(&refused)[0].starts_with("bounds.policies: line 3, column 8: "), "{refused:?}");
    let permits = "@id(\"a\") permit (principal, action, resource);";
    let refused = publish(&mut world, version(Tier::Public, "p", "1", permits)).await.unwrap_err();
    assert!(violations(&refused)[0].contains("must only forbid"), "{refused:?}");
    let past = BoundsPublished { effective_from_ms: 1, ..version(Tier::Public, "p", "1", NO_FAMILY) };
    let refused = publish(&mut world, past).await.unwrap_err();
    assert!(violations(&refused)[0].starts_with("bounds.effective_from"), "{refused:?}");
    let odd = BoundsPublished { schema_digest: vec![0; 32], ..version(Tier::Public, "P", "", NO_FAMILY) };
    let refused = publish(&mut world, odd).await.unwrap_err();
    assert_eq!(violations(&refused).len(), 3, "{refused:?}");
    let retired = publish(&mut world, version(Tier::Provider, "unknown", "1", "")).await.unwrap_err();
    assert_eq!(retired.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn narrower_bounds_revoke_contradicted_grants_at_once() {
    let mut world = world().await;
    record_ada(&mut world).await;
    record(&mut world, "ben", "tone", "communication-style").await;
    consented(&mut world, "ben").await;
    let (ada_grant, ben_grant) = (granted(&mut world, "ada").await, granted(&mut world, "ben").await);
    assert_eq!(keys(&ada_grant), ["sister", "tone"]);
    let watch = proto::WatchRevocationsRequest { after_cursor: None };
    let mut revocations = world.service.grant.watch_revocations(watch).await.unwrap().into_inner();
    revocations.message().await.unwrap().unwrap();

    let done = publish(&mut world, version(Tier::Provider, "family", "1", NO_FAMILY)).await.unwrap();
    assert_eq!(done.grants_revoked, 1);
    let event = done.receipt.unwrap().events[0].event_id.clone();
    assert_eq!(standing(&mut world, &ada_grant.grant_id).await, (false, RevocationReason::Forbidden));
    assert!(standing(&mut world, &ben_grant.grant_id).await.0);
    let revocation = revocations.message().await.unwrap().unwrap();
    let expected = (vec![ada_grant.grant_id.clone()], event);
    assert_eq!((revocation.grant_ids, revocation.cause_event_id), expected);
    let next = granted(&mut world, "ada").await;
    assert_eq!(keys(&next), ["tone"]);
    let withheld = &next.withheld[0];
    assert_eq!((withheld.policy.as_str(), withheld.decided_by()), ("family/no-family", Tier::Provider));

    // A version without policies, signed by the same tier, retires the pack.
    publish(&mut world, version(Tier::Provider, "family", "2", "")).await.unwrap();
    assert_eq!(keys(&granted(&mut world, "ada").await), ["sister", "tone"]);
    // The history keeps every version across a restart.
    let World { harness, service, steward, authority } = world;
    drop((revocations, service, steward, authority));
    let harness = harness.restart().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let request = proto::ListBoundsRequest { history: true, ..Default::default() };
    let shown = steward.bounds.list_bounds(request).await.unwrap().into_inner().bounds;
    let family: Vec<_> = shown
        .iter()
        .filter(|pack| pack.pack == "family")
        .map(|pack| (pack.version.as_str(), pack.in_force))
        .collect();
    assert_eq!(family, [("1", false), ("2", true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_takes_effect_at_its_effective_time() {
    let mut world = world().await;
    record_ada(&mut world).await;
    let grant = granted(&mut world, "ada").await;
    let watch = proto::WatchRevocationsRequest { after_cursor: None };
    let mut revocations = world.service.grant.watch_revocations(watch).await.unwrap().into_inner();
    revocations.message().await.unwrap().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let later = BoundsPublished {
        effective_from_ms: now.as_millis() as u64 + 2_000,
        ..version(Tier::Public, "family", "1", NO_FAMILY)
    };
    assert_eq!(publish(&mut world, later.clone()).await.unwrap().grants_revoked, 0);
    assert!(standing(&mut world, &grant.grant_id).await.0);
    assert_eq!(keys(&granted(&mut world, "ada").await), ["sister", "tone"]);
    let revocation = tokio::time::timeout(Duration::from_secs(20), revocations.message()).await.unwrap();
    let revocation = revocation.unwrap().unwrap();
    let at = revocation.recorded_at.unwrap();
    let at_ms = at.seconds as u64 * 1_000 + at.nanos as u64 / 1_000_000;
    assert!(at_ms >= later.effective_from_ms, "{at_ms} {}", later.effective_from_ms);
    assert_eq!(revocation.reason(), RevocationReason::Forbidden);
    assert_eq!(standing(&mut world, &grant.grant_id).await, (false, RevocationReason::Forbidden));
    assert_eq!(keys(&granted(&mut world, "ada").await), ["tone"]);
}

async fn choose(
    world: &mut World,
    subject: &str,
    bounds: PersonalBounds,
) -> proto::SetPersonalBoundsResponse {
    let request =
        proto::SetPersonalBoundsRequest { subject: subject.into(), bounds: Some(bounds), options: None };
    world.steward.bounds.set_personal_bounds(request).await.unwrap().into_inner()
}

fn never(category: &str) -> PersonalBounds {
    let never = proto::ForbiddenUse { category: category.into(), purposes: Vec::new() };
    PersonalBounds { never: vec![never], ..PersonalBounds::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_bounds_restrict_what_consent_and_other_bounds_allow() {
    let mut world = world().await;
    record_ada(&mut world).await;
    let grant = granted(&mut world, "ada").await;
    assert_eq!(keys(&grant), ["sister", "tone"]);
    // Neither another data subject nor a service can set the bounds of ben.
    let token = world.harness.daemon.issuer.mint(Role::Subject, "ada", 600).unwrap();
    let mut own = world.harness.with_token(Some(&token)).await;
    let request = proto::SetPersonalBoundsRequest {
        subject: "ben".into(),
        bounds: Some(never("family")),
        options: None,
    };
    let refused = own.bounds.set_personal_bounds(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = world.service.bounds.set_personal_bounds(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let request = proto::SetPersonalBoundsRequest { subject: String::new(), ..request };
    let set = own.bounds.set_personal_bounds(request).await.unwrap().into_inner();
    assert_eq!(set.revoked_grants, std::slice::from_ref(&grant.grant_id));
    assert!(set.policies.contains("Category::\"family\""), "{}", set.policies);
    let event = set.receipt.unwrap().events[0].event_id.clone();

    let next = granted(&mut world, "ada").await;
    assert_eq!(keys(&next), ["tone"]);
    let withheld = &next.withheld[0];
    assert_eq!((withheld.policy.as_str(), withheld.decided_by()), ("personal/never-1", Tier::Individual));
    assert_eq!(withheld.decided_by_event, event);
    let why = proto::ExplainGrantRequest { grant_id: next.grant_id };
    let why = own.grant.explain_grant(why).await.unwrap().into_inner().text;
    assert!(
        why.contains("You said: never use this") && why.contains("by changing their own bounds"),
        "{why}"
    );

    let shown = proto::GetPersonalBoundsRequest { subject: String::new() };
    let shown = own.bounds.get_personal_bounds(shown).await.unwrap().into_inner();
    assert_eq!(shown.bounds.unwrap(), never("family"));
    assert_eq!(shown.set_by.unwrap().role(), Role::Subject);
    // An unknown category is rejected.
    let request = proto::SetPersonalBoundsRequest {
        subject: String::new(),
        bounds: Some(never("famly")),
        options: None,
    };
    let refused = own.bounds.set_personal_bounds(request).await.unwrap_err();
    assert!(violations(&refused)[0].contains("family"), "{refused:?}");
    // A steward removes the bounds on the data subject's behalf.
    choose(&mut world, "ada", PersonalBounds::default()).await;
    assert_eq!(keys(&granted(&mut world, "ada").await), ["sister", "tone"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_personal_bound_is_enforced() {
    let mut world = world().await;
    record_ada(&mut world).await;
    let mut inferred = fact("ada", "hobby", "activity", "clocks");
    inferred.attributes[0].provenance = Provenance::Inferred.into();
    world.service.profile.record_attributes(inferred.clone()).await.unwrap();
    inferred.attributes[0].key = "old".into();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(86_400 * 91);
    inferred.attributes[0].observed_at = Some(long_ago.into());
    world.service.profile.record_attributes(inferred).await.unwrap();
    let none = PersonalBounds::default;
    let all = ["hobby", "old", "sister", "tone"];
    let cases: [(PersonalBounds, &[&str], Option<DenialReason>); 7] = [
        (none(), &all, None),
        (
            PersonalBounds { declared_only: true, ..none() },
            &["sister", "tone"],
            Some(DenialReason::Forbidden),
        ),
        (
            PersonalBounds { forget_inferences_days: 90, ..none() },
            &["hobby", "sister", "tone"],
            Some(DenialReason::AttributeExpired),
        ),
        (
            PersonalBounds { only_recipients: vec!["coach".into()], ..none() },
            &[],
            Some(DenialReason::Forbidden),
        ),
        (PersonalBounds { only_recipients: vec!["tutor".into()], ..none() }, &all, None),
        (PersonalBounds { paused: true, ..none() }, &[], Some(DenialReason::Paused)),
        (PersonalBounds { ask_each_time: true, ..none() }, &[], Some(DenialReason::NotAsked)),
    ];
    for (choices, allowed, reason) in cases {
        choose(&mut world, "ada", choices.clone()).await;
        let grant = granted(&mut world, "ada").await;
        assert_eq!(keys(&grant), allowed, "{choices:?}");
        assert_eq!(grant.withheld.first().map(proto::Withheld::reason), reason, "{choices:?}");
    }
    // An inferred attribute that the data subject confirms counts as declared.
    choose(&mut world, "ada", PersonalBounds { declared_only: true, ..none() }).await;
    let confirm =
        proto::ConfirmAttributeRequest { subject: "ada".into(), key: "hobby".into(), options: None };
    world.steward.profile.confirm_attribute(confirm).await.unwrap();
    assert_eq!(keys(&granted(&mut world, "ada").await), ["hobby", "sister", "tone"]);
    assert_conversations_are_separate(&mut world).await;
}

/// Asserts that with `ask_each_time`, a consent covers only the conversation that it names, and that a pause
/// can be limited to one conversation.
async fn assert_conversations_are_separate(world: &mut World) {
    let in_chat = |name: &str| proto::RequestGrantRequest { interaction: name.into(), ..ask("ada") };
    let asked = PersonalBounds { ask_each_time: true, ..PersonalBounds::default() };
    choose(world, "ada", asked).await;
    let yes = proto::ConsentChoice {
        interactions: vec!["chat-1".into()],
        ..choice(ConsentDecision::Given, "tone-adaptation", &[], false)
    };
    world.steward.consent.record_consent(consent("ada", vec![yes])).await.unwrap();
    let here = world.service.grant.request_grant(in_chat("chat-1")).await.unwrap().into_inner();
    assert_eq!(here.allowed.len(), 4);
    let there = world.service.grant.request_grant(in_chat("chat-2")).await.unwrap().into_inner();
    assert!(there.allowed.is_empty() && there.withheld[0].reason() == DenialReason::NotAsked);
    let paused = PersonalBounds { paused_interactions: vec!["chat-1".into()], ..Default::default() };
    assert_eq!(choose(world, "ada", paused).await.revoked_grants, [here.grant_id]);
    let here = world.service.grant.request_grant(in_chat("chat-1")).await.unwrap().into_inner();
    assert!(here.allowed.is_empty() && here.withheld[0].reason() == DenialReason::Paused);
    let there = world.service.grant.request_grant(in_chat("chat-2")).await.unwrap().into_inner();
    assert_eq!(there.allowed.len(), 4);
}

pub fn conclusion(subject: &str, key: &str, category: &str) -> proto::RecordAttributesRequest {
    let mut request = fact(subject, key, category, "canary");
    request.attributes[0].provenance = Provenance::Inferred.into();
    request.options =
        Some(proto::WriteOptions { idempotency_key: format!("{subject}-{key}"), ..Default::default() });
    request
}

pub async fn events(world: &mut World, subject: &str) -> Vec<proto::RecordedEvent> {
    let request = proto::ListEventsRequest { subject: subject.into(), page_size: 1000, ..Default::default() };
    world.steward.profile.list_events(request).await.unwrap().into_inner().events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_recording_is_refused_and_the_attempt_is_logged() {
    let mut world = world().await;
    record(&mut world, "ada", "hobby", "activity").await;
    let mut request = conclusion("ada", "sleep", "mental-health");
    request.attributes.push(fact("ada", "tone", "work", "x").attributes.remove(0));
    let refused = world.service.profile.record_attributes(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "RECORDING_REFUSED");
    let violation = refused.get_details_precondition_failure().unwrap().violations.remove(0);
    assert_eq!(violation.subject, "inferred mental-health");
    assert!(violation.description.contains("gdpr/art-9-inference"), "{}", violation.description);
    // No attribute of the request is recorded, and a repeated request logs no second attempt.
    world.service.profile.record_attributes(request.clone()).await.unwrap_err();
    let recorded = events(&mut world, "ada").await;
    // The events are the hobby, the refused attempt, and the steward's view of the events.
    assert_eq!(recorded.len(), 3, "{recorded:?}");
    let body = recorded[1].body.clone().unwrap();
    assert_eq!(body.actor.as_ref().unwrap().name, "tutor");
    let Some(event_body::Event::RecordingRefused(attempt)) = body.event.clone() else { panic!("{body:?}") };
    assert_eq!((attempt.category.as_str(), attempt.count), ("mental-health", 1));
    assert_eq!((attempt.provenance(), attempt.decided_by()), (Provenance::Inferred, Tier::Public));
    let text = format!("{body:?}");
    assert!(!text.contains("sleep") && !text.contains("canary"), "{text}");

    // After explicit consent that names the category, the same request succeeds.
    let yes = choice(ConsentDecision::Given, "memory", &["health"], true);
    world.steward.consent.record_consent(consent("ada", vec![yes])).await.unwrap();
    let receipt = world.service.profile.record_attributes(request.clone()).await.unwrap().into_inner();
    assert_eq!(receipt.receipt.unwrap().events.len(), 2);
    let again = world.service.profile.record_attributes(request).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().replayed);
    // A declared attribute about health needs no such consent.
    world.service.profile.record_attributes(fact("ben", "sleep", "health", "x")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inferred_attribute_does_not_override_a_declared_one() {
    let mut world = world().await;
    record(&mut world, "ada", "tone", "communication-style").await;
    let answer = world.service.profile.record_attributes(conclusion("ada", "tone", "communication-style"));
    let answer = answer.await.unwrap().into_inner();
    assert_eq!(answer.superseded, [0]);
    let answer = world.service.profile.record_attributes(conclusion("ada", "hobby", "activity"));
    assert!(answer.await.unwrap().into_inner().superseded.is_empty());
    let request = proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    let attributes = world.steward.profile.get_profile(request).await.unwrap().into_inner().attributes;
    assert_eq!(attributes.len(), 2);
    let hobby = attributes.iter().find(|attribute| attribute.key == "hobby").unwrap();
    assert_eq!(hobby.model, "tutor");
    let days = (hobby.expires_at.unwrap().seconds - hobby.recorded_at.unwrap().seconds) / 86_400;
    assert_eq!(days, 365);
    let tone = attributes.iter().find(|attribute| attribute.key == "tone").unwrap();
    assert_eq!(tone.provenance(), Provenance::Declared);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_a_derived_attribute_is_revoked_when_its_source_is_withheld() {
    let mut world = world().await;
    let source = record(&mut world, "ada", "shifts", "work").await;
    let mut derived = fact("ada", "sleepy", "activity", "x");
    derived.attributes[0].derived_from = vec![source.clone()];
    world.service.profile.record_attributes(derived).await.unwrap();
    consented(&mut world, "ada").await;
    let only = proto::RequestGrantRequest { keys: vec!["sleepy".into()], ..ask("ada") };
    let grant = world.service.grant.request_grant(only.clone()).await.unwrap().into_inner();
    assert_eq!(keys(&grant), ["sleepy"]);
    let watch = proto::WatchRevocationsRequest { after_cursor: None };
    let mut revocations = world.service.grant.watch_revocations(watch).await.unwrap().into_inner();
    revocations.message().await.unwrap().unwrap();
    // The data subject withdraws consent for the category of the source alone.
    let no = choice(ConsentDecision::Withdrawn, "tone-adaptation", &["work"], false);
    world.steward.consent.record_consent(consent("ada", vec![no])).await.unwrap();
    let revocation = revocations.message().await.unwrap().unwrap();
    assert_eq!(
        (revocation.reason(), revocation.source_event_id.as_str()),
        (RevocationReason::SourceWithheld, source.as_str())
    );
    let next = world.service.grant.request_grant(only).await.unwrap().into_inner();
    assert_eq!(next.withheld[0].source_event_id, source);
    let why = proto::ExplainGrantRequest { grant_id: next.grant_id };
    let why = world.steward.grant.explain_grant(why).await.unwrap().into_inner().text;
    assert!(why.contains(&source) && why.contains("derived"), "{why}");
}

async fn preview(world: &mut World, bounds: BoundsPublished) -> proto::BoundsPreview {
    let request = proto::PreviewBoundsRequest { bounds: vec![bounds.into()], ..Default::default() };
    preview_of(world, request).await
}

/// The result of a preview.
pub async fn preview_of(world: &mut World, request: proto::PreviewBoundsRequest) -> proto::BoundsPreview {
    let mut steps = world.steward.bounds.preview_bounds(request).await.unwrap().into_inner();
    loop {
        let step = steps.message().await.unwrap().unwrap();
        if let Some(result) = step.result {
            assert_eq!(step.people_done, step.people_total);
            return result;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_predicts_the_effect_of_publishing() {
    let mut world = world().await;
    for subject in ["ada", "ben", "cleo"] {
        record(&mut world, subject, "tone", "communication-style").await;
        record(&mut world, subject, "sister", "family").await;
    }
    for subject in ["ada", "ben"] {
        consented(&mut world, subject).await;
    }
    let grant = granted(&mut world, "ada").await;
    let bounds = version(Tier::Provider, "family", "1", NO_FAMILY);
    let found = preview(&mut world, bounds.clone()).await;
    assert_eq!((found.grants_open, found.grants_to_revoke, found.people_with_revocations), (1, 1, 1));
    assert_eq!(found.people_changed, 2);
    let refused: Vec<_> = found
        .lines
        .iter()
        .map(|line| {
            (line.recipient.as_str(), line.category.as_str(), line.people_denied, line.policy.as_str())
        })
        .collect();
    let policy = "family/no-family";
    assert_eq!(refused, [("", "family", 1, policy), ("tutor", "family", 1, policy)]);
    assert!(found.examples.iter().all(|handle| handle.len() == 32), "{:?}", found.examples);
    assert!(!format!("{found:?}").contains("cleo"));
    // The preview changed nothing, and its numbers match what publishing then does.
    assert!(standing(&mut world, &grant.grant_id).await.0);
    assert_eq!(publish(&mut world, bounds).await.unwrap().grants_revoked, 1);
    let wider = preview(&mut world, version(Tier::Provider, "family", "2", "")).await;
    assert_eq!(wider.lines.iter().map(|line| line.people_allowed).sum::<u64>(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_grant_decision_can_be_reproduced_as_of_its_time() {
    let mut world = world().await;
    record_ada(&mut world).await;
    let mut grants = vec![granted(&mut world, "ada").await];
    publish(&mut world, version(Tier::Provider, "family", "1", NO_FAMILY)).await.unwrap();
    grants.push(granted(&mut world, "ada").await);
    choose(&mut world, "ada", PersonalBounds { paused: true, ..Default::default() }).await;
    grants.push(granted(&mut world, "ada").await);
    choose(&mut world, "ada", PersonalBounds::default()).await;
    publish(&mut world, version(Tier::Provider, "family", "2", "")).await.unwrap();
    record(&mut world, "ada", "tone", "work").await;
    let no = choice(ConsentDecision::Withdrawn, "tone-adaptation", &["family"], false);
    world.steward.consent.record_consent(consent("ada", vec![no])).await.unwrap();
    grants.push(granted(&mut world, "ada").await);
    let now = prost_types::Timestamp::from(std::time::SystemTime::now());
    for grant in &grants {
        let request = proto::EvaluateUseRequest {
            subject: "ada".into(),
            as_of_grant: grant.grant_id.clone(),
            ..Default::default()
        };
        let then = world.steward.grant.evaluate_use(request.clone()).await.unwrap().into_inner();
        let ids = |allowed: &[proto::AllowedAttribute]| -> Vec<(String, String)> {
            allowed.iter().map(|one| (one.event_id.clone(), one.consent_event_id.clone())).collect()
        };
        assert_eq!(ids(&then.allowed), ids(&grant.allowed));
        assert_eq!(then.withheld, grant.withheld);
        // Evaluates the decision of that time again, under today's bounds.
        let request = proto::EvaluateUseRequest { bounds_as_of: Some(now), ..request };
        let today = world.steward.grant.evaluate_use(request).await.unwrap().into_inner();
        assert!(today.allowed.len() >= grant.allowed.len());
    }
    // Under today's bounds, the second grant would also allow the family category.
    let request = proto::EvaluateUseRequest {
        subject: "ada".into(),
        as_of_grant: grants[1].grant_id.clone(),
        bounds_as_of: Some(now),
        ..Default::default()
    };
    let today = world.steward.grant.evaluate_use(request).await.unwrap().into_inner();
    assert_eq!(today.allowed.len(), 2);
    assert_verifier_replays_grants(&world).await;
}

/// Asserts that the verifier, without the daemon, replays signatures, effective times and personal bounds.
async fn assert_verifier_replays_grants(world: &World) {
    let bundle = world.harness.dir.path().join("log.tar.zst");
    let export = ["audit", "export", "-o", bundle.to_str().unwrap()];
    harness::stdout(&world.harness.cli(Role::Auditor, "auditor", &export));
    let verify = ["--json", "verify", bundle.to_str().unwrap(), "--key", &world.harness.daemon.vkey];
    let report = harness::json(&harness::sayso(&verify).output().unwrap());
    assert_eq!(report["grants"]["replayed"], "4", "{report}");
    assert_eq!(report["grants"]["findings"].as_array().unwrap().len(), 0, "{report}");
}
