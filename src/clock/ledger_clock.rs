//! The time of one ledger. It follows the machine's clock while that clock is trusted, and never goes back,
//! not even after a restart.
//!
//! Each reading of the machine's clock is compared with the latest time that [`LedgerClock`] returned. Once a
//! second, a reading is also compared with a monotonic clock. The first reading is also compared with the
//! newest entry of the log and with a time saved in a file. While the machine's clock is too far from these
//! times, the ledger's time follows the monotonic clock. During that time, [`ClockState`] says that the
//! machine's clock is not trusted, and use of personal data is denied. Everything else continues.

use super::source::{Clock, SharedClock};
use super::state::{Accepted, ClockLimits, ClockReading, ClockState};
use super::watermark::Watermark;
use std::io::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far the saved time is ahead of the times that were returned, in milliseconds. So the file need not be
/// written at each reading.
const SAVED_AHEAD_MS: u64 = 5_000;
/// How long readings are trusted after a comparison, in milliseconds.
const TRUSTED_FOR_MS: u64 = 1_000;
/// How long a daemon may have been stopped before its clock is in doubt at the start: 400 days, in
/// milliseconds.
const STOPPED_MS_MAX: u64 = 400 * 86_400_000;
/// Limits how fast the offset to the monotonic clock follows a trusted clock: by at most one millisecond for
/// this many milliseconds of elapsed time.
const FOLLOW_RATE: u64 = 100;

/// The state behind the lock, kept from one comparison to the next.
#[derive(Default)]
struct Comparison {
    accepted: Accepted,
    /// Whether a reading was trusted since the start.
    is_anchored: bool,
    /// When the offset last moved, by the monotonic clock.
    moved_at_ms: u64,
    state: ClockState,
    /// The last reading of the clock that the ledger's time follows, converted to ledger time. That clock is
    /// the machine's clock while it is trusted, and otherwise the monotonic clock.
    followed_ms: u64,
    watermark: Option<Watermark>,
    /// The time saved in the file. Without a file, `u64::MAX`.
    saved_ms: u64,
}

/// The time of a ledger. As a [`Clock`] it returns that time, and randomness from the clock that it wraps.
///
/// [`LedgerClock::now_ms`] reads the machine's clock and takes an atomic maximum. It compares the clocks
/// under a lock once a second, and at each reading while the machine's clock is in doubt.
pub struct LedgerClock {
    clock: SharedClock,
    limits: ClockLimits,
    /// The latest time that was returned.
    returned_ms: AtomicU64,
    /// Readings up to this ledger time are trusted; 0 in doubt.
    trusted_until_ms: AtomicU64,
    /// The ledger's time minus the monotonic clock.
    offset_ms: AtomicI64,
    /// The fields of [`Accepted`], for readings outside the lock. If a reading mixes an old and a new value,
    /// it is not trusted, and the clocks are compared under the lock.
    ahead_ms: AtomicU64,
    accepted_at_ms: AtomicU64,
    /// Set once the newest time of the log is known. Before that, no reading is compared.
    has_begun: AtomicBool,
    comparison: Mutex<Comparison>,
}

impl LedgerClock {
    /// Wraps the machine's clock, without a file.
    #[must_use]
    pub fn new(clock: SharedClock, limits: ClockLimits) -> Self {
        Self::with_watermark(clock, limits, None, None)
    }

    /// Wraps the machine's clock, and saves the ledger's time in this file.
    ///
    /// # Errors
    /// The file cannot be opened, created or read. Damaged content is not an error: the file counts as empty.
    pub fn open(clock: SharedClock, limits: ClockLimits, file: &Path) -> Result<Self, Error> {
        let (watermark, saved_ms) = Watermark::open(file)?;
        Ok(Self::with_watermark(clock, limits, Some(watermark), saved_ms))
    }

    fn with_watermark(
        clock: SharedClock,
        limits: ClockLimits,
        watermark: Option<Watermark>,
        saved_ms: Option<u64>,
    ) -> Self {
        let until_ms = if watermark.is_some() { saved_ms.unwrap_or_default() } else { u64::MAX };
        let comparison = Comparison { watermark, saved_ms: until_ms, ..Comparison::default() };
        Self {
            clock,
            limits,
            returned_ms: AtomicU64::new(saved_ms.unwrap_or_default()),
            trusted_until_ms: AtomicU64::new(0),
            offset_ms: AtomicI64::new(0),
            ahead_ms: AtomicU64::new(0),
            accepted_at_ms: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            comparison: Mutex::new(comparison),
        }
    }

    /// Call it at the start, before the time is read. The ledger's time continues from `recorded_at_ms`, the
    /// time of the newest entry of the log (0 if the log is empty). `accepted` is the clock that an operator
    /// accepted last.
    pub fn begin(&self, recorded_at_ms: u64, accepted: Option<Accepted>) {
        let mut comparison = self.comparison();
        if let Some(accepted) = accepted {
            self.set_accepted(&mut comparison, accepted);
        }
        let returned_ms = self.returned_ms.fetch_max(recorded_at_ms, Ordering::SeqCst).max(recorded_at_ms);
        let (clock_ms, steady_ms) = (self.clock.now_ms(), self.clock.steady_ms());
        let start_ms =
            if returned_ms == 0 { comparison.accepted.ledger_ms_at(clock_ms) } else { returned_ms };
        self.offset_ms.store(signed(start_ms).saturating_sub(signed(steady_ms)), Ordering::SeqCst);
        comparison.is_anchored = false;
        comparison.moved_at_ms = steady_ms;
        self.has_begun.store(true, Ordering::SeqCst);
        let _now_ms = self.compare(&mut comparison);
    }

    /// The ledger's time, and whether the machine's clock is trusted. Reads the machine's clock and the
    /// monotonic clock.
    #[must_use]
    pub fn read(&self) -> ClockReading {
        let clock_ms = self.clock.now_ms();
        let reading_ms = self.ledger_ms_at(clock_ms);
        let returned_ms = self.returned_ms.load(Ordering::SeqCst);
        let expected_ms = self.expected_ms(self.clock.steady_ms());
        if self.is_reading_trusted(reading_ms, returned_ms)
            && self.is_behind_by(reading_ms, expected_ms).is_none()
        {
            let ledger_ms = self.returned_ms.fetch_max(reading_ms, Ordering::SeqCst).max(reading_ms);
            return ClockReading { ledger_ms, clock_ms, state: ClockState::Steady };
        }
        let mut comparison = self.comparison();
        let ledger_ms = self.compare(&mut comparison);
        ClockReading { ledger_ms, clock_ms, state: comparison.state }
    }

    /// Makes every later reading later than `moment_ms`, even if the clock does not move. This separates
    /// events up to that moment from later ones.
    pub fn advance_past(&self, moment_ms: u64) {
        self.returned_ms.fetch_max(moment_ms.saturating_add(1), Ordering::SeqCst);
    }

    /// Whether the machine's clock is trusted.
    #[must_use]
    pub fn state(&self) -> ClockState {
        self.read().state
    }

    /// Compares the clocks, and saves a time ahead of those that were returned, so that readings do not wait
    /// for the file. Call it about once a second. It blocks on the file.
    pub fn save_ahead(&self) {
        let mut comparison = self.comparison();
        let now_ms = self.compare(&mut comparison);
        if comparison.saved_ms < comparison.followed_ms.saturating_add(SAVED_AHEAD_MS / 2) {
            self.advance_watermark(&mut comparison, now_ms);
        }
    }

    /// Saves exactly the latest time that was returned. Call it when the daemon stops.
    pub fn close(&self) {
        let mut comparison = self.comparison();
        let now_ms = self.compare(&mut comparison);
        self.trusted_until_ms.store(0, Ordering::SeqCst);
        self.save_until(&mut comparison, now_ms);
    }

    /// The values to record if an operator accepts the machine's clock now. `None` if the clock is neither
    /// behind nor ahead.
    #[must_use]
    pub fn acceptable(&self) -> Option<Accepted> {
        let ClockReading { ledger_ms, clock_ms, state } = self.read();
        let is_off = matches!(state, ClockState::Behind(_) | ClockState::Ahead(_));
        is_off.then_some(Accepted { clock_ms, ledger_ms: ledger_ms.max(clock_ms) })
    }

    /// Trusts the machine's clock from now on, with the difference to the ledger's time that was accepted.
    pub fn accept(&self, accepted: Accepted) {
        let mut comparison = self.comparison();
        self.set_accepted(&mut comparison, accepted);
        let (clock_ms, steady_ms) = (self.clock.now_ms(), self.clock.steady_ms());
        let reading_ms = accepted.ledger_ms_at(clock_ms);
        self.offset_ms.store(signed(reading_ms).saturating_sub(signed(steady_ms)), Ordering::SeqCst);
        comparison.is_anchored = true;
        comparison.moved_at_ms = steady_ms;
        let _now_ms = self.compare(&mut comparison);
    }

    /// Whether the machine's clock was trusted at the last comparison.
    pub(super) fn is_trusted(&self) -> bool {
        self.trusted_until_ms.load(Ordering::SeqCst) != 0
    }

    /// The time of the machine's clock, in milliseconds since the Unix epoch.
    pub(super) fn machine_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Whether the ledger's time is, or was, ahead of a clock that an operator accepted.
    pub(super) fn has_accepted_difference(&self) -> bool {
        self.ahead_ms.load(Ordering::SeqCst) != 0
    }

    /// The ledger's time when the machine's clock reads `clock_ms`, if that reading is trusted.
    pub(super) fn ledger_ms_at(&self, clock_ms: u64) -> u64 {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        if ahead_ms == 0 {
            return clock_ms;
        }
        let at_ms = self.accepted_at_ms.load(Ordering::Relaxed);
        Accepted { clock_ms: at_ms, ledger_ms: at_ms.saturating_add(ahead_ms) }.ledger_ms_at(clock_ms)
    }

    /// Makes every later write of the file fail.
    #[cfg(test)]
    pub(super) fn fail_writes(&self) {
        let mut comparison = self.comparison();
        comparison.watermark = comparison.watermark.take().map(Watermark::failing);
    }

    fn set_accepted(&self, comparison: &mut Comparison, accepted: Accepted) {
        comparison.accepted = accepted;
        self.trusted_until_ms.store(0, Ordering::SeqCst);
        self.accepted_at_ms.store(accepted.clock_ms, Ordering::SeqCst);
        self.ahead_ms.store(accepted.ledger_ms.saturating_sub(accepted.clock_ms), Ordering::SeqCst);
    }

    fn comparison(&self) -> MutexGuard<'_, Comparison> {
        self.comparison.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expected_ms(&self, steady_ms: u64) -> u64 {
        let expected_ms = signed(steady_ms).saturating_add(self.offset_ms.load(Ordering::SeqCst));
        u64::try_from(expected_ms).unwrap_or_default()
    }

    fn is_behind_by(&self, reading_ms: u64, other_ms: u64) -> Option<u64> {
        let behind_ms = other_ms.saturating_sub(reading_ms);
        (behind_ms > self.limits.behind_ms_max.saturating_add(SAVED_AHEAD_MS)).then_some(behind_ms)
    }

    fn is_reading_trusted(&self, reading_ms: u64, returned_ms: u64) -> bool {
        reading_ms <= self.trusted_until_ms.load(Ordering::SeqCst)
            && self.is_behind_by(reading_ms, returned_ms).is_none()
    }

    /// Reads the machine's clock and the monotonic clock, decides whether the machine's clock is trusted, and
    /// returns the ledger's time.
    fn compare(&self, comparison: &mut Comparison) -> u64 {
        let (clock_ms, steady_ms) = (self.clock.now_ms(), self.clock.steady_ms());
        let reading_ms = comparison.accepted.ledger_ms_at(clock_ms);
        let (returned_ms, expected_ms) =
            (self.returned_ms.load(Ordering::SeqCst), self.expected_ms(steady_ms));
        let ahead_max = if comparison.is_anchored { self.limits.ahead_ms_max } else { STOPPED_MS_MAX };
        let ahead_ms = reading_ms.saturating_sub(expected_ms);
        let state = match self.is_behind_by(reading_ms, returned_ms.max(expected_ms)) {
            Some(behind_ms) => ClockState::Behind(behind_ms),
            None if ahead_ms > ahead_max => ClockState::Ahead(ahead_ms),
            None => ClockState::Steady,
        };
        let now_ms = match state {
            ClockState::Steady => {
                self.follow(comparison, reading_ms, steady_ms);
                returned_ms.max(reading_ms)
            }
            _ => returned_ms.max(expected_ms),
        };
        let now_ms = self.returned_ms.fetch_max(now_ms, Ordering::SeqCst).max(now_ms);
        comparison.followed_ms = if state.is_skewed() { expected_ms } else { reading_ms };
        if now_ms > comparison.saved_ms {
            self.advance_watermark(comparison, now_ms);
        }
        let is_saved = now_ms <= comparison.saved_ms;
        let state = if is_saved || state.is_skewed() { state } else { ClockState::Unsaved };
        let trusted_until_ms = now_ms.saturating_add(TRUSTED_FOR_MS).min(comparison.saved_ms);
        self.trusted_until_ms.store(if state.is_skewed() { 0 } else { trusted_until_ms }, Ordering::SeqCst);
        if state.is_skewed() != comparison.state.is_skewed() {
            log_change(state, now_ms, clock_ms);
        }
        comparison.state = state;
        now_ms
    }

    /// Moves the offset toward a trusted clock, which may drift from the monotonic clock. It moves by a part
    /// of the difference, and at the start by all of it.
    fn follow(&self, comparison: &mut Comparison, reading_ms: u64, steady_ms: u64) {
        let target_ms = signed(reading_ms).saturating_sub(signed(steady_ms));
        let offset_ms = self.offset_ms.load(Ordering::SeqCst);
        let passed_ms = steady_ms.saturating_sub(comparison.moved_at_ms);
        let step_max = if comparison.is_anchored { signed(passed_ms / FOLLOW_RATE) } else { i64::MAX };
        let step = target_ms.saturating_sub(offset_ms).clamp(step_max.saturating_neg(), step_max);
        if step != 0 || target_ms == offset_ms {
            self.offset_ms.store(offset_ms.saturating_add(step), Ordering::SeqCst);
            comparison.moved_at_ms = steady_ms;
        }
        comparison.is_anchored = true;
    }

    /// Saves a time ahead of the clock that the ledger's time follows, not ahead of the ledger's time itself.
    /// Otherwise each kill and restart would move the ledger's time further ahead of that clock.
    fn advance_watermark(&self, comparison: &mut Comparison, now_ms: u64) {
        let until_ms = comparison.followed_ms.saturating_add(SAVED_AHEAD_MS).max(now_ms);
        self.save_until(comparison, until_ms);
    }

    fn save_until(&self, comparison: &mut Comparison, until_ms: u64) {
        let Some(watermark) = &mut comparison.watermark else { return };
        match watermark.save(until_ms) {
            Ok(()) => comparison.saved_ms = until_ms,
            Err(error) => {
                tracing::error!(%error, "the ledger's time cannot be saved; use is denied until it can")
            }
        }
    }
}

impl Clock for LedgerClock {
    fn now_ms(&self) -> u64 {
        let reading_ms = self.ledger_ms_at(self.clock.now_ms());
        let returned_ms = self.returned_ms.load(Ordering::SeqCst);
        if !self.has_begun.load(Ordering::SeqCst) {
            return reading_ms.max(returned_ms);
        }
        if !self.is_reading_trusted(reading_ms, returned_ms) {
            return self.compare(&mut self.comparison());
        }
        if reading_ms <= returned_ms {
            return returned_ms;
        }
        self.returned_ms.fetch_max(reading_ms, Ordering::SeqCst).max(reading_ms)
    }

    fn steady_ms(&self) -> u64 {
        self.clock.steady_ms()
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.clock.fill(bytes);
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn log_change(state: ClockState, ledger_ms: u64, clock_ms: u64) {
    if state.is_skewed() {
        tracing::error!(
            %state, ledger_ms, clock_ms,
            "use is denied; set the machine's clock, or accept it with `sayso accept-clock`"
        );
    } else {
        tracing::info!(ledger_ms, clock_ms, "the clock is steady again");
    }
}
