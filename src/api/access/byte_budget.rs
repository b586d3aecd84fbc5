//! Bytes of requests and answers under way: those of one caller and those of the whole daemon, each with a
//! limit.

use crate::api::status;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tonic::Status;

/// When to try again where too much is under way.
pub const RETRY_AFTER: Duration = Duration::from_millis(100);
/// A call with no more bytes than this may use the last quarter of the daemon's budget: what people decide is
/// small, and goes on while somebody fills the rest with large requests.
const SMALL_BYTES: usize = 16 << 10;

/// How many bytes may be under way at once, and are.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    /// Nothing is under way.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// Adds bytes, unless there are more than `max` then.
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

/// Bytes that are counted, with their caller and with the daemon, until this is dropped.
#[derive(Debug)]
pub struct Counted {
    own: Arc<Budget>,
    all: Arc<Budget>,
    bytes: usize,
}

impl Counted {
    /// Nothing yet.
    #[must_use]
    pub fn new(own: Arc<Budget>, all: Arc<Budget>) -> Self {
        Self { own, all, bytes: 0 }
    }

    /// More bytes are here.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`: the caller has too many under way, or the daemon has. Nothing was added.
    pub fn add(&mut self, bytes: usize) -> Result<(), Status> {
        let is_small = self.bytes.saturating_add(bytes) <= SMALL_BYTES;
        let all_max = if is_small { self.all.max } else { self.all.max / 4 * 3 };
        if !self.own.add(bytes, self.own.max) {
            return Err(status::too_many(RETRY_AFTER));
        }
        if !self.all.add(bytes, all_max) {
            self.own.subtract(bytes);
            return Err(status::busy(RETRY_AFTER));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// As [`Counted::add`], for something that is whole already and can't be had in pieces: the last one may
    /// be larger than what is left.
    ///
    /// # Errors
    /// As [`Counted::add`].
    pub fn add_whole(&mut self, bytes: usize) -> Result<(), Status> {
        let has_room = |budget: &Budget| budget.used.load(Ordering::Relaxed) <= budget.max;
        if !has_room(&self.own) {
            return Err(status::too_many(RETRY_AFTER));
        }
        if !has_room(&self.all) {
            return Err(status::busy(RETRY_AFTER));
        }
        self.own.add(bytes, usize::MAX);
        self.all.add(bytes, usize::MAX);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// So many are gone.
    pub fn subtract(&mut self, bytes: usize) {
        drop(self.split(bytes));
    }

    /// So many belong to something of its own from now on.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { own: Arc::clone(&self.own), all: Arc::clone(&self.all), bytes }
    }

    /// How many.
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
    fn bytes_are_counted_with_the_caller_and_with_all_until_they_are_gone() {
        let (one, other) = (Arc::new(Budget::new(100 << 10)), Arc::new(Budget::new(100 << 10)));
        let all = Arc::new(Budget::new(160 << 10));
        let count = |own: &Arc<Budget>| Counted::new(Arc::clone(own), Arc::clone(&all));
        let mut first = count(&one);
        first.add(100 << 10).unwrap();
        assert!(count(&one).add(1).is_err(), "its own is used up");
        let mut second = count(&other);
        second.add(20 << 10).unwrap();
        assert!(second.add(1 << 10).is_err(), "a large one has three quarters of all");
        let mut small = count(&other);
        small.add(16 << 10).unwrap();
        assert!(small.add(1).is_err(), "it is small no longer");
        let half = first.split(50 << 10);
        drop(first);
        second.add(30 << 10).unwrap();
        drop((half, second, small));
        assert_eq!((one.used.load(Ordering::Relaxed), other.used.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(all.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_answer_is_never_too_large_but_the_next_one_waits() {
        let (own, all) = (Arc::new(Budget::new(10)), Arc::new(Budget::new(100)));
        let mut answers = Counted::new(own, all);
        answers.add_whole(50).unwrap();
        assert!(answers.add_whole(1).is_err());
        answers.subtract(50);
        answers.add_whole(11).unwrap();
    }
}
