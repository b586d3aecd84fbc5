//! How long a credential is valid: until it expires, and as long as its issuer or certificate authority is
//! trusted. Long calls check it repeatedly.

use crate::api::access::error::CredentialError;
use crate::api::access::issuer::Tokens;
use crate::api::access::jwks::TrustedKey;
use crate::api::status;
use crate::clock::{Clock, CredentialClock};
use crate::tls::ClientCertificate;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;
use tonic::Status;

/// The longest time between two checks, in milliseconds.
const CHECK_MS: u64 = 1_000;

/// How long a credential is valid.
#[derive(Clone)]
pub enum Lifetime {
    /// A token of the built-in issuer is valid until this time, in seconds since the Unix epoch.
    Token(u64),
    /// A token of an external issuer is valid until this time, in seconds since the Unix epoch, but only as
    /// long as the issuer publishes the key.
    Key(u64, Arc<Tokens>, Arc<TrustedKey>),
    /// A certificate is valid until it expires, until it is revoked, or until its authority is no longer
    /// trusted.
    Certificate(Arc<ClientCertificate>),
}

impl Lifetime {
    /// Checks that the credential is valid now.
    ///
    /// # Errors
    /// The credential is no longer valid. The error says what to renew.
    pub fn check(&self, now_ms: u64) -> Result<(), CredentialError> {
        let lapsed = CredentialError::Lapsed;
        if self.ends_ms().is_some_and(|ends_ms| ends_ms <= now_ms) {
            return Err(lapsed("the token has expired; get a new one and retry"));
        }
        match self {
            Self::Key(_, tokens, key) => tokens.trusts(key),
            Self::Certificate(certificate) if !certificate.is_valid(now_ms) => Err(lapsed(
                "the certificate has expired or was revoked; get a new one, connect again and retry",
            )),
            _ => Ok(()),
        }
    }

    fn ends_ms(&self) -> Option<u64> {
        match self {
            Self::Token(ends_s) | Self::Key(ends_s, ..) => Some(ends_s.saturating_mul(1_000)),
            Self::Certificate(_) => None,
        }
    }
}

/// Checks during a call that its credential is still valid.
pub struct Watched {
    lifetime: Lifetime,
    clock: Arc<CredentialClock>,
    next_ms: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// Watches a credential that was just verified.
    #[must_use]
    pub fn new(lifetime: Lifetime, clock: Arc<CredentialClock>) -> Self {
        let mut watched = Self { lifetime, clock, next_ms: 0, timer: None };
        watched.set_next(watched.clock.now_ms());
        watched
    }

    /// Whether the credential may have expired by the ledger's time while the machine's clock is in doubt.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.clock.is_in_doubt() && self.lifetime.check(self.clock.strict_ms()).is_err()
    }

    /// Checks that the credential is still valid. If the credential has expired, this is noticed at once. If
    /// its issuer or authority is no longer trusted, this is noticed within a second.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, with a message that says what to renew.
    pub fn check(&mut self) -> Result<(), Status> {
        let now_ms = self.clock.now_ms();
        // A clock that was set back must not delay the next check.
        if now_ms >= self.next_ms || self.next_ms - now_ms > CHECK_MS {
            self.lifetime.check(now_ms).map_err(|error| status::of_credential(&error))?;
            self.set_next(now_ms);
        }
        Ok(())
    }

    /// As [`Watched::check`], but also wakes the task when the next check is due.
    ///
    /// # Errors
    /// As [`Watched::check`].
    pub fn poll(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        loop {
            self.check()?;
            let wait_ms = self.next_ms.saturating_sub(self.clock.now_ms()).clamp(1, CHECK_MS);
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::from_millis(wait_ms))));
            match timer.as_mut().poll(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(()) => self.timer = None,
            }
        }
    }

    fn set_next(&mut self, now_ms: u64) {
        let next_ms = now_ms.saturating_add(CHECK_MS);
        self.next_ms = self.lifetime.ends_ms().map_or(next_ms, |ends_ms| ends_ms.min(next_ms));
    }
}
