//! Identifies the caller: by a bearer token of the built-in issuer (JWT, EdDSA) or of an external one, or by
//! a client certificate.

use crate::api::access::error::CredentialError;
use crate::api::access::issuer::Tokens;
use crate::api::access::lifetime::{Lifetime, Watched};
use crate::api::access::role_names::{Claim, NAME_BYTES_MAX, caller_named, role_from_name, role_name};
use crate::api::access::throttle::{Guard, Throttle};
use crate::api::access::token_cache::{TokenCache, TokenDigest, Verified, digest_of};
use crate::api::access::token_header::{LEEWAY_S, header_of};
use crate::app::Caller;
use crate::clock::{Clock, CredentialClock, SharedClock};
use crate::domain::event::Role;
use crate::domain::names;
use crate::secret;
use crate::tls::Peer;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use tonic::codegen::http::Extensions;

/// The issuer and the audience of tokens.
const ISSUER: &str = "sayso";

/// The default maximum lifetime of a token of the built-in issuer, in seconds: 90 days.
const LIFE_S_MAX: u64 = 90 * 86_400;

/// The claims of a token.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    controller: String,
    role: String,
    sub: String,
    exp: u64,
    /// When the token was issued. Tokens of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
}

/// The built-in issuer: issues and verifies tokens for one controller.
pub struct Issuer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    controller: String,
    clock: SharedClock,
    life_s_max: u64,
    /// Only `verified` changes it.
    cached_tokens: TokenCache<Verified>,
}

impl Issuer {
    /// Reads the issuer's key from `path` (32 bytes, mode 0600), or creates it.
    ///
    /// # Errors
    /// The file cannot be read or created, does not have 32 bytes, or is readable by other users.
    pub fn load_or_create(
        path: &Path,
        controller: &str,
        clock: SharedClock,
    ) -> Result<Self, CredentialError> {
        let seed = secret::read_or_make(path, clock.as_ref())
            .map_err(|source| CredentialError::KeyFile { path: path.display().to_string(), source })?;
        let key = SigningKey::from_bytes(&seed);
        let der = key.to_pkcs8_der().map_err(|_| CredentialError::Mint("the key cannot be encoded"))?;
        Ok(Self {
            encoding: EncodingKey::from_ed_der(der.as_bytes()),
            decoding: DecodingKey::from_ed_der(key.verifying_key().as_bytes()),
            controller: controller.to_owned(),
            clock,
            life_s_max: LIFE_S_MAX,
            cached_tokens: TokenCache::default(),
        })
    }

    /// The same issuer with another maximum lifetime of its tokens, in seconds.
    #[must_use]
    pub fn with_longest_life(self, seconds: u64) -> Self {
        Self { life_s_max: seconds, ..self }
    }

    /// Issues a token with a role and a name (for a data subject: the controller's id of the subject), valid
    /// for `seconds`.
    ///
    /// # Errors
    /// The name is empty or too long, credentials cannot have the role, or the token would live too long.
    pub fn mint(&self, claim: impl Into<Claim>, name: &str, seconds: u64) -> Result<String, CredentialError> {
        if seconds > self.life_s_max {
            return Err(CredentialError::Mint(
                "it would live longer than `built_in_tokens.days_max` allows (90 days unless configured)",
            ));
        }
        let now_s = self.now_s();
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(CredentialError::Mint("the name must have 1 to 256 bytes"));
        }
        let claim = claim.into();
        if let Some(problem) = names::problem(name).filter(|_| claim.role != Role::Subject) {
            return Err(CredentialError::Name(problem));
        }
        let claims = Claims {
            iss: ISSUER.into(),
            aud: ISSUER.into(),
            controller: self.controller.clone(),
            role: role_name(claim).ok_or(CredentialError::Mint("no such role"))?.into(),
            sub: name.into(),
            exp: now_s.saturating_add(seconds),
            iat: Some(now_s),
            nbf: None,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.encoding)
            .map_err(|_| CredentialError::Mint("signing failed"))
    }

    /// The caller that a token identifies.
    ///
    /// # Errors
    /// The token is malformed, expired, not valid yet, lives longer than allowed, is from another issuer or
    /// for another controller, or its signature is not valid.
    pub fn authenticate(&self, token: &str) -> Result<Arc<Caller>, CredentialError> {
        let digest = digest_of(token);
        let known = self.cached(&digest).map_or_else(|| self.verified(token, digest, Guard::NONE), Ok);
        known.map(|verified| verified.caller)
    }

    /// A token that was verified before and has not expired.
    fn cached(&self, digest: &TokenDigest) -> Option<Verified> {
        self.cached_tokens.usable(digest, self.now_s())
    }

    fn verified(
        &self,
        token: &str,
        digest: TokenDigest,
        guard: Guard<'_>,
    ) -> Result<Verified, CredentialError> {
        let (caller, expires_s) = guard.verify(|| self.verify(token))?;
        let verified = Verified { caller: Arc::new(caller), expires_s, key: None };
        self.cached_tokens.remember(digest, &verified);
        Ok(verified)
    }

    fn verify(&self, token: &str) -> Result<(Caller, u64), CredentialError> {
        header_of(token)?;
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are checked below, against the injected clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation)
            .map_err(|_| CredentialError::Invalid("malformed, or not from this issuer"))?
            .claims;
        let now_s = self.now_s();
        if claims.exp <= now_s {
            return Err(CredentialError::Invalid("expired; get a new token"));
        }
        if claims.nbf.is_some_and(|nbf| nbf > now_s.saturating_add(LEEWAY_S)) {
            return Err(CredentialError::Invalid("not valid yet"));
        }
        // If a token does not say when it was issued, or names a future time, only its remaining lifetime is
        // compared with the limit.
        let since_s = claims.iat.unwrap_or(now_s).min(now_s);
        if claims.exp.saturating_sub(since_s) > self.life_s_max {
            let message = "it lives longer than `built_in_tokens.days_max` allows; get a new token";
            return Err(CredentialError::Invalid(message));
        }
        if claims.controller != self.controller {
            return Err(CredentialError::Elsewhere);
        }
        let claim = role_from_name(&claims.role).ok_or(CredentialError::Invalid("unknown role"))?;
        Ok((caller_named(claim, claims.sub)?, claims.exp))
    }

    fn now_s(&self) -> u64 {
        self.clock.now_ms() / 1000
    }
}

/// The issuers that are trusted for one controller.
pub struct Trusted {
    /// The controller.
    pub controller: String,
    /// The built-in issuer, with the controller's own key.
    pub issuer: Option<Arc<Issuer>>,
    /// An external issuer.
    pub tokens: Option<Arc<Tokens>>,
    /// The clock that decides when credentials expire.
    pub clock: Arc<CredentialClock>,
}

impl Trusted {
    /// The caller that a token identifies, and how long the token is valid.
    fn caller(
        &self,
        token: &str,
        digest: TokenDigest,
        guard: Guard<'_>,
    ) -> Result<(Arc<Caller>, Lifetime), CredentialError> {
        let verified = match self.cached(&digest) {
            Some(verified) => verified,
            None => self.verified(token, digest, guard)?,
        };
        let lifetime = match (verified.key, &self.tokens) {
            (Some(key), Some(tokens)) => Lifetime::Key(verified.expires_s, Arc::clone(tokens), key),
            _ => Lifetime::Token(verified.expires_s),
        };
        Ok((verified.caller, lifetime))
    }

    fn cached(&self, digest: &TokenDigest) -> Option<Verified> {
        let cached_tokens = self.issuer.as_ref().and_then(|issuer| issuer.cached(digest));
        cached_tokens.or_else(|| self.tokens.as_ref().and_then(|tokens| tokens.cached(digest)))
    }

    fn verified(
        &self,
        token: &str,
        digest: TokenDigest,
        guard: Guard<'_>,
    ) -> Result<Verified, CredentialError> {
        match (&self.issuer, &self.tokens) {
            // Tokens of the built-in issuer name no key.
            (Some(issuer), Some(tokens)) => match jsonwebtoken::decode_header(token) {
                Ok(header) if header.kid.is_some() => tokens.verified(token, digest, guard),
                _ => issuer.verified(token, digest, guard),
            },
            (Some(issuer), None) => issuer.verified(token, digest, guard),
            (None, Some(tokens)) => tokens.verified(token, digest, guard),
            (None, None) => Err(CredentialError::Missing),
        }
    }
}

/// All trusted credentials of the controllers of one ledger.
pub struct Credentials {
    /// The ledger's name, which certificates must contain.
    ledger: String,
    throttle: Throttle,
    /// For each controller, the issuers that are trusted for it. The index is the controller's number.
    trusted: Vec<Trusted>,
    /// For each verified token, the number of its controller.
    numbers: TokenCache<usize>,
}

/// The claim that selects the keys to verify a token with. No other claim is read before the token is
/// verified.
#[derive(Deserialize)]
struct Named {
    controller: String,
}

impl Credentials {
    /// Trusts these issuers for the controllers of one ledger, in the order of the controllers' numbers.
    /// `refused_per_minute_max` is the number of invalid tokens from one address that are checked in a
    /// minute.
    #[must_use]
    pub fn new(
        ledger: String,
        trusted: Vec<Trusted>,
        refused_per_minute_max: u32,
        clock: SharedClock,
    ) -> Self {
        let throttle = Throttle::new(refused_per_minute_max, clock);
        Self { ledger, throttle, trusted, numbers: TokenCache::default() }
    }

    /// The caller, the number of its controller, and a check that its credential stays valid. The credential
    /// is the bearer token or, without one, the client certificate of the connection.
    ///
    /// # Errors
    /// There is no credential, it is not valid, or its controller is not served.
    pub(crate) fn caller(
        &self,
        bearer: Option<&str>,
        connection: &Extensions,
    ) -> Result<(usize, Arc<Caller>, Watched), CredentialError> {
        let peer = connection.get::<Peer>();
        let Some(token) = bearer.map(str::trim) else {
            let certificate = peer.and_then(|peer| peer.certificate.as_ref());
            let certificate = certificate.ok_or(CredentialError::Missing)?;
            let lifetime = Lifetime::Certificate(Arc::clone(certificate));
            let (number, caller) = self.of_certificate(certificate.uri_names())?;
            let trusted = self.trusted.get(number).ok_or(CredentialError::Missing)?;
            lifetime.check(trusted.clock.now_ms())?;
            return Ok((number, Arc::new(caller), Watched::new(lifetime, Arc::clone(&trusted.clock))));
        };
        let digest = digest_of(token);
        let number = self.numbers.get(&digest);
        // A token for an unknown controller is verified with the keys of the first controller, so forged
        // tokens do not reveal which controllers exist.
        let claimed = number.or_else(|| self.claimed(token)).unwrap_or_default();
        let trusted = self.trusted.get(claimed).ok_or(CredentialError::Missing)?;
        // A token that was verified before works from an address with too many invalid ones, too: others must
        // not keep a data subject, whose verified token is not cached, from saying no.
        let throttle = Some(&self.throttle).filter(|_| number.is_none());
        let guard = Guard { throttle, from: peer.and_then(|peer| peer.address) };
        let verified = trusted.caller(token, digest, guard);
        if verified.is_err() {
            self.numbers.remove(&digest);
        }
        let (caller, lifetime) = verified?;
        if number.is_none() {
            self.numbers.put(digest, claimed);
        }
        Ok((claimed, caller, Watched::new(lifetime, Arc::clone(&trusted.clock))))
    }

    /// The number of the controller that a token names. The token is not verified yet, so the number only
    /// selects the keys to verify it with.
    fn claimed(&self, token: &str) -> Option<usize> {
        let named = jsonwebtoken::dangerous::insecure_decode_claims::<Named>(token).ok()?;
        self.number_of(&named.controller)
    }

    fn number_of(&self, controller: &str) -> Option<usize> {
        self.trusted.iter().position(|trusted| trusted.controller == controller)
    }

    /// The caller in `spiffe://<ledger>/<controller>/<role>/<name>`. This must be the only URI of the
    /// certificate (SPIFFE X.509-SVID, 2), because several URIs would be ambiguous.
    fn of_certificate(&self, names: &[String]) -> Result<(usize, Caller), CredentialError> {
        let name = match names {
            [] => return Err(CredentialError::Missing),
            [name] => name.strip_prefix("spiffe://").ok_or(CredentialError::Missing)?,
            _ => {
                return Err(CredentialError::Invalid(
                    "the certificate has several URI names, and must have one",
                ));
            }
        };
        let rest = name.strip_prefix(self.ledger.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let rest = rest.ok_or(CredentialError::Invalid("the certificate is for another ledger"))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [controller, role, name] = parts.as_slice() else {
            return Err(CredentialError::Invalid(
                "the URI name of the certificate must end in controller, role and name",
            ));
        };
        let claim = role_from_name(role).ok_or(CredentialError::Invalid("unknown role"))?;
        let caller = caller_named(claim, (*name).to_owned())?;
        Ok((self.number_of(controller).ok_or(CredentialError::Elsewhere)?, caller))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::api::access::role_names::ROLES;
    use crate::clock::SystemClock;
    use crate::domain::event::Role;
    use std::os::unix::fs::PermissionsExt;

    fn issuer(dir: &Path, controller: &str) -> Issuer {
        Issuer::load_or_create(&dir.join("issuer.key"), controller, Arc::new(SystemClock)).unwrap()
    }

    #[test]
    fn a_token_identifies_its_caller() {
        let dir = tempfile::tempdir().unwrap();
        let token = issuer(dir.path(), "acme").mint(Role::Service, "tutor", 60).unwrap();
        // A second issuer with the same key file accepts the token twice, the second time from its cache.
        let again = issuer(dir.path(), "acme");
        for _ in 0..2 {
            let caller = again.authenticate(&token).unwrap();
            assert_eq!((caller.role, caller.name.as_str()), (Role::Service, "tutor"));
            assert!(!caller.channel, "a service is not a channel");
        }
    }

    #[test]
    fn a_token_names_each_role() {
        let dir = tempfile::tempdir().unwrap();
        let issuer = issuer(dir.path(), "acme");
        for (claim, _) in ROLES {
            let caller = issuer.authenticate(&issuer.mint(claim, "x", 60).unwrap()).unwrap();
            assert_eq!(Claim { role: caller.role, channel: caller.channel }, claim);
        }
        assert!(issuer.mint(Claim { role: Role::Steward, channel: true }, "x", 60).is_err());
    }

    #[test]
    fn foreign_expired_and_tampered_tokens_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let ours = issuer(dir.path(), "acme");
        let expired = ours.mint(Role::Service, "tutor", 0).unwrap();
        let foreign = issuer(other.path(), "acme").mint(Role::Service, "tutor", 60).unwrap();
        let other_controller = issuer(dir.path(), "other").mint(Role::Service, "tutor", 60).unwrap();
        let mut tampered = ours.mint(Role::Service, "tutor", 60).unwrap();
        tampered.truncate(tampered.len() - 4);
        for token in [expired, foreign, other_controller, tampered, String::new(), "a.b.c".into()] {
            assert!(ours.authenticate(&token).is_err());
        }
    }

    #[test]
    fn a_token_lives_no_longer_than_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let ours = issuer(dir.path(), "acme");
        let long = ours.mint(Role::Service, "tutor", LIFE_S_MAX).unwrap();
        assert!(ours.authenticate(&long).is_ok());
        assert!(ours.mint(Role::Service, "tutor", LIFE_S_MAX + 1).is_err());
        let short = issuer(dir.path(), "acme").with_longest_life(86_400);
        assert!(short.authenticate(&long).is_err(), "it was issued when a longer life was allowed");
        let longer = issuer(dir.path(), "acme").with_longest_life(2 * LIFE_S_MAX);
        let very_long = longer.mint(Role::Service, "tutor", 2 * LIFE_S_MAX).unwrap();
        assert!(longer.authenticate(&very_long).is_ok());
        assert!(ours.authenticate(&very_long).is_err());
    }

    #[test]
    fn a_key_file_that_other_users_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(issuer(dir.path(), "acme"));
        let path = dir.path().join("issuer.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Issuer::load_or_create(&path, "acme", Arc::new(SystemClock)).is_err());
    }
}
