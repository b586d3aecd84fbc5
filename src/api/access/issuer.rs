//! Verifies bearer tokens of an external issuer. The issuer's keys come from a JWKS (a published set of keys,
//! RFC 7517) and may change while the daemon runs.

use crate::api::access::error::CredentialError;
use crate::api::access::jwks;
use crate::api::access::jwks::{Keys, TrustedKey};
use crate::api::access::role_names::{caller_named, role_from_name};
use crate::api::access::throttle::Guard;
use crate::api::access::token_cache::{TokenCache, TokenDigest, Verified, digest_of};
use crate::api::access::token_header::{LEEWAY_S, header_of};
use crate::app::Caller;
use crate::clock::{SharedClock, Stopwatch};
use jsonwebtoken::Validation;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The error if the issuer's keys could not be fetched for too long.
const TOO_OLD: &str =
    "the keys of the token's issuer are too old to be trusted; retry after the daemon has fetched new ones";

/// What a token must contain.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// The required `iss`.
    pub issuer: String,
    /// An audience that `aud` must contain.
    pub audience: String,
    /// The required `controller`.
    pub controller: String,
    /// How long the issuer's keys are trusted after they were fetched, in milliseconds.
    pub stale_ms_max: u64,
}

#[derive(Deserialize)]
struct Claims {
    controller: String,
    role: String,
    sub: String,
    exp: u64,
    #[serde(default)]
    nbf: u64,
}

/// Verifies tokens of one issuer.
pub struct Tokens {
    rules: TokenRules,
    clock: SharedClock,
    /// The digest of the JWKS, and its keys by id. Only [`Tokens::replace_keys`] changes them.
    keys: RwLock<([u8; 32], Keys)>,
    /// Only [`Tokens::replace_keys`] changes it.
    fetched: Fetched,
    /// Cleared when the keys change.
    cached_tokens: TokenCache<Verified>,
}

/// When the keys were fetched, by the clock and by a monotonic stopwatch that no change of the clock affects.
struct Fetched {
    at_ms: AtomicU64,
    /// When the keys were fetched, in milliseconds after `since`. Negative if they were fetched before this
    /// process started.
    steady_ms: AtomicI64,
    since: Stopwatch,
}

impl Fetched {
    fn steady_now_ms(&self) -> i64 {
        i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn set(&self, at_ms: u64, age_ms: u64) {
        let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
        self.at_ms.store(at_ms, Ordering::Relaxed);
        self.steady_ms.store(self.steady_now_ms().saturating_sub(age_ms), Ordering::Relaxed);
    }

    /// The age of the keys: by the clock or by the stopwatch, whichever is longer. So setting the clock back
    /// makes no key younger.
    fn age_ms(&self, now_ms: u64) -> u64 {
        let by_clock = now_ms.saturating_sub(self.at_ms.load(Ordering::Relaxed));
        let steady = self.steady_now_ms().saturating_sub(self.steady_ms.load(Ordering::Relaxed));
        by_clock.max(u64::try_from(steady).unwrap_or(0))
    }
}

impl Tokens {
    /// An issuer without keys. It accepts no token before [`Tokens::replace_keys`].
    #[must_use]
    pub fn new(rules: TokenRules, clock: SharedClock) -> Self {
        let fetched =
            Fetched { at_ms: AtomicU64::new(0), steady_ms: AtomicI64::new(0), since: Stopwatch::start() };
        Self { rules, clock, keys: RwLock::default(), fetched, cached_tokens: TokenCache::default() }
    }

    /// Replaces the issuer's keys with a JWKS that was fetched at `fetched_ms` (milliseconds since the Unix
    /// epoch, not in the future). Keys that are not in the new JWKS are no longer trusted. Only keys for
    /// EdDSA, ES256 and RS256 signatures are used. If the JWKS has no usable key, no token is accepted.
    /// Returns whether the JWKS differs from the previous one.
    ///
    /// # Errors
    /// The bytes are not a JWKS, or they exceed a limit. The previous keys stay trusted, and keep their age.
    pub fn replace_keys(&self, jwks: &[u8], fetched_ms: u64) -> Result<bool, CredentialError> {
        let digest: [u8; 32] = Sha256::digest(jwks).into();
        let age_ms = self.clock.now_ms().saturating_sub(fetched_ms);
        if self.current().0 == digest {
            self.fetched.set(fetched_ms, age_ms);
            return Ok(false);
        }
        let read = jwks::read(jwks)?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *keys = (digest, read);
        self.fetched.set(fetched_ms, age_ms);
        self.cached_tokens.clear();
        Ok(true)
    }

    /// The number of keys that are trusted now, and how long ago they were fetched, in milliseconds.
    #[must_use]
    pub fn standing(&self) -> (usize, u64) {
        let now_ms = self.clock.now_ms();
        let count = if self.are_fresh(now_ms) { self.current().1.len() } else { 0 };
        (count, self.fetched.age_ms(now_ms))
    }

    /// Checks that the issuer still publishes a key.
    ///
    /// # Errors
    /// The issuer no longer publishes the key, or its keys could not be fetched for too long.
    pub(crate) fn trusts(&self, key: &TrustedKey) -> Result<(), CredentialError> {
        if !self.are_fresh(self.clock.now_ms()) {
            return Err(CredentialError::Lapsed(TOO_OLD));
        }
        if self.current().1.get(&key.id).is_some_and(|now| now.thumbprint == key.thumbprint) {
            return Ok(());
        }
        let message = "the key of the token is no longer trusted; get a new token and retry";
        Err(CredentialError::Lapsed(message))
    }

    fn are_fresh(&self, now_ms: u64) -> bool {
        self.fetched.age_ms(now_ms) <= self.rules.stale_ms_max
    }

    fn current(&self) -> RwLockReadGuard<'_, ([u8; 32], Keys)> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller that a token identifies.
    ///
    /// # Errors
    /// The token is malformed, expired, not yet valid, or of another issuer, audience or controller; or its
    /// algorithm is not that of its key; or its signature is not valid.
    pub fn authenticate(&self, token: &str) -> Result<Arc<Caller>, CredentialError> {
        let digest = digest_of(token);
        let known = self.cached(&digest).map_or_else(|| self.verified(token, digest, Guard::NONE), Ok);
        known.map(|verified| verified.caller)
    }

    /// A token that was verified before, if its key is still trusted and the token has not expired.
    pub(crate) fn cached(&self, digest: &TokenDigest) -> Option<Verified> {
        let now_ms = self.clock.now_ms();
        self.cached_tokens.usable(digest, now_ms / 1_000).filter(|_| self.are_fresh(now_ms))
    }

    pub(crate) fn verified(
        &self,
        token: &str,
        digest: TokenDigest,
        guard: Guard<'_>,
    ) -> Result<Verified, CredentialError> {
        // The keys stay locked until the token is cached. So a change of the keys clears the cache only after
        // the token is in it.
        let keys = self.current();
        let (now_ms, latest_ms) = (self.clock.now_ms(), self.clock.latest_ms());
        // The token itself may be valid, so this failure does not count as an invalid token.
        if !self.are_fresh(now_ms) {
            return Err(CredentialError::Lapsed(TOO_OLD));
        }
        let verified = guard.verify(|| self.verify(token, &keys.1, (now_ms / 1_000, latest_ms / 1_000)))?;
        self.cached_tokens.remember(digest, &verified);
        Ok(verified)
    }

    fn verify(
        &self,
        token: &str,
        keys: &Keys,
        (now_s, latest_s): (u64, u64),
    ) -> Result<Verified, CredentialError> {
        let invalid = CredentialError::Invalid;
        let header = header_of(token)?;
        let key = header.kid.and_then(|kid| keys.get(&kid));
        let key = key.ok_or(invalid("its key is unknown; get a new token"))?;
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.rules.issuer]);
        validation.set_audience(&[&self.rules.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are checked below, against the injected clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation);
        let claims = claims.map_err(|_| invalid("malformed, or not from this issuer"))?.claims;
        if claims.exp <= now_s {
            return Err(invalid("expired; get a new token"));
        }
        if claims.nbf > latest_s.saturating_add(LEEWAY_S) {
            return Err(invalid("not valid yet"));
        }
        if claims.controller != self.rules.controller {
            return Err(CredentialError::Elsewhere);
        }
        let claim = role_from_name(&claims.role).ok_or(invalid("unknown role"))?;
        let caller = Arc::new(caller_named(claim, claims.sub)?);
        Ok(Verified { caller, expires_s: claims.exp, key: Some(Arc::clone(key)) })
    }
}
