//! Tests which of a data subject's decisions counts for a use. Examples are decisions that name several
//! purposes or categories, renewals that end, and decisions that arrive late.

use crate::erasure::verify;
use crate::harness::{Clients, Harness, choice, consent, fact, publish_notice};
use crate::rights::{AdvancedClock, start};
use sayso::proto::{self, ConsentDecision, DenialReason, RevocationReason, Role, SignalKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

const HOUR_S: i64 = 3_600;

struct World {
    harness: Harness,
    clock: Arc<AdvancedClock>,
    service: Clients,
    steward: Clients,
}

/// A ledger that has recorded an attribute about ada's work and one about her family.
async fn world() -> World {
    let clock = Arc::new(AdvancedClock::default());
    let harness = start(Arc::clone(&clock), tempfile::tempdir().unwrap()).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    publish_notice(&mut steward).await;
    for category in ["work", "family"] {
        service.profile.record_attributes(fact("ada", category, category, "x")).await.unwrap();
    }
    World { harness, clock, service, steward }
}

/// The ledger's time plus `later_s` seconds.
fn time(world: &World, later_s: i64) -> prost_types::Timestamp {
    let advanced_ms = world.clock.0.load(Ordering::SeqCst);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seconds = now.as_secs() + advanced_ms / 1_000;
    prost_types::Timestamp { seconds: i64::try_from(seconds).unwrap() + later_s, nanos: 0 }
}

impl World {
    /// Records choices that ada made some seconds ago.
    async fn decide_earlier(&mut self, choices: Vec<proto::ConsentChoice>, ago_s: i64) {
        let about = (ago_s > 0).then(|| time(self, -ago_s));
        let options = Some(proto::WriteOptions { about, ..Default::default() });
        let request = proto::RecordConsentRequest { options, ..consent("ada", choices) };
        self.steward.consent.record_consent(request).await.unwrap();
    }

    async fn decide(&mut self, decision: ConsentDecision, purposes: &[&str], categories: &[&str]) {
        self.decide_earlier(vec![choices(decision, purposes, categories)], 0).await;
    }

    /// The keys that a grant allows, and the reasons for which others are withheld.
    async fn ask(&mut self, purpose: &str) -> (Vec<String>, Vec<DenialReason>) {
        let request = proto::RequestGrantRequest {
            subject: "ada".into(),
            purpose: purpose.into(),
            ..Default::default()
        };
        let grant = self.service.grant.request_grant(request).await.unwrap().into_inner();
        let reasons = grant.withheld.iter().map(proto::Withheld::reason).collect();
        (grant.allowed.into_iter().map(|attribute| attribute.key).collect(), reasons)
    }

    /// Whether each of ada's decisions is in force, oldest first.
    async fn in_force(&mut self) -> Vec<bool> {
        let request = proto::ListConsentsRequest { subject: "ada".into(), ..Default::default() };
        let found = self.steward.consent.list_consents(request).await.unwrap().into_inner();
        found.consents.into_iter().map(|record| record.in_force).collect()
    }
}

fn choices(decision: ConsentDecision, purposes: &[&str], categories: &[&str]) -> proto::ConsentChoice {
    let purposes = purposes.iter().map(|purpose| (*purpose).to_owned()).collect();
    proto::ConsentChoice { purposes, ..choice(decision, "", categories, false) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_with_several_names_counts_like_one_choice_for_each() {
    let mut world = world().await;
    world.decide(ConsentDecision::Refused, &["memory"], &["work"]).await;
    world.decide(ConsentDecision::Given, &["memory"], &["work", "family"]).await;
    assert_eq!(world.ask("memory").await, (vec!["family".into(), "work".into()], vec![]));
    assert_eq!(world.in_force().await, [false, true]);
    world.decide(ConsentDecision::Withdrawn, &["personalization", "memory"], &[]).await;
    world.decide(ConsentDecision::Given, &["personalization"], &[]).await;
    let (allowed, reasons) = world.ask("memory").await;
    assert_eq!((allowed.len(), reasons[0]), (0, DenialReason::ConsentWithdrawn));
    assert_eq!(world.ask("personalization").await.0.len(), 2);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn recording_a_key_again_ends_the_grants_of_what_it_replaces() {
    let mut world = world().await;
    let health = choice(ConsentDecision::Given, "memory", &["health", "work"], true);
    world.decide_earlier(vec![health], 0).await;
    let record = async |world: &mut World, category: &str, value: &str| {
        world.service.profile.record_attributes(fact("ada", "pulse", category, value)).await.unwrap();
    };
    record(&mut world, "health", "fast").await;
    let request = proto::RequestGrantRequest {
        subject: "ada".into(),
        purpose: "memory".into(),
        keys: vec!["pulse".into()],
        ..Default::default()
    };
    // Records the key again with another category, with another value, and with the same value.
    let cases = [("work", "fast", false), ("work", "slow", false), ("work", "slow", true)];
    for (category, value, is_valid) in cases {
        let grant = world.service.grant.request_grant(request.clone()).await.unwrap().into_inner();
        assert_eq!(grant.allowed.len(), 1);
        record(&mut world, category, value).await;
        let check = proto::CheckGrantRequest { grant_id: grant.grant_id, keys: Vec::new() };
        let checked = world.service.grant.check_grant(check).await.unwrap().into_inner();
        assert_eq!(checked.valid, is_valid, "recorded as {category}: {value}");
        assert_eq!(checked.reason() == RevocationReason::AttributeReplaced, !is_valid);
    }
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_renewal_ends_the_consent_that_it_renewed_ends_too() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["memory"], &[]).await;
    let expires_at = Some(time(&world, HOUR_S / 2));
    let renewed =
        proto::ConsentChoice { expires_at, ..choices(ConsentDecision::Renewed, &["memory"], &["work"]) };
    world.decide_earlier(vec![renewed], 0).await;
    assert_eq!(world.ask("memory").await.0, ["family", "work"]);
    world.clock.0.store(40 * 60_000, Ordering::SeqCst);
    assert_eq!(world.ask("memory").await, (vec!["family".into()], vec![DenialReason::ConsentExpired]));
    assert_eq!(world.in_force().await, [true, false]);
    verify(&world.harness);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_a_refusal_does_not_undo_it_when_it_arrives_late() {
    let mut world = world().await;
    world.decide(ConsentDecision::Given, &["memory"], &[]).await;
    world.decide(ConsentDecision::Withdrawn, &["memory"], &[]).await;
    world.decide_earlier(vec![choices(ConsentDecision::Given, &["memory"], &[])], HOUR_S).await;
    let (allowed, reasons) = world.ask("memory").await;
    assert_eq!((allowed.len(), reasons[0]), (0, DenialReason::ConsentWithdrawn));
    // A withdrawal counts from when it is recorded, even if it states an earlier time than a consent.
    world.decide(ConsentDecision::Given, &["memory"], &[]).await;
    assert_eq!(world.ask("memory").await.0.len(), 2);
    world.decide_earlier(vec![choices(ConsentDecision::Withdrawn, &["memory"], &[])], HOUR_S).await;
    assert_eq!(world.ask("memory").await.0.len(), 0);
    // A signal also counts from when it is recorded. A lift must state a time after the signal was recorded,
    // or it has no effect.
    world.decide(ConsentDecision::Given, &["memory"], &[]).await;
    let signal = |lift, ago_s: i64, world: &World| proto::RecordSignalRequest {
        subject: "ada".into(),
        kind: SignalKind::Restriction.into(),
        lift,
        options: Some(proto::WriteOptions {
            about: (ago_s > 0).then(|| time(world, -ago_s)),
            ..Default::default()
        }),
        ..Default::default()
    };
    for (lift, ago_s, allowed) in [(false, 2 * HOUR_S, 0), (true, HOUR_S, 0), (true, 0, 2)] {
        let request = signal(lift, ago_s, &world);
        world.steward.consent.record_signal(request).await.unwrap();
        assert_eq!(world.ask("memory").await.0.len(), allowed, "lift: {lift}, {ago_s} s ago");
    }
    verify(&world.harness);
}
