//! The grant of a conversation given again: when it is, and everything that stops it at once. What is given
//! again is never anything that a decision of now would not give.

use crate::bounds::{World, consented, events, keys, publish, record, standing, version, world, world_of};
use crate::harness::{Harness, ask, choice, claim_for, config, consent, fact, publish_notice};
use crate::rights::Ahead;
use proptest::prelude::*;
use sayso::daemon::Daemon;
use sayso::proto::{
    self, Category, ConsentDecision, PersonalBounds, Provenance, Role, SignalKind, Tier, WriteOptions,
};
use sayso_proof::event::event_body::Event;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const NO_FAMILY: &str = "@id(\"no-family\")\n@title(\"No use of family\")\n@article(\"House rule 1\")\nforbid (principal, action in Action::\"use\", resource in Category::\"family\");\n";
const FRESH_ONLY: &str = "@id(\"fresh-only\")\n@title(\"Nothing older than a day\")\n@article(\"House rule 2\")\nforbid (principal, action in Action::\"use\", resource) when { context.age_days > 0 };\n";
const HOUR_MS: u64 = 3_600_000;

/// Asks in a conversation, for a day.
fn talk(subject: &str) -> proto::RequestGrantRequest {
    let ttl = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    proto::RequestGrantRequest { interaction: "talk-1".into(), ttl, ..ask(subject) }
}

async fn granted(world: &mut World, request: proto::RequestGrantRequest) -> proto::RequestGrantResponse {
    world.service.grant.request_grant(request).await.unwrap().into_inner()
}

/// What a decision of now gives the same conversation.
async fn evaluated(world: &mut World, subject: &str) -> Vec<String> {
    let request = proto::EvaluateUseRequest {
        subject: subject.into(),
        purpose: ask(subject).purpose,
        interaction: talk(subject).interaction,
        recipient: "tutor".into(),
        ..Default::default()
    };
    let mut own = world.harness.as_role(Role::Subject, subject).await;
    let found = own.grant.evaluate_use(request).await.unwrap().into_inner();
    found.allowed.into_iter().map(|allowed| allowed.event_id).collect()
}

fn event_ids(grant: &proto::RequestGrantResponse) -> Vec<String> {
    grant.allowed.iter().map(|allowed| allowed.event_id.clone()).collect()
}

/// A person with three facts, one of a category of our own, and a yes.
async fn introduce(world: &mut World, subject: &str) {
    diet(world, "", false).await;
    record(world, subject, "tone", "communication-style").await;
    record(world, subject, "sister", "family").await;
    record(world, subject, "lunch", "diet").await;
    consented(world, subject).await;
}

async fn diet(world: &mut World, parent: &str, special: bool) {
    let (id, title) = ("diet".into(), "diet".into());
    let diet = Category { id, title, parent: parent.into(), special, ..Default::default() };
    let request = proto::DefineCategoryRequest { category: Some(diet), options: None };
    world.steward.bounds.define_category(request).await.unwrap();
}

async fn size(world: &mut World) -> u64 {
    let mut auditor = world.harness.as_role(Role::Auditor, "auditor").await;
    let checkpoint = auditor.audit.get_checkpoint(proto::GetCheckpointRequest::default()).await.unwrap();
    checkpoint.into_inner().tree_size
}

async fn personal(world: &mut World, subject: &str, bounds: PersonalBounds) {
    let mut own = world.harness.as_role(Role::Subject, subject).await;
    let request = proto::SetPersonalBoundsRequest { bounds: Some(bounds), ..Default::default() };
    own.bounds.set_personal_bounds(request).await.unwrap();
}

async fn say(world: &mut World, subject: &str, kind: SignalKind, interaction: &str) {
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

fn times(recorded: &[proto::RecordedEvent]) -> Vec<(u32, String)> {
    let again = recorded.iter().filter_map(|event| match event.body.as_ref()?.event.as_ref()? {
        Event::GrantGivenAgain(again) => Some((again.count, again.recipient.clone())),
        _ => None,
    });
    again.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_reuses_the_grant_and_counts_the_reuse() {
    let mut world = world().await;
    introduce(&mut world, "ada").await;
    let first = granted(&mut world, talk("ada")).await;
    assert!(!first.receipt.as_ref().unwrap().replayed);
    let before = size(&mut world).await;
    for _ in 0..3 {
        let again = granted(&mut world, talk("ada")).await;
        assert!(again.receipt.as_ref().unwrap().replayed);
        assert_eq!(again.receipt.as_ref().unwrap().events, first.receipt.as_ref().unwrap().events);
        assert_eq!(
            proto::RequestGrantResponse { receipt: None, ..again },
            proto::RequestGrantResponse { receipt: None, ..first.clone() }
        );
    }
    assert_eq!(size(&mut world).await, before, "nothing was written");
    // A report of use changes nothing, and an explanation says how often the grant was reused.
    let used = proto::ReportUseRequest {
        grant_id: first.grant_id.clone(),
        reply: "r".into(),
        shaped_by: vec!["tone".into()],
        ..Default::default()
    };
    world.service.grant.report_use(used).await.unwrap();
    assert_eq!(granted(&mut world, talk("ada")).await.grant_id, first.grant_id);
    let history = events(&mut world, "ada").await;
    assert_eq!(times(&history), [(4, "tutor".to_owned())]);
    assert!(standing(&mut world, &first.grant_id).await.0);
    let explained = proto::ExplainGrantRequest { grant_id: first.grant_id.clone() };
    let text = world.service.grant.explain_grant(explained).await.unwrap().into_inner().text;
    assert!(text.contains("reused 4 times"), "{text}");
    // What a stop leaves uncounted is written down by it; a new start knows no conversation, and answers
    // anew.
    assert_eq!(granted(&mut world, talk("ada")).await.grant_id, first.grant_id);
    let World { harness, service, steward, authority } = world;
    drop((service, steward, authority));
    let harness = harness.restart().await;
    let (service, steward) =
        (harness.as_role(Role::Service, "tutor").await, harness.as_role(Role::Steward, "privacy-team").await);
    let authority = harness.as_role(Role::Authority, "regulator").await;
    let mut world = World { harness, service, steward, authority };
    assert_eq!(times(&events(&mut world, "ada").await), [(4, "tutor".to_owned()), (1, "tutor".to_owned())]);
    let anew = granted(&mut world, talk("ada")).await;
    assert_ne!(anew.grant_id, first.grant_id);
    assert_eq!(granted(&mut world, talk("ada")).await.grant_id, anew.grant_id);
}

/// Whoever is kept in memory only because of what is counted of them would keep everybody else out of it for
/// a minute.
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
        assert!(!granted(&mut world, talk(&person(number))).await.receipt.unwrap().replayed);
        assert!(granted(&mut world, talk(&person(number))).await.receipt.unwrap().replayed);
    }
    let before = size(&mut world).await;
    let begun = std::time::Instant::now();
    for number in (100..).take_while(|_| begun.elapsed().as_secs() < 20) {
        // Somebody else, with one event: anything more was written down.
        record(&mut world, &person(number), "tone", "communication-style").await;
        if size(&mut world).await > before + (number - 99) as u64 {
            return;
        }
    }
    panic!("nothing was written down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_different_request_gets_a_new_grant() {
    let mut world = world().await;
    introduce(&mut world, "ada").await;
    let first = granted(&mut world, talk("ada")).await;
    let brief = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let options = |options| Some(options);
    let keyed = WriteOptions { idempotency_key: "k".into(), ..Default::default() };
    let expecting = WriteOptions { expected_version: Some(1), ..Default::default() };
    for other in [
        proto::RequestGrantRequest { interaction: "talk-2".into(), ..talk("ada") },
        proto::RequestGrantRequest { interaction: String::new(), ..talk("ada") },
        proto::RequestGrantRequest { interaction: String::new(), ..talk("ada") },
        proto::RequestGrantRequest { purpose: "content-relevance".into(), ..talk("ada") },
        proto::RequestGrantRequest { keys: vec!["tone".into()], ..talk("ada") },
        proto::RequestGrantRequest { categories: vec!["family".into()], ..talk("ada") },
        proto::RequestGrantRequest { ttl: brief, ..talk("ada") },
        proto::RequestGrantRequest { options: options(keyed.clone()), ..talk("ada") },
    ] {
        let anew = granted(&mut world, other.clone()).await;
        assert_ne!(anew.grant_id, first.grant_id, "{other:?}");
        assert!(!anew.receipt.unwrap().replayed, "{other:?}");
    }
    // A version that the person no longer has is stale, whatever was given before.
    let stale = proto::RequestGrantRequest { options: options(expecting), ..talk("ada") };
    let refused = world.service.grant.request_grant(stale).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Aborted);
    // The key's own grant, and not the conversation's.
    let by_key = proto::RequestGrantRequest { options: options(keyed), ..talk("ada") };
    let (one, other) = (granted(&mut world, by_key.clone()).await, granted(&mut world, by_key).await);
    assert_eq!(one.grant_id, other.grant_id);
    // Another service's conversation of that name is another conversation.
    let mut other = world.harness.as_role(Role::Service, "coach").await;
    let his = other.grant.request_grant(talk("ada")).await.unwrap().into_inner();
    let again = other.grant.request_grant(talk("ada")).await.unwrap().into_inner();
    assert_eq!(his.grant_id, again.grant_id);
    assert_ne!(his.grant_id, granted(&mut world, talk("ada")).await.grant_id);
}

/// What may happen to a person whose conversation has a grant.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Withdrawn,
    WithdrawnForFamily,
    RefusedForFamily,
    GivenAgain,
    Restricted,
    Objected,
    Paused,
    ConversationPaused,
    NeverTone,
    OnlyAnother,
    AskEachTime,
    PausedByThemself,
    PausedInTheirBounds,
    FactAdded,
    FactReplaced,
    FactRemoved,
    FactContested,
    Bounds,
    Word,
    Erased,
    ErasedInPart,
}

const ALL: [Happens; 21] = [
    Happens::Withdrawn,
    Happens::WithdrawnForFamily,
    Happens::RefusedForFamily,
    Happens::GivenAgain,
    Happens::Restricted,
    Happens::Objected,
    Happens::Paused,
    Happens::ConversationPaused,
    Happens::NeverTone,
    Happens::OnlyAnother,
    Happens::AskEachTime,
    Happens::PausedByThemself,
    Happens::PausedInTheirBounds,
    Happens::FactAdded,
    Happens::FactReplaced,
    Happens::FactRemoved,
    Happens::FactContested,
    Happens::Erased,
    Happens::ErasedInPart,
    Happens::Bounds,
    Happens::Word,
];

async fn happen(world: &mut World, subject: &str, what: Happens, number: usize) {
    let own = match what {
        Happens::NeverTone => PersonalBounds {
            never: vec![proto::ForbiddenUse { category: "communication-style".into(), ..Default::default() }],
            ..Default::default()
        },
        Happens::OnlyAnother => {
            PersonalBounds { only_recipients: vec!["coach".into()], ..Default::default() }
        }
        Happens::AskEachTime => PersonalBounds { ask_each_time: true, ..Default::default() },
        Happens::PausedByThemself => PersonalBounds { paused: true, ..Default::default() },
        Happens::PausedInTheirBounds => {
            PersonalBounds { paused_interactions: vec!["talk-1".into()], ..Default::default() }
        }
        _ => return happen_to(world, subject, what, number).await,
    };
    personal(world, subject, own).await;
}

async fn happen_to(world: &mut World, subject: &str, what: Happens, number: usize) {
    match what {
        Happens::Withdrawn => decide(world, subject, ConsentDecision::Withdrawn, &[]).await,
        Happens::WithdrawnForFamily => decide(world, subject, ConsentDecision::Withdrawn, &["family"]).await,
        Happens::RefusedForFamily => decide(world, subject, ConsentDecision::Refused, &["family"]).await,
        Happens::GivenAgain => decide(world, subject, ConsentDecision::Given, &[]).await,
        Happens::Restricted => say(world, subject, SignalKind::Restriction, "").await,
        Happens::Objected => say(world, subject, SignalKind::Objection, "").await,
        Happens::Paused => say(world, subject, SignalKind::Pause, "").await,
        Happens::ConversationPaused => say(world, subject, SignalKind::Pause, "talk-1").await,
        Happens::FactAdded => drop(record(world, subject, &format!("new-{number}"), "work").await),
        Happens::FactReplaced => {
            // After the person contested it themselves, a steward may replace it and a channel may not.
            let request = fact(subject, "tone", "communication-style", "x");
            world.steward.profile.record_attributes(request).await.unwrap();
        }
        Happens::FactRemoved => {
            let (subject, keys) = (subject.into(), vec!["tone".into()]);
            let request = proto::RemoveAttributesRequest { subject, keys, ..Default::default() };
            let _perhaps_gone = world.steward.profile.remove_attributes(request).await;
        }
        Happens::FactContested => {
            let mut own = world.harness.as_role(Role::Subject, subject).await;
            let request = proto::ContestAttributeRequest { key: "tone".into(), ..Default::default() };
            let _perhaps_gone = own.profile.contest_attribute(request).await;
        }
        Happens::Bounds => {
            let pack = version(Tier::Provider, "family", &number.to_string(), NO_FAMILY);
            publish(world, pack).await.unwrap();
        }
        Happens::Word => diet(world, "health", true).await,
        _ => erase(world, subject, matches!(what, Happens::Erased)).await,
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
    let _perhaps_gone = world.steward.rights.submit_request(request).await;
}

/// Whether the same conversation is given its grant again, and that whatever it is given is what a decision
/// of now gives.
async fn asked_again(
    world: &mut World,
    subject: &str,
    before: &str,
    after: &(dyn std::fmt::Debug + Sync),
) -> bool {
    let fresh = evaluated(world, subject).await;
    let answer = granted(world, talk(subject)).await;
    assert_eq!(event_ids(&answer), fresh, "after {after:?}");
    if !answer.grant_id.is_empty() {
        assert!(standing(world, &answer.grant_id).await.0, "after {after:?}");
    }
    answer.grant_id == before
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_affects_the_decision_stops_reuse_at_once() {
    let mut world = world().await;
    // What changes the rules for everybody comes last.
    for what in ALL {
        let subject = format!("{what:?}");
        introduce(&mut world, &subject).await;
        let first = granted(&mut world, talk(&subject)).await;
        assert_eq!(keys(&first).contains(&"sister".to_owned()), !matches!(what, Happens::Word), "{what:?}");
        assert!(asked_again(&mut world, &subject, &first.grant_id, &"nothing").await);
        happen(&mut world, &subject, what, 1).await;
        // A new yes is another consent to rest on; everything else takes something away, or adds or replaces
        // a fact.
        assert!(!asked_again(&mut world, &subject, &first.grant_id, &what).await, "{what:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_grant_is_reused_when_the_person_wants_to_be_asked_each_time() {
    let mut world = world().await;
    introduce(&mut world, "ada").await;
    personal(&mut world, "ada", PersonalBounds { ask_each_time: true, ..Default::default() }).await;
    let here = proto::ConsentChoice {
        interactions: vec!["talk-1".into()],
        ..choice(ConsentDecision::Given, "tone-adaptation", &[], false)
    };
    world.steward.consent.record_consent(consent("ada", vec![here])).await.unwrap();
    let (one, other) = (granted(&mut world, talk("ada")).await, granted(&mut world, talk("ada")).await);
    assert_eq!(keys(&one), ["lunch", "sister", "tone"]);
    assert_ne!(one.grant_id, other.grant_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn reuse_stops_as_time_passes() {
    let (clock, dir) = (Arc::new(Ahead::default()), tempfile::tempdir().unwrap());
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
    introduce(&mut world, "ada").await;
    let first = granted(&mut world, talk("ada")).await;
    clock.0.fetch_add(11 * HOUR_MS, Ordering::SeqCst);
    assert!(asked_again(&mut world, "ada", &first.grant_id, &"eleven hours of twenty-four").await);
    clock.0.fetch_add(2 * HOUR_MS, Ordering::SeqCst);
    assert!(!asked_again(&mut world, "ada", &first.grant_id, &"thirteen hours of twenty-four").await);
    assert!(standing(&mut world, &first.grant_id).await.0, "its own time is not over");
    // A rule about the age of facts forbids from one moment to the next what it allowed: the decision of now
    // counts.
    record(&mut world, "ada", "tone", "communication-style").await;
    record(&mut world, "ada", "sister", "family").await;
    publish(&mut world, version(Tier::Provider, "fresh", "1", FRESH_ONLY)).await.unwrap();
    clock.0.fetch_add(20 * HOUR_MS, Ordering::SeqCst);
    let second = granted(&mut world, talk("ada")).await;
    assert_eq!(keys(&second), ["sister", "tone"]);
    clock.0.fetch_add(2 * HOUR_MS, Ordering::SeqCst);
    assert!(asked_again(&mut world, "ada", &second.grant_id, &"twenty-two hours").await);
    clock.0.fetch_add(3 * HOUR_MS, Ordering::SeqCst);
    assert!(!asked_again(&mut world, "ada", &second.grant_id, &"twenty-five hours").await);
    assert!(granted(&mut world, talk("ada")).await.allowed.is_empty());
    // So does the end of what somebody concluded.
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
    let third = granted(&mut world, talk("ada")).await;
    assert!(keys(&third).contains(&"mood".to_owned()));
    clock.0.fetch_add(HOUR_MS + 1, Ordering::SeqCst);
    assert!(!asked_again(&mut world, "ada", &third.grant_id, &"an end").await);
}

fn clock_time(clock: &Ahead, ahead_ms: u64) -> prost_types::Timestamp {
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
    let happenings = prop::collection::vec((0..ALL.len(), 2..4_usize), 1..12);
    let given_again = std::sync::atomic::AtomicUsize::new(0);
    runner
        .run(&happenings, |happenings| {
            runtime.block_on(async {
                let mut world = world().await;
                introduce(&mut world, "ada").await;
                let mut before = String::new();
                for (number, (what, times)) in happenings.iter().enumerate() {
                    for _ in 0..*times {
                        if asked_again(&mut world, "ada", &before, &happenings).await && !before.is_empty() {
                            given_again.fetch_add(1, Ordering::SeqCst);
                        }
                        before = granted(&mut world, talk("ada")).await.grant_id;
                    }
                    happen(&mut world, "ada", ALL[*what], number + 1).await;
                }
                asked_again(&mut world, "ada", &before, &happenings).await;
            });
            Ok(())
        })
        .unwrap();
    assert!(given_again.load(Ordering::SeqCst) > 0, "nothing was ever given again");
}
