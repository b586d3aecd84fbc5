//! A repeated request in a conversation is answered with the grant that the first request got. Tests when
//! a grant is reused, and every change that stops reuse. A reused grant never allows what a new decision
//! would not allow.

use crate::bounds::{World, consented, events, keys, publish, record, standing, version, world, world_of};
use crate::harness::{self, Harness, ask, choice, claim_for, config, consent, fact, publish_notice};
use crate::rights::AdvancedClock;
use proptest::prelude::*;
use sayso::daemon::Daemon;
use sayso::domain::event::CategoryDefined;
use sayso::proto::{self, ConsentDecision, PersonalBounds, Provenance, Role, SignalKind, Tier, WriteOptions};
use sayso_proof::event::event_body::Event;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const NO_FAMILY: &str = "@id(\"no-family\")\n@title(\"No use of family\")\n@article(\"House rule 1\")\nforbid (principal, action in Action::\"use\", resource in Category::\"family\");\n";
const FRESH_ONLY: &str = "@id(\"fresh-only\")\n@title(\"Nothing older than a day\")\n@article(\"House rule 2\")\nforbid (principal, action in Action::\"use\", resource) when { context.age_days > 0 };\n";
const HOUR_MS: u64 = 3_600_000;

/// A request in the conversation `talk-1`, for a grant that lasts a day.
fn conversation_request(subject: &str) -> proto::RequestGrantRequest {
    let ttl = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    proto::RequestGrantRequest { interaction: "talk-1".into(), ttl, ..ask(subject) }
}

async fn granted(world: &mut World, request: proto::RequestGrantRequest) -> proto::RequestGrantResponse {
    world.service.grant.request_grant(request).await.unwrap().into_inner()
}

/// The ids of the events that recorded the attributes which a new decision would allow in the same
/// conversation.
async fn freshly_allowed(world: &mut World, subject: &str) -> Vec<String> {
    let request = proto::EvaluateUseRequest {
        subject: subject.into(),
        purpose: ask(subject).purpose,
        interaction: conversation_request(subject).interaction,
        recipient: "tutor".into(),
        ..Default::default()
    };
    let mut data_subject = world.harness.as_role(Role::Subject, subject).await;
    let evaluation = data_subject.grant.evaluate_use(request).await.unwrap().into_inner();
    evaluation.allowed.into_iter().map(|allowed| allowed.event_id).collect()
}

fn allowed_event_ids(grant: &proto::RequestGrantResponse) -> Vec<String> {
    grant.allowed.iter().map(|allowed| allowed.event_id.clone()).collect()
}

/// Records three attributes and a consent. One attribute is in the category `diet`, which this function
/// defines.
async fn create_subject(world: &mut World, subject: &str) {
    define_diet(world, "", false).await;
    record(world, subject, "tone", "communication-style").await;
    record(world, subject, "sister", "family").await;
    record(world, subject, "lunch", "diet").await;
    consented(world, subject).await;
}

/// Defines the category `diet`.
async fn define_diet(world: &mut World, parent: &str, special: bool) {
    let (id, title) = ("diet".into(), "diet".into());
    let category = CategoryDefined { id, title, parent: parent.into(), special, ..Default::default() };
    let request =
        harness::category(&world.steward, category, &harness::provider_key(world.harness.dir.path())).await;
    // A definition is published once. An earlier subject's may be there already.
    if let Err(status) = world.steward.bounds.define_category(request).await {
        assert!(status.message().contains("each is published once"), "{status:?}");
    }
}

async fn log_size(world: &mut World) -> u64 {
    let mut auditor = world.harness.as_role(Role::Auditor, "auditor").await;
    let checkpoint = auditor.audit.get_checkpoint(proto::GetCheckpointRequest::default()).await.unwrap();
    checkpoint.into_inner().tree_size
}

async fn set_personal_bounds_of(world: &mut World, subject: &str, bounds: PersonalBounds) {
    let mut data_subject = world.harness.as_role(Role::Subject, subject).await;
    let request = proto::SetPersonalBoundsRequest { bounds: Some(bounds), ..Default::default() };
    data_subject.bounds.set_personal_bounds(request).await.unwrap();
}

async fn record_signal_about(world: &mut World, subject: &str, kind: SignalKind, interaction: &str) {
    let request = proto::RecordSignalRequest {
        subject: subject.into(),
        kind: kind.into(),
        interaction: interaction.into(),
        ..Default::default()
    };
    world.steward.consent.record_signal(request).await.unwrap();
}

async fn decide(world: &mut World, subject: &str, decision: ConsentDecision, categories: &[&str]) {
    let choices = vec![choice(decision, "tone-adaptation", categories, false)];
    world.steward.consent.record_consent(consent(subject, choices)).await.unwrap();
}

/// Each recorded count of reuses, with the recipient.
fn reuse_counts(recorded: &[proto::RecordedEvent]) -> Vec<(u32, String)> {
    let counts = recorded.iter().filter_map(|event| match event.body.as_ref()?.event.as_ref()? {
        Event::GrantGivenAgain(reuse) => Some((reuse.count, reuse.recipient.clone())),
        _ => None,
    });
    counts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_reuses_the_grant_and_counts_the_reuse() {
    let mut world = world().await;
    create_subject(&mut world, "ada").await;
    let first = granted(&mut world, conversation_request("ada")).await;
    assert!(!first.receipt.as_ref().unwrap().replayed);
    let before = log_size(&mut world).await;
    for _ in 0..3 {
        let again = granted(&mut world, conversation_request("ada")).await;
        assert!(again.receipt.as_ref().unwrap().replayed);
        assert_eq!(again.receipt.as_ref().unwrap().events, first.receipt.as_ref().unwrap().events);
        assert_eq!(
            proto::RequestGrantResponse { receipt: None, ..again },
            proto::RequestGrantResponse { receipt: None, ..first.clone() }
        );
    }
    assert_eq!(log_size(&mut world).await, before, "no event was recorded");
    // A report of use does not stop reuse, and an explanation says how often the grant was reused.
    let used = proto::ReportUseRequest {
        grant_id: first.grant_id.clone(),
        reply: "r".into(),
        shaped_by: vec!["tone".into()],
        ..Default::default()
    };
    world.service.grant.report_use(used).await.unwrap();
    assert_eq!(granted(&mut world, conversation_request("ada")).await.grant_id, first.grant_id);
    let history = events(&mut world, "ada").await;
    assert_eq!(reuse_counts(&history), [(4, "tutor".to_owned())]);
    assert!(standing(&mut world, &first.grant_id).await.0);
    let explained = proto::ExplainGrantRequest { grant_id: first.grant_id.clone() };
    let text = world.service.grant.explain_grant(explained).await.unwrap().into_inner().text;
    assert!(text.contains("reused 4 times"), "{text}");
    // When the daemon stops, it records the reuses that are not yet recorded. It keeps reusable grants only
    // in memory, so after a restart the next request gets a new grant.
    assert_eq!(granted(&mut world, conversation_request("ada")).await.grant_id, first.grant_id);
    let World { harness, service, steward, authority } = world;
    drop((service, steward, authority));
    let harness = harness.restart().await;
    let (service, steward) =
        (harness.as_role(Role::Service, "tutor").await, harness.as_role(Role::Steward, "privacy-team").await);
    let authority = harness.as_role(Role::Authority, "regulator").await;
    let mut world = World { harness, service, steward, authority };
    assert_eq!(
        reuse_counts(&events(&mut world, "ada").await),
        [(4, "tutor".to_owned()), (1, "tutor".to_owned())]
    );
    let new_grant = granted(&mut world, conversation_request("ada")).await;
    assert_ne!(new_grant.grant_id, first.grant_id);
    assert_eq!(granted(&mut world, conversation_request("ada")).await.grant_id, new_grant.grant_id);
}

/// The ledger counts how often a grant is reused, and records the count later. Meanwhile, the subject stays
/// in the cache. When the cache is full, the ledger records the counts early. Otherwise, subjects with
/// unrecorded counts could keep all others out of the cache for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn reuse_counts_are_recorded_early_when_the_subject_cache_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.limits.cached_subjects_bytes_max = 1 << 20;
    let daemon = Daemon::start(&config).await.unwrap();
    let mut world = world_of(Harness { dir, daemon }).await;
    let person = |number: usize| format!("person-{number}");
    for number in 0..100 {
        let mut fact = fact(&person(number), "tone", "communication-style", "x");
        fact.attributes[0].value_json = format!("\"{}\"", "x".repeat(15_000));
        world.service.profile.record_attributes(fact).await.unwrap();
        consented(&mut world, &person(number)).await;
        assert!(!granted(&mut world, conversation_request(&person(number))).await.receipt.unwrap().replayed);
        assert!(granted(&mut world, conversation_request(&person(number))).await.receipt.unwrap().replayed);
    }
    let before = log_size(&mut world).await;
    let start = std::time::Instant::now();
    for number in (100..).take_while(|_| start.elapsed().as_secs() < 20) {
        // Each new subject adds one event. Any further event in the log is a recorded count.
        record(&mut world, &person(number), "tone", "communication-style").await;
        if log_size(&mut world).await > before + (number - 99) as u64 {
            return;
        }
    }
    panic!("no count was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_different_request_gets_a_new_grant() {
    let mut world = world().await;
    create_subject(&mut world, "ada").await;
    let first = granted(&mut world, conversation_request("ada")).await;
    let brief = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let options = |options| Some(options);
    let keyed = WriteOptions { idempotency_key: "k".into(), ..Default::default() };
    let expecting = WriteOptions { expected_version: Some(1), ..Default::default() };
    for other in [
        proto::RequestGrantRequest { interaction: "talk-2".into(), ..conversation_request("ada") },
        proto::RequestGrantRequest { interaction: String::new(), ..conversation_request("ada") },
        proto::RequestGrantRequest { interaction: String::new(), ..conversation_request("ada") },
        proto::RequestGrantRequest { purpose: "content-relevance".into(), ..conversation_request("ada") },
        proto::RequestGrantRequest { keys: vec!["tone".into()], ..conversation_request("ada") },
        proto::RequestGrantRequest { categories: vec!["family".into()], ..conversation_request("ada") },
        proto::RequestGrantRequest { ttl: brief, ..conversation_request("ada") },
        proto::RequestGrantRequest { options: options(keyed.clone()), ..conversation_request("ada") },
    ] {
        let new_grant = granted(&mut world, other.clone()).await;
        assert_ne!(new_grant.grant_id, first.grant_id, "{other:?}");
        assert!(!new_grant.receipt.unwrap().replayed, "{other:?}");
    }
    // An outdated expected version is refused as stale, even if there is a grant to reuse.
    let stale = proto::RequestGrantRequest { options: options(expecting), ..conversation_request("ada") };
    let refused = world.service.grant.request_grant(stale).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Aborted);
    // A request with an idempotency key returns the grant of that key, not that of the conversation.
    let by_key = proto::RequestGrantRequest { options: options(keyed), ..conversation_request("ada") };
    let (one, other) = (granted(&mut world, by_key.clone()).await, granted(&mut world, by_key).await);
    assert_eq!(one.grant_id, other.grant_id);
    // A conversation of the same name with another service is a different conversation.
    let mut other = world.harness.as_role(Role::Service, "coach").await;
    let coach_grant = other.grant.request_grant(conversation_request("ada")).await.unwrap().into_inner();
    let again = other.grant.request_grant(conversation_request("ada")).await.unwrap().into_inner();
    assert_eq!(coach_grant.grant_id, again.grant_id);
    assert_ne!(coach_grant.grant_id, granted(&mut world, conversation_request("ada")).await.grant_id);
}

/// A change that can occur between two requests in the same conversation.
#[derive(Clone, Copy, Debug)]
enum Change {
    Withdrawn,
    WithdrawnForFamily,
    RefusedForFamily,
    ConsentGivenAgain,
    Restricted,
    Objected,
    Paused,
    ConversationPaused,
    ToneForbidden,
    OnlyAnotherRecipient,
    AskEachTime,
    PausedInBounds,
    ConversationPausedInBounds,
    AttributeAdded,
    AttributeReplaced,
    AttributeRemoved,
    AttributeContested,
    BoundsPublished,
    CategoryMadeSpecial,
    Erased,
    ErasedInPart,
}

const CHANGES: [Change; 21] = [
    Change::Withdrawn,
    Change::WithdrawnForFamily,
    Change::RefusedForFamily,
    Change::ConsentGivenAgain,
    Change::Restricted,
    Change::Objected,
    Change::Paused,
    Change::ConversationPaused,
    Change::ToneForbidden,
    Change::OnlyAnotherRecipient,
    Change::AskEachTime,
    Change::PausedInBounds,
    Change::ConversationPausedInBounds,
    Change::AttributeAdded,
    Change::AttributeReplaced,
    Change::AttributeRemoved,
    Change::AttributeContested,
    Change::Erased,
    Change::ErasedInPart,
    Change::BoundsPublished,
    Change::CategoryMadeSpecial,
];

async fn make_change(world: &mut World, subject: &str, change: Change, number: usize) {
    let bounds = match change {
        Change::ToneForbidden => PersonalBounds {
            never: vec![proto::ForbiddenUse { category: "communication-style".into(), ..Default::default() }],
            ..Default::default()
        },
        Change::OnlyAnotherRecipient => {
            PersonalBounds { only_recipients: vec!["coach".into()], ..Default::default() }
        }
        Change::AskEachTime => PersonalBounds { ask_each_time: true, ..Default::default() },
        Change::PausedInBounds => PersonalBounds { paused: true, ..Default::default() },
        Change::ConversationPausedInBounds => {
            PersonalBounds { paused_interactions: vec!["talk-1".into()], ..Default::default() }
        }
        _ => return make_other_change(world, subject, change, number).await,
    };
    set_personal_bounds_of(world, subject, bounds).await;
}

async fn make_other_change(world: &mut World, subject: &str, change: Change, number: usize) {
    match change {
        Change::Withdrawn => decide(world, subject, ConsentDecision::Withdrawn, &[]).await,
        Change::WithdrawnForFamily => decide(world, subject, ConsentDecision::Withdrawn, &["family"]).await,
        Change::RefusedForFamily => decide(world, subject, ConsentDecision::Refused, &["family"]).await,
        Change::ConsentGivenAgain => decide(world, subject, ConsentDecision::Given, &[]).await,
        Change::Restricted => record_signal_about(world, subject, SignalKind::Restriction, "").await,
        Change::Objected => record_signal_about(world, subject, SignalKind::Objection, "").await,
        Change::Paused => record_signal_about(world, subject, SignalKind::Pause, "").await,
        Change::ConversationPaused => record_signal_about(world, subject, SignalKind::Pause, "talk-1").await,
        Change::AttributeAdded => drop(record(world, subject, &format!("new-{number}"), "work").await),
        Change::AttributeReplaced => {
            // After the data subject contested the attribute, a steward may replace it and a channel may not.
            let request = fact(subject, "tone", "communication-style", "x");
            world.steward.profile.record_attributes(request).await.unwrap();
        }
        Change::AttributeRemoved => {
            let (subject, keys) = (subject.into(), vec!["tone".into()]);
            let request = proto::RemoveAttributesRequest { subject, keys, ..Default::default() };
            let _may_be_gone = world.steward.profile.remove_attributes(request).await;
        }
        Change::AttributeContested => {
            let mut data_subject = world.harness.as_role(Role::Subject, subject).await;
            let request = proto::ContestAttributeRequest { key: "tone".into(), ..Default::default() };
            let _may_be_gone = data_subject.profile.contest_attribute(request).await;
        }
        Change::BoundsPublished => {
            let pack = version(Tier::Provider, "family", &number.to_string(), NO_FAMILY);
            publish(world, pack).await.unwrap();
        }
        Change::CategoryMadeSpecial => define_diet(world, "health", true).await,
        _ => erase(world, subject, matches!(change, Change::Erased)).await,
    }
}

async fn erase(world: &mut World, subject: &str, whole: bool) {
    let request = proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: if whole { proto::ErasureScope::All } else { proto::ErasureScope::Category }.into(),
        category: if whole { String::new() } else { "family".into() },
        ..Default::default()
    };
    let _may_be_gone = world.steward.rights.submit_request(request).await;
}

/// Repeats the request and returns whether it reused the grant `before`. Asserts that the answer allows
/// exactly what a new decision allows.
async fn is_reused(
    world: &mut World,
    subject: &str,
    before: &str,
    after: &(dyn std::fmt::Debug + Sync),
) -> bool {
    let fresh = freshly_allowed(world, subject).await;
    let answer = granted(world, conversation_request(subject)).await;
    assert_eq!(allowed_event_ids(&answer), fresh, "after {after:?}");
    if !answer.grant_id.is_empty() {
        assert!(standing(world, &answer.grant_id).await.0, "after {after:?}");
    }
    answer.grant_id == before
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_affects_the_decision_stops_reuse_at_once() {
    let mut world = world().await;
    // Changes to the rules for everyone come last, since they affect all subjects that follow.
    for change in CHANGES {
        let subject = format!("{change:?}");
        create_subject(&mut world, &subject).await;
        let first = granted(&mut world, conversation_request(&subject)).await;
        assert_eq!(
            keys(&first).contains(&"sister".to_owned()),
            !matches!(change, Change::CategoryMadeSpecial),
            "{change:?}"
        );
        assert!(is_reused(&mut world, &subject, &first.grant_id, &"nothing").await);
        make_change(&mut world, &subject, change, 1).await;
        // Every change stops reuse: a new consent is a new basis for the decision, and every other change
        // removes something, or adds or replaces an attribute.
        assert!(!is_reused(&mut world, &subject, &first.grant_id, &change).await, "{change:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_grant_is_reused_when_the_person_wants_to_be_asked_each_time() {
    let mut world = world().await;
    create_subject(&mut world, "ada").await;
    set_personal_bounds_of(&mut world, "ada", PersonalBounds { ask_each_time: true, ..Default::default() })
        .await;
    let here = proto::ConsentChoice {
        interactions: vec!["talk-1".into()],
        ..choice(ConsentDecision::Given, "tone-adaptation", &[], false)
    };
    world.steward.consent.record_consent(consent("ada", vec![here])).await.unwrap();
    let (one, other) = (
        granted(&mut world, conversation_request("ada")).await,
        granted(&mut world, conversation_request("ada")).await,
    );
    assert_eq!(keys(&one), ["lunch", "sister", "tone"]);
    assert_ne!(one.grant_id, other.grant_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_stops_as_time_passes() {
    let (clock, dir) = (Arc::new(AdvancedClock::default()), tempfile::tempdir().unwrap());
    let daemon = Daemon::start_with(&config(dir.path()), Arc::clone(&clock) as _).await.unwrap();
    let harness = Harness { dir, daemon };
    let mint = |role, name| harness.daemon.issuer.mint(claim_for(role), name, 40 * 86_400).unwrap();
    let (service, steward, authority) = (
        harness.with_token(Some(&mint(Role::Service, "tutor"))).await,
        harness.with_token(Some(&mint(Role::Steward, "privacy-team"))).await,
        harness.with_token(Some(&mint(Role::Authority, "regulator"))).await,
    );
    let mut world = World { harness, service, steward, authority };
    publish_notice(&mut world.steward).await;
    create_subject(&mut world, "ada").await;
    let first = granted(&mut world, conversation_request("ada")).await;
    clock.0.fetch_add(11 * HOUR_MS, Ordering::SeqCst);
    assert!(is_reused(&mut world, "ada", &first.grant_id, &"eleven hours of twenty-four").await);
    clock.0.fetch_add(2 * HOUR_MS, Ordering::SeqCst);
    assert!(!is_reused(&mut world, "ada", &first.grant_id, &"thirteen hours of twenty-four").await);
    assert!(standing(&mut world, &first.grant_id).await.0, "the grant itself has not expired");
    // As time passes, a rule about the age of attributes forbids what it allowed before. The grant is reused
    // only as long as a new decision at the time of the request allows the same.
    record(&mut world, "ada", "tone", "communication-style").await;
    record(&mut world, "ada", "sister", "family").await;
    publish(&mut world, version(Tier::Provider, "fresh", "1", FRESH_ONLY)).await.unwrap();
    clock.0.fetch_add(20 * HOUR_MS, Ordering::SeqCst);
    let second = granted(&mut world, conversation_request("ada")).await;
    assert_eq!(keys(&second), ["sister", "tone"]);
    clock.0.fetch_add(2 * HOUR_MS, Ordering::SeqCst);
    assert!(is_reused(&mut world, "ada", &second.grant_id, &"twenty-two hours").await);
    clock.0.fetch_add(3 * HOUR_MS, Ordering::SeqCst);
    assert!(!is_reused(&mut world, "ada", &second.grant_id, &"twenty-five hours").await);
    assert!(granted(&mut world, conversation_request("ada")).await.allowed.is_empty());
    // Reuse also stops when an inferred attribute expires.
    publish(&mut world, version(Tier::Provider, "fresh", "2", "")).await.unwrap();
    let soon = clock_time(&clock, HOUR_MS);
    let conclusion = proto::AttributeInput {
        key: "mood".into(),
        value_json: "\"x\"".into(),
        category: "preference".into(),
        provenance: Provenance::Inferred.into(),
        expires_at: Some(soon),
        ..Default::default()
    };
    let request =
        proto::RecordAttributesRequest { subject: "ada".into(), attributes: vec![conclusion], options: None };
    world.service.profile.record_attributes(request).await.unwrap();
    let third = granted(&mut world, conversation_request("ada")).await;
    assert!(keys(&third).contains(&"mood".to_owned()));
    clock.0.fetch_add(HOUR_MS + 1, Ordering::SeqCst);
    assert!(!is_reused(&mut world, "ada", &third.grant_id, &"an expiry").await);
}

/// The time of the test clock plus `ahead_ms` milliseconds.
fn clock_time(clock: &AdvancedClock, ahead_ms: u64) -> prost_types::Timestamp {
    use sayso::clock::Clock;
    let ms = clock.now_ms() + ahead_ms;
    prost_types::Timestamp { seconds: (ms / 1_000) as i64, nanos: (ms % 1_000 * 1_000_000) as i32 }
}

#[test]
fn a_reused_grant_always_equals_a_fresh_decision() {
    let rounds = std::env::var("SAYSO_REUSE_GRANT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: rounds.unwrap_or(6),
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let changes = prop::collection::vec((0..CHANGES.len(), 2..4_usize), 1..12);
    let reused = std::sync::atomic::AtomicUsize::new(0);
    runner
        .run(&changes, |changes| {
            runtime.block_on(async {
                let mut world = world().await;
                create_subject(&mut world, "ada").await;
                let mut before = String::new();
                for (number, (change, times)) in changes.iter().enumerate() {
                    for _ in 0..*times {
                        if is_reused(&mut world, "ada", &before, &changes).await && !before.is_empty() {
                            reused.fetch_add(1, Ordering::SeqCst);
                        }
                        before = granted(&mut world, conversation_request("ada")).await.grant_id;
                    }
                    make_change(&mut world, "ada", CHANGES[*change], number + 1).await;
                }
                is_reused(&mut world, "ada", &before, &changes).await;
            });
            Ok(())
        })
        .unwrap();
    assert!(reused.load(Ordering::SeqCst) > 0, "no grant was reused in any run");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reuses_of_a_grant_that_expired_before_they_were_recorded_are_counted() {
    let mut world = world().await;
    create_subject(&mut world, "ada").await;
    let brief = |interaction: &str| proto::RequestGrantRequest {
        ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        interaction: interaction.into(),
        ..ask("ada")
    };
    let first = granted(&mut world, brief("talk")).await;
    assert_eq!(granted(&mut world, brief("talk")).await.grant_id, first.grant_id);
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    // The person's state keeps only the newest grants that have ended.
    for number in 0..70 {
        granted(&mut world, brief(&format!("other-{number}"))).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
    granted(&mut world, brief("last")).await;
    assert_eq!(reuse_counts(&events(&mut world, "ada").await), [(1, "tutor".to_owned())]);
    crate::erasure::verify(&world.harness);
}
