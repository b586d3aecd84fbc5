//! Tests of the subject map, in which the log commits to the entries of each person. The map shows that a
//! package is complete, and whether an id has any entries. After an erasure, no new proof and no file of
//! the daemon has the person's label in the map, or the secret that hides their stream there. With either,
//! somebody could confirm a guess of their id.

use crate::erasure::{erasure, record, record_ada};
use crate::harness::{self, Clients, Harness, ask, fact};
use crate::package::{Unpacked, export, record_history};
use ed25519_dalek::SigningKey;
use sayso::config::Config;
use sayso::daemon::Daemon;
use sayso::package::Zip;
use sayso::proto::{self, ErasureScope, PackageKind, Role};
use sayso_proof::bundle::EntryLine;
use sayso_proof::checkpoint::{VerifierKey, sign_note};
use sayso_proof::entry::{self, EventKey};
use sayso_proof::event::EventBody;
use sayso_proof::keys::KeyChain;
use sayso_proof::signed_document::{DocumentKind, DocumentStatement};
use sayso_proof::subject_map::{SubjectProof, VerifiedSubject};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

pub const LOG_SEED: [u8; 32] = [42; 32];

/// A daemon whose log key the test knows: the operator of the log is the attacker.
async fn start_with_known_key() -> Harness {
    start_with_known_key_and(|_| ()).await
}

/// Like [`start_with_known_key`], with a changed configuration.
pub async fn start_with_known_key_and(change: impl FnOnce(&mut Config)) -> Harness {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let dir = tempfile::tempdir().unwrap();
    let secrets = dir.path().join("secrets");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&secrets).unwrap();
    let mut file = std::fs::OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(0o600).open(secrets.join("log.key")).unwrap();
    file.write_all(&LOG_SEED).unwrap();
    let mut config = harness::config(dir.path());
    change(&mut config);
    let daemon = Daemon::start(&config).await.unwrap();
    Harness { dir, daemon }
}

fn verify(path: &Path, key: &str) -> Output {
    harness::sayso(&["--json", "verify", path.to_str().unwrap(), "--key", key]).output().unwrap()
}

async fn prove(steward: &mut Clients, subject: &str) -> String {
    let request = proto::ProveSubjectRequest { subject: subject.into() };
    steward.audit.prove_subject(request).await.unwrap().into_inner().proof
}

fn verified(harness: &Harness, proof: &str) -> VerifiedSubject {
    let key: VerifierKey = harness.daemon.vkey.parse().unwrap();
    SubjectProof::parse(proof).unwrap().verify(&KeyChain::from(&key)).unwrap()
}

/// A package of ada, who has a history, and the file that it was unpacked from.
async fn package_of_ada(harness: &Harness) -> (Unpacked, PathBuf) {
    record_history(harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Access).await.unwrap();
    let folder = harness.dir.path().join("package");
    (Unpacked::of(&bytes, &folder), folder.join("package.zip"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_package_is_shown_to_be_complete() {
    let harness = Harness::start().await;
    let (package, file) = package_of_ada(&harness).await;
    let answer = harness::json(&verify(&file, &harness.daemon.vkey));
    let complete = &answer["complete"];
    assert_eq!(complete["subject"], "ada");
    let events = package.json()["history"].as_array().unwrap().len() as u64;
    assert_eq!(harness::int64(&complete["events"]), events);
    assert_eq!(harness::int64(&complete["erased"]), 0);
    let not_shown = answer["notShown"].to_string();
    assert!(!not_shown.contains("everything") && not_shown.contains("no other id"), "{not_shown}");
    // A package with what the person provided has only a part of what is recorded.
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Portability).await.unwrap();
    std::fs::write(&file, bytes).unwrap();
    let output = verify(&file, &harness.daemon.vkey);
    assert_eq!(output.status.code(), Some(6));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["complete"], Value::Null);
    assert!(answer["notShown"].to_string().contains("everything"));
}

/// Verifies the package with other members, signed with the log's own key.
fn sealed_again(
    harness: &Harness,
    package: &Unpacked,
    change: impl Fn(&str, String) -> Option<String>,
) -> Output {
    let key = SigningKey::from_bytes(&LOG_SEED);
    let manifest: Value = serde_json::from_str(&package.text("manifest.json")).unwrap();
    let origin = manifest["origin"].as_str().unwrap();
    let mut zip = Zip::new(Vec::new(), 0);
    for member in manifest["files"].as_array().unwrap() {
        let name = member["name"].as_str().unwrap();
        if let Some(text) = change(name, package.text(name)) {
            zip.begin(name).unwrap().write_all(text.as_bytes()).unwrap();
        }
    }
    let sign = |digest| {
        let statement = DocumentStatement { kind: DocumentKind::Package, origin, tree_size: 1_000, digest };
        sign_note(&statement.to_text(), origin, &key)
    };
    zip.sign(origin, sign).unwrap();
    let file = harness.dir.path().join("forged.zip");
    std::fs::write(&file, zip.finish().unwrap()).unwrap();
    verify(&file, &harness.daemon.vkey)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_package_that_does_not_show_that_it_is_complete_is_not_taken_as_checked() {
    let harness = start_with_known_key().await;
    let (package, _) = package_of_ada(&harness).await;
    let without = |kind: &str| {
        sealed_again(&harness, &package, |name, text| match name {
            "completeness.json" | "entries.jsonl" => None,
            "package.json" => Some(text.replacen("\"access\"", &format!("\"{kind}\""), 1)),
            _ => Some(text),
        })
    };
    let output = without("access");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("does not show that it contains everything"), "{said}");
    // The operator could call any package one for portability.
    let output = without("portability");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("only what the person provided"), "{said}");
    let year_later = |_: &str, text: String| Some(text.replacen("\"made_at\": \"20", "\"made_at\": \"21", 1));
    let output = sealed_again(&harness, &package, year_later);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains("shows only what the log had"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_without_one_of_the_events_is_found_even_if_the_log_signed_it() {
    let harness = start_with_known_key().await;
    let (package, _) = package_of_ada(&harness).await;
    assert!(sealed_again(&harness, &package, |_, text| Some(text)).status.success());
    let lines = package.text("entries.jsonl").lines().count();
    for left_out in 0..lines {
        let output = sealed_again(&harness, &package, |name, text| match name {
            "entries.jsonl" => {
                let kept = text.lines().enumerate().filter(|(number, _)| *number != left_out);
                Some(kept.map(|(_, line)| format!("{line}\n")).collect())
            }
            _ => Some(text),
        });
        assert_eq!(output.status.code(), Some(4), "without event {left_out}");
    }
    // The readable part must have each event, too.
    let output = sealed_again(&harness, &package, |name, text| match name {
        "package.json" => {
            let mut json: Value = serde_json::from_str(&text).unwrap();
            json["history"].as_array_mut().unwrap().remove(1);
            Some(json.to_string())
        }
        _ => Some(text),
    });
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(4) && text.contains("its history does not have position"), "{text}");
    for other in ["entries.jsonl", "completeness.json"] {
        let output = sealed_again(&harness, &package, |name, text| (name != other).then_some(text));
        assert_eq!(output.status.code(), Some(4), "without {other}");
    }
}

/// A package of ada, from whose history an erasure took something out of the middle.
async fn package_with_a_gap(harness: &Harness) -> Unpacked {
    let (_, mut steward) = record_ada(harness).await;
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "boss")).await.unwrap();
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Access).await.unwrap();
    Unpacked::of(&bytes, &harness.dir.path().join("package"))
}

/// Another entry in the place of the one in this line, with the log's signature.
fn another_entry(line: &str, origin: &str) -> String {
    use base64::Engine;
    let line: Value = serde_json::from_str(line).unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(line["entry"].as_str().unwrap()).unwrap();
    let header = entry::parse_header(&bytes).unwrap();
    let key = EventKey::derive(&[1; 32], &header.event_id);
    let payload = entry::seal(&header, &EventBody::default(), &key).unwrap();
    let bytes = entry::sign(payload, origin, &SigningKey::from_bytes(&LOG_SEED)).unwrap();
    let (position, at_ms) = (line["position"].as_u64().unwrap(), line["recorded_at_ms"].as_u64().unwrap());
    String::from_utf8(EntryLine::new(position, at_ms, &bytes, None).unwrap().to_bytes().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_before_a_gap_that_an_erasure_left_cannot_be_another_one() {
    let harness = start_with_known_key().await;
    let package = package_with_a_gap(&harness).await;
    assert!(sealed_again(&harness, &package, |_, text| Some(text)).status.success());
    let proofs = package.text("entry-proofs.jsonl");
    let first: Value = serde_json::from_str(proofs.lines().next().unwrap()).unwrap();
    let origin = harness.daemon.vkey.split('+').next().unwrap().to_owned();
    let failure = |change: &dyn Fn(&str, String) -> Option<String>| {
        let output = sealed_again(&harness, &package, change);
        assert_eq!(output.status.code(), Some(4));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // The entry before the gap is another one, and nothing but the tree of the log shows that.
    let text = failure(&|name, text| match name {
        "entries.jsonl" => Some(text.lines().fold(String::new(), |lines, line| {
            let parsed: Value = serde_json::from_str(line).unwrap();
            let is_last = parsed["position"] == first["position"];
            lines + &if is_last { another_entry(line, &origin) } else { line.to_owned() } + "\n"
        })),
        _ => Some(text),
    });
    assert!(text.contains("not proven to be in the log"), "{text}");
    let text = failure(&|name, text| (name != "entry-proofs.jsonl").then_some(text));
    assert!(text.contains("entry-proofs.jsonl"), "{text}");
    let text =
        failure(&|name, text| if name == "entry-proofs.jsonl" { Some(String::new()) } else { Some(text) });
    assert!(text.contains("does not prove the entry"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_not_completed_by_the_proof_of_another_person() {
    let harness = start_with_known_key().await;
    let (package, _) = package_of_ada(&harness).await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    record(&mut tutor, fact("bea", "tone", "communication-style", "\"dry\"")).await;
    let mut bea = harness.as_role(Role::Subject, "bea").await;
    let bytes = export(&mut bea, "", PackageKind::Access).await.unwrap();
    let others = Unpacked::of(&bytes, &harness.dir.path().join("other"));
    let output = sealed_again(&harness, &package, |name, text| match name {
        "completeness.json" | "entries.jsonl" => Some(others.text(name)),
        _ => Some(text),
    });
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(4) && text.contains("another person"), "{text}");
}

/// A member of a subject proof with the order of its own members.
fn recorded_member(proof: &Value, name: &str) -> String {
    let members: &[&str] = match name {
        "end" => &["label", "commitment"],
        _ => &["handle", "events", "present", "newest_leaf", "blinding"],
    };
    let member = |member: &&str| format!("    \"{member}\": {}", proof[name][member]);
    format!("{{\n{}\n  }}", members.iter().map(member).collect::<Vec<_>>().join(",\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_proof_shows_what_is_recorded_and_that_nothing_is() {
    let harness = Harness::start().await;
    record_ada(&harness).await;
    let mut steward = harness.as_role(Role::Steward, "maria").await;
    let present = verified(&harness, &prove(&mut steward, "ada").await);
    let stream = present.stream.unwrap();
    assert!(stream.present > 1 && present.committed.unlinked == 0);
    let absent = prove(&mut steward, "nobody-at-all").await;
    assert_eq!(verified(&harness, &absent).stream, None);
    // The command makes the same proof, and the other one verifies it.
    let output = harness.cli(Role::Steward, "maria", &["prove-subject", "nobody-at-all"]);
    let file = harness.dir.path().join("absent.proof");
    std::fs::write(&file, &output.stdout).unwrap();
    let answer = harness::json(&verify(&file, &harness.daemon.vkey));
    assert_eq!((&answer["recorded"], &answer["subject"]), (&json!(false), &json!("nobody-at-all")));
    // The proof of one id proves nothing about another one.
    std::fs::write(&file, absent.replace("nobody-at-all", "ada")).unwrap();
    assert_eq!(verify(&file, &harness.daemon.vkey).status.code(), Some(4));
    // What is recorded cannot be shown as absent.
    let recorded: Value = serde_json::from_str(&prove(&mut steward, "ada").await).unwrap();
    let forged = |change: &dyn Fn(&mut Value)| {
        let mut proof = recorded.clone();
        change(&mut proof);
        // Parsing needs the members in their order.
        let members = ["format", "subject", "vrf_proof", "siblings", "end", "stream", "commitment"];
        let member = |name: &str| match name {
            "end" | "stream" if !proof[name].is_null() => recorded_member(&recorded, name),
            _ => serde_json::to_string_pretty(&proof[name]).unwrap().replace('\n', "\n  "),
        };
        let members: Vec<String> =
            members.iter().map(|name| format!("  \"{name}\": {}", member(name))).collect();
        std::fs::write(&file, format!("{{\n{}\n}}\n", members.join(",\n"))).unwrap();
        verify(&file, &harness.daemon.vkey).status.code()
    };
    assert_eq!(forged(&|_| {}), Some(0));
    assert_eq!(forged(&|proof| proof["stream"] = Value::Null), Some(4));
    let without = |proof: &mut Value| (proof["end"], proof["stream"]) = (Value::Null, Value::Null);
    assert_eq!(forged(&without), Some(4));
    let shorter = |proof: &mut Value| {
        without(proof);
        proof["siblings"].as_array_mut().unwrap().pop();
    };
    assert_eq!(forged(&shorter), Some(4));
    // Only stewards and auditors may ask.
    for role in [Role::Service, Role::Subject, Role::Operator] {
        let mut other = harness.as_role(role, "ada").await;
        let request = proto::ProveSubjectRequest { subject: "ada".into() };
        let denied = other.audit.prove_subject(request).await.unwrap_err();
        assert_eq!(denied.code(), tonic::Code::PermissionDenied, "{role:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_map_is_the_same_after_a_restart_and_has_only_news_to_commit() {
    let harness = Harness::start().await;
    record_ada(&harness).await;
    let mut auditor = harness.as_role(Role::Auditor, "audrey").await;
    // The first proof records the view, so the second one commits to that.
    prove(&mut auditor, "nobody").await;
    let before = verified(&harness, &prove(&mut auditor, "nobody").await);
    let harness = harness.restart().await;
    let mut auditor = harness.as_role(Role::Auditor, "audrey").await;
    let after = verified(&harness, &prove(&mut auditor, "nobody").await);
    assert_eq!((before.position, before.committed.clone()), (after.position, after.committed));
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    record(&mut tutor, fact("bea", "tone", "communication-style", "\"dry\"")).await;
    let later = verified(&harness, &prove(&mut auditor, "nobody").await);
    assert!(later.position > after.position);
    assert_eq!(later.committed.subjects, before.committed.subjects + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_was_recorded_and_erased_since_the_last_commitment_leaves_a_log_that_verifies() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "maria").await;
    record(&mut service, fact("bea", "job", "work", "baker")).await;
    crate::erasure::verify(&harness);
    record(&mut service, fact("cem", "job", "work", "cook")).await;
    let request = erasure("cem", ErasureScope::All, "");
    steward.rights.submit_request(request).await.unwrap();
    std::fs::remove_file(harness.dir.path().join("bundle.tar.zst")).unwrap();
    crate::erasure::verify(&harness);
}

/// A commitment to the subject map continues if the caller who requested it disconnects. An erasure must
/// still wait until the commitment is complete.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_after_a_caller_disconnected_is_followed_by_a_commitment() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "maria").await;
    record(&mut service, fact("bea", "job", "work", "baker")).await;
    crate::erasure::verify(&harness);
    for round in 0..12_u64 {
        let subject = format!("p{round}");
        record(&mut service, fact(&subject, "job", "work", "cook")).await;
        let mut other = harness.as_role(Role::Steward, "other").await;
        let proof = tokio::spawn(async move {
            let request = proto::ProveSubjectRequest { subject: "bea".into() };
            let _disconnected = other.audit.prove_subject(request).await;
        });
        tokio::time::sleep(Duration::from_micros(300 * round)).await;
        proof.abort();
        steward.rights.submit_request(erasure(&subject, ErasureScope::All, "")).await.unwrap();
        std::fs::remove_file(harness.dir.path().join("bundle.tar.zst")).unwrap();
        crate::erasure::verify(&harness);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erasure_nothing_confirms_a_guess_of_the_id() {
    let harness = Harness::start().await;
    let (_, mut steward) = record_ada(&harness).await;
    let mut tutor = harness.as_role(Role::Service, "tutor").await;
    record(&mut tutor, fact("bea", "tone", "communication-style", "\"dry\"")).await;
    let before = prove(&mut steward, "ada").await;
    let opening: Value = serde_json::from_str(&before).unwrap();
    let blinding = opening["stream"]["blinding"].as_str().unwrap().to_owned();
    let label = opening["end"]["label"].as_str().unwrap().to_owned();
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    let after = prove(&mut steward, "ada").await;
    assert_eq!(verified(&harness, &after).stream, None, "an erased person looks like one who never existed");
    assert!(!after.contains(&label) && !after.contains(&blinding));
    let proof = prove(&mut steward, "bea").await;
    assert!(!proof.contains(&label), "the neighbor's path does not have the label");
    // Neither the label nor the secret is left in any file.
    let dir = harness.stop().await;
    for secret in [label, blinding] {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::STANDARD.decode(secret).unwrap();
        for path in harness::files_below(dir.path()) {
            let content = std::fs::read(&path).unwrap();
            assert!(!harness::contains(&content, &bytes), "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_after_a_partial_erasure_is_complete_and_counts_what_was_erased() {
    let harness = Harness::start().await;
    let (_, mut steward) = record_ada(&harness).await;
    let before = verified(&harness, &prove(&mut steward, "ada").await).stream.unwrap();
    steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();
    let after = verified(&harness, &prove(&mut steward, "ada").await).stream.unwrap();
    assert!(before.present == before.events && after.present < after.events, "{before:?} {after:?}");
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Access).await.unwrap();
    let file = harness.dir.path().join("package.zip");
    std::fs::write(&file, bytes).unwrap();
    let complete = &harness::json(&verify(&file, &harness.daemon.vkey))["complete"];
    assert_eq!(harness::int64(&complete["erased"]), after.events - after.present);
    assert!(harness::int64(&complete["events"]) > after.present, "the export was recorded, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_who_knows_the_ids_sees_the_streams_of_all_others() {
    let harness = Harness::start().await;
    let (mut tutor, mut steward) = record_ada(&harness).await;
    record(&mut tutor, fact("ada-2", "tone", "communication-style", "\"dry\"")).await;
    let hidden = verified(&harness, &prove(&mut steward, "ada-2").await).stream.unwrap();
    let proofs = harness.dir.path().join("proofs");
    std::fs::create_dir(&proofs).unwrap();
    for id in ["ada", "bea"] {
        std::fs::write(proofs.join(id), prove(&mut steward, id).await).unwrap();
    }
    let bundle = harness.dir.path().join("known.tar.zst");
    let path = bundle.to_str().unwrap();
    let exported = harness.cli(Role::Auditor, "audrey", &["audit", "export", "-o", path]);
    assert!(exported.status.success());
    let knowing = |bundle: &str| {
        let proofs = proofs.to_str().unwrap();
        let key = &harness.daemon.vkey;
        harness::sayso(&["--json", "verify", bundle, "--key", key, "--subject-proof", proofs])
            .output()
            .unwrap()
    };
    let given = &harness::json(&knowing(path))["givenSubjects"];
    assert_eq!((&given["ids"], &given["found"], &given["others"]), (&json!("2"), &json!("1"), &json!("1")));
    assert_eq!(given["otherHandles"], json!([hidden.handle.to_string()]));
    // Only a bundle has all streams.
    let document = proofs.join("ada");
    assert_eq!(knowing(document.to_str().unwrap()).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_to_a_recipient_can_be_hidden_only_in_entries_that_verify_counts() {
    let harness = Harness::start().await;
    let (mut tutor, mut steward) = record_ada(&harness).await;
    tutor.grant.request_grant(ask("ada")).await.unwrap();
    let bundle = harness.dir.path().join("recipient.tar.zst");
    let path = bundle.to_str().unwrap();
    let export = |options: &[&str]| {
        let command = [&["audit", "export", "--force", "-o", path], options].concat();
        assert!(harness.cli(Role::Auditor, "audrey", &command).status.success());
        let output = verify(&bundle, &harness.daemon.vkey);
        let verified: Value = serde_json::from_slice(&output.stdout).unwrap();
        let said = verified["notShown"].to_string() + &String::from_utf8_lossy(&output.stderr);
        (verified["grants"]["replayed"].clone(), said, output.status.code())
    };
    // Everything can be read, so each grant to the tutor is there.
    let (grants, not_shown, status) = export(&[]);
    assert!(grants == "1" && !not_shown.contains("the content of"), "{grants} {not_shown}");
    assert_eq!(status, Some(0));
    let (grants, not_shown, status) = export(&["--sealed"]);
    assert!(grants == "0" && not_shown.contains("sealed entries; a grant to any recipient"), "{not_shown}");
    // The grant and a withdrawal could be among them, so this is no verdict on the grants.
    assert!(
        status == Some(6) && not_shown.contains("an export that was made without --sealed"),
        "{not_shown}"
    );
    steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    let (grants, not_shown, _) = export(&[]);
    assert!(grants == "0" && not_shown.contains("erased entries; a grant to any recipient"), "{not_shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_shows_that_every_stream_is_in_the_map() {
    let harness = Harness::start().await;
    let (mut tutor, mut steward) = record_ada(&harness).await;
    for subject in ["bea", "cleo", "dora"] {
        record(&mut tutor, fact(subject, "tone", "communication-style", "\"dry\"")).await;
    }
    prove(&mut steward, "bea").await;
    record(&mut tutor, fact("eve", "tone", "communication-style", "\"dry\"")).await;
    let map = crate::erasure::verify(&harness)["subjectMap"].clone();
    assert_eq!((&map["subjects"], &map["unlinked"]), (&json!("5"), &json!("0")));
    assert_eq!((&map["checked"], &map["notChecked"]), (&json!("2"), &json!("0")));
    steward.rights.submit_request(erasure("bea", ErasureScope::All, "")).await.unwrap();
    let map = crate::erasure::verify(&harness)["subjectMap"].clone();
    assert_eq!(
        (&map["subjects"], &map["checked"], &map["notChecked"]),
        (&json!("4"), &json!("1"), &json!("2"))
    );
}
