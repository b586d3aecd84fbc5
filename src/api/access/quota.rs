//! Quotas: how many calls one credential may make in a span of time, how many at the same time, and how many
//! bytes of its requests and answers may be in memory. A credential is identified by a hash of controller,
//! role and name. The names themselves are not stored.

use crate::api::access::byte_budget::{Budget, Counted, RETRY_AFTER};
use crate::api::status;
use crate::app::Caller;
use crate::domain::event::Role;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use lru::LruCache;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// The largest number of credentials whose calls are counted. If there are more, the least recently used one
/// is dropped and starts again at zero.
const CREDENTIALS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
/// The largest number of bytes in progress from one address in calls that need no credential.
const OPEN_BYTES_MAX: usize = 1 << 20;

/// Limits of the calls of one credential.
#[derive(Clone, Copy, Debug)]
pub struct QuotaLimits {
    /// Calls per second on average.
    pub per_second_max: NonZeroU32,
    /// Calls in a burst after a pause.
    pub burst_max: NonZeroU32,
    /// Calls at the same time.
    pub at_once_max: usize,
}

/// Limits by role.
#[derive(Clone, Copy, Debug)]
pub struct QuotaOptions {
    /// For a model service or a channel.
    pub service: QuotaLimits,
    /// For a data subject.
    pub subject: QuotaLimits,
    /// For other roles.
    pub staff: QuotaLimits,
    /// For one address without a credential.
    pub open: QuotaLimits,
    /// Bytes of requests and large answers in progress, for one credential.
    pub request_bytes_max: usize,
    /// The same for all callers together.
    pub all_request_bytes_max: usize,
}

/// The purpose of a call. Each purpose has its own allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallPurpose {
    /// A data subject can refuse with the call, so other calls of the same credential must not use up the
    /// allowance of refusals.
    Refusal,
    /// Any other call.
    Other,
}

/// The quotas of all credentials.
pub struct Quotas {
    options: QuotaOptions,
    clock: DefaultClock,
    hasher: RandomState,
    known: Mutex<LruCache<u64, Arc<Allowance>>>,
    /// Bytes in progress of all callers.
    all: Arc<Budget>,
}

/// The quota of one credential, and how much of it is used.
struct Allowance {
    rate: DefaultDirectRateLimiter,
    at_once: Arc<Semaphore>,
    /// Bytes in progress.
    bytes: Arc<Budget>,
}

/// An admitted call. The call counts against its quota until this value is dropped.
pub struct Admission {
    bytes: Arc<Budget>,
    all: Arc<Budget>,
    _at_once: OwnedSemaphorePermit,
}

impl Quotas {
    /// Quotas with nothing used yet.
    #[must_use]
    pub fn new(options: QuotaOptions) -> Self {
        let known = Mutex::new(LruCache::new(CREDENTIALS_MAX));
        let all = Arc::new(Budget::new(options.all_request_bytes_max));
        Self { options, clock: DefaultClock::default(), hasher: RandomState::new(), known, all }
    }

    /// Admits a call by a caller of the controller with this number. Calls with which a data subject can
    /// refuse count separately, with the same limits.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, with the time to wait, if the caller makes too many calls.
    pub fn enter(
        &self,
        controller: usize,
        caller: &Caller,
        purpose: CallPurpose,
    ) -> Result<Admission, Status> {
        let subject = caller.subject.as_ref().map(|subject| subject.as_str());
        let number =
            self.hasher.hash_one((controller, i32::from(caller.role), &caller.name, subject, purpose));
        let limits = match caller.role {
            Role::Service | Role::Channel => self.options.service,
            Role::Subject => self.options.subject,
            _ => self.options.staff,
        };
        self.enter_as(number, limits, self.options.request_bytes_max)
    }

    /// Admits a call that needs no credential, by address.
    ///
    /// # Errors
    /// As [`Quotas::enter`].
    pub fn enter_open(&self, from: Option<IpAddr>) -> Result<Admission, Status> {
        let number = self.hasher.hash_one(from.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        self.enter_as(number, self.options.open, OPEN_BYTES_MAX)
    }

    fn enter_as(&self, number: u64, limits: QuotaLimits, bytes_max: usize) -> Result<Admission, Status> {
        let allowance = self.of(number, limits, bytes_max);
        if let Err(early) = allowance.rate.check() {
            return Err(status::too_many_calls(early.wait_time_from(self.clock.now())));
        }
        let at_once = Arc::clone(&allowance.at_once).try_acquire_owned();
        let at_once = at_once.map_err(|_| status::too_many_calls(RETRY_AFTER))?;
        let (bytes, all) = (Arc::clone(&allowance.bytes), Arc::clone(&self.all));
        Ok(Admission { bytes, all, _at_once: at_once })
    }

    fn of(&self, number: u64, limits: QuotaLimits, bytes_max: usize) -> Arc<Allowance> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = known.get_or_insert(number, || {
            let quota = Quota::per_second(limits.per_second_max).allow_burst(limits.burst_max);
            Arc::new(Allowance {
                rate: DefaultDirectRateLimiter::direct_with_clock(quota, self.clock.clone()),
                at_once: Arc::new(Semaphore::new(limits.at_once_max)),
                bytes: Arc::new(Budget::new(bytes_max)),
            })
        });
        Arc::clone(allowance)
    }
}

impl Admission {
    /// A count for the bytes of this call's request or answer.
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
        let limits =
            QuotaLimits { per_second_max: one, burst_max: NonZeroU32::new(burst).unwrap(), at_once_max };
        Quotas::new(QuotaOptions {
            service: limits,
            subject: limits,
            staff: limits,
            open: limits,
            request_bytes_max: 100,
            all_request_bytes_max: 1_000,
        })
    }

    #[test]
    fn each_credential_has_its_own_rate() {
        let calls = calls(2, 10);
        let tutor = caller(Role::Service, "tutor");
        for _ in 0..2 {
            drop(calls.enter(0, &tutor, CallPurpose::Other).unwrap());
        }
        let Err(refused) = calls.enter(0, &tutor, CallPurpose::Other) else { unreachable!("admitted") };
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let wait = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        // Refusals have their own allowance.
        assert!(calls.enter(0, &tutor, CallPurpose::Refusal).is_ok());
        // Another name, role or controller has its own allowance, too.
        assert!(calls.enter(0, &caller(Role::Service, "other"), CallPurpose::Other).is_ok());
        assert!(calls.enter(0, &caller(Role::Steward, "tutor"), CallPurpose::Other).is_ok());
        assert!(calls.enter(1, &tutor, CallPurpose::Other).is_ok());
    }

    #[test]
    fn calls_at_once_and_bytes_in_progress_are_limited_and_released() {
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
    fn an_address_may_make_a_few_calls_without_a_credential() {
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
