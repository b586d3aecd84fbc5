//! Witnesses: C2SP tlog-cosignature (`cosignature/v1`, Ed25519) and the messages of C2SP tlog-witness.
//!
//! A witness cosigns a checkpoint of a log only if the checkpoint extends the last one that the witness
//! cosigned for that log. So clients that require the witness's cosignature cannot be shown different
//! histories. The code for HTTP and for the witness's storage is elsewhere.

use crate::checkpoint::{
    NoteError, SIGNATURE_PREFIX, decode_key, encode_key, key_id, parse_note, parse_signature,
};
use crate::merkle::Hash;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::Serialize;
use std::fmt::{self, Display};
use std::str::FromStr;

/// Signature type of `cosignature/v1` in key ids and encoded keys.
const COSIGNATURE: u8 = 4;
/// Maximum number of hashes of a consistency proof (C2SP tlog-witness).
const HASHES_MAX: usize = 63;
/// Maximum size of a request: 63 hashes, and a note with the maximum number of signatures.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Maximum timestamp of a cosignature.
const TIME_MAX: u64 = i64::MAX as u64;

/// The verifier key of a witness: `<name>+<key id>+<base64(0x04 ‖ key)>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    /// Name of the witness.
    pub name: String,
    /// The public key.
    pub key: VerifyingKey,
}

impl WitnessKey {
    /// First 4 bytes of SHA-256 over name, newline, 0x04 and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(COSIGNATURE, &self.name, &self.key)
    }

    /// Verifies one signature line over a checkpoint's text, and returns when this witness cosigned, in
    /// seconds since the Unix epoch. Returns none if the line is by another signer.
    ///
    /// # Errors
    /// The line is malformed, or it is this witness's and does not verify.
    pub fn check(&self, text: &str, line: &str) -> Result<Option<u64>, NoteError> {
        let signature = parse_signature(line)?;
        if signature.name != self.name || signature.id != self.id() {
            return Ok(None);
        }
        self.verify(text, &signature.bytes).map(Some)
    }

    fn verify(&self, text: &str, bytes: &[u8]) -> Result<u64, NoteError> {
        let (time, signature) = bytes.split_first_chunk::<8>().ok_or(NoteError::Signature)?;
        let at_s = u64::from_be_bytes(*time);
        let signature = Signature::from_slice(signature).map_err(|_| NoteError::Signature)?;
        if at_s > TIME_MAX {
            return Err(NoteError::Signature);
        }
        let verdict = self.key.verify_strict(message(text, at_s).as_bytes(), &signature);
        verdict.map(|()| at_s).map_err(|_| NoteError::Signature)
    }
}

impl Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_key(COSIGNATURE, &self.name, &self.key))
    }
}

impl FromStr for WitnessKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, key) = decode_key(COSIGNATURE, text)?;
        Ok(Self { name, key })
    }
}

fn message(text: &str, at_s: u64) -> String {
    format!("cosignature/v1\ntime {at_s}\n{text}")
}

/// Cosigns a checkpoint's text (with its final newline) at `at_s`, in seconds since the Unix epoch. Returns
/// the signature line, with its newline.
pub fn cosign(text: &str, name: &str, key: &SigningKey, at_s: u64) -> String {
    let witness = WitnessKey { name: name.to_owned(), key: key.verifying_key() };
    let at_s = at_s.min(TIME_MAX);
    let signature = key.sign(message(text, at_s).as_bytes()).to_bytes();
    let blob = [witness.id().as_slice(), &at_s.to_be_bytes(), &signature].concat();
    format!("{SIGNATURE_PREFIX}{name} {}\n", STANDARD.encode(blob))
}

/// A verified cosignature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cosigned {
    /// Name of the witness.
    pub witness: String,
    /// When it cosigned, by its own clock, in seconds since the Unix epoch.
    pub at_s: u64,
}

/// Returns which of these witnesses cosigned a note, each once. Signatures by others, including the log's
/// own, are not verified.
///
/// # Errors
/// The note is malformed, or a cosignature by one of these witnesses does not verify.
pub fn cosignatures(note: &str, witnesses: &[WitnessKey]) -> Result<Vec<Cosigned>, NoteError> {
    let (text, signatures) = parse_note(note)?;
    let mut found: Vec<(&WitnessKey, u64)> = Vec::new();
    for signature in signatures {
        let known = witnesses.iter().find(|known| known.name == signature.name && known.id() == signature.id);
        if let Some(witness) = known {
            let at_s = witness.verify(text, &signature.bytes)?;
            // A key counts as one witness, even under several names.
            match found.iter_mut().find(|(earlier, _)| earlier.key == witness.key) {
                Some((_, newest)) => *newest = at_s.max(*newest),
                None => found.push((witness, at_s)),
            }
        }
    }
    Ok(found.into_iter().map(|(key, at_s)| Cosigned { witness: key.name.clone(), at_s }).collect())
}

/// The body of `POST /add-checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint that the witness is expected to have cosigned last.
    pub old_size: u64,
    /// Consistency proof from that size to the checkpoint (RFC 6962 s. 2.1.2).
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let form = NoteError::Form;
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or(form("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old =
            lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(form("the old size is missing"))?;
        let old_size: u64 = old.parse().map_err(|_| form("the old size is not a number"))?;
        if old_size.to_string() != old {
            return Err(form("the old size has leading zeros"));
        }
        let mut proof = Vec::new();
        for line in lines {
            let hash = STANDARD.decode(line).ok().and_then(|hash| Hash::try_from(hash.as_slice()).ok());
            proof.push(hash.ok_or(form("a line of the proof is not a base64 hash of 32 bytes"))?);
            if proof.len() > HASHES_MAX {
                return Err(form("more than 63 hashes in the proof"));
            }
        }
        Ok(Self { old_size, proof, checkpoint: checkpoint.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::checkpoint::Checkpoint;
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
        assert_eq!(message(text, 1_679_315_147), format!("cosignature/v1\ntime 1679315147\n{body}"));
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

    proptest! {
        #[test]
        fn a_cosignature_is_valid_only_for_its_text_time_and_name(size in 0..u64::MAX, at_s in 0..TIME_MAX) {
            let log = SigningKey::from_bytes(&[1; 32]);
            let checkpoint = Checkpoint { origin: "log.example/l".into(), size, root: [3; 32] };
            let note = checkpoint.sign(&log);
            let (text, key) = (checkpoint.to_text(), SigningKey::from_bytes(&[2; 32]));
            let witness = WitnessKey { name: "witness.example/w".into(), key: key.verifying_key() };
            prop_assert_eq!(&witness.to_string().parse::<WitnessKey>().unwrap(), &witness);
            prop_assert!(witness.to_string().parse::<crate::checkpoint::VerifierKey>().is_err());
            let line = cosign(&text, &witness.name, &key, at_s);
            prop_assert_eq!(witness.check(&text, line.trim_end()).unwrap(), Some(at_s));
            let cosigned = format!("{note}{line}");
            let found = cosignatures(&cosigned, std::slice::from_ref(&witness)).unwrap();
            prop_assert_eq!(found, vec![Cosigned { witness: witness.name.clone(), at_s }]);
            // A repeated cosignature, also under a second name, counts as one witness.
            let alias = WitnessKey { name: "witness.example/other".into(), ..witness.clone() };
            let twice = format!("{cosigned}{line}{}", cosign(&text, &alias.name, &key, at_s));
            prop_assert_eq!(cosignatures(&twice, &[witness.clone(), alias]).unwrap().len(), 1);
            // A cosignature of another tree, or by another key under the witness's name.
            let other = Checkpoint { root: [4; 32], ..checkpoint.clone() };
            let moved = format!("{}{line}", other.sign(&log));
            let found = cosignatures(&moved, std::slice::from_ref(&witness));
            prop_assert!(found.is_err());
            let forged = cosign(&text, &witness.name, &log, at_s);
            prop_assert_eq!(cosignatures(&format!("{note}{forged}"), &[witness]).unwrap(), vec![]);
        }
    }
}
