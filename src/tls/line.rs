//! What goes on over one connection: whoever serves it tells, the connection looks, and ends where nothing goes on or a
//! reader holds up an answer.

use crate::clock::Stopwatch;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
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
}

impl Default for Line {
    fn default() -> Self {
        Self {
            since: Stopwatch::start(),
            calls: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            quiet_since_ms: AtomicU64::new(0),
            reading: Mutex::default(),
        }
    }
}

impl Line {
    /// A call begins; it ends with what is returned.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> Call {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        Call { line: Arc::clone(self), number, is_in_hand: false }
    }

    /// Whether the connection should end: no call under way for `idle_max`, or a piece of an answer that nobody has
    /// taken for `stall_max`.
    #[must_use]
    pub fn is_over(&self, idle_max: Duration, stall_max: Duration) -> bool {
        // How many are under way is looked at first: whoever ends the last one has said since when it is quiet before.
        let is_quiet = self.under_way.load(Ordering::Acquire) == 0;
        let quiet_since_ms = self.quiet_since_ms.load(Ordering::Acquire);
        let now_ms = self.now_ms();
        let passed =
            |since_ms: u64, max: Duration| u128::from(now_ms.saturating_sub(since_ms)) > max.as_millis();
        (is_quiet && passed(quiet_since_ms, idle_max))
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
}
