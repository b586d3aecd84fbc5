//! How long a credential counts: until its own end, and as long as what vouches for it is trusted. A call
//! that goes on looks every so often.

use crate::api::access::credential::CredentialError;
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

/// Longest time between two looks, milliseconds.
const LOOK_MS: u64 = 1_000;

/// How long a credential counts.
#[derive(Clone)]
pub enum Lifetime {
    /// A token of the built-in issuer: until this second.
    Token(u64),
    /// A token of another one: until this second, and as long as its issuer stands by the key.
    Key(u64, Arc<Tokens>, Arc<TrustedKey>),
    /// A certificate: as long as it is good.
    Certificate(Arc<ClientCertificate>),
}

impl Lifetime {
    /// Whether it counts now.
    ///
    /// # Errors
    /// It does not: what to renew.
    pub fn check(&self, now_ms: u64) -> Result<(), CredentialError> {
        let lapsed = CredentialError::Lapsed;
        if self.ends_ms().is_some_and(|ends_ms| ends_ms <= now_ms) {
            return Err(lapsed("the token has expired; get a new one and call again"));
        }
        match self {
            Self::Key(_, tokens, key) => tokens.trusts(key),
            Self::Certificate(certificate) if !certificate.is_valid(now_ms) => Err(lapsed(
                "the certificate has expired or was taken back; get a new one, connect and call again",
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

/// Looks whether a credential still counts, while what it let in goes on.
pub struct Watched {
    validity: Lifetime,
    clock: Arc<CredentialClock>,
    next_ms: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    /// Of a credential that counted a moment ago.
    #[must_use]
    pub fn new(validity: Lifetime, clock: Arc<CredentialClock>) -> Self {
        let mut watched = Self { validity, clock, next_ms: 0, timer: None };
        watched.set_next(watched.clock.now_ms());
        watched
    }

    /// Whether it may have ended, though it counts: while the machine's clock is not believed, by the
    /// ledger's time.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.clock.is_in_doubt() && self.validity.check(self.clock.strict_ms()).is_err()
    }

    /// Whether it still counts: exact about its own end, and within a second about what vouches for it.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, with what to renew.
    pub fn check(&mut self) -> Result<(), Status> {
        let now_ms = self.clock.now_ms();
        // A clock that was set back must not put off the next look.
        if now_ms >= self.next_ms || self.next_ms - now_ms > LOOK_MS {
            self.validity.check(now_ms).map_err(|error| status::of_credential(&error))?;
            self.set_next(now_ms);
        }
        Ok(())
    }

    /// As [`Watched::check`], and wakes whoever waits when it is time for the next look.
    ///
    /// # Errors
    /// As there.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        loop {
            self.check()?;
            let wait_ms = self.next_ms.saturating_sub(self.clock.now_ms()).clamp(1, LOOK_MS);
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
        let next_ms = now_ms.saturating_add(LOOK_MS);
        self.next_ms = self.validity.ends_ms().map_or(next_ms, |ends_ms| ends_ms.min(next_ms));
    }
}
