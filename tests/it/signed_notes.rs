//! Exchanges checkpoints in both directions with an independent implementation of signed notes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use sayso_proof::checkpoint::{Checkpoint, VerifierKey};
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: "sayso.example/acme".into(), size: 70_000, root: [0xab; 32] }
}

fn log_key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn verifier() -> VerifierKey {
    VerifierKey { name: checkpoint().origin, key: log_key().verifying_key() }
}

#[test]
fn another_implementation_verifies_our_checkpoints() {
    let theirs = StandardVerifier::new(&verifier().to_string()).unwrap();
    let note = Note::from_bytes(checkpoint().sign(&log_key()).as_bytes()).unwrap();
    let known = VerifierList::new(vec![Box::new(theirs)]);
    let (verified, unverified) = note.verify(&known).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    assert_eq!(note.text(), checkpoint().to_text().as_bytes());

    let changed = checkpoint().sign(&log_key()).replace("70000", "70001");
    assert!(Note::from_bytes(changed.as_bytes()).unwrap().verify(&known).is_err());
}

#[test]
fn our_code_verifies_notes_signed_by_another_implementation() {
    let seed = STANDARD.encode([&[1_u8], log_key().as_bytes().as_slice()].concat());
    let secret = format!("PRIVATE+KEY+{}+{}+{seed}", verifier().name, hex::encode(verifier().id()));
    let signer = StandardSigner::new(&secret).unwrap();
    let mut note = Note::new(checkpoint().to_text().as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    let text = String::from_utf8(note.to_bytes()).unwrap();
    assert_eq!(Checkpoint::open(&text, &verifier()).unwrap(), checkpoint());
    assert_eq!(text, checkpoint().sign(&log_key()), "Ed25519 is deterministic, so the notes are equal");
}
