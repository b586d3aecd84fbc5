//! How many calls one credential may make: in a span of time, at once, and with how many bytes under way. What is counted
//! is a number made of controller, role and name; the names themselves are not kept.

use super::status;
use crate::app::Caller;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use lru::LruCache;
use sayso_proof::event::Role;
use std::hash::{BuildHasher, RandomState};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// Credentials remembered. Whoever has more of them than this begins anew, with each as it comes back.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// When to try again where too much is under way.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Bounds on the calls of one credential.
#[derive(Clone, Copy, Debug)]
pub struct CallBounds {
    /// In the long run, a second.
    pub per_second_max: NonZeroU32,
    /// In one go, after a pause.
    pub burst_max: NonZeroU32,
    /// At once.
    pub at_once_max: usize,
}

/// Bounds by role.
#[derive(Clone, Copy, Debug)]
pub struct CallsOptions {
    /// Of a model service.
    pub service: CallBounds,
    /// Of a person.
    pub subject: CallBounds,
    /// Of everybody else.
    pub staff: CallBounds,
    /// Bytes of requests that are being read, of one credential.
    pub request_bytes_max: usize,
}

/// What each credential has made use of.
pub struct Calls {
    options: CallsOptions,
    clock: DefaultClock,
    hasher: RandomState,
    known: Mutex<LruCache<u64, Arc<Allowance>>>,
}

/// What one credential has made use of.
struct Allowance {
    rate: DefaultDirectRateLimiter,
    at_once: Arc<Semaphore>,
    /// Bytes of requests that are being read.
    reading: AtomicUsize,
    reading_max: usize,
}

/// A call that was let in; it counts until this is dropped.
pub struct Admission {
    allowance: Arc<Allowance>,
    _at_once: OwnedSemaphorePermit,
}

impl Calls {
    /// Nothing was made use of yet.
    #[must_use]
    pub fn new(options: CallsOptions) -> Self {
        let known = Mutex::new(LruCache::new(REMEMBERED_MAX));
        Self { options, clock: DefaultClock::default(), hasher: RandomState::new(), known }
    }

    /// One more call of a caller of the controller with this number.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, with when to try again: it makes too many.
    pub fn enter(&self, controller: usize, caller: &Caller) -> Result<Admission, Status> {
        let allowance = self.of(controller, caller);
        if let Err(early) = allowance.rate.check() {
            return Err(status::too_many(early.wait_time_from(self.clock.now())));
        }
        let at_once = Arc::clone(&allowance.at_once).try_acquire_owned();
        let at_once = at_once.map_err(|_| status::too_many(RETRY_AFTER))?;
        Ok(Admission { allowance, _at_once: at_once })
    }

    fn of(&self, controller: usize, caller: &Caller) -> Arc<Allowance> {
        let subject = caller.subject.as_ref().map(|subject| subject.as_str());
        let number = self.hasher.hash_one((controller, i32::from(caller.role), &caller.name, subject));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = known.get_or_insert(number, || {
            let bounds = match caller.role {
                Role::Service => self.options.service,
                Role::Subject => self.options.subject,
                _ => self.options.staff,
            };
            let quota = Quota::per_second(bounds.per_second_max).allow_burst(bounds.burst_max);
            Arc::new(Allowance {
                rate: DefaultDirectRateLimiter::direct_with_clock(quota, self.clock.clone()),
                at_once: Arc::new(Semaphore::new(bounds.at_once_max)),
                reading: AtomicUsize::new(0),
                reading_max: self.options.request_bytes_max,
            })
        });
        Arc::clone(allowance)
    }
}

impl Admission {
    /// For the bytes of this call's request.
    pub fn reading(&self) -> Reading {
        Reading { allowance: Arc::clone(&self.allowance), bytes: 0 }
    }
}

/// Bytes of a request that was begun and is not answered yet.
pub struct Reading {
    allowance: Arc<Allowance>,
    bytes: usize,
}

impl Reading {
    /// More bytes of the request are here. A stream of requests counts as its largest one may be, at most: `one_max`.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`: all requests of the credential together have too many.
    pub fn more(&mut self, bytes: usize, one_max: usize) -> Result<(), Status> {
        let bytes = bytes.min(one_max.saturating_sub(self.bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        let before = self.allowance.reading.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.allowance.reading_max {
            return Err(status::too_many(RETRY_AFTER));
        }
        Ok(())
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.allowance.reading.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use tonic::Code;
    use tonic_types::StatusExt;

    fn caller(role: Role, name: &str) -> Caller {
        Caller { role, name: name.into(), subject: None }
    }

    fn calls(burst: u32, at_once_max: usize) -> Calls {
        let one = NonZeroU32::new(1).unwrap();
        let bounds =
            CallBounds { per_second_max: one, burst_max: NonZeroU32::new(burst).unwrap(), at_once_max };
        Calls::new(CallsOptions { service: bounds, subject: bounds, staff: bounds, request_bytes_max: 100 })
    }

    #[test]
    fn each_credential_has_a_rate_of_its_own() {
        let calls = calls(2, 10);
        let tutor = caller(Role::Service, "tutor");
        for _ in 0..2 {
            drop(calls.enter(0, &tutor).unwrap());
        }
        let Err(refused) = calls.enter(0, &tutor) else { unreachable!("let in") };
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        // Of another name, role or controller.
        assert!(calls.enter(0, &caller(Role::Service, "other")).is_ok());
        assert!(calls.enter(0, &caller(Role::Steward, "tutor")).is_ok());
        assert!(calls.enter(1, &tutor).is_ok());
    }

    #[test]
    fn calls_at_once_and_bytes_at_once_are_bounded_and_freed() {
        let calls = calls(1_000, 2);
        let tutor = caller(Role::Service, "tutor");
        let (first, second) = (calls.enter(0, &tutor).unwrap(), calls.enter(0, &tutor).unwrap());
        assert!(calls.enter(0, &tutor).is_err());
        let (mut one, mut other) = (first.reading(), second.reading());
        one.more(60, 80).unwrap();
        other.more(40, 80).unwrap();
        assert!(other.more(1, 80).is_err());
        // A stream counts as one request.
        let mut stream = first.reading();
        drop((one, other));
        for _ in 0..100 {
            stream.more(50, 80).unwrap();
        }
        drop((first, stream));
        assert!(calls.enter(0, &tutor).is_ok());
    }
}
