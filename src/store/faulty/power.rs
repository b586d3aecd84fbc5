//! What goes wrong, and when: one seed and one plan for everything that stands on the same machine.

use crate::store::StoreError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What happens at a durable step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power goes: of what was not synced yet, each piece is there, torn or gone, in no order.
    Crash,
    /// Reported as failed, and nothing of it is there.
    Lost,
    /// Reported as failed, and all of it is there.
    Persisted,
    /// No room: nothing was written, and the store stays usable.
    Full,
    /// The flush fails (EIO): of what was to be flushed, nobody knows.
    Flush,
}

impl Fault {
    /// Every fault, for whoever tries them in turn.
    pub const ALL: [Self; 5] = [Self::Crash, Self::Lost, Self::Persisted, Self::Full, Self::Flush];
}

/// The machine's power, its dice and its plan. Shared by everything that loses power together.
pub struct Power {
    dice: Mutex<u64>,
    plan: Mutex<Option<(u64, Fault)>>,
    steps: AtomicU64,
    is_off: AtomicBool,
}

impl Power {
    /// A machine whose every chance follows from the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (steps, is_off) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { dice: Mutex::new(seed), plan: Mutex::new(None), steps, is_off }
    }

    /// The fault strikes at the durable step after the next `steps`, once.
    pub fn plan(&self, steps: u64, fault: Fault) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((steps, fault));
    }

    /// Power again, and nothing planned.
    pub fn turn_on(&self) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.is_off.store(false, Ordering::SeqCst);
    }

    /// Whether the power is gone.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.is_off.load(Ordering::SeqCst)
    }

    /// Durable steps so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// A number below `bound`, as the seed says (SplitMix64); 0 where the bound is 0.
    pub fn below(&self, bound: u64) -> u64 {
        let mut state = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(bound).unwrap_or_default()
    }

    /// A durable step, and what goes wrong at it.
    ///
    /// # Errors
    /// The power is gone.
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
            Some((left, fault)) => {
                *plan = Some((left.saturating_sub(1), fault));
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

/// The system's error after a fault.
pub(super) fn failed() -> StoreError {
    StoreError::Io { doing: "writing", source: std::io::Error::other("a fault was planned here") }
}
