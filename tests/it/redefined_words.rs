//! Redefined purposes and categories. A redefinition never widens a consent: the consent covers what its
//! purposes and categories covered when it was given. A redefinition never narrows a refusal either. A
//! definition that replaces another one is signed by the provider and may come into force later.

use crate::bounds::{World, granted, keys, preview_of, standing, world, world_of};
use crate::harness::{self, Harness, ask, choice, consent, fact, provider_key};
use crate::package::{Unpacked, export};
use crate::rights::AdvancedClock;
use sayso::daemon::Daemon;
use sayso::domain::event::{CategoryDefined, PurposeDefined, Rung};
use sayso::proto::{self, ConsentDecision, DenialReason, RevocationReason, Role};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tonic::{Code, Status};

const HOUR_MS: u64 = 3_600_000;

fn word(id: &str, parent: &str, title: &str) -> PurposeDefined {
    PurposeDefined { id: id.into(), parent: parent.into(), title: title.into(), ..Default::default() }
}

async fn define(world: &mut World, purpose: PurposeDefined) -> Result<(), Status> {
    let request = harness::purpose(&world.steward, purpose, &provider_key(world.harness.dir.path())).await;
    world.steward.bounds.define_purpose(request).await.map(|_| ())
}

fn category(id: &str, parent: &str, title: &str) -> CategoryDefined {
    CategoryDefined { id: id.into(), parent: parent.into(), title: title.into(), ..Default::default() }
}

async fn define_category(world: &mut World, id: &str, parent: &str, title: &str) -> Result<(), Status> {
    redefine_category(world, category(id, parent, title)).await
}

async fn redefine_category(world: &mut World, category: CategoryDefined) -> Result<(), Status> {
    let request = harness::category(&world.steward, category, &provider_key(world.harness.dir.path())).await;
    world.steward.bounds.define_category(request).await.map(|_| ())
}

async fn record(world: &mut World, key: &str, category: &str) {
    world.service.profile.record_attributes(fact("ada", key, category, "x")).await.unwrap();
}

async fn decide(world: &mut World, decision: ConsentDecision, purpose: &str, categories: &[&str]) {
    let choice = choice(decision, purpose, categories, false);
    world.steward.consent.record_consent(consent("ada", vec![choice])).await.unwrap();
}

/// The definition of `memory` with another title.
fn memory(title: &str) -> PurposeDefined {
    PurposeDefined { rung: Rung::Relevance, ..word("memory", "personalization", title) }
}

/// The consents for which people have to be asked again: the purposes, and why.
async fn to_ask(world: &mut World) -> Vec<(Vec<String>, DenialReason)> {
    let listed = proto::ListOutdatedConsentsRequest::default();
    let listed = world.steward.consent.list_outdated_consents(listed).await.unwrap().into_inner().consents;
    assert!(listed.iter().all(|consent| consent.since.is_some()), "{listed:?}");
    listed.into_iter().map(|consent| (consent.purposes.clone(), consent.reason())).collect()
}

fn asked(purpose: &str, reason: DenialReason) -> Vec<(Vec<String>, DenialReason)> {
    vec![(vec![purpose.into()], reason)]
}

/// The keys that a grant for this purpose allows, and the reasons for which others are withheld.
async fn ask_for(world: &mut World, purpose: &str) -> (Vec<String>, Vec<DenialReason>) {
    let request = proto::RequestGrantRequest { purpose: purpose.into(), ..ask("ada") };
    let grant = world.service.grant.request_grant(request).await.unwrap().into_inner();
    (keys(&grant), grant.withheld.iter().map(proto::Withheld::reason).collect())
}

fn allowed(key: &str) -> (Vec<String>, Vec<DenialReason>) {
    (vec![key.into()], vec![])
}

fn denied(reason: DenialReason) -> (Vec<String>, Vec<DenialReason>) {
    (vec![], vec![reason])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_does_not_cover_a_purpose_that_is_put_below_its_purpose_later() {
    let mut world = world().await;
    define(&mut world, word("tours", "", "Show the person around")).await.unwrap();
    record(&mut world, "tone", "communication-style").await;
    decide(&mut world, ConsentDecision::Given, "personalization", &[]).await;
    assert_eq!(ask_for(&mut world, "memory").await, allowed("tone"));

    // A new purpose below the one that the person agreed to, and an old purpose that moves there.
    define(&mut world, word("guessing", "personalization", "Guess what the person wants")).await.unwrap();
    define(&mut world, word("tours", "personalization", "Show the person around")).await.unwrap();
    for purpose in ["guessing", "tours"] {
        assert_eq!(ask_for(&mut world, purpose).await, denied(DenialReason::WordsChanged), "{purpose}");
    }
    assert_eq!(ask_for(&mut world, "memory").await, allowed("tone"));
    // Consent that is given now covers what the purpose covers now.
    decide(&mut world, ConsentDecision::Given, "personalization", &[]).await;
    for purpose in ["guessing", "tours", "memory"] {
        assert_eq!(ask_for(&mut world, purpose).await, allowed("tone"), "{purpose}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_does_not_cover_a_purpose_that_gets_another_meaning() {
    let mut world = world().await;
    define(&mut world, word("tours", "personalization", "Show the person around")).await.unwrap();
    record(&mut world, "tone", "communication-style").await;
    decide(&mut world, ConsentDecision::Given, "tours", &[]).await;
    let request = proto::RequestGrantRequest { purpose: "tours".into(), ..ask("ada") };
    let grant = world.service.grant.request_grant(request).await.unwrap().into_inner().grant_id;
    assert!(standing(&mut world, &grant).await.0);

    // The provider says that a clearer title means the same.
    let clearer =
        PurposeDefined { same_meaning: true, ..word("tours", "personalization", "Show you around") };
    define(&mut world, clearer).await.unwrap();
    assert!(standing(&mut world, &grant).await.0);

    define(&mut world, word("tours", "personalization", "Sell tours to the person")).await.unwrap();
    assert_eq!(standing(&mut world, &grant).await, (false, RevocationReason::WordsChanged));
    assert_eq!(ask_for(&mut world, "tours").await, denied(DenialReason::WordsChanged));
    let listed = proto::ListOutdatedConsentsRequest::default();
    let listed = world.steward.consent.list_outdated_consents(listed).await.unwrap().into_inner().consents;
    assert_eq!(
        (listed[0].reason(), listed[0].purposes.as_slice()),
        (DenialReason::WordsChanged, &["tours".into()][..])
    );
    let said_at = listed[0].said_at.unwrap();
    assert!(
        listed[0].since.is_some_and(|since| (since.seconds, since.nanos) > (said_at.seconds, said_at.nanos))
    );
    decide(&mut world, ConsentDecision::Renewed, "tours", &[]).await;
    assert_eq!(ask_for(&mut world, "tours").await, allowed("tone"));

    // A higher rung is a new meaning, even if the provider says otherwise.
    let riskier = PurposeDefined {
        rung: Rung::Relevance,
        same_meaning: true,
        ..word("tours", "personalization", "Sell tours to the person")
    };
    define(&mut world, riskier).await.unwrap();
    assert_eq!(ask_for(&mut world, "tours").await, denied(DenialReason::WordsChanged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_does_not_cover_a_category_that_is_moved_or_gets_another_meaning() {
    let mut world = world().await;
    define_category(&mut world, "music", "", "Music").await.unwrap();
    record(&mut world, "song", "music").await;
    decide(&mut world, ConsentDecision::Given, "memory", &["preference"]).await;
    assert_eq!(ask_for(&mut world, "memory").await, denied(DenialReason::NoConsent));
    define_category(&mut world, "music", "preference", "Music").await.unwrap();
    assert_eq!(ask_for(&mut world, "memory").await, denied(DenialReason::WordsChanged));
    decide(&mut world, ConsentDecision::Given, "memory", &["preference"]).await;
    assert_eq!(ask_for(&mut world, "memory").await, allowed("song"));
    define_category(&mut world, "music", "preference", "What the person listens to").await.unwrap();
    assert_eq!(ask_for(&mut world, "memory").await, denied(DenialReason::WordsChanged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purpose_that_exists_gets_no_ancestor_that_a_rule_exempts_from_a_signal() {
    let mut world = world().await;
    let below =
        define(&mut world, word("advertising", "service-provision", "Advertising")).await.unwrap_err();
    assert_eq!(below.code(), Code::InvalidArgument);
    define(&mut world, word("onboarding", "service-provision", "Set up the account")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_speaks_the_words_that_the_person_agreed_to() {
    let mut world = world().await;
    define(&mut world, word("tours", "personalization", "Show the person around")).await.unwrap();
    decide(&mut world, ConsentDecision::Given, "tours", &[]).await;
    define(&mut world, word("tours", "personalization", "Sell tours to the person")).await.unwrap();
    let receipt = async |world: &mut World| {
        let request = proto::GetConsentReceiptRequest { subject: "ada".into(), ..Default::default() };
        world.steward.consent.get_consent_receipt(request).await.unwrap().into_inner().receipt
    };
    let text = receipt(&mut world).await;
    assert!(text.contains("Show the person around") && !text.contains("Sell tours"), "{text}");
    // So does the access package, in which the person also sees what they agreed to.
    let package = export(&mut world.steward, "ada", proto::PackageKind::Access).await.unwrap();
    let package = Unpacked::of(&package, &world.harness.dir.path().join("package"));
    assert_eq!(package.json()["consents"][0]["purposes"][0]["title"], "Show the person around");
    assert!(package.text("index.html").contains("Show the person around"));
    decide(&mut world, ConsentDecision::Renewed, "tours", &[]).await;
    let text = receipt(&mut world).await;
    assert!(text.contains("Sell tours to the person") && !text.contains("Show the person"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_states_an_earlier_time_means_the_words_of_that_time() {
    let mut world = world().await;
    define(&mut world, word("tours", "personalization", "Show the person around")).await.unwrap();
    record(&mut world, "tone", "communication-style").await;
    let said_at = std::time::SystemTime::now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    define(&mut world, word("tours", "personalization", "Sell tours to the person")).await.unwrap();
    let mut late = consent("ada", vec![choice(ConsentDecision::Given, "tours", &[], false)]);
    let options = late.options.get_or_insert_default();
    options.about = Some(prost_types::Timestamp::from(said_at));
    world.steward.consent.record_consent(late).await.unwrap();
    assert_eq!(ask_for(&mut world, "tours").await, denied(DenialReason::WordsChanged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_stays_below_its_ancestors_so_that_a_refusal_keeps_what_it_covers() {
    let mut world = world().await;
    record(&mut world, "tone", "communication-style").await;
    let outside = define(&mut world, word("memory", "", "Remember across conversations")).await.unwrap_err();
    assert_eq!(outside.code(), Code::InvalidArgument);
    let outside = define_category(&mut world, "mental-health", "", "Mental health").await.unwrap_err();
    assert_eq!(outside.code(), Code::InvalidArgument);
    // A word between a purpose and its parent takes nothing away from a refusal of the parent.
    decide(&mut world, ConsentDecision::Refused, "personalization", &[]).await;
    define(&mut world, word("recall", "personalization", "Recall")).await.unwrap();
    let memory =
        PurposeDefined { rung: Rung::Relevance, ..word("memory", "recall", "Remember across conversations") };
    define(&mut world, memory).await.unwrap();
    decide(&mut world, ConsentDecision::Given, "safety", &[]).await;
    assert_eq!(ask_for(&mut world, "memory").await, denied(DenialReason::ConsentRefused));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_provider_key_redefines_a_word_and_a_scheduled_definition_waits() {
    let clock = Arc::new(AdvancedClock::default());
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(&harness::config(dir.path()), Arc::clone(&clock) as _).await.unwrap();
    let mut world = world_of(Harness { dir, daemon }).await;
    define(&mut world, word("tours", "personalization", "Show the person around")).await.unwrap();
    record(&mut world, "tone", "communication-style").await;
    decide(&mut world, ConsentDecision::Given, "tours", &[]).await;
    let request = proto::RequestGrantRequest { purpose: "tours".into(), ..ask("ada") };
    let grant = world.service.grant.request_grant(request).await.unwrap().into_inner().grant_id;

    let redefined = word("tours", "personalization", "Sell tours to the person");
    let unsigned =
        proto::DefinePurposeRequest { purpose: Some(redefined.clone().into()), ..Default::default() };
    let refused = world.steward.bounds.define_purpose(unsigned).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let now_ms = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    let scheduled = PurposeDefined { effective_from_ms: now_ms + HOUR_MS, ..redefined };
    let kept = PurposeDefined { same_meaning: true, ..scheduled.clone() };
    assert_eq!(define(&mut world, kept).await.unwrap_err().code(), Code::InvalidArgument);
    define(&mut world, scheduled.clone()).await.unwrap();
    assert_eq!(define(&mut world, scheduled).await.unwrap_err().code(), Code::InvalidArgument, "repeated");
    assert!(standing(&mut world, &grant).await.0);
    let ttl = Some(prost_types::Duration { seconds: 86_400, nanos: 0 });
    let request = proto::RequestGrantRequest { purpose: "tours".into(), ttl, ..ask("ada") };
    let later_grant = world.service.grant.request_grant(request).await.unwrap().into_inner().grant_id;
    assert!(standing(&mut world, &later_grant).await.0);
    // A consent before that time still means the old words.
    decide(&mut world, ConsentDecision::Renewed, "tours", &[]).await;
    clock.0.fetch_add(2 * HOUR_MS, Ordering::SeqCst);
    // The earlier credentials have expired.
    world.service = world.harness.as_role(Role::Service, "tutor").await;
    world.steward = world.harness.as_role(Role::Steward, "privacy-team").await;
    assert_eq!(standing(&mut world, &later_grant).await, (false, RevocationReason::WordsChanged));
    assert_eq!(ask_for(&mut world, "tours").await, denied(DenialReason::WordsChanged));
    decide(&mut world, ConsentDecision::Renewed, "tours", &[]).await;
    assert_eq!(ask_for(&mut world, "tours").await, allowed("tone"));
    assert_eq!(keys(&granted(&mut world, "ada").await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redefinition_brings_back_no_refusal_or_withdrawal_that_was_lifted() {
    use ConsentDecision::{Given, Refused, Withdrawn};
    for (no, reason) in [(Withdrawn, DenialReason::ConsentWithdrawn), (Refused, DenialReason::ConsentRefused)]
    {
        let mut world = world().await;
        define(&mut world, word("tours", "personalization", "Show the person around")).await.unwrap();
        record(&mut world, "tone", "communication-style").await;
        decide(&mut world, no, "tours", &[]).await;
        assert_eq!(ask_for(&mut world, "tours").await, denied(reason));
        decide(&mut world, Given, "tours", &[]).await;
        let request = proto::RequestGrantRequest { purpose: "tours".into(), ..ask("ada") };
        let grant = world.service.grant.request_grant(request).await.unwrap().into_inner().grant_id;
        define(&mut world, word("tours", "personalization", "Sell tours to the person")).await.unwrap();
        assert_eq!(standing(&mut world, &grant).await, (false, RevocationReason::WordsChanged));
        assert_eq!(ask_for(&mut world, "tours").await, denied(DenialReason::WordsChanged));
        assert_eq!(to_ask(&mut world).await, asked("tours", DenialReason::WordsChanged));
        // A new no counts, and the person is not asked about it.
        decide(&mut world, no, "tours", &[]).await;
        assert_eq!(ask_for(&mut world, "tours").await, denied(reason));
        assert_eq!(to_ask(&mut world).await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_again_about_words_below_those_that_they_agreed_to() {
    let mut world = world().await;
    record(&mut world, "french", "language").await;
    decide(&mut world, ConsentDecision::Given, "personalization", &[]).await;
    assert_eq!(to_ask(&mut world).await, []);
    define(&mut world, memory("Remember everything")).await.unwrap();
    assert_eq!(ask_for(&mut world, "memory").await, denied(DenialReason::WordsChanged));
    assert_eq!(ask_for(&mut world, "tone-adaptation").await, allowed("french"));
    assert_eq!(to_ask(&mut world).await, asked("memory", DenialReason::WordsChanged));
    // The person is asked about a new purpose too, before it is used.
    define(&mut world, word("guessing", "memory", "Guess what the person wants")).await.unwrap();
    let both = vec![(vec!["guessing".to_owned(), "memory".to_owned()], DenialReason::WordsChanged)];
    let mut listed = to_ask(&mut world).await;
    listed[0].0.sort();
    assert_eq!(listed, both);

    decide(&mut world, ConsentDecision::Given, "personalization", &[]).await;
    assert_eq!(to_ask(&mut world).await, []);

    let mut world = world_of(Harness::start().await).await;
    record(&mut world, "french", "language").await;
    decide(&mut world, ConsentDecision::Given, "memory", &["preference"]).await;
    assert_eq!(ask_for(&mut world, "memory").await, allowed("french"));
    define_category(&mut world, "language", "preference", "Every language that the person knows")
        .await
        .unwrap();
    assert_eq!(ask_for(&mut world, "memory").await, denied(DenialReason::WordsChanged));
    assert_eq!(to_ask(&mut world).await, asked("memory", DenialReason::WordsChanged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_again_if_a_category_became_special() {
    let mut world = world().await;
    define_category(&mut world, "music", "preference", "Music").await.unwrap();
    define_category(&mut world, "diary", "", "The person's diary").await.unwrap();
    record(&mut world, "song", "music").await;
    decide(&mut world, ConsentDecision::Given, "memory", &["preference"]).await;
    decide(&mut world, ConsentDecision::Given, "safety", &["diary"]).await;
    assert_eq!(ask_for(&mut world, "memory").await, allowed("song"));
    let special = CategoryDefined { special: true, ..category("music", "preference", "Music") };
    redefine_category(&mut world, special.clone()).await.unwrap();
    assert_eq!(ask_for(&mut world, "memory").await, denied(DenialReason::NotExplicit));
    assert_eq!(to_ask(&mut world).await, asked("memory", DenialReason::NotExplicit));
    let explicit = choice(ConsentDecision::Given, "memory", &["music"], true);
    world.steward.consent.record_consent(consent("ada", vec![explicit])).await.unwrap();
    assert_eq!(ask_for(&mut world, "memory").await, allowed("song"));
    // The category may get another meaning and become special in one definition.
    decide(&mut world, ConsentDecision::Given, "safety", &["diary"]).await;
    let special = CategoryDefined { special: true, ..category("diary", "", "What the person feels") };
    redefine_category(&mut world, special).await.unwrap();
    assert_eq!(to_ask(&mut world).await, asked("safety", DenialReason::WordsChanged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_shows_what_a_redefinition_changes_below_the_purposes_of_consents() {
    let mut world = world().await;
    define(&mut world, word("tours", "personalization", "Show the person around")).await.unwrap();
    record(&mut world, "tone", "communication-style").await;
    let mut given = choice(ConsentDecision::Given, "personalization", &[], false);
    given.recipients = vec!["tutor".into()];
    world.steward.consent.record_consent(consent("ada", vec![given])).await.unwrap();
    let personalization =
        PurposeDefined { rung: Rung::Style, ..word("personalization", "", "Personalized replies") };
    for (redefined, changed, below) in [
        (memory("Remember everything"), "memory", "memory"),
        // A higher rung is a new meaning of the purposes below, too.
        (personalization, "personalization", "tours"),
    ] {
        let defined_purposes = vec![redefined.clone().into()];
        let request = proto::PreviewBoundsRequest { defined_purposes, ..Default::default() };
        let found = preview_of(&mut world, request).await;
        assert_eq!((found.people_changed, found.grants_to_revoke), (1, 0), "{changed}: {found:?}");
        for purpose in [changed, below] {
            let is_line = |line: &&proto::PreviewLine| line.purpose == purpose && line.recipient == "tutor";
            let line = found.lines.iter().find(is_line).unwrap();
            assert_eq!((line.people_denied, line.people_allowed), (1, 0), "{purpose}: {found:?}");
        }
        define(&mut world, redefined).await.unwrap();
        assert_eq!(ask_for(&mut world, below).await, denied(DenialReason::WordsChanged));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_moves_below_a_consent_does_not_let_a_channel_lift_the_persons_own_refusal_of_it() {
    let mut world = world().await;
    define(&mut world, word("stays", "personalization", "Find a place to stay")).await.unwrap();
    define(&mut world, word("tours", "personalization", "Show the person around")).await.unwrap();
    let mut ada = world.harness.as_role(Role::Subject, "ada").await;
    let own = |decision, purpose| consent("ada", vec![choice(decision, purpose, &[], false)]);
    ada.consent.record_consent(own(ConsentDecision::Refused, "personalization")).await.unwrap();
    ada.consent.record_consent(own(ConsentDecision::Given, "stays")).await.unwrap();
    let mut channel = world.harness.as_role(Role::Channel, "app").await;
    channel.consent.record_consent(own(ConsentDecision::Renewed, "stays")).await.unwrap();
    define(&mut world, word("tours", "stays", "Show the person around")).await.unwrap();
    let refused = channel.consent.record_consent(own(ConsentDecision::Given, "tours")).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    // What the person lifted stays lifted, also if the word gets another meaning.
    define(&mut world, word("stays", "personalization", "Sell the person a place to stay")).await.unwrap();
    channel.consent.record_consent(own(ConsentDecision::Given, "stays")).await.unwrap();
}
