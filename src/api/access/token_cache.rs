//! Verified tokens remembered, so that a signature is checked once and not at every call.

use crate::api::access::jwks::TrustedKey;
use crate::app::Caller;
use lru::LruCache;
use sha2::{Digest, Sha256};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tokens remembered, of one issuer.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// The SHA-256 of a token: what it is remembered under, since the token itself is a secret.
pub type TokenDigest = [u8; 32];

/// What a token is remembered under.
pub fn digest_of(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

/// Something that is known of each token.
pub struct TokenCache<T>(Mutex<LruCache<TokenDigest, T>>);

/// What a verified token says.
#[derive(Clone)]
pub struct Verified {
    /// Who is behind it.
    pub caller: Arc<Caller>,
    /// Until when it can be used, seconds since the Unix epoch.
    pub expires_s: u64,
    /// The key that says so; none of the built-in issuer, which has one.
    pub key: Option<Arc<TrustedKey>>,
}

impl<T: Clone> Default for TokenCache<T> {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED_MAX)))
    }
}

impl<T: Clone> TokenCache<T> {
    /// What is known of a token.
    pub fn get(&self, digest: &TokenDigest) -> Option<T> {
        self.lock().get(digest).cloned()
    }

    /// From now on this is known of a token.
    pub fn put(&self, digest: TokenDigest, known: T) {
        self.lock().put(digest, known);
    }

    /// From now on nothing is known of any.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<TokenDigest, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenCache<Verified> {
    /// What a token says that was verified and can be used still.
    pub fn usable(&self, digest: &TokenDigest, now_s: u64) -> Option<Verified> {
        self.get(digest).filter(|verified| now_s < verified.expires_s)
    }
}
