//! The interface of a key pair that signs for a log.

use ed25519_dalek::ed25519::signature::Keypair;
use ed25519_dalek::{Signature, Signer, VerifyingKey};

/// An Ed25519 key pair (RFC 8032) of any implementation. Signatures are deterministic, so all implementations
/// make the same signature.
pub trait LogSigner: Signer<Signature> + Keypair<VerifyingKey = VerifyingKey> {}

impl<K: Signer<Signature> + Keypair<VerifyingKey = VerifyingKey>> LogSigner for K {}
