//! Values that an earlier version accepted and this version refuses: what was recorded with them is still
//! found, shown and honored. The data folder in `tests/vectors/before-strict-values.tar.zst` was written
//! by an earlier version.

use crate::bounds::{self, World};
use crate::harness::{self, Harness, json, stdout};
use crate::notices::YEARLY;
use sayso::clock::{Clock, SystemClock};
use sayso::daemon::Daemon;
use sayso::proto::{self, ConsentDecision, RevocationReason, Role, Tier};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A little after the newest event of the folder, milliseconds since the Unix epoch.
const OPENED_MS: u64 = 1_796_000_000_000;

/// A clock that starts at [`OPENED_MS`].
struct LaterClock {
    start_ms: u64,
    /// Moved forward by this many milliseconds.
    advanced_ms: Arc<AtomicU64>,
}

impl Clock for LaterClock {
    fn now_ms(&self) -> u64 {
        OPENED_MS + SystemClock.steady_ms() - self.start_ms + self.advanced_ms.load(Ordering::SeqCst)
    }

    fn steady_ms(&self) -> u64 {
        SystemClock.steady_ms() + self.advanced_ms.load(Ordering::SeqCst)
    }

    fn fill(&self, bytes: &mut [u8]) {
        SystemClock.fill(bytes);
    }
}

/// Opens the folder of the earlier version.
pub async fn open() -> Harness {
    open_with(Arc::default()).await
}

/// Opens the folder of the earlier version, on a clock that the test moves forward.
async fn open_with(advanced_ms: Arc<AtomicU64>) -> Harness {
    let dir = tempfile::tempdir().unwrap();
    let packed = include_bytes!("../vectors/before-strict-values.tar.zst");
    let unpacked = zstd::stream::decode_all(packed.as_slice()).unwrap();
    tar::Archive::new(unpacked.as_slice()).unpack(dir.path()).unwrap();
    let clock = LaterClock { start_ms: SystemClock.steady_ms(), advanced_ms };
    let mut config = harness::config(dir.path());
    config.rights.expiry_interval_ms = 10;
    let daemon = Daemon::start_with(&config, Arc::new(clock)).await.unwrap();
    Harness { dir, daemon }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_date_recorded_before_fails_no_command_and_is_shown_as_the_last_moment_of_the_year_9999() {
    let harness = open().await;
    let steward = |arguments: &[&str]| harness.cli(Role::Steward, "privacy-team", arguments);
    let last = "9999-12-31T23:59:59.999Z";
    let profile = json(&steward(&["--json", "profile", "ada"]));
    let attributes = profile["attributes"].as_array().unwrap();
    let visit = attributes.iter().find(|attribute| attribute["key"] == "visit").unwrap();
    assert_eq!(visit["expiresAt"], last);
    let consents = json(&steward(&["--json", "consents", "ada"]));
    assert_eq!(consents["consents"][0]["expiresAt"], last);
    stdout(&steward(&["--json", "history", "ada"]));
    let package = harness.dir.path().join("ada.zip");
    stdout(&steward(&["export-subject", "ada", "-o", package.to_str().unwrap()]));
    let imported = harness.cli(
        Role::Steward,
        "privacy-team",
        &["--json", "import", package.to_str().unwrap(), "--package", "--subject", "ben"],
    );
    let imported: serde_json::Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(imported["recorded"], "1", "{imported}");
    // The other value has two members of the same name, which is refused now.
    assert_eq!(imported["refused"][0]["key"], "big", "{imported}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_shows_a_value_with_the_digits_and_members_that_were_recorded() {
    let harness = open().await;
    let file = harness.dir.path().join("ada.zip");
    let arguments = ["export-subject", "ada", "-o", file.to_str().unwrap()];
    stdout(&harness.cli(Role::Steward, "privacy-team", &arguments));
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&file).unwrap()).unwrap();
    let mut read = |name: &str| {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut archive.by_name(name).unwrap(), &mut text).unwrap();
        text
    };
    let shown = "{\n  &quot;z&quot;: 12345678901234567890123,\n  &quot;a&quot;: 1.50,\n  &quot;z&quot;: 2\n}";
    assert!(read("index.html").contains(shown));
    assert!(read("package.json").contains(r#"{"z": 12345678901234567890123, "a": 1.50, "z": 2}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_far_date_in_a_package_does_not_end_its_import() {
    let harness = Harness::start().await;
    let attribute = |key: &str, observed_at: &str| {
        serde_json::json!({
            "event_id": key, "key": key, "value": 1, "category": "work", "provenance": "declared",
            "observed_at": observed_at,
        })
    };
    let package = serde_json::json!({
        "format": "sayso-package", "version": 1,
        "attributes": [
            attribute("far", "+020000-01-01T00:00:00Z"),
            attribute("early", "0001-01-01T00:00:00Z"),
            attribute("good", "2026-01-05T09:00:00Z"),
        ],
    });
    let file = harness.dir.path().join("package.json");
    std::fs::write(&file, package.to_string()).unwrap();
    let arguments = ["--json", "import", file.to_str().unwrap(), "--package", "--subject", "ada"];
    let output = harness.cli(Role::Steward, "privacy-team", &arguments);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["recorded"], "1", "{answer}");
    let refused: Vec<&str> =
        answer["refused"].as_array().unwrap().iter().map(|each| each["key"].as_str().unwrap()).collect();
    assert_eq!(refused, ["far", "early"]);
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let request = proto::GetProfileRequest { subject: "ada".into(), ..Default::default() };
    assert_eq!(steward.profile.get_profile(request).await.unwrap().into_inner().attributes.len(), 1);
}

/// The recorded id: `Zoë` in normalization form D.
const ZOE: &str = "Zoe\u{308}";

#[tokio::test(flavor = "multi_thread")]
async fn an_id_a_key_a_recipient_and_a_conversation_recorded_before_go_on_matching_byte_for_byte() {
    let harness = open().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let mut service = harness.as_role(Role::Service, "reader").await;
    let profile = proto::GetProfileRequest { subject: ZOE.into(), ..Default::default() };
    assert_eq!(steward.profile.get_profile(profile).await.unwrap().into_inner().attributes.len(), 2);
    // The contested attribute stays withheld, and the person's yes stays.
    let allowed = |answer: proto::RequestGrantResponse| -> Vec<String> {
        answer.allowed.into_iter().map(|attribute| attribute.key).collect()
    };
    let answer = service.grant.request_grant(harness::ask(ZOE)).await.unwrap().into_inner();
    assert_eq!(allowed(answer), ["tone"]);
    // The pause of one conversation holds, in this conversation only.
    let ask = |interaction: &str| proto::RequestGrantRequest {
        interaction: interaction.into(),
        ..harness::ask(ZOE)
    };
    let answer = service.grant.request_grant(ask("chat\u{200b}1")).await.unwrap().into_inner();
    assert!(allowed(answer).is_empty());
    let answer = service.grant.request_grant(ask("chat1")).await.unwrap().into_inner();
    assert_eq!(allowed(answer), ["tone"]);
    let refused = service.grant.request_grant(ask("chat\u{200b}2")).await.unwrap_err();
    assert!(refused.message().contains("`interaction` must not have the invisible character U+200B"));
    // The recorded key is recorded again, removed and erased.
    let fact = |key: &str| harness::fact(ZOE, key, "work", "green");
    steward.profile.record_attributes(fact("fav\u{200b}color")).await.unwrap();
    let refused = steward.profile.record_attributes(fact("fav\u{200b}size")).await.unwrap_err();
    assert!(refused.message().contains("U+200B"), "{refused:?}");
    let remove = proto::RemoveAttributesRequest {
        subject: ZOE.into(),
        keys: vec!["fav\u{200b}color".into()],
        ..Default::default()
    };
    steward.profile.remove_attributes(remove).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_recorded_before_for_an_unusual_name_holds_and_can_be_repeated() {
    let harness = open().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    let no_to = |recipient: &str| {
        let mut no = harness::choice(ConsentDecision::Withdrawn, "tone-adaptation", &[], false);
        no.recipients = vec![recipient.into()];
        harness::consent(ZOE, vec![no])
    };
    let use_by = |recipient: &str| proto::EvaluateUseRequest {
        subject: ZOE.into(),
        purpose: "tone-adaptation".into(),
        recipient: recipient.into(),
        ..Default::default()
    };
    let answer = steward.grant.evaluate_use(use_by("reader")).await.unwrap().into_inner();
    assert_eq!(answer.allowed.len(), 1);
    let answer = steward.grant.evaluate_use(use_by("tutor\u{200b}")).await.unwrap().into_inner();
    assert!(answer.allowed.is_empty(), "{answer:?}");
    steward.consent.record_consent(no_to("tutor\u{200b}")).await.unwrap();
    let refused = steward.consent.record_consent(no_to("other\u{200b}")).await.unwrap_err();
    assert!(refused.message().contains("`choices[0].recipients` must not have the invisible"), "{refused:?}");
    // The refused recipient itself gets in no more.
    assert!(harness.daemon.issuer.mint(Role::Service, "tutor\u{200b}", 60).is_err());
}

const DAY_MS: u64 = 86_400_000;

/// The earlier version did not index consents by when they were given.
#[tokio::test(flavor = "multi_thread")]
async fn a_consent_recorded_before_ends_what_rests_on_it_at_the_age_that_a_rule_names() {
    let advanced_ms = Arc::<AtomicU64>::default();
    let harness = open_with(Arc::clone(&advanced_ms)).await;
    let service = harness.as_role(Role::Service, "reader").await;
    let steward = harness.as_role(Role::Steward, "privacy-team").await;
    let authority = harness.as_role(Role::Authority, "regulator").await;
    let mut world = World { harness, service, steward, authority };
    bounds::publish(&mut world, bounds::version(Tier::Provider, "fresh", "1", YEARLY)).await.unwrap();
    advanced_ms.store(178 * DAY_MS, Ordering::SeqCst);
    world.service = world.harness.as_role(Role::Service, "reader").await;
    let grant = world.service.grant.request_grant(harness::ask(ZOE)).await.unwrap().into_inner();
    assert_eq!(grant.allowed.len(), 1);
    let request = proto::RegisterArtifactRequest {
        grant_id: grant.grant_id,
        kind: proto::ArtifactKind::Summary.into(),
        ..Default::default()
    };
    world.service.grant.register_artifact(request).await.unwrap();
    let list = proto::ListArtifactsRequest { subject: ZOE.into(), ..Default::default() };
    let reason = async |world: &mut World| {
        let artifacts =
            world.service.grant.list_artifacts(list.clone()).await.unwrap().into_inner().artifacts;
        artifacts[0].reason()
    };
    assert_eq!(reason(&mut world).await, RevocationReason::Unspecified);
    advanced_ms.store(181 * DAY_MS, Ordering::SeqCst);
    world.service = world.harness.as_role(Role::Service, "reader").await;
    for _ in 0..500 {
        if reason(&mut world).await == RevocationReason::ConsentTooOld {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the artifact did not end: {:?}", reason(&mut world).await);
}
