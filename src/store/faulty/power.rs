//! Decides which durable step of a simulated machine fails, and how. A durable step is a write or sync that
//! makes a change durable. A caller plans one fault at a time ([`Power::plan`]). All stores of the machine
//! share one seed and one planned fault.

use crate::store::StoreError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What happens at a durable step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power fails. Each piece that was not synced is intact, torn or lost, independently of the other
    /// pieces.
    Crash,
    /// The write is reported as failed, and nothing was written.
    Lost,
    /// The write is reported as failed, and everything was written.
    Persisted,
    /// The device is full: nothing was written, and the store stays usable.
    Full,
    /// The flush fails (EIO): it is unknown how much was written.
    Flush,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 5] = [Self::Crash, Self::Lost, Self::Persisted, Self::Full, Self::Flush];
}

/// The power of a simulated machine, its random numbers and its plan. Shared by all stores that lose power
/// together.
pub struct Power {
    /// State of the random number generator.
    random: Mutex<u64>,
    /// The steps before the planned fault, and the fault.
    plan: Mutex<Option<(u64, Fault)>>,
    steps: AtomicU64,
    is_off: AtomicBool,
}

impl Power {
    /// A machine whose random numbers all follow from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (steps, is_off) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { random: Mutex::new(seed), plan: Mutex::new(None), steps, is_off }
    }

    /// Plans a fault: the next `steps` durable steps succeed, and the one after them fails, once.
    pub fn plan(&self, steps: u64, fault: Fault) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((steps, fault));
    }

    /// Turns the power on and clears the plan.
    pub fn turn_on(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.is_off.store(false, Ordering::SeqCst);
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.is_off.load(Ordering::SeqCst)
    }

    /// The number of durable steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// A random number less than `limit` (SplitMix64); 0 if `limit` is 0.
    pub fn below(&self, limit: u64) -> u64 {
        let mut state = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(limit).unwrap_or_default()
    }

    /// Takes a durable step. Returns the fault that happens at it, if one is planned.
    ///
    /// # Errors
    /// The power is off.
    pub fn step(&self) -> Result<Option<Fault>, StoreError> {
        if self.is_off() {
            return Err(failed());
        }
        self.steps.fetch_add(1, Ordering::SeqCst);
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = match *plan {
            Some((0, fault)) => {
                *plan = None;
                Some(fault)
            }
            Some((steps, fault)) => {
                *plan = Some((steps.saturating_sub(1), fault));
                None
            }
            None => None,
        };
        if fault == Some(Fault::Crash) {
            self.is_off.store(true, Ordering::SeqCst);
        }
        Ok(fault)
    }
}

/// The error that the system reports for a fault.
pub(super) fn failed() -> StoreError {
    StoreError::Io { doing: "writing", source: std::io::Error::other("a planned fault") }
}
