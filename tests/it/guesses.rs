//! Tests that nothing confirms a guess of erased data. The attacker computes hashes of the guess with every
//! key that still exists, and finds none of these hashes in what is left. Repeated requests are still
//! recognized.

use crate::forensic_tool::{Findings, Image};
use crate::harness::{Harness, fact, facts, json};
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use sayso::proto::{self, ErasureScope, Role};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use tonic::Code;

/// The facts about one person in the shared file, as it has them.
const LINES_MAX: usize = 60;

fn lines_about(subject: &str) -> Vec<String> {
    let text = std::fs::read_to_string(facts()).unwrap();
    let start = format!("{{\"subject\": \"{subject}\"");
    text.lines().filter(|line| line.starts_with(&start)).take(LINES_MAX).map(str::to_owned).collect()
}

/// Two people of the shared file.
fn people() -> [String; 2] {
    let text = std::fs::read_to_string(facts()).unwrap();
    let subject = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["subject"].as_str().unwrap().to_owned()
    };
    let all: BTreeSet<String> = text.lines().map(subject).collect();
    let mut all = all.into_iter();
    [all.next().unwrap(), all.next().unwrap()]
}

/// The idempotency key that `sayso import` gives a line.
fn key_of(line: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Line {
        subject: String,
        key: String,
        value: Box<RawValue>,
        category: String,
        provenance: String,
        evidence: Vec<String>,
        observed_at: String,
    }
    let line: Line = serde_json::from_str(line).unwrap();
    let provenance = match line.provenance.as_str() {
        "declared" => proto::Provenance::Declared,
        "observed" => proto::Provenance::Observed,
        _ => proto::Provenance::Inferred,
    };
    let attribute = proto::AttributeInput {
        key: line.key,
        value_json: line.value.get().to_owned(),
        category: line.category,
        provenance: provenance.into(),
        evidence: line.evidence,
        observed_at: Some(line.observed_at.parse().unwrap()),
        ..Default::default()
    };
    let request =
        proto::RecordAttributesRequest { subject: line.subject, attributes: vec![attribute], options: None };
    format!("import-{}", hex::encode(Sha256::digest(request.encode_to_vec())))
}

/// The caller and the key, as the ledger hashes them.
fn parts(role: Role, name: &str, key: &str) -> Vec<Vec<u8>> {
    let parts = [(role as i32).to_be_bytes().to_vec(), name.into(), Vec::new(), key.into()];
    parts.into_iter().flat_map(|part| [(part.len() as u64).to_be_bytes().to_vec(), part]).collect()
}

/// Every hash of this key that the ledger may have made: under any of these secrets, and without one.
fn hashes_of(role: Role, name: &str, key: &str, secrets: &BTreeSet<[u8; 32]>) -> Vec<[u8; 32]> {
    let parts = parts(role, name, key).concat();
    let domain = [11_u64.to_be_bytes().as_slice(), b"idempotency"].concat();
    let keyed = |secret: &[u8; 32]| {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).unwrap();
        mac.update(&domain);
        mac.update(&parts);
        mac.finalize().into_bytes().into()
    };
    let bare = Sha256::new_with_prefix("sayso idempotency key v1").chain_update(&parts).finalize().into();
    secrets.iter().map(keyed).chain([bare]).collect()
}

fn erasure(subject: &str, scope: ErasureScope, target: &str, key: &str) -> proto::SubmitRequestRequest {
    proto::SubmitRequestRequest {
        subject: subject.into(),
        kind: proto::RequestKind::Erasure.into(),
        scope: scope.into(),
        keys: if target.is_empty() { Vec::new() } else { vec![target.into()] },
        options: with_key(key),
        ..Default::default()
    }
}

fn with_key(key: &str) -> Option<proto::WriteOptions> {
    Some(proto::WriteOptions { idempotency_key: key.into(), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_guess_of_an_imported_fact_is_confirmed_after_an_erasure() {
    let harness = Harness::start().await;
    let people = people();
    let imported = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<Vec<String>> = people.iter().map(|person| lines_about(person)).collect();
    std::fs::write(imported.path(), lines.concat().join("\n")).unwrap();
    let path = imported.path().to_str().unwrap();
    let done = json(&harness.cli(Role::Service, "tutor", &["--json", "import", path]));
    assert!(done["recorded"].as_str().unwrap().parse::<usize>().unwrap() > 60, "{done}");
    // A system event has the hash of its key in clear. The attack finds this hash.
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    let notice = proto::PublishNoticeRequest {
        id: "welcome".into(),
        version: "1".into(),
        text: "we remember".into(),
        options: with_key("notice-1"),
        ..Default::default()
    };
    steward.bounds.publish_notice(notice).await.unwrap();
    // The keys are guessed as the command makes them: a repetition with a guessed key is recognized.
    let again = json(&harness.cli(Role::Service, "tutor", &["--json", "import", path]));
    assert_eq!((again["recorded"].as_str(), &again["alreadyRecorded"]), (Some("0"), &done["recorded"]));
    let before = Image::of(harness.dir.path());
    let keyed = erasure(&people[0], ErasureScope::All, "", "erase-1");
    steward.rights.submit_request(keyed).await.unwrap();
    let after = Image::of(harness.dir.path());
    let dir = harness.stop().await;
    let ended = Image::of(dir.path());

    let copies = before.without("secrets").and(&after).and(&ended);
    let secrets = Findings::of(&copies, &after.clone().and(&ended)).keys;
    assert!(secrets.len() > 10, "{} keys of now", secrets.len());
    let control = hashes_of(Role::Steward, "dpo", "notice-1", &secrets).into_iter().collect();
    assert_eq!(copies.all_found(&control).len(), 1, "the attack does not find a hash that is there");
    let guesses = lines.concat().iter().map(|line| key_of(line)).collect::<Vec<_>>();
    let of_facts = guesses.iter().flat_map(|key| hashes_of(Role::Service, "tutor", key, &secrets));
    let of_erasure = hashes_of(Role::Steward, "dpo", "erase-1", &secrets);
    let confirmed = copies.all_found(&of_facts.chain(of_erasure).collect());
    assert_eq!(confirmed.len(), 0, "of {} facts, {} guesses are confirmed", guesses.len(), confirmed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guessed_keys_are_those_of_the_import() {
    let harness = Harness::start().await;
    let [person, _] = people();
    // Inferences in special categories are not recorded without consent.
    let lines = lines_about(&person);
    let line = lines.iter().find(|line| line.contains("\"category\": \"activity\"")).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), line).unwrap();
    json(&harness.cli(Role::Service, "tutor", &["--json", "import", file.path().to_str().unwrap()]));
    // The same key with another request is refused. So it is the key of the import.
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let other = proto::RecordAttributesRequest {
        options: with_key(&key_of(line)),
        ..fact(&person, "k", "work", "v")
    };
    assert_eq!(service.profile.record_attributes(other).await.unwrap_err().code(), Code::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_after_a_partial_erasure_and_a_restart() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    let keyed = |key: &str, value: &str| proto::RecordAttributesRequest {
        options: with_key(key),
        ..fact("ada", key, "work", value)
    };
    let first = service.profile.record_attributes(keyed("one", "x")).await.unwrap().into_inner();
    service.profile.record_attributes(keyed("two", "x")).await.unwrap();
    // Another person's request with the same key is another request.
    let ben = proto::RecordAttributesRequest { subject: "ben".into(), ..keyed("one", "x") };
    let bens = service.profile.record_attributes(ben).await.unwrap().into_inner();
    assert!(!bens.receipt.unwrap().replayed);
    let part = erasure("ada", ErasureScope::Key, "two", "erase-two");
    let erased = steward.rights.submit_request(part.clone()).await.unwrap().into_inner();
    let mut harness = harness;
    for _ in 0..2 {
        let mut service = harness.as_role(Role::Service, "tutor").await;
        let mut steward = harness.as_role(Role::Steward, "dpo").await;
        let again = service.profile.record_attributes(keyed("one", "x")).await.unwrap().into_inner();
        let again = again.receipt.unwrap();
        assert!(again.replayed);
        assert_eq!(again.events, first.receipt.as_ref().unwrap().events);
        let reused = service.profile.record_attributes(keyed("one", "y")).await.unwrap_err();
        assert_eq!(reused.code(), Code::AlreadyExists);
        let again = steward.rights.submit_request(part.clone()).await.unwrap().into_inner();
        assert_eq!(again.request_id, erased.request_id);
        // The erased key is still fenced off.
        let mut late = fact("ada", "two", "work", "x");
        late.attributes[0].observed_at = Some(prost_types::Timestamp { seconds: 1_600_000_000, nanos: 0 });
        let refused = service.profile.record_attributes(late).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        drop((service, steward));
        harness = harness.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_full_erasure_is_answered_and_after_a_restart_its_certificate_is_found_by_its_request() {
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    service.profile.record_attributes(fact("ada", "job", "work", "engineer")).await.unwrap();
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    let all = erasure("ada", ErasureScope::All, "", "all");
    let first = steward.rights.submit_request(all.clone()).await.unwrap().into_inner();
    let again = steward.rights.submit_request(all.clone()).await.unwrap().into_inner();
    assert_eq!(again.request_id, first.request_id);
    // The same key for another person is another request.
    let reused =
        steward.rights.submit_request(erasure("ben", ErasureScope::All, "", "all")).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists);
    drop((service, steward));
    let harness = harness.restart().await;
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    let second = steward.rights.submit_request(all).await.unwrap_err();
    let unknown =
        steward.rights.submit_request(erasure("eve", ErasureScope::All, "", "eve")).await.unwrap_err();
    assert_eq!((second.code(), second.message()), (Code::NotFound, unknown.message()));
    assert!(second.message().contains("certificate"), "{}", second.message());
    let request = proto::GetErasureCertificateRequest { request_id: first.request_id };
    let found = steward.rights.get_erasure_certificate(request).await.unwrap().into_inner();
    assert_eq!(found.certificate.unwrap().position, first.certificate.unwrap().position);
}

/// The mean rank of the true person among all, if people are ranked by how well the lengths of their texts
/// fit the lengths that were seen, and the number of people who are ranked first. Both are lists by person.
fn ranked_by_length(seen: &[Vec<f64>], texts: &[Vec<f64>]) -> (f64, usize) {
    let mean = |of: &[Vec<f64>]| of.concat().iter().sum::<f64>() / of.concat().len() as f64;
    let offset = mean(seen) - mean(texts);
    let distance = |seen: &[f64], texts: &[f64]| -> f64 {
        seen.iter().zip(texts).map(|(seen, text)| (seen - offset - text).abs()).sum()
    };
    let ranks: Vec<usize> = seen
        .iter()
        .enumerate()
        .map(|(person, seen)| {
            let own = distance(seen, &texts[person]);
            1 + texts.iter().filter(|other| distance(seen, other) < own - 1e-6).count()
        })
        .collect();
    let first = ranks.iter().filter(|rank| **rank == 1).count();
    (ranks.iter().sum::<usize>() as f64 / ranks.len() as f64, first)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lengths_of_erased_entries_rank_people_no_better_than_chance() {
    const PEOPLE: usize = 100;
    const FACTS: usize = 12;
    let harness = Harness::start().await;
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let mut steward = harness.as_role(Role::Steward, "dpo").await;
    let text = std::fs::read_to_string(facts()).unwrap();
    let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["value"].clone();
    let values: Vec<String> = text
        .lines()
        .map(value)
        .map(|value| value.as_str().unwrap().to_owned())
        .take(PEOPLE * FACTS)
        .collect();
    assert_eq!(values.len(), PEOPLE * FACTS);
    let people: Vec<&[String]> = values.chunks(FACTS).collect();
    for (person, values) in people.iter().enumerate() {
        let mut all = fact(&format!("person-{person:02}"), "k00", "work", &values[0]);
        for (number, value) in values.iter().enumerate().skip(1) {
            all.attributes.extend(fact("", &format!("k{number:02}"), "work", value).attributes);
        }
        service.profile.record_attributes(all).await.unwrap();
    }
    // A copy from before the erasures has everything that is left afterwards, and more.
    let before = Image::of(harness.dir.path());
    for person in 0..PEOPLE {
        let request = erasure(&format!("person-{person:02}"), ErasureScope::All, "", "");
        steward.rights.submit_request(request).await.unwrap();
    }
    let mut order = Vec::new();
    let mut seen: std::collections::BTreeMap<[u8; 16], Vec<f64>> = std::collections::BTreeMap::new();
    for (entry, bytes) in before.entries() {
        let handle = entry.header.handle.0;
        if handle != [0; 16] {
            // An attacker subtracts what the header shows anyway: the first entry names no predecessor.
            let shown =
                34 * usize::from(entry.header.version > 0) + 2 * usize::from(entry.header.version > 0);
            seen.entry(handle)
                .or_insert_with(|| {
                    order.push(handle);
                    Vec::new()
                })
                .push((bytes - shown) as f64);
        }
    }
    let seen: Vec<Vec<f64>> = order.iter().map(|handle| seen[handle].clone()).collect();
    assert!(seen.len() == PEOPLE && seen.iter().all(|lengths| lengths.len() == FACTS), "{}", seen.len());
    let texts: Vec<Vec<f64>> =
        people.iter().map(|values| values.iter().map(|value| value.len() as f64).collect()).collect();
    // The control: lengths that are not padded name everybody.
    let bare: Vec<Vec<f64>> =
        texts.iter().map(|lengths| lengths.iter().map(|length| length + 300.0).collect()).collect();
    assert_eq!(ranked_by_length(&bare, &texts), (1.0, PEOPLE));
    let (mean, first) = ranked_by_length(&seen, &texts);
    println!("mean rank {mean}, {first} first; entries of {:?} bytes", seen[0]);
    assert!((45.0..=56.0).contains(&mean) && first <= 3, "mean rank {mean}, {first} of {PEOPLE} first");
}

/// A data subject is dropped from memory when others need the space. A repeated request is recognized from
/// the log then, without an index of its key.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_answered_after_its_person_was_dropped_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = crate::harness::config(dir.path());
    config.limits.cached_subjects_bytes_max = 1 << 20;
    let daemon = sayso::daemon::Daemon::start(&config).await.unwrap();
    let harness = Harness { dir, daemon };
    let mut service = harness.as_role(Role::Service, "tutor").await;
    let keyed = |value: &str| proto::RecordAttributesRequest {
        options: with_key("one"),
        ..fact("ada", "job", "work", value)
    };
    let first = service.profile.record_attributes(keyed("x")).await.unwrap().into_inner();
    // Each of these takes more than an eightieth of the memory for data subjects.
    for person in 0..200 {
        let other = fact(&format!("person-{person}"), "job", "work", &"x".repeat(15_000));
        service.profile.record_attributes(other).await.unwrap();
    }
    let again = service.profile.record_attributes(keyed("x")).await.unwrap().into_inner().receipt.unwrap();
    assert!(again.replayed);
    assert_eq!(again.events, first.receipt.unwrap().events);
    let reused = service.profile.record_attributes(keyed("y")).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists);
}
