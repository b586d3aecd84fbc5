//! How many calls one credential may make: in a span of time, at once, and with how many bytes under way.
//! What is counted is a number made of controller, role and name; the names themselves are not kept.

use crate::api::access::byte_budget::{Budget, Counted, RETRY_AFTER};
use crate::api::status;
use crate::app::Caller;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use lru::LruCache;
use sayso_proof::event::Role;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// Credentials remembered. Whoever has more of them than this begins anew, with each as it comes back.
const REMEMBERED_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// Bytes under way of calls of one address that need no credential.
const OPEN_BYTES_MAX: usize = 1 << 20;

/// Bounds on the calls of one credential.
#[derive(Clone, Copy, Debug)]
pub struct QuotaLimits {
    /// In the long run, a second.
    pub per_second_max: NonZeroU32,
    /// In one go, after a pause.
    pub burst_max: NonZeroU32,
    /// At once.
    pub at_once_max: usize,
}

/// Bounds by role.
#[derive(Clone, Copy, Debug)]
pub struct QuotaOptions {
    /// Of a model service or a channel.
    pub service: QuotaLimits,
    /// Of a person.
    pub subject: QuotaLimits,
    /// Of everybody else.
    pub staff: QuotaLimits,
    /// Of one address, without a credential.
    pub open: QuotaLimits,
    /// Bytes of requests and large answers under way, of one credential.
    pub request_bytes_max: usize,
    /// The same of everybody together.
    pub all_request_bytes_max: usize,
}

/// What a call is for: each purpose has an allowance of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallPurpose {
    /// A person may say no with it: other calls of the same credential must not use up its allowance.
    Refusal,
    /// Everything else.
    Other,
}

/// What each credential has made use of.
pub struct Quotas {
    options: QuotaOptions,
    clock: DefaultClock,
    hasher: RandomState,
    known: Mutex<LruCache<u64, Arc<Allowance>>>,
    /// Bytes under way of everybody.
    all: Arc<Budget>,
}

/// What one credential has made use of.
struct Allowance {
    rate: DefaultDirectRateLimiter,
    at_once: Arc<Semaphore>,
    /// Bytes under way.
    bytes: Arc<Budget>,
}

/// A call that was let in; it counts until this is dropped.
pub struct Admission {
    bytes: Arc<Budget>,
    all: Arc<Budget>,
    _at_once: OwnedSemaphorePermit,
}

impl Quotas {
    /// Nothing was made use of yet.
    #[must_use]
    pub fn new(options: QuotaOptions) -> Self {
        let known = Mutex::new(LruCache::new(REMEMBERED_MAX));
        let all = Arc::new(Budget::new(options.all_request_bytes_max));
        Self { options, clock: DefaultClock::default(), hasher: RandomState::new(), known, all }
    }

    /// One more call of a caller of the controller with this number. Calls with which a person may say no are
    /// counted by themselves, within the same limits.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, with when to try again: it makes too many.
    pub fn enter(
        &self,
        controller: usize,
        caller: &Caller,
        purpose: CallPurpose,
    ) -> Result<Admission, Status> {
        let subject = caller.subject.as_ref().map(|subject| subject.as_str());
        let number =
            self.hasher.hash_one((controller, i32::from(caller.role), &caller.name, subject, purpose));
        let bounds = match caller.role {
            Role::Service | Role::Channel => self.options.service,
            Role::Subject => self.options.subject,
            _ => self.options.staff,
        };
        self.enter_as(number, bounds, self.options.request_bytes_max)
    }

    /// One more call from an address that needs no credential.
    ///
    /// # Errors
    /// As [`Quotas::enter`].
    pub fn enter_open(&self, from: Option<IpAddr>) -> Result<Admission, Status> {
        let number = self.hasher.hash_one(from.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        self.enter_as(number, self.options.open, OPEN_BYTES_MAX)
    }

    fn enter_as(&self, number: u64, bounds: QuotaLimits, bytes_max: usize) -> Result<Admission, Status> {
        let allowance = self.of(number, bounds, bytes_max);
        if let Err(early) = allowance.rate.check() {
            return Err(status::too_many(early.wait_time_from(self.clock.now())));
        }
        let at_once = Arc::clone(&allowance.at_once).try_acquire_owned();
        let at_once = at_once.map_err(|_| status::too_many(RETRY_AFTER))?;
        let (bytes, all) = (Arc::clone(&allowance.bytes), Arc::clone(&self.all));
        Ok(Admission { bytes, all, _at_once: at_once })
    }

    fn of(&self, number: u64, bounds: QuotaLimits, bytes_max: usize) -> Arc<Allowance> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = known.get_or_insert(number, || {
            let quota = Quota::per_second(bounds.per_second_max).allow_burst(bounds.burst_max);
            Arc::new(Allowance {
                rate: DefaultDirectRateLimiter::direct_with_clock(quota, self.clock.clone()),
                at_once: Arc::new(Semaphore::new(bounds.at_once_max)),
                bytes: Arc::new(Budget::new(bytes_max)),
            })
        });
        Arc::clone(allowance)
    }
}

impl Admission {
    /// For the bytes of this call's request, or of its answer.
    #[must_use]
    pub fn counted(&self) -> Counted {
        Counted::new(Arc::clone(&self.bytes), Arc::clone(&self.all))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::time::Duration;
    use tonic::Code;
    use tonic_types::StatusExt;

    fn caller(role: Role, name: &str) -> Caller {
        Caller { role, channel: false, name: name.into(), subject: None }
    }

    fn calls(burst: u32, at_once_max: usize) -> Quotas {
        let one = NonZeroU32::new(1).unwrap();
        let bounds =
            QuotaLimits { per_second_max: one, burst_max: NonZeroU32::new(burst).unwrap(), at_once_max };
        Quotas::new(QuotaOptions {
            service: bounds,
            subject: bounds,
            staff: bounds,
            open: bounds,
            request_bytes_max: 100,
            all_request_bytes_max: 1_000,
        })
    }

    #[test]
    fn each_credential_has_a_rate_of_its_own() {
        let calls = calls(2, 10);
        let tutor = caller(Role::Service, "tutor");
        for _ in 0..2 {
            drop(calls.enter(0, &tutor, CallPurpose::Other).unwrap());
        }
        let Err(refused) = calls.enter(0, &tutor, CallPurpose::Other) else { unreachable!("let in") };
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        // What a person refuses does not wait for what else was called.
        assert!(calls.enter(0, &tutor, CallPurpose::Refusal).is_ok());
        // Of another name, role or controller.
        assert!(calls.enter(0, &caller(Role::Service, "other"), CallPurpose::Other).is_ok());
        assert!(calls.enter(0, &caller(Role::Steward, "tutor"), CallPurpose::Other).is_ok());
        assert!(calls.enter(1, &tutor, CallPurpose::Other).is_ok());
    }

    #[test]
    fn calls_at_once_and_bytes_at_once_are_bounded_and_freed() {
        let calls = calls(1_000, 2);
        let tutor = caller(Role::Service, "tutor");
        let (first, second) = (
            calls.enter(0, &tutor, CallPurpose::Other).unwrap(),
            calls.enter(0, &tutor, CallPurpose::Other).unwrap(),
        );
        assert!(calls.enter(0, &tutor, CallPurpose::Other).is_err());
        let (mut one, mut other) = (first.counted(), second.counted());
        one.add(60).unwrap();
        other.add(40).unwrap();
        assert!(other.add(1).is_err());
        drop((one, other));
        first.counted().add(100).unwrap();
        drop(first);
        assert!(calls.enter(0, &tutor, CallPurpose::Other).is_ok());
    }

    #[test]
    fn an_address_has_a_few_calls_without_a_credential() {
        let calls = calls(1_000, 2);
        let from = |text: &str| Some(text.parse().unwrap());
        let (first, _second) =
            (calls.enter_open(from("10.0.0.1")).unwrap(), calls.enter_open(from("10.0.0.1")));
        assert!(calls.enter_open(from("10.0.0.1")).is_err());
        assert!(calls.enter_open(from("10.0.0.2")).is_ok() && calls.enter_open(None).is_ok());
        drop(first);
        assert!(calls.enter_open(from("10.0.0.1")).is_ok());
    }
}
