//! Tests what `sayso verify` says about receipts and certificates: every change of a document is detected or
//! named as not checked, and the verdict says what it does not show.

use crate::erasure::{erasure, record, record_ada};
use crate::harness::{self, Harness, fact};
use crate::package::{Unpacked, export, record_history};
use crate::witness::copy;
use sayso::package::{verify_package, verify_receipt};
use sayso::proto::{self, ConsentDecision, ErasureScope, PackageKind, Role};
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::keys::KeyChain;
use serde_json::{Value, json};
use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::process::Output;

/// One place in a JSON document: a string, number or boolean, or the name of a member.
#[derive(Clone, Debug)]
struct Place {
    /// JSON pointer.
    pointer: String,
    /// The path as `sayso verify` names it, without the indexes of arrays.
    path: String,
}

/// Every string, number and boolean of a document.
pub fn places(value: &Value) -> Vec<(String, String)> {
    fn walk(value: &Value, place: &Place, found: &mut Vec<Place>) {
        match value {
            Value::Object(fields) => {
                for (name, child) in fields {
                    let path = match place.path.as_str() {
                        "" => name.clone(),
                        path => format!("{path}/{name}"),
                    };
                    let name = name.replace('~', "~0").replace('/', "~1");
                    walk(child, &Place { pointer: format!("{}/{name}", place.pointer), path }, found);
                }
            }
            Value::Array(items) => {
                for (at, child) in items.iter().enumerate() {
                    let pointer = format!("{}/{at}", place.pointer);
                    walk(child, &Place { pointer, path: place.path.clone() }, found);
                }
            }
            Value::Null => {}
            _ => found.push(place.clone()),
        }
    }
    let mut found = Vec::new();
    walk(value, &Place { pointer: String::new(), path: String::new() }, &mut found);
    found.into_iter().map(|place| (place.pointer, place.path)).collect()
}

/// The document with one string, number or boolean changed.
pub fn changed(document: &Value, pointer: &str) -> Value {
    let mut document = document.clone();
    let value = document.pointer_mut(pointer).unwrap();
    *value = match value {
        Value::String(text) => json!(format!("{text}x")),
        Value::Bool(is) => json!(!*is),
        Value::Number(number) => json!(number.as_f64().unwrap() + 1.0),
        other => panic!("{other}"),
    };
    document
}

/// The receipt of ada's consent for research: with a recipient, a special category, a notice and an end.
async fn receipt(harness: &Harness) -> (Value, String) {
    record_history(harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Access).await.unwrap();
    let package = Unpacked::of(&bytes, &harness.dir.path().join("package"));
    let mut texts = package.receipts().into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    let text = texts.find(|text| text.contains("eu-gdpr:A9-2-a")).unwrap();
    (serde_json::from_str(&text).unwrap(), text)
}

fn verify(path: &Path, key: &str, more: &[&str]) -> Output {
    let arguments = [&["--json", "verify", path.to_str().unwrap(), "--key", key], more].concat();
    harness::sayso(&arguments).output().unwrap()
}

/// The answer about a document that is intact, but that was not signed as a whole.
fn unchecked(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not signed as a whole"));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The texts of a list in an answer.
fn texts<'a>(answer: &'a Value, list: &str) -> Vec<&'a str> {
    answer[list].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_consent_receipt_is_detected() {
    let harness = Harness::start().await;
    let (receipt, _) = receipt(&harness).await;
    let key = &harness.daemon.vkey;
    let file = harness.dir.path().join("receipt.jsonld");
    std::fs::write(&file, receipt.to_string()).unwrap();
    let verified = harness::json(&verify(&file, key, &[]));
    assert_eq!((&verified["signed"], &verified["notChecked"]), (&json!(true), &json!([])));
    // The entry of the decision does not contain these, so they are only statements of the controller.
    let stated = texts(&verified, "statedOnly");
    for field in ["dpv:hasDataController", "dpv:hasProcess/dpv:hasPurpose/dct:title", "dpv:hasConsentControl"]
    {
        assert!(stated.contains(&format!("dpv:hasRecordOfActivity/{field}").as_str()), "{field}: {stated:?}");
    }
    let all = places(&receipt);
    assert!(all.len() > 110, "{}", all.len());
    for (pointer, _) in &all {
        std::fs::write(&file, changed(&receipt, pointer).to_string()).unwrap();
        let output = verify(&file, key, &[]);
        assert!(!output.status.success(), "{pointer} was changed, and the receipt verifies");
    }
    // A name that occurs twice, and a member that is added.
    let text = receipt.to_string();
    for (from, to) in [
        ("\"dct:title\":", "\"dct:title\":\"other\",\"dct:title\":"),
        ("\"dct:title\":", "\"schema:name\":\"other\",\"dct:title\":"),
    ] {
        std::fs::write(&file, text.replacen(from, to, 1)).unwrap();
        assert_eq!(verify(&file, key, &[]).status.code(), Some(4), "{to}");
    }
    // Spaces and the order of members do not matter.
    std::fs::write(&file, serde_json::to_string_pretty(&receipt).unwrap()).unwrap();
    assert!(verify(&file, key, &[]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_without_a_signature_verifies_and_names_what_was_not_checked() {
    let harness = Harness::start().await;
    let (mut receipt, _) = receipt(&harness).await;
    let properties = receipt.pointer_mut("/dct:provenance/schema:additionalProperty").unwrap();
    let properties = properties.as_array_mut().unwrap();
    assert_eq!(properties.pop().unwrap()["schema:propertyID"], "signature");
    let file = harness.dir.path().join("receipt.jsonld");
    std::fs::write(&file, receipt.to_string()).unwrap();
    let verified = unchecked(&verify(&file, &harness.daemon.vkey, &[]));
    assert_eq!((&verified["signed"], &verified["statedOnly"]), (&json!(false), &json!([])));
    let mut text = harness::sayso(&["verify", file.to_str().unwrap(), "--key", &harness.daemon.vkey]);
    let text = String::from_utf8(text.output().unwrap().stdout).unwrap();
    assert!(text.starts_with("not verified as a whole:"), "{text}");
    assert!(text.contains("not signed as a whole") && text.contains("not checked: @context, "), "{text}");

    let keys = KeyChain::from(&harness.daemon.vkey.parse::<VerifierKey>().unwrap());
    let mut detected = 0;
    for (pointer, path) in places(&receipt) {
        match verify_receipt(&changed(&receipt, &pointer).to_string(), &keys) {
            Err(_) => detected += 1,
            Ok(verified) => {
                let is_named = verified.not_compared.iter().any(|named| {
                    let named = named.split(" of other ").next().unwrap();
                    path == named || path.starts_with(&format!("{named}/"))
                });
                assert!(is_named, "{path} was changed, and is not named in {:?}", verified.not_compared);
            }
        }
    }
    assert!(detected > 40, "{detected}");
    // A second status of the same decision is refused: it could say anything else about the decision.
    let statuses = "/dpv:hasRecordOfActivity/dpv:hasConsentStatus";
    let mut twice = receipt.clone();
    let items = twice.pointer_mut(statuses).unwrap().as_array_mut().unwrap();
    let id = &receipt["dpv:hasRecordOfActivity"]["dct:identifier"];
    let own = items.iter().find(|status| status["dct:identifier"] == *id).unwrap().clone();
    items.push(own);
    assert!(verify_receipt(&twice.to_string(), &keys).is_err());
    // A property that this version does not know is refused: a changed name must not hide the signature.
    let unknown =
        json!({"@type": "schema:PropertyValue", "schema:propertyID": "signed", "schema:value": "x"});
    let properties = receipt.pointer_mut("/dct:provenance/schema:additionalProperty").unwrap();
    properties.as_array_mut().unwrap().push(unknown);
    assert!(verify_receipt(&receipt.to_string(), &keys).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_changed_byte_of_an_erasure_certificate_is_detected() {
    let harness = Harness::start().await;
    let (mut service, mut steward) = record_ada(&harness).await;
    service.grant.request_grant(harness::ask("ada")).await.unwrap();
    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::Key, "job")).await.unwrap();
    let text = erased.into_inner().certificate.unwrap().document;
    let key: VerifierKey = harness.daemon.vkey.parse().unwrap();
    let verified = sayso_proof::certificate::verify(&text, &key).unwrap();
    let stated = [
        "completed_at_ms",
        "issued_at_ms",
        "requested_at_ms",
        "erased_by_category",
        "copies",
        "recipients.acknowledged",
    ];
    assert_eq!(verified.stated_only, stated);
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else { continue };
        assert!(sayso_proof::certificate::verify(&changed, &key).is_err(), "byte {at}: {changed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_in_a_copy_of_the_folder_is_detected_with_an_export_or_an_older_checkpoint() {
    let harness = Harness::start().await;
    let (mut service, _) = record_ada(&harness).await;
    let file = |name: &str| harness.dir.path().join(name);
    let receipt = file("receipt.jsonld");
    let path = receipt.to_str().unwrap().to_owned();
    harness::stdout(&harness.cli(Role::Steward, "privacy-team", &["consent", "receipt", "ada", "-o", &path]));
    record(&mut service, fact("ben", "job", "work", "x")).await;
    let dir = harness.stop().await;
    let twin = tempfile::tempdir().unwrap();
    copy(dir.path(), twin.path());

    // The operator erases ada in the copy only.
    let copied = Harness::start_in(twin).await;
    let mut steward = copied.as_role(Role::Steward, "privacy-team").await;
    let erased = steward.rights.submit_request(erasure("ada", ErasureScope::All, "")).await.unwrap();
    let id = erased.into_inner().request_id;
    let certificate = copied.dir.path().join("certificate.txt");
    let out = certificate.to_str().unwrap().to_owned();
    let arguments = ["certificate", &id, "-o", &out, "--since", &path];
    harness::stdout(&copied.cli(Role::Steward, "privacy-team", &arguments));
    let key = copied.daemon.vkey.clone();
    let verified = harness::json(&verify(&certificate, &key, &[]));
    let not_shown = texts(&verified, "notShown");
    assert!(not_shown[0].starts_with("that others see the same log, and not a copy"), "{not_shown:?}");
    assert!(not_shown.iter().any(|what| what.contains("kept a copy of the erased data")));
    assert_eq!(verified["notChecked"].as_array().unwrap().len(), 1, "the consistency proof: {verified}");
    // The copy continues the checkpoint of the receipt, which was made before the copy. Nothing more is
    // shown.
    let verified = harness::json(&verify(&certificate, &key, &["--since", &path]));
    assert!(harness::int64(&verified["continues"]) > 0 && verified["notChecked"] == json!([]));
    assert!(texts(&verified, "notShown")[0].contains("signed after its first"));
    let twin = copied.stop().await;

    // The log that everybody else sees continues without the erasure.
    let harness = Harness::start_in(dir).await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    for number in 0..8 {
        record(&mut service, fact("ada", &format!("more-{number}"), "work", "x")).await;
    }
    let bundle = harness.dir.path().join("log.tar.zst");
    let path = bundle.to_str().unwrap();
    harness::stdout(&harness.cli(Role::Auditor, "auditor", &["audit", "export", "-o", path]));
    assert!(verify(&bundle, &key, &["--since", receipt.to_str().unwrap()]).status.success());
    let failed = verify(&bundle, &key, &["--since", twin.path().join("certificate.txt").to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("does not extend the older checkpoint"));
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_and_packages_verify_with_the_key_of_their_time() {
    let harness = Harness::start().await;
    record_history(&harness).await;
    let file = |name: &str| harness.dir.path().join(name);
    let export = |receipt: &str, package: &str| {
        let [receipt, package] = [receipt, package].map(|name| file(name).display().to_string());
        harness::stdout(&harness.cli(Role::Subject, "ada", &["consent", "receipt", "ada", "-o", &receipt]));
        harness::stdout(&harness.cli(Role::Subject, "ada", &["export-subject", "ada", "-o", &package]));
    };
    let old = harness.daemon.vkey.clone();
    export("before.jsonld", "before.zip");
    let mut operator = harness.as_role(Role::Operator, "ops").await;
    let rotate = proto::RotateLogKeyRequest {
        transition: Some(prost_types::Duration { seconds: 0, nanos: 0 }),
        ..Default::default()
    };
    let new = operator.operator.rotate_log_key(rotate).await.unwrap().into_inner().vkey;
    export("after.jsonld", "after.zip");
    let keys = harness::stdout(&harness.cli(Role::Auditor, "aud", &["keys", "show"]));
    std::fs::write(file("keys.jsonl"), keys).unwrap();
    let chain = file("keys.jsonl").display().to_string();
    for kind in ["jsonld", "zip"] {
        let (before, after) = (file(&format!("before.{kind}")), file(&format!("after.{kind}")));
        assert!(verify(&before, &old, &[]).status.success(), "{kind}");
        assert_eq!(verify(&after, &old, &[]).status.code(), Some(4), "{kind}");
        for (document, key) in [(&before, &new), (&after, &old)] {
            let verified = harness::json(&verify(document, key, &["--keys", &chain]));
            assert_eq!(verified["signed"], true, "{kind}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_names_the_conversation_and_the_guardian_of_a_decision() {
    let harness = Harness::start().await;
    let mut steward = harness.as_role(Role::Steward, "privacy-team").await;
    harness::publish_notice(&mut steward).await;
    let mut yes = harness::choice(ConsentDecision::Given, "tone-adaptation", &[], false);
    yes.interactions = vec!["talk-1".into()];
    let request = proto::RecordConsentRequest { guardian: true, ..harness::consent("ada", vec![yes]) };
    steward.consent.record_consent(request).await.unwrap();
    let receipt = harness.cli(Role::Steward, "privacy-team", &["consent", "receipt", "ada", "--json"]);
    let receipt = harness::json(&receipt);
    let record = &receipt["dpv:hasRecordOfActivity"];
    let [scope, decided_by] = ["dpv:hasProcess/0/dpv:hasScope/0", "dpv:hasConsentStatus/0/dpv:isIndicatedBy"]
        .map(|place| format!("/dpv:hasRecordOfActivity/{place}"));
    assert_eq!(receipt.pointer(&scope).unwrap()["dct:identifier"], "talk-1", "{record}");
    assert_eq!(receipt.pointer(&decided_by).unwrap()["@type"], "dpv:GuardianOfDataSubject");
    let keys = KeyChain::from(&harness.daemon.vkey.parse::<VerifierKey>().unwrap());
    assert!(verify_receipt(&receipt.to_string(), &keys).unwrap().is_signed);
    // Without its signature, the receipt is still compared with the log.
    let mut unsigned = receipt.clone();
    let properties = unsigned.pointer_mut("/dct:provenance/schema:additionalProperty").unwrap();
    properties.as_array_mut().unwrap().pop();
    assert!(verify_receipt(&unsigned.to_string(), &keys).is_ok());
    let other = changed(&unsigned, &format!("{scope}/dct:identifier"));
    assert!(verify_receipt(&other.to_string(), &keys).is_err());
    let process = unsigned.pointer_mut("/dpv:hasRecordOfActivity/dpv:hasProcess/0").unwrap();
    process.as_object_mut().unwrap().remove("dpv:hasScope");
    let not_compared = verify_receipt(&unsigned.to_string(), &keys).unwrap().not_compared;
    assert!(not_compared.iter().any(|field| field.contains("limited to conversations")), "{not_compared:?}");
}

/// The members of a ZIP file, in order.
fn unzip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let count = archive.len();
    let read = |at| {
        let mut member = archive.by_index(at).unwrap();
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes).unwrap();
        (member.name().unwrap().into_owned(), bytes)
    };
    (0..count).map(read).collect()
}

fn zipped(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in members {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The members with one of them replaced.
fn with_member(members: &[(String, Vec<u8>)], at: usize, bytes: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let mut members = members.to_vec();
    members[at].1 = bytes;
    members
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_package_is_detected() {
    let harness = Harness::start().await;
    record_history(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Access).await.unwrap();
    let file = harness.dir.path().join("ada.zip");
    std::fs::write(&file, &bytes).unwrap();
    let verified = harness::json(&verify(&file, &harness.daemon.vkey, &[]));
    assert_eq!(
        (&verified["signed"], &verified["receipts"], &verified["files"]),
        (&true.into(), &"4".into(), &"8".into())
    );
    assert_eq!(verified["notChecked"], json!(["times and comments of the ZIP file"]));
    let stated = texts(&verified, "statedOnly");
    for part in
        ["index.html", "package.json: attributes", "package.json: controller", "package.json: history"]
    {
        assert!(stated.contains(&part), "{part}: {stated:?}");
    }
    assert!(!stated.iter().any(|part| part.contains("ledger")), "{stated:?}");
    let entries = harness::int64(&verified["asOfEntries"]);
    let not_shown = texts(&verified, "notShown").join(", ");
    assert!(not_shown.contains("no other id") && verified["complete"].is_object(), "{not_shown}");

    let keys = KeyChain::from(&harness.daemon.vkey.parse::<VerifierKey>().unwrap());
    let check = |members: &[(String, Vec<u8>)]| verify_package(&mut Cursor::new(zipped(members)), &keys);
    let members = unzip(&bytes);
    let unchanged = check(&members).unwrap();
    assert!(unchanged.is_signed);
    for (at, (name, content)) in members.iter().enumerate() {
        let Ok(document) = serde_json::from_slice::<Value>(content) else {
            for changed in (0..content.len()).step_by(97) {
                let mut content = content.clone();
                content[changed] ^= 1;
                assert!(check(&with_member(&members, at, content)).is_err(), "byte {changed} of {name}");
            }
            continue;
        };
        for (pointer, _) in places(&document) {
            let changed = serde_json::to_vec_pretty(&changed(&document, &pointer)).unwrap();
            assert!(check(&with_member(&members, at, changed)).is_err(), "{pointer} of {name}");
        }
    }
    // Members cannot be dropped, added, renamed or swapped.
    for at in 0..members.len() {
        let mut fewer = members.clone();
        fewer.remove(at);
        assert!(check(&fewer).is_err(), "without {}", members[at].0);
        let mut renamed = members.clone();
        renamed[at].0.push('x');
        assert!(check(&renamed).is_err(), "{} renamed", members[at].0);
    }
    let more = [members.clone(), vec![("more.html".to_owned(), b"x".to_vec())]].concat();
    assert!(check(&more).is_err());
    let mut swapped = members.clone();
    swapped.swap(0, 1);
    assert!(check(&swapped).is_err());

    // The checkpoint is that of the log when the package was made.
    let package: Value = serde_json::from_slice(&members[1].1).unwrap();
    let note = package["ledger"]["checkpoint"].as_str().unwrap();
    assert_eq!(keys.open(note).unwrap().size, entries);

    // Without manifest and note, only the receipts are checked, and the answer says so.
    let unsigned: Vec<_> =
        members.iter().filter(|(name, _)| !name.starts_with("manifest.")).cloned().collect();
    std::fs::write(&file, zipped(&unsigned)).unwrap();
    let verified = unchecked(&verify(&file, &harness.daemon.vkey, &[]));
    assert_eq!((&verified["signed"], &verified["statedOnly"]), (&false.into(), &json!([])));
    let not_shown = texts(&verified, "notShown").join(", ");
    assert!(not_shown.contains("everything that the log has about the person"), "{not_shown}");
    let not_checked = texts(&verified, "notChecked");
    assert!(not_checked.contains(&"index.html") && not_checked.contains(&"package.json"), "{not_checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_has_nothing_outside_of_its_members_and_is_no_bomb() {
    let harness = Harness::start().await;
    record_history(&harness).await;
    let mut ada = harness.as_role(Role::Subject, "ada").await;
    let bytes = export(&mut ada, "", PackageKind::Portability).await.unwrap();
    let keys = KeyChain::from(&harness.daemon.vkey.parse::<VerifierKey>().unwrap());
    let check = |bytes: &[u8]| verify_package(&mut Cursor::new(bytes), &keys);
    assert!(check(&bytes).unwrap().checkpoint.is_some());
    // Bytes in front, where a program that reads from the start finds another member.
    let hidden = zipped(&[("evil.html".to_owned(), b"x".to_vec())]);
    let refused = |bytes: &[u8]| {
        let error = check(bytes).unwrap_err().to_string();
        assert!(error.contains("not a package"), "{error}");
    };
    refused(&[hidden, bytes].concat());
    // Names and types that a program would unpack to another place.
    let member = |name: &str| zipped(&[(name.to_owned(), b"x".to_vec())]);
    assert!(!check(&member("more/plain.html")).unwrap().is_signed);
    for name in ["../evil", "/evil", "a/../evil", "a\\evil", "a/b/c", ".evil", "EVIL.html", "c:evil", "a//b"]
    {
        refused(&member(name));
    }
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("link", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    refused(&writer.finish().unwrap().into_inner());
    // Zeros that unpack to more than 100 times their size.
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    let zeros = vec![0; 1 << 20];
    for number in 0..80 {
        writer.start_file(format!("receipts/{number}"), options).unwrap();
        writer.write_all(&zeros).unwrap();
    }
    let bomb = writer.finish().unwrap().into_inner();
    assert!(check(&bomb).is_err(), "{}", bomb.len());
}

/// A receipt of others, which this project does not contain. Somebody without the log's key added a status.
#[test]
fn the_shared_receipt_that_was_forged_without_a_key_does_not_verify() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/bundles");
    let path = folder.join("14-receipt-forged-without-a-key.jsonld");
    if !path.exists() {
        eprintln!("skipped: the shared receipt is not here");
        return;
    }
    let output = verify(&path, folder.join("receipt.vkey").to_str().unwrap(), &[]);
    assert_eq!(output.status.code(), Some(4));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("dpv:hasConsentStatus` differs from the log"), "{error}");
    // Without that status, the receipt is one of an early daemon, which was not signed as a whole.
    let mut receipt: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let statuses = receipt.pointer_mut("/dpv:hasRecordOfActivity/dpv:hasConsentStatus").unwrap();
    statuses.as_array_mut().unwrap().pop();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), receipt.to_string()).unwrap();
    let verified = unchecked(&verify(file.path(), folder.join("receipt.vkey").to_str().unwrap(), &[]));
    assert!(!texts(&verified, "notChecked").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_a_sealed_entry_says_that_its_body_was_not_checked() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut request = fact("ada", "tone", "work", "plain words");
    request.options = Some(proto::WriteOptions { proofs: true, ..Default::default() });
    let receipt = service.profile.record_attributes(request).await.unwrap().into_inner().receipt.unwrap();
    let file = harness.dir.path().join("proof.txt");
    // The proof of a receipt is without its entry.
    let mut proof: sayso_proof::proof::TlogProof = receipt.events[0].proof.parse().unwrap();
    let mut auditor = harness.as_role(Role::Auditor, "mina").await;
    let entry = proto::GetEntryRequest { position: receipt.events[0].position };
    proof.extra = Some(auditor.audit.get_entry(entry).await.unwrap().into_inner().entry);
    std::fs::write(&file, proof.to_string()).unwrap();
    let verified = harness::json(&verify(&file, &harness.daemon.vkey, &[]));
    assert_eq!(texts(&verified, "notChecked"), ["the body of the entry, which is sealed"]);
}
