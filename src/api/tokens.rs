//! Bearer tokens of somebody else's issuer: keys from a JWKS (RFC 7517) that may change while the daemon runs.

use super::credential::{CredentialError, caller_named, role_from_name};
use super::remembered::{Remembered, TokenDigest, Verified, digest_of};
use crate::app::Caller;
use crate::clock::SharedClock;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
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

type Keys = HashMap<String, (Algorithm, DecodingKey)>;

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
        let keys: Keys = set.keys.iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(CredentialError::Keys("has no EdDSA, ES256 or RS256 key with an id"));
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = (digest, keys);
        self.remembered.clear();
        Ok(true)
    }

    /// The caller behind a token.
    ///
    /// # Errors
    /// Malformed, expired, not yet valid, of another issuer, audience or controller, signed with another algorithm than
    /// its key is for, or the signature does not hold.
    pub fn authenticate(&self, token: &str) -> Result<Arc<Caller>, CredentialError> {
        let digest = digest_of(token);
        self.remembers(&digest).map_or_else(|| self.verified(token, digest), Ok)
    }

    /// The caller behind a token that was verified before, with a key that is trusted still, and has not expired.
    pub(super) fn remembers(&self, digest: &TokenDigest) -> Option<Arc<Caller>> {
        self.remembered.caller(digest, self.now_s())
    }

    pub(super) fn verified(&self, token: &str, digest: TokenDigest) -> Result<Arc<Caller>, CredentialError> {
        // Held until the caller is remembered: keys that change meanwhile must empty the memory after that.
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let (caller, expires) = self.verify(token, &keys.1, self.now_s())?;
        let caller = Arc::new(caller);
        self.remembered.put(digest, (Arc::clone(&caller), expires));
        Ok(caller)
    }

    fn now_s(&self) -> u64 {
        self.clock.now_ms() / 1000
    }

    fn verify(&self, token: &str, keys: &Keys, now_s: u64) -> Result<(Caller, u64), CredentialError> {
        let invalid = CredentialError::Invalid;
        let header = jsonwebtoken::decode_header(token).map_err(|_| invalid("malformed"))?;
        let key = header.kid.and_then(|kid| keys.get(&kid));
        let (algorithm, key) = key.ok_or(invalid("its key is not known"))?;
        let mut validation = Validation::new(*algorithm);
        validation.set_issuer(&[&self.rules.issuer]);
        validation.set_audience(&[&self.rules.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are checked below, against the injected clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation);
        let claims = claims.map_err(|_| invalid("malformed, or not from this issuer"))?.claims;
        if claims.exp <= now_s {
            return Err(invalid("expired"));
        }
        if claims.nbf > now_s.saturating_add(LEEWAY_S) {
            return Err(invalid("not valid yet"));
        }
        if claims.controller != self.rules.controller {
            return Err(CredentialError::Elsewhere);
        }
        let role = role_from_name(&claims.role).ok_or(invalid("unknown role"))?;
        Ok((caller_named(role, claims.sub)?, claims.exp))
    }
}

/// The algorithm comes from the key's own kind, never from a token's header (RFC 8725, 3.1).
fn usable(jwk: &Jwk) -> Option<(String, (Algorithm, DecodingKey))> {
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
    Some((id, (algorithm, DecodingKey::from_jwk(jwk).ok()?)))
}
