//! The verifier keys of witnesses, and the messages that their cosignatures sign (C2SP tlog-cosignature).

use crate::checkpoint::{
    Checkpoint, NoteError, decode_key, ed25519_key, encode_key, key_id, parse_signature,
};
use ed25519_dalek::VerifyingKey;
use ml_dsa::signature::Verifier;
use ml_dsa::{EncodedVerifyingKey, MlDsa44};
use serde::Serialize;
use std::fmt::{self, Display};
use std::str::FromStr;

/// Signature type of Ed25519 cosignatures in key ids and encoded keys.
const ED25519: u8 = 4;
/// Signature type of ML-DSA-44 cosignatures.
const ML_DSA_44: u8 = 6;
/// Maximum timestamp of a cosignature, in seconds since the Unix epoch.
pub(super) const TIME_MAX: u64 = i64::MAX as u64;
/// First bytes of a message that an ML-DSA-44 cosignature signs.
const SUBTREE_LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// How a cosignature is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum CosignatureAlgorithm {
    /// `cosignature/v1` with Ed25519 (signature type 0x04).
    Ed25519,
    /// ML-DSA-44 of FIPS 204 (signature type 0x06), which quantum computers do not break.
    #[serde(rename = "ML-DSA-44")]
    MlDsa44,
}

impl Display for CosignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
        })
    }
}

/// A public key of one of the algorithms.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PublicKey {
    Ed25519(VerifyingKey),
    MlDsa44(Box<ml_dsa::VerifyingKey<MlDsa44>>),
}

/// The verifier key of a witness: `<name>+<key id>+<base64(signature type ‖ key)>`.
#[derive(Clone, Debug, PartialEq)]
pub struct WitnessKey {
    /// Name of the witness.
    pub name: String,
    pub(super) key: PublicKey,
}

impl WitnessKey {
    /// How this key signs.
    #[must_use]
    pub fn algorithm(&self) -> CosignatureAlgorithm {
        match self.key {
            PublicKey::Ed25519(_) => CosignatureAlgorithm::Ed25519,
            PublicKey::MlDsa44(_) => CosignatureAlgorithm::MlDsa44,
        }
    }

    /// First 4 bytes of SHA-256 over name, newline, signature type and key.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let (kind, bytes) = self.parts();
        key_id(kind, &self.name, &bytes)
    }

    /// The signature type and the bytes of the key.
    fn parts(&self) -> (u8, Vec<u8>) {
        match &self.key {
            PublicKey::Ed25519(key) => (ED25519, key.as_bytes().to_vec()),
            PublicKey::MlDsa44(key) => (ML_DSA_44, key.encode().to_vec()),
        }
    }

    /// Whether two keys belong to one witness: they have the same name, or are the same key.
    #[must_use]
    pub fn is_same_witness(&self, other: &Self) -> bool {
        self.name == other.name || self.key == other.key
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

    pub(super) fn verify(&self, text: &str, bytes: &[u8]) -> Result<u64, NoteError> {
        let (time, signature) = bytes.split_first_chunk::<8>().ok_or(NoteError::Signature)?;
        let at_s = u64::from_be_bytes(*time);
        if at_s > TIME_MAX {
            return Err(NoteError::Signature);
        }
        match &self.key {
            PublicKey::Ed25519(key) => {
                let signature =
                    ed25519_dalek::Signature::from_slice(signature).map_err(|_| NoteError::Signature)?;
                key.verify_strict(ed25519_message(text, at_s).as_bytes(), &signature)
                    .map_err(|_| NoteError::Signature)?;
            }
            PublicKey::MlDsa44(key) => {
                let signature = ml_dsa::Signature::<MlDsa44>::try_from(signature);
                let signature = signature.map_err(|_| NoteError::Signature)?;
                let message = ml_dsa_message(text, &self.name, at_s)?;
                key.verify(&message, &signature).map_err(|_| NoteError::Signature)?;
            }
        }
        Ok(at_s)
    }
}

impl Display for WitnessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes) = self.parts();
        f.write_str(&encode_key(kind, &self.name, &bytes))
    }
}

impl FromStr for WitnessKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, kind, bytes) = decode_key(text)?;
        let key = match kind {
            ED25519 => PublicKey::Ed25519(ed25519_key(&bytes)?),
            ML_DSA_44 => {
                let bytes = EncodedVerifyingKey::<MlDsa44>::try_from(bytes.as_slice());
                let bytes = bytes.map_err(|_| NoteError::Key("the public key is not 1312 bytes"))?;
                PublicKey::MlDsa44(Box::new(ml_dsa::VerifyingKey::decode(&bytes)))
            }
            _ => return Err(NoteError::Key("wrong signature type; a witness's key has type 4 or 6")),
        };
        Ok(Self { name, key })
    }
}

/// What an Ed25519 cosignature signs: two lines, and the whole text of the checkpoint.
pub(super) fn ed25519_message(text: &str, at_s: u64) -> String {
    format!("cosignature/v1\ntime {at_s}\n{text}")
}

/// What an ML-DSA-44 cosignature of a checkpoint signs: the structure `cosigned_message` with `start` 0. It
/// has no extension lines of the checkpoint.
///
/// # Errors
/// The text is not a checkpoint, the name of the witness or the log is longer than 255 bytes, or the time is
/// 0. A cosignature without a time does not say that the tree was the newest.
pub(super) fn ml_dsa_message(text: &str, witness: &str, at_s: u64) -> Result<Vec<u8>, NoteError> {
    let checkpoint = Checkpoint::parse_extended(text)?;
    if at_s == 0 {
        return Err(NoteError::Form("an ML-DSA-44 cosignature has the time 0"));
    }
    let mut message = SUBTREE_LABEL.to_vec();
    push_name(&mut message, witness)?;
    message.extend_from_slice(&at_s.to_be_bytes());
    push_name(&mut message, &checkpoint.origin)?;
    message.extend_from_slice(&0_u64.to_be_bytes());
    message.extend_from_slice(&checkpoint.size.to_be_bytes());
    message.extend_from_slice(&checkpoint.root);
    Ok(message)
}

/// Appends a name after its length in one byte.
fn push_name(message: &mut Vec<u8>, name: &str) -> Result<(), NoteError> {
    let length = u8::try_from(name.len());
    message.push(length.map_err(|_| NoteError::Form("the name of a signer is longer than 255 bytes"))?);
    message.extend_from_slice(name.as_bytes());
    Ok(())
}
