//! Limits the memory that requests and answers take: counts the bytes of those in progress, for each caller
//! and for the whole daemon, and refuses a call that would exceed either limit.

use crate::api::status;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tonic::Status;

/// How long a caller waits before it retries when too many bytes are in progress.
pub const RETRY_AFTER: Duration = Duration::from_millis(100);
/// A call of at most this many bytes may use the last quarter of the daemon's budget. Decisions of data
/// subjects are small, so they can be recorded even while large requests fill the other three quarters.
const SMALL_BYTES: usize = 16 << 10;

/// A number of bytes in progress, and its limit.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    /// A budget of `max` bytes, of which none are used.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// Adds bytes, unless the sum would exceed `max`.
    fn add(&self, bytes: usize, max: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= max;
        if !fits {
            self.subtract(bytes);
        }
        fits
    }

    fn subtract(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A number of bytes that counts against the budgets of a caller and of the daemon, until this value is
/// dropped.
#[derive(Debug)]
pub struct Counted {
    own: Arc<Budget>,
    all: Arc<Budget>,
    bytes: usize,
}

impl Counted {
    /// Counts no bytes yet.
    #[must_use]
    pub fn new(own: Arc<Budget>, all: Arc<Budget>) -> Self {
        Self { own, all, bytes: 0 }
    }

    /// Adds bytes that have arrived.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if the caller or the daemon has too many bytes in progress. Nothing is added
    /// then.
    pub fn add(&mut self, bytes: usize) -> Result<(), Status> {
        let is_small = self.bytes.saturating_add(bytes) <= SMALL_BYTES;
        let all_max = if is_small { self.all.max } else { self.all.max / 4 * 3 };
        if !self.own.add(bytes, self.own.max) {
            return Err(status::too_many_calls(RETRY_AFTER));
        }
        if !self.all.add(bytes, all_max) {
            self.own.subtract(bytes);
            return Err(status::too_many_bytes(RETRY_AFTER));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// As [`Counted::add`], for bytes that exist already and cannot be split. These bytes are refused only if
    /// a budget is already exceeded, so adding them may exceed a budget.
    ///
    /// # Errors
    /// As [`Counted::add`].
    pub fn add_whole(&mut self, bytes: usize) -> Result<(), Status> {
        let has_room = |budget: &Budget| budget.used.load(Ordering::Relaxed) <= budget.max;
        if !has_room(&self.own) {
            return Err(status::too_many_calls(RETRY_AFTER));
        }
        if !has_room(&self.all) {
            return Err(status::too_many_bytes(RETRY_AFTER));
        }
        self.own.add(bytes, usize::MAX);
        self.all.add(bytes, usize::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Subtracts bytes that are no longer in progress.
    pub fn subtract(&mut self, bytes: usize) {
        drop(self.split(bytes));
    }

    /// Moves this many bytes into a separate count.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { own: Arc::clone(&self.own), all: Arc::clone(&self.all), bytes }
    }

    /// The number of bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.own.subtract(self.bytes);
        self.all.subtract(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn bytes_count_for_their_caller_and_for_the_daemon_until_they_are_dropped() {
        let (one, other) = (Arc::new(Budget::new(100 << 10)), Arc::new(Budget::new(100 << 10)));
        let all = Arc::new(Budget::new(160 << 10));
        let count = |own: &Arc<Budget>| Counted::new(Arc::clone(own), Arc::clone(&all));
        let mut first = count(&one);
        first.add(100 << 10).unwrap();
        assert!(count(&one).add(1).is_err(), "the caller's own budget is used up");
        let mut second = count(&other);
        second.add(20 << 10).unwrap();
        assert!(second.add(1 << 10).is_err(), "a large call may use three quarters of the daemon's budget");
        let mut small = count(&other);
        small.add(16 << 10).unwrap();
        assert!(small.add(1).is_err(), "the call is no longer small");
        let half = first.split(50 << 10);
        drop(first);
        second.add(30 << 10).unwrap();
        drop((half, second, small));
        assert_eq!((one.used.load(Ordering::Relaxed), other.used.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(all.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_answer_may_exceed_the_budget_but_the_next_one_is_refused() {
        let (own, all) = (Arc::new(Budget::new(10)), Arc::new(Budget::new(100)));
        let mut answers = Counted::new(own, all);
        answers.add_whole(50).unwrap();
        assert!(answers.add_whole(1).is_err());
        answers.subtract(50);
        answers.add_whole(11).unwrap();
    }
}
