//! The time of one ledger: the machine's clock as long as it can be believed, and never earlier than any time that the
//! ledger has given out, restarts included.
//!
//! A reading is compared with the time that has been given out, with a clock that cannot be set, and after a start with
//! the newest entry of the log and a time kept in a file. While the machine's clock does not fit them, time goes on at the
//! speed of the clock that cannot be set, and [`ClockState`] says so: use is denied then, everything else goes on.

use super::mark::Mark;
use super::{Clock, SharedClock};
use std::io::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How far ahead of the time that is given out a time is kept, milliseconds: it need not be written at each reading.
const KEPT_AHEAD_MS: u64 = 5_000;
/// How far readings are believed without a look at the clock that cannot be set, milliseconds.
const BELIEVED_MS: u64 = 1_000;
/// How long a daemon may have been stopped before its clock is in doubt at the start, milliseconds: 400 days.
const STOPPED_MS_MAX: u64 = 400 * 86_400_000;
/// Of a difference to the clock that cannot be set, one part in so many is taken over in the same time.
const TAKEN_OVER: u64 = 100;
/// Ledger time that is ahead of an accepted clock runs slower by one part in so many, until they meet.
const SLOWER: u64 = 128;

/// How far the machine's clock may be off before it is no longer believed.
#[derive(Clone, Copy, Debug)]
pub struct ClockLimits {
    /// How far behind the time that was given out, milliseconds, beyond the 5 seconds by which a time is kept ahead.
    pub behind_ms_max: u64,
    /// How far ahead of a clock that cannot be set, milliseconds. A machine that was paused looks like that.
    pub ahead_ms_max: u64,
}

impl Default for ClockLimits {
    fn default() -> Self {
        Self { behind_ms_max: 5_000, ahead_ms_max: 600_000 }
    }
}

/// Whether the machine's clock is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockState {
    /// It is.
    #[default]
    Steady,
    /// It went back, or stands still: by so many milliseconds.
    Behind(u64),
    /// It ran ahead by so many milliseconds.
    Ahead(u64),
    /// It may be right, but the time that is given out can't be kept for the next start.
    Unkept,
}

impl ClockState {
    /// Whether use has to be denied.
    #[must_use]
    pub fn is_skewed(self) -> bool {
        self != Self::Steady
    }

    /// How far the clock is off, milliseconds: positive where it is ahead.
    #[must_use]
    pub fn skew_ms(self) -> i64 {
        let whole = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        match self {
            Self::Steady | Self::Unkept => 0,
            Self::Behind(ms) => -whole(ms),
            Self::Ahead(ms) => whole(ms),
        }
    }
}

impl std::fmt::Display for ClockState {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Steady => write!(out, "the clock is steady"),
            Self::Behind(ms) => write!(out, "the clock is {} s behind the ledger's time", ms.div_ceil(1_000)),
            Self::Ahead(ms) => {
                write!(out, "the clock is {} s ahead of the ledger's time", ms.div_ceil(1_000))
            }
            Self::Unkept => write!(out, "the ledger's time can't be kept in its file"),
        }
    }
}

/// Everything that is known of the time now.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    /// The ledger's time, milliseconds since the Unix epoch.
    pub ledger_ms: u64,
    /// What the machine's clock says, milliseconds since the Unix epoch.
    pub clock_ms: u64,
    /// Whether it is believed.
    pub state: ClockState,
}

/// The machine's clock as an operator accepted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// What it said, milliseconds since the Unix epoch.
    pub clock_ms: u64,
    /// The ledger's time that went on from there, milliseconds since the Unix epoch; never earlier.
    pub ledger_ms: u64,
}

impl Accepted {
    /// How far the ledger's time is ahead of the clock while the clock says this.
    fn ahead_ms(self, clock_ms: u64) -> u64 {
        let since_ms = clock_ms.saturating_sub(self.clock_ms);
        self.ledger_ms.saturating_sub(self.clock_ms).saturating_sub(since_ms / SLOWER)
    }
}

/// What is compared, one reading after the other.
#[derive(Default)]
struct Compared {
    accepted: Accepted,
    /// A reading was believed since the start.
    is_anchored: bool,
    /// When the offset was last moved, by the clock that cannot be set.
    moved_at_ms: u64,
    state: ClockState,
    /// What the time was taken from: the machine's clock, or the one that cannot be set.
    driven_ms: u64,
    mark: Option<Mark>,
    /// Until when the time that is given out is kept; without a file, for ever.
    kept_ms: u64,
}

/// The time of a ledger. As a [`Clock`] it gives that time, and the randomness of the clock below it.
///
/// [`LedgerClock::now_ms`] is a reading of the machine's clock and an atomic maximum; once a second of its time, or in doubt, a
/// comparison under a lock.
pub struct LedgerClock {
    clock: SharedClock,
    limits: ClockLimits,
    /// The largest time that was given out.
    given_ms: AtomicU64,
    /// Readings up to this ledger time are believed; 0 in doubt.
    believed_ms: AtomicU64,
    /// Ledger time minus the clock that cannot be set.
    offset_ms: AtomicI64,
    /// [`Accepted`], for readings outside the lock; those that mix two of them are compared.
    ahead_ms: AtomicU64,
    accepted_at_ms: AtomicU64,
    /// Set once the newest time of the log is known; nothing is judged before that.
    is_begun: AtomicBool,
    compared: Mutex<Compared>,
}

impl LedgerClock {
    /// Over the machine's clock; nothing is kept.
    #[must_use]
    pub fn new(clock: SharedClock, limits: ClockLimits) -> Self {
        Self::over(clock, limits, None, None)
    }

    /// Over the machine's clock, with a time that is kept in this file.
    ///
    /// # Errors
    /// The file can't be opened, made or read. What is in it keeps nothing from starting.
    pub fn open(clock: SharedClock, limits: ClockLimits, file: &Path) -> Result<Self, Error> {
        let (mark, kept_ms) = Mark::open(file)?;
        Ok(Self::over(clock, limits, Some(mark), kept_ms))
    }

    fn over(clock: SharedClock, limits: ClockLimits, mark: Option<Mark>, kept_ms: Option<u64>) -> Self {
        let until_ms = if mark.is_some() { kept_ms.unwrap_or_default() } else { u64::MAX };
        let compared = Compared { mark, kept_ms: until_ms, ..Compared::default() };
        Self {
            clock,
            limits,
            given_ms: AtomicU64::new(kept_ms.unwrap_or_default()),
            believed_ms: AtomicU64::new(0),
            offset_ms: AtomicI64::new(0),
            ahead_ms: AtomicU64::new(0),
            accepted_at_ms: AtomicU64::new(0),
            is_begun: AtomicBool::new(false),
            compared: Mutex::new(compared),
        }
    }

    /// At a start, before any time is asked for: time goes on from the newest that the log holds (0: it is empty), and with
    /// the clock that was accepted last.
    pub fn begin(&self, recorded_at_ms: u64, accepted: Option<Accepted>) {
        let mut compared = self.compared();
        if let Some(accepted) = accepted {
            self.take(&mut compared, accepted);
        }
        let given_ms = self.given_ms.fetch_max(recorded_at_ms, Ordering::SeqCst).max(recorded_at_ms);
        let (clock_ms, steady_ms) = (self.clock.now_ms(), self.clock.steady_ms());
        let start_ms = if given_ms == 0 { reading(compared.accepted, clock_ms) } else { given_ms };
        self.offset_ms.store(signed(start_ms).saturating_sub(signed(steady_ms)), Ordering::SeqCst);
        compared.is_anchored = false;
        compared.moved_at_ms = steady_ms;
        self.is_begun.store(true, Ordering::SeqCst);
        let _from_here = self.compare(&mut compared);
    }

    /// The ledger's time and whether the machine's clock is believed; both clocks are read.
    #[must_use]
    pub fn look(&self) -> ClockReading {
        let clock_ms = self.clock.now_ms();
        let reading_ms = self.reading(clock_ms);
        let given_ms = self.given_ms.load(Ordering::SeqCst);
        let expected_ms = self.expected_ms(self.clock.steady_ms());
        if self.is_believed(reading_ms, given_ms) && self.is_behind_by(reading_ms, expected_ms).is_none() {
            let ledger_ms = self.given_ms.fetch_max(reading_ms, Ordering::SeqCst).max(reading_ms);
            return ClockReading { ledger_ms, clock_ms, state: ClockState::Steady };
        }
        let mut compared = self.compared();
        let ledger_ms = self.compare(&mut compared);
        ClockReading { ledger_ms, clock_ms, state: compared.state }
    }

    /// From here on every time is later than this one, also where the clock stands still: what is from before can be told.
    pub fn pass(&self, moment_ms: u64) {
        self.given_ms.fetch_max(moment_ms.saturating_add(1), Ordering::SeqCst);
    }

    /// Whether the machine's clock is believed.
    #[must_use]
    pub fn state(&self) -> ClockState {
        self.look().state
    }

    /// Compares, and keeps a time ahead of what is given out, so that readings need not wait for it. Called every second or so;
    /// blocks on the file.
    pub fn keep(&self) {
        let mut compared = self.compared();
        let now_ms = self.compare(&mut compared);
        if compared.kept_ms < compared.driven_ms.saturating_add(KEPT_AHEAD_MS / 2) {
            self.keep_ahead(&mut compared, now_ms);
        }
    }

    /// At a stop: keeps exactly what was given out.
    pub fn close(&self) {
        let mut compared = self.compared();
        let now_ms = self.compare(&mut compared);
        self.believed_ms.store(0, Ordering::SeqCst);
        self.keep_until(&mut compared, now_ms);
    }

    /// What accepting the machine's clock as it is would come to; nothing while it is believed.
    #[must_use]
    pub fn acceptable(&self) -> Option<Accepted> {
        let ClockReading { ledger_ms, clock_ms, state } = self.look();
        let is_off = matches!(state, ClockState::Behind(_) | ClockState::Ahead(_));
        is_off.then_some(Accepted { clock_ms, ledger_ms: ledger_ms.max(clock_ms) })
    }

    /// From here on the machine's clock is believed as it was accepted.
    pub fn accept(&self, accepted: Accepted) {
        let mut compared = self.compared();
        self.take(&mut compared, accepted);
        let (clock_ms, steady_ms) = (self.clock.now_ms(), self.clock.steady_ms());
        let reading_ms = reading(accepted, clock_ms);
        self.offset_ms.store(signed(reading_ms).saturating_sub(signed(steady_ms)), Ordering::SeqCst);
        compared.is_anchored = true;
        compared.moved_at_ms = steady_ms;
        let _from_here = self.compare(&mut compared);
    }

    /// As if the file could be written no longer.
    #[cfg(test)]
    fn lose_file(&self) {
        let mut compared = self.compared();
        compared.mark = compared.mark.take().map(Mark::that_fails);
    }

    fn take(&self, compared: &mut Compared, accepted: Accepted) {
        compared.accepted = accepted;
        self.believed_ms.store(0, Ordering::SeqCst);
        self.accepted_at_ms.store(accepted.clock_ms, Ordering::SeqCst);
        self.ahead_ms.store(accepted.ledger_ms.saturating_sub(accepted.clock_ms), Ordering::SeqCst);
    }

    fn compared(&self) -> MutexGuard<'_, Compared> {
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the machine's clock says, as ledger time.
    fn reading(&self, clock_ms: u64) -> u64 {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        if ahead_ms == 0 {
            return clock_ms;
        }
        let at_ms = self.accepted_at_ms.load(Ordering::Relaxed);
        reading(Accepted { clock_ms: at_ms, ledger_ms: at_ms.saturating_add(ahead_ms) }, clock_ms)
    }

    fn expected_ms(&self, steady_ms: u64) -> u64 {
        let expected_ms = signed(steady_ms).saturating_add(self.offset_ms.load(Ordering::SeqCst));
        u64::try_from(expected_ms).unwrap_or_default()
    }

    fn is_behind_by(&self, reading_ms: u64, other_ms: u64) -> Option<u64> {
        let behind_ms = other_ms.saturating_sub(reading_ms);
        (behind_ms > self.limits.behind_ms_max.saturating_add(KEPT_AHEAD_MS)).then_some(behind_ms)
    }

    fn is_believed(&self, reading_ms: u64, given_ms: u64) -> bool {
        reading_ms <= self.believed_ms.load(Ordering::SeqCst)
            && self.is_behind_by(reading_ms, given_ms).is_none()
    }

    /// Reads both clocks, judges them, and gives the time.
    fn compare(&self, compared: &mut Compared) -> u64 {
        let (clock_ms, steady_ms) = (self.clock.now_ms(), self.clock.steady_ms());
        let reading_ms = reading(compared.accepted, clock_ms);
        let (given_ms, expected_ms) = (self.given_ms.load(Ordering::SeqCst), self.expected_ms(steady_ms));
        let ahead_max = if compared.is_anchored { self.limits.ahead_ms_max } else { STOPPED_MS_MAX };
        let ahead_ms = reading_ms.saturating_sub(expected_ms);
        let state = match self.is_behind_by(reading_ms, given_ms.max(expected_ms)) {
            Some(behind_ms) => ClockState::Behind(behind_ms),
            None if ahead_ms > ahead_max => ClockState::Ahead(ahead_ms),
            None => ClockState::Steady,
        };
        let now_ms = match state {
            ClockState::Steady => {
                self.follow(compared, reading_ms, steady_ms);
                given_ms.max(reading_ms)
            }
            _ => given_ms.max(expected_ms),
        };
        let now_ms = self.given_ms.fetch_max(now_ms, Ordering::SeqCst).max(now_ms);
        compared.driven_ms = if state.is_skewed() { expected_ms } else { reading_ms };
        if now_ms > compared.kept_ms {
            self.keep_ahead(compared, now_ms);
        }
        let is_kept = now_ms <= compared.kept_ms;
        let state = if is_kept || state.is_skewed() { state } else { ClockState::Unkept };
        let believed_ms = now_ms.saturating_add(BELIEVED_MS).min(compared.kept_ms);
        self.believed_ms.store(if state.is_skewed() { 0 } else { believed_ms }, Ordering::SeqCst);
        if state.is_skewed() != compared.state.is_skewed() {
            say(state, now_ms, clock_ms);
        }
        compared.state = state;
        now_ms
    }

    /// A clock that is believed may drift from the other: a part of the difference is taken over. All of it at the start.
    fn follow(&self, compared: &mut Compared, reading_ms: u64, steady_ms: u64) {
        let wanted = signed(reading_ms).saturating_sub(signed(steady_ms));
        let offset_ms = self.offset_ms.load(Ordering::SeqCst);
        let passed_ms = steady_ms.saturating_sub(compared.moved_at_ms);
        let most = if compared.is_anchored { signed(passed_ms / TAKEN_OVER) } else { i64::MAX };
        let step = wanted.saturating_sub(offset_ms).clamp(most.saturating_neg(), most);
        if step != 0 || wanted == offset_ms {
            self.offset_ms.store(offset_ms.saturating_add(step), Ordering::SeqCst);
            compared.moved_at_ms = steady_ms;
        }
        compared.is_anchored = true;
    }

    /// Ahead of what drives the time, and not of the time: one kill after the other must not drive it away from the clock.
    fn keep_ahead(&self, compared: &mut Compared, now_ms: u64) {
        let until_ms = compared.driven_ms.saturating_add(KEPT_AHEAD_MS).max(now_ms);
        self.keep_until(compared, until_ms);
    }

    fn keep_until(&self, compared: &mut Compared, until_ms: u64) {
        let Some(mark) = &mut compared.mark else { return };
        match mark.keep(until_ms) {
            Ok(()) => compared.kept_ms = until_ms,
            Err(error) => {
                tracing::error!(%error, "the ledger's time can't be kept; use is denied until it can")
            }
        }
    }
}

impl Clock for LedgerClock {
    fn now_ms(&self) -> u64 {
        let reading_ms = self.reading(self.clock.now_ms());
        let given_ms = self.given_ms.load(Ordering::SeqCst);
        if !self.is_begun.load(Ordering::SeqCst) {
            return reading_ms.max(given_ms);
        }
        if !self.is_believed(reading_ms, given_ms) {
            return self.compare(&mut self.compared());
        }
        if reading_ms <= given_ms {
            return given_ms;
        }
        self.given_ms.fetch_max(reading_ms, Ordering::SeqCst).max(reading_ms)
    }

    fn steady_ms(&self) -> u64 {
        self.clock.steady_ms()
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.clock.fill(bytes);
    }
}

/// The time that credentials are judged by. Others issue them by their own clocks, so an accepted difference between the
/// ledger's time and the clock does not move it. In doubt, [`Clock::now_ms`] is the earlier of what it may be: nobody who
/// wants to say no is locked out. [`CredentialClock::strict_ms`] tells which of them may have ended.
pub struct CredentialClock(std::sync::Arc<LedgerClock>);

impl CredentialClock {
    /// Of one ledger.
    #[must_use]
    pub fn of(ledger: &std::sync::Arc<LedgerClock>) -> Self {
        Self(std::sync::Arc::clone(ledger))
    }

    /// The machine's clock is not believed.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.0.believed_ms.load(Ordering::SeqCst) == 0
    }

    /// The ledger's time without an accepted difference, milliseconds since the Unix epoch. It never goes back but where an
    /// operator accepts the clock.
    #[must_use]
    pub fn strict_ms(&self) -> u64 {
        self.both().0
    }

    /// The ledger's time without what was accepted, and what the machine's clock says in doubt.
    fn both(&self) -> (u64, Option<u64>) {
        let ledger = &self.0;
        let now_ms = ledger.now_ms();
        let is_believed = !self.is_in_doubt();
        if is_believed && ledger.ahead_ms.load(Ordering::SeqCst) == 0 {
            return (now_ms, None);
        }
        let clock_ms = ledger.clock.now_ms();
        let ahead_ms = ledger.reading(clock_ms).saturating_sub(clock_ms);
        (now_ms.saturating_sub(ahead_ms), (!is_believed).then_some(clock_ms))
    }
}

impl Clock for CredentialClock {
    fn now_ms(&self) -> u64 {
        let (strict_ms, in_doubt) = self.both();
        in_doubt.map_or(strict_ms, |clock_ms| clock_ms.min(strict_ms))
    }

    fn latest_ms(&self) -> u64 {
        let (strict_ms, in_doubt) = self.both();
        in_doubt.map_or(strict_ms, |clock_ms| clock_ms.max(strict_ms))
    }

    fn steady_ms(&self) -> u64 {
        self.0.steady_ms()
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// What the machine's clock says, as ledger time.
fn reading(accepted: Accepted, clock_ms: u64) -> u64 {
    clock_ms.saturating_add(accepted.ahead_ms(clock_ms))
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn say(state: ClockState, ledger_ms: u64, clock_ms: u64) {
    if state.is_skewed() {
        tracing::error!(%state, ledger_ms, clock_ms, "use is denied: set the clock, or `sayso accept-clock`");
    } else {
        tracing::info!(ledger_ms, clock_ms, "the clock is steady again");
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
