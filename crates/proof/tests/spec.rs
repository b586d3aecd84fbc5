//! Checks test vectors: those of the specifications that the log follows (such as RFC 6962), and our own,
//! which other implementations can use.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use log::*;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey, open_note};
use sayso_proof::entry::{Entry, EventKey};
use sayso_proof::json;
use sayso_proof::merkle::{self, Frontier};
use sayso_proof::proof::TlogProof;
use std::path::{Path, PathBuf};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

/// The example of C2SP signed-note.
#[test]
fn the_example_note_of_the_specification_opens() {
    let note = std::fs::read_to_string(vectors().join("c2sp-signed-note.txt")).unwrap();
    let (vkey, note) = note.split_once("\n").unwrap();
    let key: VerifierKey = vkey.parse().unwrap();
    assert_eq!(key.to_string(), vkey);
    assert_eq!(open_note(note, &key).unwrap(), "This is an example message.\n");
}

/// The leaves and roots that RFC 6962 implementations test with.
#[test]
fn roots_match_the_vectors_of_certificate_transparency() {
    let leaves =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut tree = Frontier::new();
    assert_eq!(hex::encode(tree.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (leaf, root) in leaves.iter().zip(roots) {
        tree.push(merkle::leaf_hash(&hex::decode(leaf).unwrap()));
        assert_eq!(hex::encode(tree.root()), root);
    }
}

/// Makes our own vectors from fixed keys: the JSON, and each entry in hex.
fn make_vectors() -> (serde_json::Value, Vec<String>) {
    let mut log = Log::new();
    log.about_ms = Some(7);
    log.append(subject(1), recorded(attribute("tea", "food")));
    log.append(subject(1), given(terms(&["tone-adaptation"], &["food"], &["bot"])));
    let size = log.size();
    let entries = (0..size).map(|position| {
        let bytes = &log.entries[position as usize];
        let entry = Entry::parse(bytes).unwrap();
        let key = log.keys[position as usize].as_ref();
        let body = key.map_or_else(|| entry.plain_body().unwrap().unwrap(), |key| entry.open(key).unwrap());
        serde_json::json!({
            "position": position,
            "entry": hex::encode(bytes),
            "leaf_hash": hex::encode(log.leaves[position as usize]),
            "event_id": hex::encode(entry.header.event_id),
            "version_key": key.map(|_| hex::encode([8; 32])),
            "event_key": key.map(|key| hex::encode(key.as_bytes())),
            "key_commitment": key.map(|key| hex::encode(key.commitment())),
            "body": json::to_json(&body).unwrap(),
        })
    });
    let entries: Vec<_> = entries.collect();
    let checkpoint = log.checkpoint(size);
    let proof = TlogProof {
        extra: Some(log.entries[1].clone()),
        index: 1,
        hashes: merkle::inclusion_proof(1, size, &log).unwrap(),
        checkpoint: checkpoint.clone(),
    };
    let vectors = serde_json::json!({
        "signing_key": hex::encode(log.key.as_bytes()),
        "public_key": hex::encode(log.key.verifying_key().as_bytes()),
        "vkey": log.verifier().to_string(),
        "entries": entries,
        "checkpoint": checkpoint,
        "tlog_proof": proof.to_string(),
        "consistency_2_to_3": merkle::consistency_proof(2, size, &log).unwrap().map_hex(),
    });
    (vectors, log.entries.iter().map(hex::encode).collect())
}

trait MapHex {
    fn map_hex(&self) -> Vec<String>;
}

impl MapHex for Vec<merkle::Hash> {
    fn map_hex(&self) -> Vec<String> {
        self.iter().map(hex::encode).collect()
    }
}

/// Compares the vectors with the files that keep them. If `SAYSO_WRITE_VECTORS` is set, this test writes the
/// files first, so that a format change shows up in review.
#[test]
fn the_vectors_match_what_this_crate_writes() {
    let (vectors_json, entries) = make_vectors();
    let json = serde_json::to_string_pretty(&vectors_json).unwrap() + "\n";
    let lines: String = entries.iter().map(|entry| format!("\"{entry}\"\n")).collect();
    for (name, text) in [("sayso-v1.json", &json), ("entries-v1.jsonl", &lines)] {
        if std::env::var_os("SAYSO_WRITE_VECTORS").is_some() {
            std::fs::write(vectors().join(name), text).unwrap();
        }
    }
    let read = |name| std::fs::read_to_string(vectors().join(name)).unwrap();
    // Compare the JSON as values, because other crates in the build can change the order of keys.
    let kept: serde_json::Value = serde_json::from_str(&read("sayso-v1.json")).unwrap();
    assert_eq!(kept, vectors_json);
    assert_eq!(read("entries-v1.jsonl"), lines);
}

/// The vectors were made by another program, from the rules in `docs/format.md`.
#[test]
fn numbers_and_strings_are_written_as_the_vectors_have_them() {
    let text = std::fs::read_to_string(vectors().join("json-v1.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let line = |attribute: sayso_proof::event::Attribute| {
        let mut log = Log::new();
        log.append(subject(1), recorded(attribute));
        String::from_utf8(log.line(1).to_bytes().unwrap()).unwrap()
    };
    for vector in json["doubles"].as_array().unwrap() {
        let bits = u64::from_str_radix(vector["bits"].as_str().unwrap(), 16).unwrap();
        let confidence = Some(f64::from_bits(bits));
        let line = line(sayso_proof::event::Attribute { confidence, ..attribute("tea", "food") });
        let expected = format!("\"confidence\":{},", vector["json"].as_str().unwrap());
        assert!(line.contains(&expected), "{expected} {line}");
    }
    for vector in json["strings"].as_array().unwrap() {
        let key = String::from_utf8(hex::decode(vector["utf8"].as_str().unwrap()).unwrap()).unwrap();
        let line = line(attribute(&format!("k{key}"), "food"));
        let expected = format!("\"key\":\"k{},", &vector["json"].as_str().unwrap()[1..]);
        assert!(line.contains(&expected), "{expected} {line}");
    }
}

/// Verifies the vectors from the file, as another implementation would.
#[test]
fn the_vectors_verify() {
    let text = std::fs::read_to_string(vectors().join("sayso-v1.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let bytes = |value: &serde_json::Value| hex::decode(value.as_str().unwrap()).unwrap();
    let key: VerifierKey = text(&json["vkey"]).parse().unwrap();
    let checkpoint = Checkpoint::open(&text(&json["checkpoint"]), &key).unwrap();
    let mut tree = Frontier::new();
    for vector in json["entries"].as_array().unwrap() {
        let raw = bytes(&vector["entry"]);
        let entry = Entry::parse(&raw).unwrap();
        entry.verify(&key.key).unwrap();
        assert_eq!(merkle::leaf_hash(&raw).to_vec(), bytes(&vector["leaf_hash"]));
        tree.push(merkle::leaf_hash(&raw));
        if vector["event_key"].is_string() {
            let version_key: [u8; 32] = bytes(&vector["version_key"]).try_into().unwrap();
            let event_key = EventKey::derive(&version_key, &entry.header.event_id);
            assert_eq!(event_key.as_bytes().to_vec(), bytes(&vector["event_key"]));
            assert_eq!(event_key.commitment().to_vec(), bytes(&vector["key_commitment"]));
            assert_eq!(json::to_json(&entry.open(&event_key).unwrap()).unwrap(), vector["body"]);
        }
    }
    assert_eq!((tree.size(), tree.root()), (checkpoint.size, checkpoint.root));
    let proof: TlogProof = text(&json["tlog_proof"]).parse().unwrap();
    assert_eq!(proof.verify(&key).unwrap().position, 1);
}
