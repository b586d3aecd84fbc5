//! Tests of a log that changes its key. Earlier data still verifies. Any of the log's keys verifies the
//! whole log. A rotation needs the signatures of the current key and of the new key.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod log;

use ed25519_dalek::SigningKey;
use log::{Log, ORIGIN, attribute, recorded, subject};
use sayso_proof::bundle::{self, Options, Report, Source, VerifyFailure};
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::event::LogKeyRotated;
use sayso_proof::event::event_body::Event;
use sayso_proof::keys::{KeyChain, KeysError, Rotation};
use sayso_proof::proof::TlogProof;
use sayso_proof::{certificate, merkle};
use std::collections::BTreeMap;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn vkey(seed: u8) -> VerifierKey {
    VerifierKey { name: ORIGIN.into(), key: key(seed).verifying_key() }
}

fn verify(bundle: &[u8], trusted: &VerifierKey) -> Result<Report, VerifyFailure> {
    let options = Options::default();
    bundle::verify(Source::Archive(Box::new(bundle)), trusted, &options, &mut |_| {})
}

/// A log with three keys, and an event signed by each.
fn rotated() -> Log {
    let mut log = Log::with_vocabulary();
    log.publish_documents();
    log.append(subject(1), recorded(attribute("a", "food")));
    log.rotate(&key(5));
    log.append(subject(1), recorded(attribute("b", "food")));
    log.rotate(&key(6));
    log.append(subject(2), recorded(attribute("c", "food")));
    log
}

#[test]
fn every_key_of_the_log_verifies_the_whole_bundle() {
    let log = rotated();
    let bundle = log.bundle();
    for seed in [4, 5, 6] {
        let report = verify(&bundle, &vkey(seed)).unwrap();
        assert_eq!((report.key_rotations, report.tree_size), (2, log.size()), "{seed}");
    }
    let failure = verify(&bundle, &vkey(7)).unwrap_err();
    assert!(failure.to_string().contains("not one of this log's keys"), "{failure}");
}

#[test]
fn data_from_before_a_rotation_verifies_and_the_chain_verifies_proofs_of_any_time() {
    let mut log = Log::with_vocabulary();
    let early = log.bundle();
    let proof = log.proof(3);
    log.rotate(&key(5));
    log.append(subject(1), recorded(attribute("b", "food")));
    assert!(verify(&early, &vkey(4)).is_ok());
    assert!(proof.verify(&vkey(4)).is_ok());
    // The chain verifies any proof of any entry. A single key verifies only what it signed itself.
    for position in [3, log.size() - 1] {
        let late = log.proof(position);
        assert!(late.verify(&log.chain).is_ok());
        assert!(late.verify(&vkey(4)).is_err(), "the new key signed the checkpoint");
        assert_eq!(late.verify(&vkey(5)).is_ok(), position > 3, "the old key signed the old entry");
    }
    assert!(proof.verify(&log.chain).is_ok());
    let again = KeyChain::parse(&log.chain.to_jsonl(), &vkey(4)).unwrap();
    assert_eq!(again, log.chain);
    assert!(KeyChain::parse(&log.chain.to_jsonl(), &vkey(5)).is_ok());
    assert_eq!(KeyChain::parse(&log.chain.to_jsonl(), &vkey(9)), Err(KeysError::UnknownKey));
}

#[test]
fn an_old_key_cannot_sign_later_entries_or_checkpoints() {
    let mut log = rotated();
    // An entry that the old key signed after the rotation.
    log.key = key(5);
    log.append(subject(2), recorded(attribute("d", "food")));
    log.key = key(6);
    let failure = verify(&log.bundle(), &vkey(4)).unwrap_err();
    assert_eq!(failure.position, Some(log.size() - 1), "{failure}");
    // A checkpoint that the old key signed over a tree with the new key.
    let mut log = rotated();
    let note = log.checkpoint(log.size());
    assert!(log.chain.open(&note).is_ok());
    log.key = key(5);
    assert!(log.chain.open(&log.checkpoint(log.size())).is_err());
    // The old key is still valid for the trees of its own time.
    let chain = log.chain.clone();
    let last_size = (0..log.size()).filter(|size| chain.at(*size) == &vkey(5)).max().unwrap();
    assert!(chain.open(&log.checkpoint(last_size)).is_ok());
    assert!(chain.open(&log.checkpoint(last_size + 1)).is_err());
}

/// Applies a rotation entry signed by `signer`, with this statement, to a chain.
fn attempt(signer: u8, make: impl Fn(&Rotation) -> String) -> Result<u64, KeysError> {
    let mut log = Log::with_vocabulary();
    log.rotate(&key(5));
    let position = log.size();
    let expected = log.chain.next(position + 1, &key(6));
    let mut chain = log.chain.clone();
    log.key = key(signer);
    let rotated = LogKeyRotated { statement: make(&expected), old_key_until_ms: 9 };
    log.append_system_event(Event::LogKeyRotated(rotated));
    chain.take(position, log.entries.last().unwrap())
}

#[test]
fn a_rotation_needs_both_keys_this_position_and_a_new_key() {
    assert_eq!(attempt(5, |expected| expected.sign(&key(5), &key(6))), Ok(9));
    // An entry signed by the new key, the key before the old one, or an unknown key.
    for signer in [6, 4, 9] {
        let outcome = attempt(signer, |expected| expected.sign(&key(5), &key(6)));
        assert!(matches!(outcome, Err(KeysError::Entry { number: 2, .. })), "{signer}: {outcome:?}");
    }
    // A statement on which a wrong key signed in place of the old or the new key.
    for (old, new) in [(4, 6), (9, 6), (5, 9), (6, 6), (5, 5)] {
        let outcome = attempt(5, |expected| expected.sign(&key(old), &key(new)));
        assert!(outcome.is_err(), "{old} {new}: {outcome:?}");
    }
    // A rotation back to a key that the log had, or still has.
    for seed in [4, 5] {
        let back =
            |expected: &Rotation| Rotation { new: vkey(seed), ..expected.clone() }.sign(&key(5), &key(seed));
        assert!(attempt(5, back).is_err(), "{seed}");
    }
    // A statement for another position, number or log.
    type Change = fn(Rotation) -> Rotation;
    let changes: [Change; 4] = [
        |expected| Rotation { from_position: expected.from_position + 1, ..expected },
        |expected| Rotation { number: 3, ..expected },
        |expected| Rotation { old: vkey(4), ..expected },
        |expected| Rotation { new: VerifierKey { name: "other".into(), ..expected.new }, ..expected },
    ];
    for (at, change) in changes.iter().enumerate() {
        let outcome = attempt(5, |expected| change(expected.clone()).sign(&key(5), &key(6)));
        assert!(outcome.is_err(), "{at}: {outcome:?}");
    }
    // A statement with a third signature.
    let third = |expected: &Rotation| {
        let note = expected.sign(&key(5), &key(6));
        sayso_proof::checkpoint::cosign_note(&note, ORIGIN, &key(8))
    };
    assert!(matches!(attempt(5, third), Err(KeysError::Mismatch { .. })));
}

#[test]
fn a_second_rotation_from_the_same_key_is_rejected() {
    let mut log = rotated();
    let position = log.size();
    // The first key rotates again, as if the later keys did not exist.
    let forked = KeyChain::from(&vkey(4)).next(position + 1, &key(9)).sign(&key(4), &key(9));
    log.key = key(4);
    log.append_system_event(Event::LogKeyRotated(LogKeyRotated { statement: forked, old_key_until_ms: 0 }));
    log.key = key(6);
    assert!(verify(&log.bundle(), &vkey(4)).is_err());
    assert!(log.chain.clone().take(position, log.entries.last().unwrap()).is_err());
}

#[test]
fn omitted_and_invented_rotations_are_detected() {
    let log = rotated();
    // A bundle that claims that the first key never changed.
    let mut hidden = rotated();
    hidden.chain = KeyChain::from(&vkey(4));
    hidden.key = key(4);
    let failure = verify(&hidden.bundle(), &vkey(4)).unwrap_err();
    assert!(failure.position.is_some(), "{failure}");
    // Another chain from the same first key, validly signed, but not in this log.
    let mut other = Log::with_vocabulary();
    other.publish_documents();
    other.append(subject(1), recorded(attribute("x", "food")));
    other.rotate(&key(8));
    let mut forged = rotated();
    forged.chain = other.chain.clone();
    forged.key = key(8);
    assert!(verify(&forged.bundle(), &vkey(4)).is_err());
    // No line of keys.jsonl may be missing.
    let text = log.chain.to_jsonl();
    let lines: Vec<&str> = text.lines().collect();
    for dropped in 0..lines.len() - 1 {
        let rest: String =
            (0..lines.len()).filter(|at| *at != dropped).map(|at| format!("{}\n", lines[at])).collect();
        assert!(KeyChain::parse(&rest, &vkey(6)).is_err(), "{dropped}");
    }
    for malformed in [
        "",
        "\n",
        "{}\n",
        text.trim_end(),
        &format!("{text}\n"),
        &text.replace("\"from_position\":0", "\"from_position\": 0"),
    ] {
        assert!(KeyChain::parse(malformed, &vkey(6)).is_err(), "{malformed:?}");
    }
}

#[test]
fn a_certificate_is_verified_with_the_key_of_its_time() {
    let mut log = Log::with_vocabulary();
    log.append(subject(1), recorded(attribute("a", "food")));
    log.erase(&[log.size() - 1], true);
    let position = log.size() - 1;
    let make = |log: &Log| {
        let statement = log.statement(position);
        let note = sayso_proof::checkpoint::sign_note(&statement.to_text().unwrap(), ORIGIN, &log.key);
        certificate::document(&note, &log.proof(position).to_string())
    };
    let before = make(&log);
    log.rotate(&key(5));
    let after = make(&log);
    assert!(certificate::verify(&before, &vkey(4)).is_ok());
    assert!(certificate::verify(&before, &log.chain).is_ok());
    assert!(certificate::verify(&after, &log.chain).is_ok());
    assert!(certificate::verify(&after, &vkey(4)).is_err());
    log.key = key(4);
    let note =
        sayso_proof::checkpoint::sign_note(&log.statement(position).to_text().unwrap(), ORIGIN, &log.key);
    log.key = key(5);
    let old_note = certificate::document(&note, &log.proof(position).to_string());
    assert!(certificate::verify(&old_note, &log.chain).is_err(), "the old key cannot sign over a newer tree");
}

impl Log {
    fn proof(&self, position: u64) -> TlogProof {
        let hashes = merkle::inclusion_proof(position, self.size(), self).unwrap();
        let extra = Some(self.entries[position as usize].clone());
        TlogProof { extra, index: position, hashes, checkpoint: self.checkpoint(self.size()) }
    }

    fn statement(&self, position: u64) -> certificate::Statement {
        certificate::Statement {
            origin: ORIGIN.into(),
            request: String::new(),
            scope: "unspecified".into(),
            requested_at_ms: 0,
            completed_at_ms: 0,
            position,
            entries_erased: 1,
            erased_by_category: BTreeMap::new(),
            kept: Vec::new(),
            recipients: Vec::new(),
            copies: None,
            issued_at_ms: 0,
        }
    }
}
