//! Hashes under a secret (HMAC-SHA-256). Without the secret, they cannot be compared with a guess of what was
//! hashed.

use hmac::{Hmac, KeyInit, Mac};
use sayso_proof::merkle::Hash;
use sha2::Sha256;

/// Returns the HMAC-SHA-256 of a domain and length-prefixed parts under a secret.
pub(super) fn keyed_hash(secret: &[u8; 32], domain: &str, parts: &[&[u8]]) -> Hash {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("HMAC takes keys of any length");
    for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
