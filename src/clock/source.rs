//! Where time and randomness come from: the trait, and the machine's own clock.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that several parts of the daemon share.
pub type SharedClock = Arc<dyn Clock>;

/// A source of time and randomness.
pub trait Clock: Send + Sync {
    /// The time, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// The time of a monotonic clock, in milliseconds from an arbitrary origin. It also runs while the
    /// machine sleeps. The default is [`Clock::now_ms`]; with it, a jump back is detected, but a jump ahead
    /// is not.
    fn steady_ms(&self) -> u64 {
        self.now_ms()
    }
    /// The latest possible time, in milliseconds since the Unix epoch. It differs from [`Clock::now_ms`] only
    /// while the time is in doubt.
    fn latest_ms(&self) -> u64 {
        self.now_ms()
    }
    /// Fills `bytes` with random bytes that are fit for keys.
    fn fill(&self, bytes: &mut [u8]);
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
        reason = "without randomness no key may be made, so stopping is the safe outcome"
    )]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system provides randomness");
    }
}
