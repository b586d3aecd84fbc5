//! A guardian's consent ends by itself when the person reaches the age at which they consent alone. The age
//! is computed from the stated birth.

use crate::erasure::verify;
use crate::harness::{self, Clients, Harness, ask, choice, consent, fact};
use crate::rights::{AdvancedClock, start};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use sayso::clock::Clock;
use sayso::proto::{self, AgeBand, ConsentDecision, DenialReason, RevocationReason, Role};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tonic::Code;

const HOUR_MS: u64 = 3_600_000;

struct World {
    harness: Harness,
    clock: Arc<AdvancedClock>,
    service: Clients,
    steward: Clients,
    /// The date of birth of somebody in Germany who turns 16 within a day.
    born: String,
    /// When they may turn 16, milliseconds since the Unix epoch.
    turns_16_ms: u64,
}

/// A ledger with an attribute of ada and her guardian's consent.
async fn world() -> World {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
    let service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    steward.profile.record_attributes(fact("ada", "tone", "communication-style", "plain")).await.unwrap();
    let ahead = SignedDuration::from_hours(14);
    let now = Timestamp::from_millisecond(clock.now_ms() as i64).unwrap();
    let birthday = (now + ahead).to_zoned_datetime(TimeZone::UTC).date().tomorrow().unwrap();
    let turns_16 = birthday.to_zoned_datetime(TimeZone::UTC).unwrap().timestamp() - ahead;
    let turns_16_ms = turns_16.as_millisecond() as u64;
    let born = birthday.checked_sub(16.years()).unwrap().to_string();
    let mut world = World { harness, clock, service, steward, born, turns_16_ms };
    world.consent_by(true).await;
    world
}

impl World {
    async fn consent_by(&mut self, guardian: bool) {
        let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
        let request = proto::RecordConsentRequest { guardian, ..consent("ada", vec![given]) };
        self.steward.consent.record_consent(request).await.unwrap();
    }

    async fn describe(&mut self, age_band: AgeBand, born: &str) {
        let request = proto::DescribeSubjectRequest {
            subject: "ada".into(),
            age_band: age_band.into(),
            born: born.into(),
            jurisdiction: "DE".into(),
            ..Default::default()
        };
        self.steward.profile.describe_subject(request).await.unwrap();
    }

    /// Requests a grant for a day.
    async fn ask(&mut self) -> proto::RequestGrantResponse {
        let ttl = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
        let request = proto::RequestGrantRequest { ttl, ..ask("ada") };
        self.service.grant.request_grant(request).await.unwrap().into_inner()
    }

    /// Why ada's attribute is withheld, and by which policy; none if it is allowed.
    async fn withheld(&mut self) -> Option<(DenialReason, String)> {
        let answer = self.ask().await;
        let withheld = answer.withheld.first().map(|class| (class.reason(), class.policy.clone()));
        assert_eq!(withheld.is_none(), answer.allowed.len() == 1);
        withheld
    }

    /// Moves the clock to a time after the moment at which ada may turn 16.
    async fn move_past_16(&mut self, later_ms: u64) {
        let now_ms = self.clock.now_ms() - self.clock.0.load(Ordering::SeqCst);
        self.clock.0.store(self.turns_16_ms + later_ms - now_ms, Ordering::SeqCst);
        self.service = self.harness.as_role(Role::Service, "tutor").await;
        self.steward = self.harness.as_role(Role::Steward, "privacy-team").await;
    }

    async fn register_artifact(&mut self, grant_id: &str) {
        let request = proto::RegisterArtifactRequest {
            grant_id: grant_id.into(),
            kind: proto::ArtifactKind::Summary.into(),
            ..Default::default()
        };
        self.service.grant.register_artifact(request).await.unwrap();
    }

    /// Waits until ada's only artifact is revoked, and returns the reason.
    async fn artifact_revoked(&mut self) -> RevocationReason {
        for _ in 0..600 {
            let request = proto::ListArtifactsRequest { subject: "ada".into(), ..Default::default() };
            let artifacts = self.service.grant.list_artifacts(request).await.unwrap().into_inner().artifacts;
            if artifacts[0].reason() != RevocationReason::Unspecified {
                return artifacts[0].reason();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the artifact was not revoked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stated_birth_ends_a_guardians_consent_by_itself() {
    let mut world = world().await;
    let born = world.born.clone();
    world.describe(AgeBand::Unspecified, &born).await;
    let request = proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    let known = world.steward.profile.get_profile(request).await.unwrap().into_inner().description.unwrap();
    assert_eq!((known.age_band(), known.born), (AgeBand::Unspecified, born));

    let grant = world.ask().await;
    assert_eq!(grant.allowed.len(), 1);
    let expires_at = grant.expires_at.unwrap();
    let expires_ms = expires_at.seconds as u64 * 1_000 + expires_at.nanos as u64 / 1_000_000;
    assert_eq!(expires_ms, world.turns_16_ms, "the grant ends when the guardian's consent does");
    world.register_artifact(&grant.grant_id).await;

    world.move_past_16(0).await;
    let ended = (DenialReason::GuardianEnded, "gdpr/art-8-guardian-ended".to_owned());
    assert_eq!(world.withheld().await, Some(ended));
    assert_eq!(world.artifact_revoked().await, RevocationReason::GuardianEnded);
    let check = proto::CheckGrantRequest { grant_id: grant.grant_id, keys: Vec::new() };
    assert!(!world.service.grant.check_grant(check).await.unwrap().into_inner().valid);

    // Ada's own consent counts once she has turned 16 wherever she is, 26 hours later.
    world.consent_by(false).await;
    assert_eq!(world.withheld().await.unwrap().0, DenialReason::GuardianNeeded);
    world.move_past_16(26 * HOUR_MS).await;
    assert_eq!(world.withheld().await, None);
    assert_eq!(verify(&world.harness)["grants"]["unjustified"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_before_the_birth_was_stated_ends_too() {
    let mut world = world().await;
    world.describe(AgeBand::Child, "").await;
    let grant = world.ask().await.grant_id;
    world.register_artifact(&grant).await;
    let born = world.born.clone();
    world.describe(AgeBand::Unspecified, &born).await;
    assert_eq!(world.withheld().await, None);

    world.move_past_16(0).await;
    let check = proto::CheckGrantRequest { grant_id: grant, keys: Vec::new() };
    let checked = world.service.grant.check_grant(check).await.unwrap().into_inner();
    assert_eq!((checked.valid, checked.reason()), (false, RevocationReason::GuardianEnded));
    assert_eq!(world.artifact_revoked().await, RevocationReason::GuardianEnded);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_birth_is_a_coarse_date_that_a_service_does_not_state_and_staff_override() {
    let mut world = world().await;
    let describe = |age_band: AgeBand, born: &str| proto::DescribeSubjectRequest {
        subject: "ada".into(),
        age_band: age_band.into(),
        born: born.into(),
        ..Default::default()
    };
    for (band, born) in [
        (AgeBand::Unspecified, "2999"),
        (AgeBand::Unspecified, "1899"),
        (AgeBand::Unspecified, "2010-13"),
        (AgeBand::Unspecified, "10"),
        (AgeBand::Teen, "2010"),
    ] {
        let wrong = world.steward.profile.describe_subject(describe(band, born)).await.unwrap_err();
        assert_eq!(wrong.code(), Code::InvalidArgument, "{born}");
        assert!(wrong.message().contains("born"), "{wrong}");
    }
    let mut service = world.harness.as_claim(Role::Service, "tutor").await;
    let by_service = service.profile.describe_subject(describe(AgeBand::Unspecified, "2010")).await;
    assert_eq!(by_service.unwrap_err().code(), Code::PermissionDenied);
    // A channel does not make the person older than the staff said, and may make them younger.
    let mut channel = world.harness.as_claim(Role::Channel, "app").await;
    world.steward.profile.describe_subject(describe(AgeBand::Unspecified, "2013")).await.unwrap();
    let older = channel.profile.describe_subject(describe(AgeBand::Unspecified, "1990")).await;
    assert_eq!(older.unwrap_err().code(), Code::PermissionDenied);
    channel.profile.describe_subject(describe(AgeBand::Unspecified, "2014")).await.unwrap();
    let shown = world.harness.cli(Role::Steward, "privacy-team", &["describe", "ada", "--born", "2012-05"]);
    harness::stdout(&shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_children_who_reach_an_age_at_one_moment_all_lose_their_guardians_consent_at_once() {
    let mut world = world().await;
    let count = 140;
    let mut grants = Vec::new();
    for number in 0..count {
        let subject = format!("child-{number}");
        let tone = fact(&subject, "tone", "communication-style", "plain");
        world.steward.profile.record_attributes(tone).await.unwrap();
        let given = choice(ConsentDecision::Given, "tone-adaptation", &[], false);
        let request = proto::RecordConsentRequest { guardian: true, ..consent(&subject, vec![given]) };
        world.steward.consent.record_consent(request).await.unwrap();
        let ttl = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
        let request = proto::RequestGrantRequest { ttl, ..ask(&subject) };
        grants.push(world.service.grant.request_grant(request).await.unwrap().into_inner().grant_id);
        let request = proto::DescribeSubjectRequest {
            subject,
            born: world.born.clone(),
            jurisdiction: "DE".into(),
            ..Default::default()
        };
        world.steward.profile.describe_subject(request).await.unwrap();
    }
    world.move_past_16(0).await;
    let watch = proto::WatchRevocationsRequest { after_cursor: None };
    let mut watched = world.service.grant.watch_revocations(watch).await.unwrap().into_inner();
    let mut revoked = std::collections::BTreeSet::new();
    // Passes look again at what ended in the last two minutes. They must not stay with the first children.
    let all = async {
        while revoked.len() < grants.len() {
            revoked.extend(watched.message().await.unwrap().unwrap().grant_ids);
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(in_time.is_ok(), "{} of {count} were revoked", revoked.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guardians_consent_that_has_ended_allows_no_recording_and_is_listed_to_ask_again() {
    let mut world = world().await;
    let born = world.born.clone();
    world.describe(AgeBand::Unspecified, &born).await;
    let explicit = choice(ConsentDecision::Given, "memory", &["health"], true);
    let request = proto::RecordConsentRequest { guardian: true, ..consent("ada", vec![explicit.clone()]) };
    world.steward.consent.record_consent(request).await.unwrap();
    let infers = |key: &str, category: &str| {
        let mut request = fact("ada", key, category, "x");
        request.attributes[0].provenance = proto::Provenance::Inferred.into();
        request
    };
    let to_ask = async |world: &mut World, within_days| {
        let request = proto::ListOutdatedConsentsRequest { within_days, ..Default::default() };
        let listed =
            world.steward.consent.list_outdated_consents(request).await.unwrap().into_inner().consents;
        let turns_16 = (world.turns_16_ms / 1_000) as i64;
        assert!(listed.iter().all(|one| one.since.unwrap().seconds == turns_16), "{listed:?}");
        assert!(listed.iter().all(|one| one.policy == "gdpr/art-8-guardian-ended"), "{listed:?}");
        listed.into_iter().map(|one| (one.purposes[0].clone(), one.reason())).collect::<Vec<_>>()
    };
    world.service.profile.record_attributes(infers("asthma", "health")).await.unwrap();
    assert_eq!(to_ask(&mut world, 0).await, []);
    let both = ["tone-adaptation", "memory"].map(|purpose| (purpose.to_owned(), DenialReason::GuardianEnded));
    assert_eq!(to_ask(&mut world, 2).await, both);

    world.move_past_16(0).await;
    assert_eq!(to_ask(&mut world, 0).await, both);
    let refused = world.service.profile.record_attributes(infers("allergy", "health")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(
        refused.message().contains("art-8-guardian-ended")
            || format!("{refused:?}").contains("guardian-ended")
    );
    // What needs no consent is recorded, as it was before.
    world.service.profile.record_attributes(infers("hobby", "interest")).await.unwrap();

    // From 26 hours later on, Ada's own consent counts.
    world.move_past_16(26 * HOUR_MS).await;
    world.consent_by(false).await;
    world.steward.consent.record_consent(consent("ada", vec![explicit])).await.unwrap();
    world.service.profile.record_attributes(infers("allergy", "health")).await.unwrap();
    assert_eq!(to_ask(&mut world, 0).await, []);
    verify(&world.harness);
}
