//! The only source of time and of randomness, so that both can be injected; and the time of a ledger, which never goes back.

mod ledger;
mod mark;

pub use ledger::{Accepted, ClockLimits, ClockReading, ClockState, CredentialClock, LedgerClock};

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Time and randomness, shared by every room that needs them.
pub type SharedClock = Arc<dyn Clock>;

/// Where time and randomness come from.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Milliseconds of a clock that cannot be set, from any beginning; it goes on while the machine sleeps. By default the
    /// same as [`Clock::now_ms`]: a clock without it can show that it went back, but not that it ran ahead.
    fn steady_ms(&self) -> u64 {
        self.now_ms()
    }
    /// The latest moment that it may be, milliseconds since the Unix epoch; later than [`Clock::now_ms`] only while the
    /// time is in doubt.
    fn latest_ms(&self) -> u64 {
        self.now_ms()
    }
    /// Fills `bytes` with unpredictable ones, fit for keys.
    fn fill(&self, bytes: &mut [u8]);
}

/// How long something takes. Monotonic, for measuring only: what is decided or recorded comes from [`Clock`].
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Since the start.
    #[must_use]
    pub fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}

/// The machine's clock and the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn steady_ms(&self) -> u64 {
        let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let (seconds, nanos) = (u64::try_from(since_boot.tv_sec), u64::try_from(since_boot.tv_nsec));
        seconds
            .unwrap_or_default()
            .saturating_mul(1_000)
            .saturating_add(nanos.unwrap_or_default() / 1_000_000)
    }

    #[expect(
        clippy::expect_used,
        reason = "without randomness no key may be made: stopping is the safe outcome"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives randomness");
    }
}

/// A UUIDv7 (RFC 9562 s. 5.7) from this clock.
#[must_use]
pub fn event_id(clock: &dyn Clock) -> [u8; 16] {
    let mut random = [0_u8; 10];
    clock.fill(&mut random);
    uuid::Builder::from_unix_timestamp_millis(clock.now_ms(), &random).into_uuid().into_bytes()
}
