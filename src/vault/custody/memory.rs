//! Root keys in memory, for tests.

use super::root_custody::{CustodyError, Generation, RootCustody};
use super::software::{unwrap_in_software, wrap_in_software};
use crate::clock::Clock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Root keys that are lost when the process ends.
#[derive(Default)]
pub struct MemoryCustody {
    roots: Mutex<BTreeMap<Generation, Zeroizing<[u8; 32]>>>,
}

impl MemoryCustody {
    fn roots(&self) -> MutexGuard<'_, BTreeMap<Generation, Zeroizing<[u8; 32]>>> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn root(&self, generation: Generation) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        self.roots().get(&generation).cloned().ok_or(CustodyError::Missing(generation))
    }
}

impl RootCustody for MemoryCustody {
    fn generations(&self) -> Result<Vec<Generation>, CustodyError> {
        Ok(self.roots().keys().copied().collect())
    }

    fn make(&self, generation: Generation, clock: &dyn Clock) -> Result<(), CustodyError> {
        let mut root = Zeroizing::new([0; 32]);
        clock.fill(root.as_mut());
        self.roots().insert(generation, root);
        Ok(())
    }

    fn wrap(
        &self,
        generation: Generation,
        key: &[u8; 32],
        clock: &dyn Clock,
    ) -> Result<Vec<u8>, CustodyError> {
        wrap_in_software(&*self.root(generation)?, generation, key, clock)
    }

    fn unwrap(&self, generation: Generation, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        unwrap_in_software(&*self.root(generation)?, generation, wrapped)
    }

    fn destroy(&self, generation: Generation) -> Result<(), CustodyError> {
        self.roots().remove(&generation);
        Ok(())
    }
}
