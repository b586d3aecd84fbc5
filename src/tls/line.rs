//! What goes on over one connection: whoever serves it tells, the connection looks, and ends where nothing goes on or a
//! reader holds up an answer.

use super::seats::Place;
use crate::clock::Stopwatch;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes on over one connection.
#[derive(Debug)]
pub struct Line {
    since: Stopwatch,
    calls: AtomicU64,
    under_way: AtomicU64,
    /// When a call ended last, milliseconds since the connection began.
    quiet_since_ms: AtomicU64,
    /// Calls whose reader has a piece of the answer in hand, and since when, milliseconds since the connection began.
    reading: Mutex<HashMap<u64, u64>>,
    /// Somebody was let in over it.
    is_good: AtomicBool,
    /// It brings nothing but what is refused.
    is_given_up: AtomicBool,
    /// Its place among the connections, which it keeps once somebody was let in.
    place: Option<Place>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            since: Stopwatch::start(),
            calls: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            quiet_since_ms: AtomicU64::new(0),
            reading: Mutex::default(),
            is_good: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
            place: None,
        }
    }
}

impl Line {
    /// Of the connection that has a place.
    pub(super) fn of(place: Place) -> Self {
        Self { place: Some(place), ..Self::default() }
    }

    /// A call begins; it ends with what is returned.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Call {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Call { line: Arc::clone(self), number, is_in_hand: false }
    }

    /// Somebody was let in over it.
    pub fn let_in(&self) {
        if !self.is_good.load(Ordering::Relaxed) && !self.is_good.swap(true, Ordering::Relaxed) {
            self.keep_place();
        }
    }

    /// Its peer has shown a credential that is good: others end before it when there is no room.
    pub(super) fn keep_place(&self) {
        if let Some(place) = &self.place {
            place.is_good();
        }
    }

    /// It should end, unless somebody was let in over it: others may share it.
    pub fn give_up(&self) {
        if !self.is_good.load(Ordering::Relaxed) {
            self.is_given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the connection should end: it was given up, no call was under way for `idle_max`, or there is a piece of an
    /// answer that nobody has taken for `stall_max`.
    #[must_use]
    pub fn is_over(&self, idle_max: Duration, stall_max: Duration) -> bool {
        // How many are under way is looked at first: whoever ends the last one has said since when it is quiet before.
        let is_quiet = self.under_way.load(Ordering::Acquire) == 0;
        let quiet_since_ms = self.quiet_since_ms.load(Ordering::Acquire);
        let now_ms = self.now_ms();
        let passed =
            |since_ms: u64, max: Duration| u128::from(now_ms.saturating_sub(since_ms)) > max.as_millis();
        self.is_given_up.load(Ordering::Relaxed)
            || (is_quiet && passed(quiet_since_ms, idle_max))
            || self.reading().values().any(|since_ms| passed(*since_ms, stall_max))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn reading(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way over a connection.
#[derive(Debug)]
pub struct Call {
    line: Arc<Line>,
    number: u64,
    is_in_hand: bool,
}

impl Call {
    /// A piece of the answer was handed over, to be sent.
    pub fn handed_over(&mut self) {
        let now_ms = self.line.now_ms();
        self.line.reading().insert(self.number, now_ms);
        self.is_in_hand = true;
    }

    /// It went out: there is room for the next.
    pub fn went_out(&mut self) {
        if std::mem::take(&mut self.is_in_hand) {
            self.line.reading().remove(&self.number);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.went_out();
        self.line.quiet_since_ms.fetch_max(self.line.now_ms(), Ordering::Release);
        self.line.under_way.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_line_ends_when_nothing_goes_on_or_nobody_reads() {
        let line = Arc::new(Line::default());
        assert!(!line.is_over(NEVER, NEVER));
        std::thread::sleep(Duration::from_millis(5));
        assert!(line.is_over(Duration::ZERO, NEVER));
        let mut call = line.begin();
        assert!(!line.is_over(Duration::ZERO, Duration::ZERO), "a call under way");
        call.handed_over();
        std::thread::sleep(Duration::from_millis(5));
        assert!(line.is_over(NEVER, Duration::ZERO), "its reader does not read");
        call.went_out();
        assert!(!line.is_over(NEVER, Duration::ZERO));
        call.handed_over();
        drop(call);
        assert!(!line.is_over(NEVER, Duration::ZERO), "it is over");
        std::thread::sleep(Duration::from_millis(5));
        assert!(line.is_over(Duration::ZERO, NEVER));
    }

    #[test]
    fn a_line_is_given_up_unless_somebody_was_let_in() {
        let (shared, bad) = (Line::default(), Line::default());
        shared.let_in();
        shared.give_up();
        assert!(!shared.is_over(NEVER, NEVER));
        bad.give_up();
        assert!(bad.is_over(NEVER, NEVER));
    }
}
