//! Bearer tokens of somebody else's issuer: keys from a JWKS (RFC 7517) that may change while the daemon runs.

use super::credential::{CredentialError, Guard, caller_named, role_from_name};
use super::remembered::{Remembered, TokenDigest, Verified, digest_of};
use crate::app::Caller;
use crate::clock::SharedClock;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// How far an issuer's clock may be ahead of ours, seconds.
const LEEWAY_S: u64 = 60;
/// Smallest RSA modulus taken, bytes: 2048 bits.
const RSA_BYTES_MIN: usize = 256;

/// What a token must say.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// Its `iss`.
    pub issuer: String,
    /// One of its `aud`.
    pub audience: String,
    /// Its `controller`.
    pub controller: String,
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

/// One of the issuer's keys.
pub struct TrustedKey {
    id: String,
    /// RFC 7638: the same key, whatever else is said about it.
    thumbprint: String,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

type Keys = HashMap<String, Arc<TrustedKey>>;

/// Checks tokens of one issuer.
pub struct Tokens {
    rules: TokenRules,
    clock: SharedClock,
    /// Owned by [`Tokens::replace_keys`]: digest of the JWKS, and its keys by id.
    keys: RwLock<([u8; 32], Keys)>,
    /// Emptied when keys change.
    remembered: Remembered<Verified>,
}

impl Tokens {
    /// An issuer without keys: nobody gets in until [`Tokens::replace_keys`].
    #[must_use]
    pub fn new(rules: TokenRules, clock: SharedClock) -> Self {
        Self { rules, clock, keys: RwLock::default(), remembered: Remembered::default() }
    }

    /// Takes a JWKS as the issuer's keys; what it no longer has is trusted no longer. True where it differs from the one
    /// before. Keys for anything but EdDSA, ES256 and RS256 signatures are left out, symmetric ones among them.
    ///
    /// # Errors
    /// It is no JWKS, or has no key that can be used: the keys before stay.
    pub fn replace_keys(&self, jwks: &[u8]) -> Result<bool, CredentialError> {
        let digest: [u8; 32] = Sha256::digest(jwks).into();
        if self.keys.read().unwrap_or_else(PoisonError::into_inner).0 == digest {
            return Ok(false);
        }
        let set: JwkSet = serde_json::from_slice(jwks).map_err(|_| CredentialError::Keys("is no JWKS"))?;
        let usable = set.keys.iter().filter_map(usable);
        let keys: Keys = usable.map(|key| (key.id.clone(), Arc::new(key))).collect();
        if keys.is_empty() {
            return Err(CredentialError::Keys("has no EdDSA, ES256 or RS256 key with an id"));
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = (digest, keys);
        self.remembered.clear();
        Ok(true)
    }

    /// Whether the issuer still stands by a key.
    #[must_use]
    pub fn trusts(&self, key: &TrustedKey) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.1.get(&key.id).is_some_and(|now| now.thumbprint == key.thumbprint)
    }

    /// The caller behind a token.
    ///
    /// # Errors
    /// Malformed, expired, not yet valid, of another issuer, audience or controller, signed with another algorithm than
    /// its key is for, or the signature does not hold.
    pub fn authenticate(&self, token: &str) -> Result<Arc<Caller>, CredentialError> {
        let digest = digest_of(token);
        let known = self.remembers(&digest).map_or_else(|| self.verified(token, digest, Guard::NONE), Ok);
        known.map(|verified| verified.caller)
    }

    /// What is known of a token that was verified before, with a key that is trusted still, and has not expired.
    pub(super) fn remembers(&self, digest: &TokenDigest) -> Option<Verified> {
        self.remembered.usable(digest, self.now_s())
    }

    pub(super) fn verified(
        &self,
        token: &str,
        digest: TokenDigest,
        guard: Guard<'_>,
    ) -> Result<Verified, CredentialError> {
        // Held until the caller is remembered: keys that change meanwhile must empty the memory after that.
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (now_s, latest_s) = (self.now_s(), self.clock.latest_ms() / 1000);
        let verified = guard.verify(|| self.verify(token, &keys.1, (now_s, latest_s)))?;
        self.remembered.put(digest, verified.clone());
        Ok(verified)
    }

    fn now_s(&self) -> u64 {
        self.clock.now_ms() / 1000
    }

    fn verify(
        &self,
        token: &str,
        keys: &Keys,
        (now_s, latest_s): (u64, u64),
    ) -> Result<Verified, CredentialError> {
        let invalid = CredentialError::Invalid;
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid("malformed"))?;
        let key = header.kid.and_then(|kid| keys.get(&kid));
        let key = key.ok_or(invalid("its key is not known; get a new token"))?;
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
        let role = role_from_name(&claims.role).ok_or(invalid("unknown role"))?;
        let caller = Arc::new(caller_named(role, claims.sub)?);
        Ok(Verified { caller, expires_s: claims.exp, key: Some(Arc::clone(key)) })
    }
}

/// The algorithm comes from the key's own kind, never from a token's header (RFC 8725, 3.1).
fn usable(jwk: &Jwk) -> Option<TrustedKey> {
    let id = jwk.common.key_id.clone()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::RSA(key) if key.n.len().saturating_mul(3) / 4 >= RSA_BYTES_MIN => {
            Algorithm::RS256
        }
        _ => return None,
    };
    let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).ok()?;
    Some(TrustedKey { id, thumbprint, algorithm, decoding: DecodingKey::from_jwk(jwk).ok()? })
}
