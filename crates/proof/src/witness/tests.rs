//! Tests of keys, cosignatures and requests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
use super::key::{TIME_MAX, ed25519_message, ml_dsa_message};
use super::*;
use crate::checkpoint::{Checkpoint, VerifierKey, parse_signature};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use proptest::prelude::*;

/// The examples of C2SP tlog-witness and C2SP tlog-cosignature.
const EXAMPLE: &str = "old 20852014\n\
    PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
    jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
    5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
    /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
    \n\
    example.com/behind-the-sofa\n\
    20852163\n\
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
    \n\
    \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
const COSIGNED: &str = "\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==";

#[test]
fn examples_of_the_specifications_parse() {
    let request: AddCheckpoint = EXAMPLE.parse().unwrap();
    assert_eq!((request.old_size, request.proof.len()), (20_852_014, 4));
    assert_eq!(request.to_string(), EXAMPLE);
    let (text, signatures) = parse_note(&request.checkpoint).unwrap();
    assert_eq!(Checkpoint::parse(text).unwrap().size, 20_852_163);
    assert_eq!(signatures.len(), 1);
    let cosignature = parse_signature(COSIGNED).unwrap();
    let (time, signature) = cosignature.bytes.split_first_chunk::<8>().unwrap();
    assert_eq!((u64::from_be_bytes(*time), signature.len()), (1_679_315_147, 64));
    // The example has no public key, so only the signed message is compared with the specification.
    let body = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(text, body);
    assert_eq!(ed25519_message(text, 1_679_315_147), format!("cosignature/v1\ntime 1679315147\n{body}"));
}

#[test]
fn malformed_requests_are_rejected() {
    for malformed in [
        "",
        "old 1\n",
        "old 01\n\nx",
        "old -1\n\nx",
        "new 1\n\nx",
        "old 1\nAAAA\n\nx",
        "old 18446744073709551616\n\nx",
    ] {
        assert!(malformed.parse::<AddCheckpoint>().is_err(), "{malformed:?}");
    }
    let hash = format!("{}\n", STANDARD.encode([7; 32]));
    let with = |count: usize| format!("old 1\n{}\nx", hash.repeat(count)).parse::<AddCheckpoint>();
    assert!(with(63).is_ok() && with(64).is_err());
}

/// The vector that another implementation made from the text of C2SP tlog-cosignature.
fn vector(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/ml-dsa-44-cosignature.json");
    let vector: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    vector.get(name).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn an_ml_dsa_cosignature_of_another_implementation_verifies() {
    let (text, line): (String, String) = (vector("checkpoint"), vector("line"));
    let witness: WitnessKey = vector("vkey").parse().unwrap();
    assert_eq!(witness.algorithm(), CosignatureAlgorithm::MlDsa44);
    assert_eq!(witness.to_string(), vector("vkey"));
    assert_eq!(hex::encode(ml_dsa_message(&text, &witness.name, 1_679_315_147).unwrap()), vector("message"));
    assert_eq!(witness.check(&text, &line).unwrap(), Some(1_679_315_147));
    let seed: [u8; 32] = hex::decode(vector("seed")).unwrap().try_into().unwrap();
    assert_eq!(WitnessSigner::ml_dsa_44(&seed).verifier_key(&witness.name), witness);
}

#[test]
fn an_ml_dsa_cosignature_says_when_and_about_which_tree() {
    let (text, line) = (vector("checkpoint"), vector("line"));
    let witness: WitnessKey = vector("vkey").parse().unwrap();
    let blob = STANDARD.decode(line.rsplit(' ').next().unwrap()).unwrap();
    assert_eq!(blob.len(), 4 + 8 + 2420);
    let with =
        |blob: &[u8]| witness.check(&text, &format!("\u{2014} {} {}", witness.name, STANDARD.encode(blob)));
    assert!(with(&blob).is_ok());
    // A changed time, a changed signature, one byte too few and one too many.
    for at in [4, 11, 12, 1_000, 2_431] {
        let mut changed = blob.clone();
        changed[at] ^= 1;
        assert!(with(&changed).is_err(), "byte {at}");
    }
    assert!(with(&blob[..2_431]).is_err());
    assert!(with(&[&blob[..], &[0]].concat()).is_err());
    // Extension lines are not signed; size, root and origin are.
    assert!(witness.check(&format!("{text}extension\n"), &line).is_ok());
    for (from, to) in [("20852163", "20852164"), ("CsUY", "DsUY"), ("sofa", "desk")] {
        assert!(witness.check(&text.replace(from, to), &line).is_err(), "{from}");
    }
    let signer = WitnessSigner::ml_dsa_44(&[7; 32]);
    assert!(signer.cosign(&text, &witness.name, 0).is_err(), "without a time");
    assert!(signer.cosign(&text, &"w".repeat(256), 1).is_err(), "with a name of 256 bytes");
    assert!(signer.cosign("no checkpoint\n", &witness.name, 1).is_err());
}

#[test]
fn a_witness_with_two_keys_counts_once() {
    let log = SigningKey::from_bytes(&[1; 32]);
    let checkpoint = Checkpoint { origin: "log.example/l".into(), size: 9, root: [3; 32] };
    let text = checkpoint.to_text();
    let signers = [WitnessSigner::ed25519(&[2; 32]), WitnessSigner::ml_dsa_44(&[2; 32])];
    let names = ["witness.example/w", "witness.example/other"];
    let sign = |at: usize, name: usize| signers[at].cosign(&text, names[name], 5 + at as u64).unwrap();
    let keys =
        [(0, 0), (1, 1), (1, 0)].map(|(at, name): (usize, usize)| signers[at].verifier_key(names[name]));
    let note = format!("{}{}{}{}", checkpoint.sign(&log), sign(0, 0), sign(1, 1), sign(1, 0));
    let two = cosignatures(&note, &keys[..2]).unwrap();
    assert_eq!(two.len(), 2, "two names with two keys");
    let one = cosignatures(&note, &keys).unwrap();
    let both = vec![CosignatureAlgorithm::Ed25519, CosignatureAlgorithm::MlDsa44];
    assert_eq!(one, vec![Cosigned { witness: names[0].into(), at_s: 6, algorithms: both }]);
    assert_eq!(
        serde_json::to_value(&one[0]).unwrap()["algorithms"],
        serde_json::json!(["Ed25519", "ML-DSA-44"])
    );
}

proptest! {
    #[test]
    fn a_cosignature_is_valid_only_for_its_text_time_and_name(size in 0..u64::MAX, at_s in 1..TIME_MAX, is_ml_dsa: bool) {
        let log = SigningKey::from_bytes(&[1; 32]);
        let checkpoint = Checkpoint { origin: "log.example/l".into(), size, root: [3; 32] };
        let note = checkpoint.sign(&log);
        let signer = |seed: u8| match is_ml_dsa {
            true => WitnessSigner::ml_dsa_44(&[seed; 32]),
            false => WitnessSigner::ed25519(&[seed; 32]),
        };
        let (text, name) = (checkpoint.to_text(), "witness.example/w");
        let witness = signer(2).verifier_key(name);
        prop_assert_eq!(&witness.to_string().parse::<WitnessKey>().unwrap(), &witness);
        prop_assert!(witness.to_string().parse::<VerifierKey>().is_err());
        let line = signer(2).cosign(&text, name, at_s).unwrap();
        prop_assert_eq!(witness.check(&text, line.trim_end()).unwrap(), Some(at_s));
        let cosigned = format!("{note}{line}");
        let found = cosignatures(&cosigned, std::slice::from_ref(&witness)).unwrap();
        let algorithms = vec![witness.algorithm()];
        prop_assert_eq!(found, vec![Cosigned { witness: name.into(), at_s, algorithms }]);
        // A repeated cosignature, also under a second name, counts as one witness.
        let alias = signer(2).verifier_key("witness.example/other");
        let twice = format!("{cosigned}{line}{}", signer(2).cosign(&text, &alias.name, at_s).unwrap());
        prop_assert_eq!(cosignatures(&twice, &[witness.clone(), alias]).unwrap().len(), 1);
        // A cosignature of another tree, or by another key under the witness's name.
        let other = Checkpoint { root: [4; 32], ..checkpoint.clone() };
        let moved = format!("{}{line}", other.sign(&log));
        let found = cosignatures(&moved, std::slice::from_ref(&witness));
        prop_assert!(found.is_err());
        let forged = signer(1).cosign(&text, name, at_s).unwrap();
        prop_assert_eq!(cosignatures(&format!("{note}{forged}"), &[witness]).unwrap(), vec![]);
    }
}
