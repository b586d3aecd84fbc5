//! What signs as a log.

use ed25519_dalek::ed25519::signature::Keypair;
use ed25519_dalek::{Signature, Signer, VerifyingKey};

/// An Ed25519 key pair (RFC 8032), whoever implements it: signatures are deterministic, so all make the same.
pub trait LogSigner: Signer<Signature> + Keypair<VerifyingKey = VerifyingKey> {}

impl<K: Signer<Signature> + Keypair<VerifyingKey = VerifyingKey>> LogSigner for K {}
