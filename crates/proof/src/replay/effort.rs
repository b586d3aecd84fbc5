//! Limits the work of replaying the events of one data subject, so that no forged history makes a replay
//! long. Grants beyond the limit count as not checked in full.

use std::cell::Cell;

/// Steps that the replay of every data subject may take. A step takes less than a microsecond.
const START: u64 = 1 << 23;
/// Further steps for each event, and for each attribute that a grant allows.
const STEPS_EACH: u64 = 512;

/// The steps that are left for one data subject.
pub(super) struct Effort {
    left: Cell<u64>,
    has_failed: Cell<bool>,
}

impl Default for Effort {
    fn default() -> Self {
        Self { left: Cell::new(START), has_failed: Cell::new(false) }
    }
}

impl Effort {
    /// Adds the steps for `count` events or allowed attributes.
    pub fn add(&self, count: usize) {
        self.left.set(self.left.get().saturating_add(STEPS_EACH.saturating_mul(count as u64)));
    }

    /// Takes steps. Returns false if too few are left.
    #[must_use]
    pub fn spend(&self, steps: usize) -> bool {
        match self.left.get().checked_sub(steps as u64) {
            Some(left) => self.left.set(left),
            None => self.has_failed.set(true),
        }
        !self.has_failed.get()
    }

    /// Swaps the steps that are left with those of another.
    pub fn swap(&self, other: &Self) {
        self.left.swap(&other.left);
        self.has_failed.swap(&other.has_failed);
    }

    /// The steps that are left.
    #[cfg(test)]
    pub fn left(&self) -> usize {
        usize::try_from(self.left.get()).unwrap_or(usize::MAX)
    }

    /// Whether there were too few steps since [`Effort::take_failure`] was called last.
    pub fn has_failed(&self) -> bool {
        self.has_failed.get()
    }

    /// Whether there were too few steps since the last call.
    pub fn take_failure(&self) -> bool {
        self.has_failed.replace(false)
    }
}
