//! The signing keys of a witness.

use super::key::{PublicKey, TIME_MAX, WitnessKey, ed25519_message, ml_dsa_message};
use crate::checkpoint::{NoteError, SIGNATURE_PREFIX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use ml_dsa::MlDsa44;
use ml_dsa::signature::Keypair;

/// A signing key of a witness. Its secret is cleared when it is dropped.
#[derive(Clone)]
pub struct WitnessSigner(Secret);

#[derive(Clone)]
enum Secret {
    Ed25519(Box<SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
}

impl From<SigningKey> for WitnessSigner {
    fn from(key: SigningKey) -> Self {
        Self(Secret::Ed25519(Box::new(key)))
    }
}

impl WitnessSigner {
    /// The Ed25519 key of this seed (RFC 8032 s. 5.1.5).
    #[must_use]
    pub fn ed25519(seed: &[u8; 32]) -> Self {
        Self::from(SigningKey::from_bytes(seed))
    }

    /// The ML-DSA-44 key of this seed (FIPS 204, algorithm 6).
    #[must_use]
    pub fn ml_dsa_44(seed: &[u8; 32]) -> Self {
        Self(Secret::MlDsa44(Box::new(ml_dsa::SigningKey::from_seed(&(*seed).into()))))
    }

    /// The key that verifies cosignatures of the witness with this name.
    #[must_use]
    pub fn verifier_key(&self, name: &str) -> WitnessKey {
        let key = match &self.0 {
            Secret::Ed25519(key) => PublicKey::Ed25519(key.verifying_key()),
            Secret::MlDsa44(key) => PublicKey::MlDsa44(Box::new(key.verifying_key())),
        };
        WitnessKey { name: name.to_owned(), key }
    }

    /// Cosigns a checkpoint's text (with its final newline) at `at_s`, in seconds since the Unix epoch.
    /// Returns the signature line, with its newline. The signature is deterministic.
    ///
    /// # Errors
    /// Only of ML-DSA-44: the text is not a checkpoint, the name or the log's origin is longer than 255
    /// bytes, or the time is 0.
    pub fn cosign(&self, text: &str, name: &str, at_s: u64) -> Result<String, NoteError> {
        let at_s = at_s.min(TIME_MAX);
        let signature = match &self.0 {
            Secret::Ed25519(key) => key.sign(ed25519_message(text, at_s).as_bytes()).to_vec(),
            Secret::MlDsa44(key) => {
                let message = ml_dsa_message(text, name, at_s)?;
                let signature: ml_dsa::Signature<MlDsa44> = Signer::sign(&**key, &message);
                signature.encode().to_vec()
            }
        };
        let id = self.verifier_key(name).id();
        let blob = [id.as_slice(), &at_s.to_be_bytes(), &signature].concat();
        Ok(format!("{SIGNATURE_PREFIX}{name} {}\n", STANDARD.encode(blob)))
    }
}
