//! Tests that a person's later statement wins, whenever it arrives. If personal bounds or a description
//! arrive late, after newer ones, they do not loosen the newer ones. Taking back something that was never
//! stated records nothing.

use crate::harness::{Clients, Harness, ask, choice, consent, fact, publish_notice};
use sayso::proto::{self, AgeBand, ConsentDecision, Role};
use tonic::Code;

struct World {
    _harness: Harness,
    service: Clients,
    steward: Clients,
}

async fn world() -> World {
    let harness = Harness::start().await;
    let service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    publish_notice(&mut steward).await;
    steward.profile.record_attributes(fact("ada", "job", "work", "baker")).await.unwrap();
    let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    World { _harness: harness, service, steward }
}

impl World {
    async fn allowed(&mut self) -> usize {
        self.service.grant.request_grant(ask("ada")).await.unwrap().into_inner().allowed.len()
    }

    async fn set(&mut self, bounds: proto::PersonalBounds, options: Option<proto::WriteOptions>) -> String {
        let request =
            proto::SetPersonalBoundsRequest { subject: "ada".into(), bounds: Some(bounds), options };
        self.steward.bounds.set_personal_bounds(request).await.unwrap().into_inner().policies
    }
}

fn an_hour_ago() -> Option<proto::WriteOptions> {
    let now_s = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seconds = i64::try_from(now_s).unwrap() - 3_600;
    let about = Some(prost_types::Timestamp { seconds, nanos: 0 });
    Some(proto::WriteOptions { about, ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_bounds_chosen_before_the_current_ones_only_add_to_what_these_forbid() {
    let mut world = world().await;
    let paused = proto::PersonalBounds { paused: true, ..Default::default() };
    world.set(paused, None).await;
    assert_eq!(world.allowed().await, 0);
    world.set(proto::PersonalBounds::default(), an_hour_ago()).await;
    assert_eq!(world.allowed().await, 0, "she paused later");
    let declared_only = proto::PersonalBounds { declared_only: true, ..Default::default() };
    let policies = world.set(declared_only, an_hour_ago()).await;
    let request = proto::GetPersonalBoundsRequest { subject: "ada".into() };
    let shown = world.steward.bounds.get_personal_bounds(request).await.unwrap().into_inner();
    let bounds = shown.bounds.unwrap();
    assert!(bounds.paused && bounds.declared_only, "{bounds:?}");
    assert_eq!(shown.policies, policies);
    // What she says now replaces all of it.
    world.set(proto::PersonalBounds::default(), None).await;
    assert_eq!(world.allowed().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_stated_before_the_current_one_does_not_make_the_person_older() {
    let mut world = world().await;
    let describe = |band: AgeBand, jurisdiction: &str, options| proto::DescribeSubjectRequest {
        subject: "ada".into(),
        age_band: band.into(),
        jurisdiction: jurisdiction.into(),
        options,
        ..Default::default()
    };
    let late_child = describe(AgeBand::Child, "", an_hour_ago());
    world.steward.profile.describe_subject(describe(AgeBand::Adult, "DE", None)).await.unwrap();
    // It protects more, so it counts whenever it arrives.
    world.steward.profile.describe_subject(late_child).await.unwrap();
    assert_eq!(world.allowed().await, 0);
    for late in [
        describe(AgeBand::Adult, "", an_hour_ago()),
        describe(AgeBand::Unknown, "", an_hour_ago()),
        describe(AgeBand::Unspecified, "US-CA", an_hour_ago()),
    ] {
        let refused = world.steward.profile.describe_subject(late).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("`options.about` must be after"), "{refused:?}");
    }
    assert_eq!(world.allowed().await, 0);
    world.steward.profile.describe_subject(describe(AgeBand::Adult, "", None)).await.unwrap();
    assert_eq!(world.allowed().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_back_what_was_never_said_brings_nobody_into_being() {
    let mut world = world().await;
    let nobody = "nobody";
    let lift = proto::SetPersonalBoundsRequest {
        subject: nobody.into(),
        bounds: Some(proto::PersonalBounds::default()),
        options: None,
    };
    let answer = world.steward.bounds.set_personal_bounds(lift).await.unwrap().into_inner();
    assert!(answer.receipt.unwrap().events.is_empty());
    let unknown = proto::DescribeSubjectRequest {
        subject: nobody.into(),
        age_band: AgeBand::Unknown.into(),
        jurisdiction: "unknown".into(),
        ..Default::default()
    };
    let answer = world.steward.profile.describe_subject(unknown).await.unwrap().into_inner();
    assert!(answer.receipt.unwrap().events.is_empty());
    let request = proto::GetProfileRequest { subject: nobody.into(), ..Default::default() };
    let missing = world.steward.profile.get_profile(request).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    // What forbids something is recorded about anybody.
    let paused = proto::PersonalBounds { paused: true, ..Default::default() };
    let request =
        proto::SetPersonalBoundsRequest { subject: nobody.into(), bounds: Some(paused), options: None };
    world.steward.bounds.set_personal_bounds(request).await.unwrap();
    let request = proto::GetProfileRequest { subject: nobody.into(), ..Default::default() };
    world.steward.profile.get_profile(request).await.unwrap();
}
