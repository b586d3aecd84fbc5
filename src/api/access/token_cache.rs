//! Caches verified tokens, so that a signature is verified once and not for every call. A data subject's
//! token is not cached with its content, because the subject may be erased: its signature is verified at
//! each call. For each verified token, a second cache has only the digest and the number of the
//! controller. It shows that the token was verified before.

use crate::api::access::jwks::TrustedKey;
use crate::app::Caller;
use lru::LruCache;
use sha2::{Digest, Sha256};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The largest number of cached tokens of one issuer.
const TOKENS_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// The SHA-256 of a token. It is the key of the cache, because the token itself is a secret.
pub type TokenDigest = [u8; 32];

/// The digest of a token.
pub fn digest_of(token: &str) -> TokenDigest {
    Sha256::digest(token.as_bytes()).into()
}

/// A value for each cached token.
pub struct TokenCache<T>(Mutex<LruCache<TokenDigest, T>>);

/// The content of a verified token.
#[derive(Clone)]
pub struct Verified {
    /// The caller that it identifies.
    pub caller: Arc<Caller>,
    /// When it expires, in seconds since the Unix epoch.
    pub expires_s: u64,
    /// The key that verified it. `None` for the built-in issuer, which has only one.
    pub key: Option<Arc<TrustedKey>>,
}

impl<T: Clone> Default for TokenCache<T> {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(TOKENS_MAX)))
    }
}

impl<T: Clone> TokenCache<T> {
    /// The value of a token.
    pub fn get(&self, digest: &TokenDigest) -> Option<T> {
        self.lock().get(digest).cloned()
    }

    /// Caches the value of a token.
    pub fn put(&self, digest: TokenDigest, value: T) {
        self.lock().put(digest, value);
    }

    /// Removes a token.
    pub fn remove(&self, digest: &TokenDigest) {
        self.lock().pop(digest);
    }

    /// Removes every token.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<TokenDigest, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenCache<Verified> {
    /// Caches a verified token, unless it is a data subject's: the cache would contain the id of a person who
    /// may be erased. Verifying such a token again takes a fraction of a millisecond.
    pub fn remember(&self, digest: TokenDigest, verified: &Verified) {
        if verified.caller.subject.is_none() {
            self.put(digest, verified.clone());
        }
    }

    /// A verified token that has not expired.
    pub fn usable(&self, digest: &TokenDigest, now_s: u64) -> Option<Verified> {
        self.get(digest).filter(|verified| now_s < verified.expires_s)
    }
}
