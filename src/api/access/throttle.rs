//! Limits the number of invalid tokens from one address. Beyond the limit, a token from that address is
//! accepted only if it was verified before. Every other token is refused without being checked.

use crate::api::access::error::CredentialError;
use crate::clock::SharedClock;
use lru::LruCache;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The largest number of addresses whose invalid tokens are counted. If there are more, the least recently
/// used one is dropped and starts again at zero.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// The span of time that is counted together, in milliseconds.
const SPAN_MS: u64 = 60_000;

/// Counts invalid tokens by address.
pub struct Throttle {
    per_minute_max: u32,
    clock: SharedClock,
    /// The start of the span (milliseconds since the Unix epoch), and the number of invalid tokens in it.
    counts: Mutex<LruCache<IpAddr, (u64, u32)>>,
}

impl Throttle {
    /// Allows `per_minute_max` invalid tokens from each address in a minute.
    #[must_use]
    pub fn new(per_minute_max: u32, clock: SharedClock) -> Self {
        Self { per_minute_max, clock, counts: Mutex::new(LruCache::new(ADDRESSES_MAX)) }
    }

    /// Verifies a token from an address, unless too many invalid ones came from it.
    ///
    /// # Errors
    /// Too many invalid tokens came from the address; or this token is invalid, which is counted.
    pub fn verify<T>(
        &self,
        from: Option<IpAddr>,
        verify: impl FnOnce() -> Result<T, CredentialError>,
    ) -> Result<T, CredentialError> {
        let Some(from) = from else { return verify() };
        let now_ms = self.clock.now_ms();
        if let Some((since_ms, count)) = self.counts().get(&from) {
            let passed_ms = now_ms.saturating_sub(*since_ms);
            if *count >= self.per_minute_max && passed_ms < SPAN_MS {
                return Err(CredentialError::TooMany(Duration::from_millis(SPAN_MS - passed_ms)));
            }
        }
        let verified = verify();
        // Other errors do not count. A valid credential for another controller, for example, is not an
        // attempt to guess one.
        if matches!(verified, Err(CredentialError::Invalid(_))) {
            let mut counts = self.counts();
            let counted = counts.get_or_insert_mut(from, || (now_ms, 0));
            if now_ms.saturating_sub(counted.0) >= SPAN_MS {
                *counted = (now_ms, 0);
            }
            counted.1 = counted.1.saturating_add(1);
        }
        verified
    }

    fn counts(&self) -> MutexGuard<'_, LruCache<IpAddr, (u64, u32)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies the throttle to the verification of a token.
#[derive(Clone, Copy)]
pub struct Guard<'a> {
    /// The throttle. With `None`, every token is verified.
    pub throttle: Option<&'a Throttle>,
    /// The address that the token came from.
    pub from: Option<IpAddr>,
}

impl Guard<'_> {
    /// A guard that lets every token be verified.
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
