//! What goes on over one connection: whoever serves it tells, the connection looks, and ends where nothing goes on or a
//! reader holds up an answer.

use crate::clock::Stopwatch;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes on over one connection.
#[derive(Debug)]
pub struct Line {
    since: Stopwatch,
    state: Mutex<State>,
    calls: AtomicU64,
    /// Somebody was let in over it.
    is_good: AtomicBool,
    /// It brings nothing but what is refused.
    is_given_up: AtomicBool,
}

/// Times are milliseconds since the connection began.
#[derive(Debug, Default)]
struct State {
    under_way: u64,
    quiet_since_ms: u64,
    /// Calls whose reader has a piece of the answer in hand, and since when.
    reading: HashMap<u64, u64>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            since: Stopwatch::start(),
            state: Mutex::default(),
            calls: AtomicU64::new(0),
            is_good: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
        }
    }
}

impl Line {
    /// A call begins; it ends with what is returned.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Call {
        self.state().under_way += 1;
        Call { line: Arc::clone(self), number: self.calls.fetch_add(1, Ordering::Relaxed) }
    }

    /// Somebody was let in over it.
    pub fn let_in(&self) {
        if !self.is_good.load(Ordering::Relaxed) {
            self.is_good.store(true, Ordering::Relaxed);
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
        let (now_ms, state) = (self.now_ms(), self.state());
        let passed =
            |since_ms: u64, max: Duration| u128::from(now_ms.saturating_sub(since_ms)) > max.as_millis();
        self.is_given_up.load(Ordering::Relaxed)
            || (state.under_way == 0 && passed(state.quiet_since_ms, idle_max))
            || state.reading.values().any(|since_ms| passed(*since_ms, stall_max))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way over a connection.
#[derive(Debug)]
pub struct Call {
    line: Arc<Line>,
    number: u64,
}

impl Call {
    /// A piece of the answer was handed over, to be sent.
    pub fn handed_over(&self) {
        let now_ms = self.line.now_ms();
        self.line.state().reading.insert(self.number, now_ms);
    }

    /// It went out: there is room for the next.
    pub fn went_out(&self) {
        self.line.state().reading.remove(&self.number);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let now_ms = self.line.now_ms();
        let mut state = self.line.state();
        state.reading.remove(&self.number);
        state.under_way = state.under_way.saturating_sub(1);
        state.quiet_since_ms = now_ms;
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
        let call = line.begin();
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
