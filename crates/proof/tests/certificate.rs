//! Tests of what an erasure certificate shows, and of what it shows only with witnesses or an older
//! checkpoint.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod log;

use ed25519_dalek::SigningKey;
use log::*;
use sayso_proof::bundle::Options;
use sayso_proof::certificate::{self, Statement, Verified};
use sayso_proof::checkpoint::sign_note;
use sayso_proof::context::{self, Consistency, ContextError, ContextFindings};
use sayso_proof::event::event_body::Event;
use sayso_proof::event::{ErasureCompleted, ErasureScope, PositionRange};
use sayso_proof::merkle;
use sayso_proof::proof::TlogProof;
use sayso_proof::witness::WitnessSigner;
use std::collections::BTreeMap;

/// Makes a certificate for the erasure at the end of a log.
fn certificate_of(log: &Log, checkpoint: &str) -> String {
    certificate_for(log, checkpoint, REQUEST)
}

/// The request of each erasure.
const REQUEST: &str = "07070707-0707-0707-0707-070707070707";

fn certificate_for(log: &Log, checkpoint: &str, request: &str) -> String {
    certificate_stating(log, checkpoint, request, 0, BTreeMap::new())
}

fn certificate_stating(
    log: &Log,
    checkpoint: &str,
    request: &str,
    requested_at_ms: u64,
    erased_by_category: BTreeMap<String, u32>,
) -> String {
    let position = log.size() - 1;
    let statement = Statement {
        origin: ORIGIN.into(),
        request: request.into(),
        scope: "all".into(),
        requested_at_ms,
        completed_at_ms: log.now,
        position,
        entries_erased: 1,
        erased_by_category,
        kept: Vec::new(),
        recipients: Vec::new(),
        copies: None,
        issued_at_ms: log.now,
    };
    let note = sign_note(&statement.to_text().unwrap(), ORIGIN, &log.key);
    let proof = TlogProof {
        extra: Some(log.entries[position as usize].clone()),
        index: position,
        hashes: merkle::inclusion_proof(position, log.size(), log).unwrap(),
        checkpoint: checkpoint.to_owned(),
    };
    certificate::document(&note, &proof.to_string())
}

fn erase(log: &mut Log, position: u64) {
    let range = PositionRange { first: position, last: position };
    let request = vec![7; 16];
    let mut done = ErasureCompleted { request, discarded: vec![range], ..ErasureCompleted::default() };
    done.set_scope(ErasureScope::All);
    log.append_system_event(Event::ErasureCompleted(done));
}

/// A log with an attribute of a person.
fn honest() -> Log {
    let mut log = Log::with_vocabulary();
    log.append(subject(1), recorded(attribute("a", "food")));
    log
}

fn in_context(verified: &Verified, log: &Log, options: &Options) -> Result<ContextFindings, ContextError> {
    let consistency = verified.consistency.as_ref();
    context::check(&verified.checkpoint_note, &verified.checkpoint, consistency, &log.chain, options)
}

#[test]
fn an_erasure_in_an_invented_log_does_not_continue_an_older_checkpoint() {
    let honest = honest();
    let older = Options { since: Some(honest.checkpoint(honest.size())), ..Options::default() };
    // With the same key, the operator signs a log that it showed to no other reader. Its siblings are
    // invented.
    let mut invented = Log::with_vocabulary();
    invented.append(subject(9), recorded(attribute("b", "food")));
    erase(&mut invented, honest.size() - 1);
    let text = certificate_of(&invented, &invented.checkpoint(invented.size()));
    let verified = certificate::verify(&text, &honest.chain).unwrap();
    assert_eq!(in_context(&verified, &honest, &Options::default()).unwrap(), ContextFindings::default());
    let verdict = in_context(&verified, &honest, &older);
    assert_eq!(verdict, Err(ContextError::NoConsistency(honest.size())));
    // A consistency proof of the invented tree does not help.
    let from_size = honest.size();
    let hashes = merkle::consistency_proof(from_size, invented.size(), &invented).unwrap();
    let text = certificate::with_consistency(&text, &Consistency { from_size, hashes });
    let verified = certificate::verify(&text, &honest.chain).unwrap();
    assert!(matches!(in_context(&verified, &honest, &older), Err(ContextError::Continues(_))));
}

#[test]
fn a_certificate_that_continues_an_older_checkpoint_says_from_which_size() {
    let mut log = honest();
    let (from_size, older) = (log.size(), log.checkpoint(log.size()));
    erase(&mut log, from_size - 1);
    let text = certificate_of(&log, &log.checkpoint(log.size()));
    let hashes = merkle::consistency_proof(from_size, log.size(), &log).unwrap();
    let text = certificate::with_consistency(&text, &Consistency { from_size, hashes });
    let verified = certificate::verify(&text, &log.chain).unwrap();
    let options = Options { since: Some(older), ..Options::default() };
    assert_eq!(in_context(&verified, &log, &options).unwrap().continues, Some(from_size));
    log.append(subject(2), recorded(attribute("a", "food")));
    let options = Options { since: Some(log.checkpoint(log.size())), ..Options::default() };
    assert!(matches!(in_context(&verified, &log, &options), Err(ContextError::Newer { .. })));
}

#[test]
fn a_certificate_is_cosigned_only_if_its_own_checkpoint_is() {
    let mut log = honest();
    let last = log.size() - 1;
    erase(&mut log, last);
    let plain = log.checkpoint(log.size());
    let key = SigningKey::from_bytes(&[9; 32]);
    let signer = WitnessSigner::from(key);
    let witness = signer.verifier_key("witness.example/w");
    let options = Options { witnesses: vec![witness.clone()], witnesses_min: Some(1), ..Options::default() };
    let verified = certificate::verify(&certificate_of(&log, &plain), &log.chain).unwrap();
    let verdict = in_context(&verified, &log, &options);
    assert_eq!(verdict, Err(ContextError::Witnesses { found: 0, needed: 1 }));
    let text = format!("{}\n", plain.split_once("\n\n").unwrap().0);
    let cosigned = format!("{plain}{}", signer.cosign(&text, &witness.name, 5).unwrap());
    let verified = certificate::verify(&certificate_of(&log, &cosigned), &log.chain).unwrap();
    assert_eq!(in_context(&verified, &log, &options).unwrap().witnesses.len(), 1);
}

#[test]
fn a_consistency_proof_has_one_form() {
    let proof = Consistency { from_size: 5, hashes: vec![[1; 32], [2; 32]] };
    let text = proof.to_string();
    assert_eq!(text.parse::<Consistency>().unwrap(), proof);
    for malformed in [
        text.trim_end(),
        &text.replace("from 5", "from 05"),
        &text.replace("v1", "v2"),
        &format!("{text}\n"),
        &format!("{text}AAAA\n"),
    ] {
        assert!(malformed.parse::<Consistency>().is_err(), "{malformed:?}");
    }
}

#[test]
fn a_certificate_names_its_request_in_one_form() {
    let mut log = honest();
    let last = log.size() - 1;
    erase(&mut log, last);
    let checkpoint = log.checkpoint(log.size());
    assert!(certificate::verify(&certificate_of(&log, &checkpoint), &log.chain).is_ok());
    for request in
        [&REQUEST.replace('-', ""), "0707-07070707070707070707070707-07", &format!("{REQUEST}-"), ""]
    {
        let text = certificate_for(&log, &checkpoint, request);
        assert!(certificate::verify(&text, &log.chain).is_err(), "{request}");
    }
}

/// The verdict about a certificate of an erasure that names its request by a hash.
fn verdict_of(request: &str, requested_at_ms: u64) -> Result<Verified, certificate::CertificateError> {
    let mut log = honest();
    let range = PositionRange { first: log.size() - 1, last: log.size() - 1 };
    let mut done = ErasureCompleted {
        request_hash: certificate::request_hash(&[7; 16]).to_vec(),
        discarded: vec![range],
        requested_at_ms: 3 * certificate::DAY_MS,
        ..ErasureCompleted::default()
    };
    done.set_scope(ErasureScope::All);
    log.append_system_event(Event::ErasureCompleted(done));
    let counts = [("food".to_owned(), 1)].into();
    let text = certificate_stating(&log, &log.checkpoint(log.size()), request, requested_at_ms, counts);
    certificate::verify(&text, &log.chain)
}

#[test]
fn a_certificate_belongs_to_the_request_whose_hash_the_event_has() {
    let at_ms = 3 * certificate::DAY_MS + 5;
    let verified = verdict_of(REQUEST, at_ms).unwrap();
    let stated = ["completed_at_ms", "issued_at_ms", "requested_at_ms", "erased_by_category"];
    assert_eq!(verified.stated_only, stated);
    let other = REQUEST.replace("07", "08");
    let unhyphenated = REQUEST.replace('-', "");
    for request in [other.as_str(), unhyphenated.as_str(), "", &REQUEST.to_uppercase().replace('0', "O")] {
        let error = verdict_of(request, at_ms).unwrap_err();
        assert!(error.to_string().contains("the request differs"), "{error}");
    }
    let error = verdict_of(REQUEST, at_ms + certificate::DAY_MS).unwrap_err();
    assert!(error.to_string().contains("the time of the request differs"), "{error}");
}
