//! Signatures of rules: each is valid for one version, in one log, for a limited time. The commands take the
//! log and the version from the daemon or from the publisher, and can sign on another machine.

use crate::bounds::{World, version, world};
use crate::harness::{self, NOTICE, provider_key, sayso, stdout};
use ed25519_dalek::{Signer, SigningKey};
use sayso::domain::event::{CategoryDefined, Event, NoticeRequired, codec};
use sayso::proto::{self, Role, Tier};
use sayso_proof::writer::{self, Binding};
use std::path::Path;
use std::process::Output;
use tonic::{Code, Status};
use tonic_types::StatusExt;

const DAY_MS: u64 = 86_400_000;
const NO_FAMILY: &str = "@id(\"no-family\")\n@title(\"No use of family\")\n@article(\"House rule 1\")\nforbid (principal, action in Action::\"use\", resource in Category::\"family\");\n";

/// The violation, or the message, that a refused call was answered with.
fn refusal(answer: Result<tonic::Response<proto::PublishBoundsResponse>, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let text = violations.first().map(|first| format!("{}: {}", first.field, first.description));
    (status.code(), text.unwrap_or_else(|| status.message().to_owned()))
}

fn house(number: &str) -> Event {
    Event::BoundsPublished(version(Tier::Provider, "house", number, NO_FAMILY))
}

fn request(event: Event, signature: proto::PackSignature) -> proto::PublishBoundsRequest {
    let Event::BoundsPublished(bounds) = event else { panic!() };
    proto::PublishBoundsRequest { bounds: Some(bounds.into()), signature: Some(signature), options: None }
}

/// Signs an event as the daemon says, except for these changes.
async fn signed_but(
    world: &World,
    event: &Event,
    change: impl FnOnce(&mut String, &mut u64, &mut u64),
) -> proto::PackSignature {
    let next = harness::next_version(&world.steward, event).await;
    let (mut origin, mut sequence) = (next.origin, next.sequence);
    let mut signed_at_ms = u64::try_from(next.now.unwrap().seconds * 1_000).unwrap();
    change(&mut origin, &mut sequence, &mut signed_at_ms);
    let binding = Binding { origin: &origin, sequence, signed_at_ms };
    writer::sign(&codec::encode_event(event), binding, &key(world)).unwrap().into()
}

fn key(world: &World) -> SigningKey {
    provider_key(world.harness.dir.path())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_valid_for_one_version_in_one_log_for_thirty_days() {
    let mut world = world().await;
    let first = request(house("1"), signed_but(&world, &house("1"), |_, _, _| ()).await);
    let second_as_first = signed_but(&world, &house("2"), |_, _, _| ()).await;
    world.steward.bounds.publish_bounds(first.clone()).await.unwrap();
    let again = refusal(world.steward.bounds.publish_bounds(first).await);
    assert_eq!(again, (Code::FailedPrecondition, "this version of the pack was already published".into()));
    let late = refusal(world.steward.bounds.publish_bounds(request(house("2"), second_as_first)).await);
    assert!(late.1.starts_with("signature.sequence: must be 2, the number of the next version"), "{late:?}");

    let refused = async |signature| {
        let answer = world.steward.bounds.clone().publish_bounds(request(house("2"), signature)).await;
        refusal(answer)
    };
    let other_log = signed_but(&world, &house("2"), |origin, _, _| origin.push('x')).await;
    let other_log = refused(other_log).await;
    assert_eq!(other_log.0, Code::PermissionDenied);
    assert!(other_log.1.contains("for this log and this version"), "{other_log:?}");
    let old = refused(signed_but(&world, &house("2"), |_, _, at| *at -= 31 * DAY_MS).await).await;
    assert!(old.1.starts_with("signature.signed_at: must be at most 30 days before"), "{old:?}");
    let ahead = refused(signed_but(&world, &house("2"), |_, _, at| *at += 3_600_000).await).await;
    assert!(ahead.1.starts_with("signature.signed_at: "), "{ahead:?}");

    let mut bytes = b"sayso writer signature v1\n".to_vec();
    bytes.extend(writer::event_bytes(&codec::encode_event(&house("2"))));
    let signature = key(&world).sign(&bytes).to_bytes().to_vec();
    let unbound = proto::PackSignature { algorithm: -8, signature, ..Default::default() };
    let unbound = refused(unbound).await;
    assert!(unbound.1.starts_with("signature.sequence: must be the number of this version"), "{unbound:?}");

    let waited = signed_but(&world, &house("2"), |_, _, at| *at -= 29 * DAY_MS).await;
    world.steward.bounds.publish_bounds(request(house("2"), waited)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_versions_of_words_and_notices_are_numbered_too() {
    let mut world = world().await;
    let next = |event: Event| {
        let steward = world.steward.clone();
        async move { harness::next_version(&steward, &event).await.sequence }
    };
    let food = CategoryDefined { id: "food".into(), title: "Food".into(), ..Default::default() };
    let required = NoticeRequired { id: NOTICE.into(), version: "2".into(), effective_from_ms: 0 };
    assert_eq!(next(Event::CategoryDefined(food.clone())).await, 1);
    assert_eq!(next(Event::NoticeRequired(required)).await, 1);
    // A log begins with a version of each shipped word and pack.
    let health = CategoryDefined { id: "health".into(), ..food.clone() };
    assert_eq!(next(Event::CategoryDefined(health)).await, 2);
    let gdpr = version(Tier::Public, "gdpr", "9", NO_FAMILY);
    assert_eq!(next(Event::BoundsPublished(gdpr)).await, 2);
    // An unsigned new word is a version, too.
    let unsigned = proto::DefineCategoryRequest { category: Some(food.clone().into()), ..Default::default() };
    world.steward.bounds.define_category(unsigned).await.unwrap();
    let changed = CategoryDefined { title: "Food and drink".into(), ..food };
    let request = harness::category(&world.steward, changed, &key(&world)).await;
    assert_eq!(request.signature.as_ref().unwrap().sequence, 2);
    world.steward.bounds.define_category(request).await.unwrap();
    let empty = world.steward.bounds.get_next_version(proto::GetNextVersionRequest::default()).await;
    assert_eq!(empty.unwrap_err().code(), Code::InvalidArgument);
    let refused = world.service.bounds.get_next_version(proto::GetNextVersionRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

fn failed(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn policies(folder: &Path) -> String {
    let file = folder.join("house.cedar");
    std::fs::write(&file, NO_FAMILY).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_was_signed_on_another_machine_is_published_later() {
    let world = world().await;
    let folder = world.harness.dir.path();
    let steward = |arguments: &[&str]| world.harness.cli(Role::Steward, "privacy-team", arguments);
    let path = |name: &str| folder.join(name).display().to_string();
    let (key, pack, signed) = (path("dev/steward.key"), policies(folder), path("house-1.json"));
    let publish = ["bounds", "publish", &pack, "--tier", "provider", "--key", &key];
    let origin = harness::next_version(&world.steward, &house("1")).await.origin;
    let offline = [&publish[..], &["--version", "1", "--origin", &origin, "--sequence", "1"]].concat();
    // No daemon listens at this address.
    let output = sayso(&[&offline[..], &["--sign-only", &signed]].concat())
        .env("SAYSO_ADDR", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert!(stdout(&output).contains("wrote "));
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains(&format!("signing version 1 of provider bounds `house` for the log {origin}")));

    let changed = std::fs::read_to_string(&signed).unwrap().replace("\"house\"", "\"hause\"");
    std::fs::write(path("changed.json"), changed).unwrap();
    let refused = failed(&steward(&["bounds", "publish-signed", &path("changed.json")]));
    assert!(refused.contains("`body` and `encoded` differ"), "{refused}");
    let refused = failed(&steward(&["bounds", "publish-signed", &pack]));
    assert!(refused.contains("not a signed version; `--sign-only FILE` writes one"), "{refused}");
    assert!(stdout(&steward(&["bounds", "publish-signed", &signed])).contains("0 grants revoked"));
    assert!(failed(&steward(&["bounds", "publish-signed", &signed])).contains("already published"));

    let next = [&publish[..], &["--version", "2"]].concat();
    let refused = failed(&steward(&[&next[..], &["--origin", "sayso.example/other"]].concat()));
    assert!(refused.contains(&format!("the daemon's log is `{origin}`")), "{refused}");
    let refused = failed(&steward(&[&next[..], &["--sequence", "3"]].concat()));
    assert!(refused.contains("the daemon says that 2 is next"), "{refused}");
    stdout(&steward(&[&next[..], &["--sequence", "2", "--origin", &origin]].concat()));
    let word = ["purpose", "define", "recall", "--parent", "memory", "--title", "Recall", "--key", &key];
    let signed = path("recall.json");
    stdout(&steward(&[&word[..], &["--sign-only", &signed]].concat()));
    stdout(&steward(&["bounds", "publish-signed", &signed]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_version_replaces_a_file_only_with_force() {
    let world = world().await;
    let folder = world.harness.dir.path();
    let path = |name: &str| folder.join(name).display().to_string();
    let (key, pack, signed) = (path("dev/steward.key"), policies(folder), path("signed.json"));
    let commands: [&[&str]; 4] = [
        &["bounds", "publish", &pack, "--tier", "provider", "--version", "1"],
        &["purpose", "define", "recall", "--title", "Recall"],
        &["category", "define", "food", "--title", "Food"],
        &["notice", "require", NOTICE, "--version", "1"],
    ];
    for command in commands {
        std::fs::write(&signed, "precious").unwrap();
        let sign = [command, &["--key", &key, "--sign-only", &signed]].concat();
        let refused = world.harness.cli(Role::Steward, "privacy-team", &sign);
        assert_eq!(refused.status.code(), Some(2), "{command:?}: {refused:?}");
        assert!(failed(&refused).contains("--force"), "{command:?}: {refused:?}");
        assert_eq!(std::fs::read(&signed).unwrap(), b"precious", "{command:?}");
        let forced = [&sign[..], &["--force"]].concat();
        stdout(&world.harness.cli(Role::Steward, "privacy-team", &forced));
        let written = std::fs::read_to_string(&signed).unwrap();
        assert!(written.contains("sayso signed rule v1"), "{command:?}: {written}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_says_which_keys_signed_rules_and_compares_them_with_trusted_ones() {
    let mut world = world().await;
    let signature = signed_but(&world, &house("1"), |_, _, _| ()).await;
    world.steward.bounds.publish_bounds(request(house("1"), signature)).await.unwrap();
    let folder = world.harness.dir.path();
    let bundle = folder.join("log.tar.zst").display().to_string();
    stdout(&world.harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", &bundle]));
    let verify = |more: &[&str]| {
        let whole = [&["verify", &bundle, "--key", &world.harness.daemon.vkey], more].concat();
        sayso(&whole).output().unwrap()
    };
    let public = hex::encode(key(&world).verifying_key().to_bytes());
    let seen = stdout(&verify(&[]));
    let expected = format!(
        "provider key {public} (not compared with a key that you trust) signed 1 version of bounds, 0 \
         definitions and 0 required notices"
    );
    assert!(seen.contains(&expected), "{seen}");
    let trusted = stdout(&verify(&["--tier-key", &format!("provider={public}")]));
    assert!(trusted.contains(&format!("provider key {public} (a key that you trust)")), "{trusted}");
    let file = folder.join("provider.pub");
    std::fs::write(&file, format!("{public}\n")).unwrap();
    let other = hex::encode(SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes());
    let (older, named) = (format!("provider={other}"), format!("provider={}", file.display()));
    stdout(&verify(&["--tier-key", &older, "--tier-key", &named]));
    let untrusted = verify(&["--tier-key", &format!("provider={other}")]);
    assert_eq!(untrusted.status.code(), Some(4));
    let text = String::from_utf8_lossy(&untrusted.stdout).into_owned();
    assert!(text.contains("signed with another key than those that you trust for its tier"), "{text}");
    let wrong = failed(&verify(&["--tier-key", "provider=xyz"]));
    assert!(wrong.contains("--tier-key: `provider=xyz`: the key must have 64 hex digits"), "{wrong}");
    assert!(failed(&verify(&["--tier-key", &public])).contains("must be `public=KEY` or `provider=KEY`"));
}
