//! Tests that a person's later statement wins, whenever it arrives. If personal bounds or a description of
//! the person (age and jurisdiction) arrive late, after newer ones, they do not loosen the newer ones. An
//! attribute that arrives late does not undo a contest, a removal or a confirmation. Taking back something
//! that was never stated records nothing.

use crate::erasure::verify;
use crate::harness::{Clients, Harness, ask, choice, consent, fact, publish_notice};
use sayso::proto::{self, AgeBand, ConsentDecision, Provenance, Role, event_body::Event};
use tonic::Code;

struct World {
    harness: Harness,
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
    World { harness, service, steward }
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

fn ago(seconds: i64) -> Option<prost_types::Timestamp> {
    let now_s = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    Some(prost_types::Timestamp { seconds: i64::try_from(now_s).unwrap() - seconds, nanos: 0 })
}

fn an_hour_ago() -> Option<proto::WriteOptions> {
    Some(proto::WriteOptions { about: ago(3_600), ..Default::default() })
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
async fn a_description_stated_before_one_that_took_it_back_does_not_bring_it_back() {
    let mut world = world().await;
    let describe = |band: AgeBand, jurisdiction: &str, options| proto::DescribeSubjectRequest {
        subject: "ada".into(),
        age_band: band.into(),
        jurisdiction: jurisdiction.into(),
        options,
        ..Default::default()
    };
    let mut channel = world.harness.as_claim(Role::Channel, "app").await;
    channel.profile.describe_subject(describe(AgeBand::Adult, "DE", None)).await.unwrap();
    channel.profile.describe_subject(describe(AgeBand::Unknown, "unknown", None)).await.unwrap();
    for late in [
        describe(AgeBand::Adult, "US-TX", an_hour_ago()),
        describe(AgeBand::Adult, "", an_hour_ago()),
        describe(AgeBand::Unspecified, "US-TX", an_hour_ago()),
    ] {
        let refused = channel.profile.describe_subject(late).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("`options.about` must be after"), "{refused:?}");
    }
    let request = proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    let shown = world.steward.profile.get_profile(request).await.unwrap().into_inner();
    let description = shown.description.unwrap();
    assert_eq!((description.age_band(), description.jurisdiction.as_str()), (AgeBand::Unspecified, ""));
}

/// A declaration of a job.
fn declared(value: &str) -> proto::RecordAttributesRequest {
    fact("ada", "job", "work", value)
}

/// The same as stated some seconds ago: by its observation or by the time of the event.
fn stated(value: &str, seconds: i64) -> [proto::RecordAttributesRequest; 2] {
    let (mut observed, mut about) = (declared(value), declared(value));
    observed.attributes[0].observed_at = ago(seconds);
    about.options = Some(proto::WriteOptions { about: ago(seconds), ..Default::default() });
    [observed, about]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_from_before_a_contest_does_not_end_it() {
    let mut world = world().await;
    let mut ada = world.harness.as_role(Role::Subject, "ada").await;
    let contest = proto::ContestAttributeRequest { key: "job".into(), ..Default::default() };
    ada.profile.contest_attribute(contest).await.unwrap();
    assert_eq!(world.allowed().await, 0);
    for late in stated("baker", 3_600).into_iter().chain(stated("cook", 3_600)) {
        let answer = ada.profile.record_attributes(late).await.unwrap().into_inner();
        assert_eq!(answer.superseded, [0]);
        assert_eq!(world.allowed().await, 0);
    }
    // A late correction of it is refused.
    let request = proto::GetProfileRequest::default();
    let profile = ada.profile.get_profile(request).await.unwrap().into_inner();
    assert!(profile.attributes.len() == 1 && profile.attributes[0].contested, "{profile:?}");
    let [_, mut correction] = stated("cook", 3_600);
    correction.attributes[0].corrects = profile.attributes[0].event_id.clone();
    let refused = ada.profile.record_attributes(correction).await.unwrap_err();
    assert!(refused.message().contains("`options.about` must be after"), "{refused:?}");
    // What she says now ends the contest.
    let answer = ada.profile.record_attributes(declared("cook")).await.unwrap().into_inner();
    assert_eq!(answer.superseded, Vec::<u32>::new());
    assert_eq!(world.allowed().await, 1);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_from_before_a_removal_stays_removed() {
    let mut world = world().await;
    let mut ada = world.harness.as_role(Role::Subject, "ada").await;
    let remove = proto::RemoveAttributesRequest { keys: vec!["job".into()], ..Default::default() };
    ada.profile.remove_attributes(remove).await.unwrap();
    let mut channel = world.harness.as_claim(Role::Channel, "app").await;
    for late in stated("baker", 3_600).into_iter().chain(stated("cook", 3_600)) {
        // The person and who speaks for them learn that the declaration did not take effect.
        for caller in [&mut ada, &mut channel] {
            let answer = caller.profile.record_attributes(late.clone()).await.unwrap().into_inner();
            assert_eq!(answer.superseded, [0]);
        }
        let mut observed = late;
        observed.attributes[0].provenance = Provenance::Observed.into();
        let answer = world.service.profile.record_attributes(observed).await.unwrap().into_inner();
        assert_eq!(answer.superseded, Vec::<u32>::new(), "a service does not learn what the person did");
        assert_eq!(world.allowed().await, 0);
    }
    // A restart folds the same state from the log.
    let harness = world.harness.restart().await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let service = harness.as_role(Role::Service, "tutor").await;
    let steward = harness.as_role(Role::Steward, "privacy-team").await;
    let mut world = World { harness, service, steward };
    let [late, _] = stated("baker", 3_600);
    assert_eq!(ada.profile.record_attributes(late).await.unwrap().into_inner().superseded, [0]);
    assert_eq!(world.allowed().await, 0);
    ada.profile.record_attributes(declared("cook")).await.unwrap();
    assert_eq!(world.allowed().await, 1);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_from_before_a_confirmation_or_a_correction_does_not_replace_what_it_left() {
    let mut world = world().await;
    let mut ada = world.harness.as_role(Role::Subject, "ada").await;
    let mut observed = declared("baker");
    (observed.attributes[0].key, observed.attributes[0].observed_at) = ("pace".into(), ago(7_200));
    observed.attributes[0].provenance = Provenance::Observed.into();
    world.service.profile.record_attributes(observed).await.unwrap();
    let confirm = proto::ConfirmAttributeRequest { key: "pace".into(), ..Default::default() };
    ada.profile.confirm_attribute(confirm).await.unwrap();
    let [mut late, _] = stated("cook", 3_600);
    late.attributes[0].key = "pace".into();
    assert_eq!(ada.profile.record_attributes(late).await.unwrap().into_inner().superseded, [0]);

    let profile = ada.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap().into_inner();
    let job = profile.attributes.into_iter().find(|attribute| attribute.key == "job").unwrap();
    let mut correction = declared("butcher");
    correction.attributes[0].corrects = job.event_id;
    correction.attributes[0].observed_at = ago(7_200);
    ada.profile.record_attributes(correction).await.unwrap();
    let [late, _] = stated("cook", 3_600);
    assert_eq!(ada.profile.record_attributes(late).await.unwrap().into_inner().superseded, [0]);
    let profile = ada.profile.get_profile(proto::GetProfileRequest::default()).await.unwrap().into_inner();
    let values: Vec<&str> = profile.attributes.iter().map(|each| each.value_json.as_str()).collect();
    assert_eq!(values, ["\"butcher\"", "\"baker\""]);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lift_that_states_the_moment_of_the_signal_does_not_lift_it() {
    let mut world = world().await;
    let signal = |lift, about| proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: proto::SignalKind::Restriction.into(),
        lift,
        options: Some(proto::WriteOptions { about, ..Default::default() }),
        ..Default::default()
    };
    world.steward.consent.record_signal(signal(false, None)).await.unwrap();
    let request = proto::ListEventsRequest { subject: "ada".into(), page_size: 1_000, ..Default::default() };
    let page = world.steward.profile.list_events(request).await.unwrap().into_inner();
    let is_signal = |body: &proto::EventBody| matches!(body.event, Some(Event::SignalRecorded(_)));
    let mut bodies = page.events.into_iter().filter_map(|event| event.body);
    let about_ms = bodies.rfind(is_signal).unwrap().about_ms;
    let about = Some(prost_types::Timestamp {
        seconds: i64::try_from(about_ms / 1_000).unwrap(),
        nanos: i32::try_from(about_ms % 1_000).unwrap() * 1_000_000,
    });
    let late = world.steward.consent.record_signal(signal(true, about)).await.unwrap().into_inner();
    assert_eq!(late.unmatched[0].kind(), proto::UnmatchedKind::Signal);
    assert_eq!(world.allowed().await, 0);
    // Without a time of its own, a lifting follows what was recorded before it, however soon.
    for _ in 0..20 {
        world.steward.consent.record_signal(signal(false, None)).await.unwrap();
        let lifted = world.steward.consent.record_signal(signal(true, None)).await.unwrap().into_inner();
        assert!(lifted.unmatched.is_empty(), "{lifted:?}");
    }
    assert_eq!(world.allowed().await, 1);
    verify(&world.harness);
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
