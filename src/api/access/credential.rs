//! Who calls: bearer tokens (JWT, EdDSA) of the built-in issuer, those of another one, or a certificate.

use crate::api::access::issuer::Tokens;
use crate::api::access::lifetime::{Lifetime, Watched};
use crate::api::access::throttle::Throttle;
use crate::api::access::token_cache::{TokenCache, TokenDigest, Verified, digest_of};
use crate::app::Caller;
use crate::clock::{Clock, CredentialClock, SharedClock};
use crate::domain::ids::SubjectId;
use crate::secret;
use crate::tls::Peer;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sayso_proof::event::Role;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::codegen::http::Extensions;

/// Who the tokens are from and for.
const ISSUER: &str = "sayso";

/// Longest name of a caller.
const NAME_BYTES_MAX: usize = 256;

/// How far the clock of whoever made a token may be ahead of ours, seconds.
pub(crate) const LEEWAY_S: u64 = 60;

/// How long a token of the built-in issuer may live unless configured, seconds: 90 days.
const LIFE_S_MAX: u64 = 90 * 86_400;

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    controller: String,
    role: String,
    sub: String,
    exp: u64,
    /// When it was made. Tokens of earlier versions don't say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
}

/// Why there is no caller. Carries nothing of the token.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// No `authorization: Bearer` header.
    #[error("no credential; send `authorization: Bearer TOKEN`")]
    Missing,
    /// Not one of ours, expired, or malformed.
    #[error("the credential is not valid: {0}")]
    Invalid(&'static str),
    /// Not looked at: too many bad ones came from the same address. For so long still.
    #[error("too many bad credentials came from this address; try again later")]
    TooMany(Duration),
    /// It was good, and is no longer.
    #[error("the credential counts no longer: {0}")]
    Lapsed(&'static str),
    /// The machine's clock is not believed, and by the ledger's time it has ended.
    #[error(
        "the clock of the ledger's machine is in doubt, and the credential may have expired; only a no is taken with it"
    )]
    InDoubt,
    /// A good one, for a controller that is not here. Callers are told no more than whoever may not do
    /// something is.
    #[error("the credential is for another controller")]
    Elsewhere,
    /// The issuer's key file can't be used.
    #[error("issuer key `{path}`: {source}")]
    KeyFile {
        /// Which file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The issuer's keys can't be used.
    #[error("the JWKS {0}")]
    Keys(&'static str),
    /// A token can't be made from this.
    #[error("can't mint a token: {0}")]
    Mint(&'static str),
}

/// Mints and checks tokens for one controller.
pub struct Issuer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    controller: String,
    clock: SharedClock,
    life_s_max: u64,
    /// Owned by `authenticate`.
    cached_tokens: TokenCache<Verified>,
}

impl Issuer {
    /// Reads the issuer's key from `path` (32 bytes, mode 0600), or makes one.
    ///
    /// # Errors
    /// The file can't be read or made, is not 32 bytes, or may be read by others.
    pub fn load_or_create(
        path: &Path,
        controller: &str,
        clock: SharedClock,
    ) -> Result<Self, CredentialError> {
        let seed = secret::read_or_make(path, clock.as_ref())
            .map_err(|source| CredentialError::KeyFile { path: path.display().to_string(), source })?;
        let key = SigningKey::from_bytes(&seed);
        let der = key.to_pkcs8_der().map_err(|_| CredentialError::Mint("the key can't be encoded"))?;
        Ok(Self {
            encoding: EncodingKey::from_ed_der(der.as_bytes()),
            decoding: DecodingKey::from_ed_der(key.verifying_key().as_bytes()),
            controller: controller.to_owned(),
            clock,
            life_s_max: LIFE_S_MAX,
            cached_tokens: TokenCache::default(),
        })
    }

    /// The same issuer, whose tokens live `seconds` at most instead of 90 days.
    #[must_use]
    pub fn with_longest_life(self, seconds: u64) -> Self {
        Self { life_s_max: seconds, ..self }
    }

    /// A token for a role, named `name` (for a subject: the controller's id of the person), for `seconds`.
    ///
    /// # Errors
    /// The name is empty, the role can't be had by a credential, or the token would live longer than it may.
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
        let claims = Claims {
            iss: ISSUER.into(),
            aud: ISSUER.into(),
            controller: self.controller.clone(),
            role: role_name(claim.into()).ok_or(CredentialError::Mint("no such role"))?.into(),
            sub: name.into(),
            exp: now_s.saturating_add(seconds),
            iat: Some(now_s),
            nbf: None,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.encoding)
            .map_err(|_| CredentialError::Mint("signing failed"))
    }

    /// The caller behind a token.
    ///
    /// # Errors
    /// The token is malformed, expired, not valid yet, of a longer life than is allowed, from another issuer,
    /// for another controller, or its signature does not hold.
    pub fn authenticate(&self, token: &str) -> Result<Arc<Caller>, CredentialError> {
        let digest = digest_of(token);
        let known = self.remembers(&digest).map_or_else(|| self.verified(token, digest, Guard::NONE), Ok);
        known.map(|verified| verified.caller)
    }

    /// What is known of a token that was verified before and has not expired.
    fn remembers(&self, digest: &TokenDigest) -> Option<Verified> {
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
        self.cached_tokens.put(digest, verified.clone());
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
        // Of a token that does not say when it was made, or says a time to come, the rest of its life counts.
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

/// The header of a token of any issuer.
///
/// # Errors
/// It is malformed, or demands that extensions be understood (`crit`, RFC 7515, 4.1.11): none is understood
/// here.
pub(crate) fn header_of(token: &str) -> Result<Header, CredentialError> {
    let malformed = CredentialError::Invalid("malformed");
    let header = jsonwebtoken::decode_header(token).map_err(|_| malformed)?;
    if header.crit.is_some() {
        return Err(CredentialError::Invalid("its header has `crit`, and no extension is understood here"));
    }
    Ok(header)
}

/// The caller of a role and a name; a subject's name is the controller's id of the person.
///
/// # Errors
/// The name is empty or out of bounds.
pub(crate) fn caller_named(claim: Claim, name: String) -> Result<Caller, CredentialError> {
    let Claim { role, channel } = claim;
    if role == Role::Subject {
        let subject = SubjectId::new(&name).map_err(|_| CredentialError::Invalid("bad subject"))?;
        return Ok(Caller { role, channel, name: String::new(), subject: Some(subject) });
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(CredentialError::Invalid("bad name"));
    }
    Ok(Caller { role, channel, name, subject: None })
}

/// Stands before the work of verifying a token: of those who bring too many bad ones, no more are verified.
#[derive(Clone, Copy)]
pub struct Guard<'a> {
    throttle: Option<&'a Throttle>,
    from: Option<IpAddr>,
}

impl Guard<'_> {
    /// Lets everything be verified.
    pub const NONE: Self = Self { throttle: None, from: None };

    pub(crate) fn verify<T>(
        self,
        verify: impl FnOnce() -> Result<T, CredentialError>,
    ) -> Result<T, CredentialError> {
        match self.throttle {
            Some(throttle) => throttle.verify(self.from, verify),
            None => verify(),
        }
    }
}

/// Whose word counts about the callers of one controller.
pub struct Trusted {
    /// Which controller.
    pub controller: String,
    /// The built-in issuer, with the controller's own key.
    pub issuer: Option<Arc<Issuer>>,
    /// Another one.
    pub tokens: Option<Arc<Tokens>>,
    /// What its credentials are judged by.
    pub clock: Arc<CredentialClock>,
}

impl Trusted {
    /// The caller behind a token, and for how long that counts.
    fn caller(
        &self,
        token: &str,
        digest: TokenDigest,
        guard: Guard<'_>,
    ) -> Result<(Arc<Caller>, Lifetime), CredentialError> {
        let verified = match self.remembers(&digest) {
            Some(verified) => verified,
            None => self.verified(token, digest, guard)?,
        };
        let validity = match (verified.key, &self.tokens) {
            (Some(key), Some(tokens)) => Lifetime::Key(verified.expires_s, Arc::clone(tokens), key),
            _ => Lifetime::Token(verified.expires_s),
        };
        Ok((verified.caller, validity))
    }

    fn remembers(&self, digest: &TokenDigest) -> Option<Verified> {
        let cached_tokens = self.issuer.as_ref().and_then(|issuer| issuer.remembers(digest));
        cached_tokens.or_else(|| self.tokens.as_ref().and_then(|tokens| tokens.remembers(digest)))
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

/// Every way to say who calls, and of which controller.
pub struct Credentials {
    /// The first part of every origin: what certificates must be for.
    ledger: String,
    throttle: Throttle,
    /// By number, as callers are told apart from here on.
    trusted: Vec<Trusted>,
    /// Numbers of the controllers that verified tokens are for.
    numbers: TokenCache<usize>,
}

/// The claim that says whose keys a token has to be checked with. Nothing else is believed before that.
#[derive(Deserialize)]
struct Named {
    controller: String,
}

impl Credentials {
    /// For the controllers of one ledger, in the order of their numbers. From one address so many bad tokens
    /// are verified in a minute.
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

    /// Who calls, the number of their controller, and for how long that counts: as the token says, or where
    /// there is none, as the connection's certificate.
    ///
    /// # Errors
    /// There is neither, it is not valid or no longer, or its controller is not here.
    pub(crate) fn caller(
        &self,
        bearer: Option<&str>,
        connection: &Extensions,
    ) -> Result<(usize, Arc<Caller>, Watched), CredentialError> {
        let peer = connection.get::<Peer>();
        let Some(token) = bearer.map(str::trim) else {
            let certificate = peer.and_then(|peer| peer.certificate.as_ref());
            let certificate = certificate.ok_or(CredentialError::Missing)?;
            let validity = Lifetime::Certificate(Arc::clone(certificate));
            let (number, caller) = self.of_certificate(certificate.uri_names())?;
            let trusted = self.trusted.get(number).ok_or(CredentialError::Missing)?;
            validity.check(trusted.clock.now_ms())?;
            return Ok((number, Arc::new(caller), Watched::new(validity, Arc::clone(&trusted.clock))));
        };
        let digest = digest_of(token);
        let number = self.numbers.get(&digest);
        // Checked as if it were for the first where its controller is not here: forging a token tells nobody
        // who is.
        let claimed = number.or_else(|| self.claimed(token)).unwrap_or_default();
        let trusted = self.trusted.get(claimed).ok_or(CredentialError::Missing)?;
        let guard = Guard { throttle: Some(&self.throttle), from: peer.and_then(|peer| peer.address) };
        let (caller, validity) = trusted.caller(token, digest, guard)?;
        if number.is_none() {
            self.numbers.put(digest, claimed);
        }
        Ok((claimed, caller, Watched::new(validity, Arc::clone(&trusted.clock))))
    }

    /// Whose a token says that it is; that is not believed before it is checked with their keys.
    fn claimed(&self, token: &str) -> Option<usize> {
        let named = jsonwebtoken::dangerous::insecure_decode_claims::<Named>(token).ok()?;
        self.number_of(&named.controller)
    }

    fn number_of(&self, controller: &str) -> Option<usize> {
        self.trusted.iter().position(|trusted| trusted.controller == controller)
    }

    /// `spiffe://<ledger>/<controller>/<role>/<name>`. It must be the only URI of the certificate (SPIFFE
    /// X.509-SVID, 2): of several, nothing says which one is meant.
    fn of_certificate(&self, names: &[String]) -> Result<(usize, Caller), CredentialError> {
        let name = match names {
            [] => return Err(CredentialError::Missing),
            [name] => name.strip_prefix("spiffe://").ok_or(CredentialError::Missing)?,
            _ => return Err(CredentialError::Invalid("the certificate has several URI names")),
        };
        let rest = name.strip_prefix(self.ledger.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let rest = rest.ok_or(CredentialError::Invalid("the certificate is for another ledger"))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let [controller, role, name] = parts.as_slice() else {
            return Err(CredentialError::Invalid("the certificate names no controller, role and name"));
        };
        let claim = role_from_name(role).ok_or(CredentialError::Invalid("unknown role"))?;
        let caller = caller_named(claim, (*name).to_owned())?;
        Ok((self.number_of(controller).ok_or(CredentialError::Elsewhere)?, caller))
    }
}

/// What a credential may do: a role, and for a service whether it is a channel, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The role.
    pub role: Role,
    /// Of a service: people speak through it, too.
    pub channel: bool,
}

impl Claim {
    /// An application that people speak through and that asks for use.
    pub const SERVICE_CHANNEL: Self = Self { role: Role::Service, channel: true };

    const fn of(role: Role) -> Self {
        Self { role, channel: false }
    }
}

impl From<Role> for Claim {
    fn from(role: Role) -> Self {
        Self::of(role)
    }
}

/// Roles that a credential can have, as they are written in tokens and certificates. Only letters and dashes:
/// a SPIFFE id has no others.
pub const ROLES: [(Claim, &str); 8] = [
    (Claim::of(Role::Service), "service"),
    (Claim::of(Role::Channel), "channel"),
    (Claim::SERVICE_CHANNEL, "service-channel"),
    (Claim::of(Role::Subject), "subject"),
    (Claim::of(Role::Steward), "steward"),
    (Claim::of(Role::Authority), "authority"),
    (Claim::of(Role::Auditor), "auditor"),
    (Claim::of(Role::Operator), "operator"),
];

/// A role as it is written in tokens.
#[must_use]
pub fn role_name(claim: Claim) -> Option<&'static str> {
    ROLES.iter().find(|(each, _)| *each == claim).map(|(_, name)| *name)
}

/// The role that a token names.
#[must_use]
pub fn role_from_name(name: &str) -> Option<Claim> {
    ROLES.iter().find(|(_, each)| *each == name).map(|(claim, _)| *claim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::clock::SystemClock;
    use std::os::unix::fs::PermissionsExt;

    fn issuer(dir: &Path, controller: &str) -> Issuer {
        Issuer::load_or_create(&dir.join("issuer.key"), controller, Arc::new(SystemClock)).unwrap()
    }

    #[test]
    fn a_token_names_its_caller() {
        let dir = tempfile::tempdir().unwrap();
        let token = issuer(dir.path(), "acme").mint(Role::Service, "tutor", 60).unwrap();
        // A second issuer over the same key file accepts it; twice, the second time from memory.
        let again = issuer(dir.path(), "acme");
        for _ in 0..2 {
            let caller = again.authenticate(&token).unwrap();
            assert_eq!((caller.role, caller.name.as_str()), (Role::Service, "tutor"));
            assert!(!caller.channel, "a service's token is no channel's");
        }
    }

    #[test]
    fn a_token_says_whether_people_speak_through_a_service() {
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
        let elsewhere = issuer(dir.path(), "other").mint(Role::Service, "tutor", 60).unwrap();
        let mut tampered = ours.mint(Role::Service, "tutor", 60).unwrap();
        tampered.truncate(tampered.len() - 4);
        for token in [expired, foreign, elsewhere, tampered, String::new(), "a.b.c".into()] {
            assert!(ours.authenticate(&token).is_err());
        }
    }

    #[test]
    fn a_token_lives_no_longer_than_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let ours = issuer(dir.path(), "acme");
        let long = ours.mint(Role::Service, "tutor", LIFE_S_MAX).unwrap();
        assert!(ours.authenticate(&long).is_ok());
        assert!(ours.mint(Role::Service, "tutor", LIFE_S_MAX + 1).is_err());
        let short = issuer(dir.path(), "acme").with_longest_life(86_400);
        assert!(short.authenticate(&long).is_err(), "it was made when more was allowed");
        let longer = issuer(dir.path(), "acme").with_longest_life(2 * LIFE_S_MAX);
        let very_long = longer.mint(Role::Service, "tutor", 2 * LIFE_S_MAX).unwrap();
        assert!(longer.authenticate(&very_long).is_ok());
        assert!(ours.authenticate(&very_long).is_err());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(issuer(dir.path(), "acme"));
        let path = dir.path().join("issuer.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Issuer::load_or_create(&path, "acme", Arc::new(SystemClock)).is_err());
    }
}
