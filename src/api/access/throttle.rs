//! How many bad tokens one address may bring: beyond them, what was not verified before is not even looked
//! at.

use crate::api::access::credential::CredentialError;
use crate::clock::SharedClock;
use lru::LruCache;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Addresses remembered; whoever has more of them begins anew with each.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// What is counted together, milliseconds.
const SPAN_MS: u64 = 60_000;

/// Bad tokens by address.
pub struct Throttle {
    per_minute_max: u32,
    clock: SharedClock,
    /// Since when (milliseconds since the Unix epoch), and how many.
    known: Mutex<LruCache<IpAddr, (u64, u32)>>,
}

impl Throttle {
    /// At most so many from each address in a minute.
    #[must_use]
    pub fn new(per_minute_max: u32, clock: SharedClock) -> Self {
        Self { per_minute_max, clock, known: Mutex::new(LruCache::new(REMEMBERED_MAX)) }
    }

    /// Verifies a token from an address, unless it has had too many bad ones.
    ///
    /// # Errors
    /// That; or what verifying it says, which is counted.
    pub fn verify<T>(
        &self,
        from: Option<IpAddr>,
        verify: impl FnOnce() -> Result<T, CredentialError>,
    ) -> Result<T, CredentialError> {
        let Some(from) = from else { return verify() };
        let now_ms = self.clock.now_ms();
        if let Some((since_ms, count)) = self.known().get(&from) {
            let passed_ms = now_ms.saturating_sub(*since_ms);
            if *count >= self.per_minute_max && passed_ms < SPAN_MS {
                return Err(CredentialError::TooMany(Duration::from_millis(SPAN_MS - passed_ms)));
            }
        }
        let verified = verify();
        // A good credential of a controller that is not here is no guess.
        if matches!(verified, Err(CredentialError::Invalid(_))) {
            let mut known = self.known();
            let counted = known.get_or_insert_mut(from, || (now_ms, 0));
            if now_ms.saturating_sub(counted.0) >= SPAN_MS {
                *counted = (now_ms, 0);
            }
            counted.1 = counted.1.saturating_add(1);
        }
        verified
    }

    fn known(&self) -> MutexGuard<'_, LruCache<IpAddr, (u64, u32)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
