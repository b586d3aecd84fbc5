//! Root keys in memory, for tests.

use super::root_custody::{CustodyError, KeyEpoch, RootCustody};
use super::software::{unwrap_in_software, wrap_in_software};
use crate::clock::Clock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Root keys that are lost when the process ends.
#[derive(Default)]
pub struct MemoryCustody {
    roots: Mutex<BTreeMap<KeyEpoch, Zeroizing<[u8; 32]>>>,
}

impl MemoryCustody {
    fn roots(&self) -> MutexGuard<'_, BTreeMap<KeyEpoch, Zeroizing<[u8; 32]>>> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn root(&self, epoch: KeyEpoch) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        self.roots().get(&epoch).cloned().ok_or(CustodyError::Missing(epoch))
    }
}

impl RootCustody for MemoryCustody {
    fn key_epochs(&self) -> Result<Vec<KeyEpoch>, CustodyError> {
        Ok(self.roots().keys().copied().collect())
    }

    fn make(&self, epoch: KeyEpoch, clock: &dyn Clock) -> Result<(), CustodyError> {
        let mut root = Zeroizing::new([0; 32]);
        clock.fill(root.as_mut());
        self.roots().insert(epoch, root);
        Ok(())
    }

    fn wrap(&self, epoch: KeyEpoch, key: &[u8; 32], clock: &dyn Clock) -> Result<Vec<u8>, CustodyError> {
        wrap_in_software(&*self.root(epoch)?, epoch, key, clock)
    }

    fn unwrap(&self, epoch: KeyEpoch, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        unwrap_in_software(&*self.root(epoch)?, epoch, wrapped)
    }

    fn destroy(&self, epoch: KeyEpoch) -> Result<(), CustodyError> {
        self.roots().remove(&epoch);
        Ok(())
    }
}
