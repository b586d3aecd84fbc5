//! The parts of the simulated machine that outlive a loss of power: the root keys, and the stores of the log
//! and of the keys. The stores are either an engine in memory that simulates a disk, or the embedded engine
//! in a folder.

use super::folder::Folder;
use sayso::clock::Clock;
use sayso::store::faulty::{Fault, FaultyKeys, FaultyLog, Power};
use sayso::store::{KeyStore, LogStore};
use sayso::vault::custody::{CustodyError, KeyEpoch};
use sayso::vault::{MemoryCustody, RootCustody};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Custody of root keys that fails when the seed says so. After a failure, a key may or may not have been
/// created or destroyed.
pub struct FaultyCustody {
    power: Arc<Power>,
    inner: MemoryCustody,
}

impl FaultyCustody {
    pub fn new(power: Arc<Power>) -> Self {
        Self { power, inner: MemoryCustody::default() }
    }

    fn change(&self, work: impl FnOnce() -> Result<(), CustodyError>) -> Result<(), CustodyError> {
        let failed = || CustodyError::from(std::io::Error::other("a planned fault"));
        let is_persisted = match self.power.step().map_err(|_| failed())? {
            None => return work(),
            Some(Fault::Persisted) => true,
            Some(Fault::Lost | Fault::Full) => false,
            Some(Fault::Crash | Fault::Flush) => self.power.below(2) == 0,
        };
        if is_persisted {
            work()?;
        }
        Err(failed())
    }
}

impl RootCustody for FaultyCustody {
    fn key_epochs(&self) -> Result<Vec<KeyEpoch>, CustodyError> {
        self.inner.key_epochs()
    }

    fn make(&self, epoch: KeyEpoch, clock: &dyn Clock) -> Result<(), CustodyError> {
        self.change(|| self.inner.make(epoch, clock))
    }

    fn wrap(&self, epoch: KeyEpoch, key: &[u8; 32], clock: &dyn Clock) -> Result<Vec<u8>, CustodyError> {
        self.inner.wrap(epoch, key, clock)
    }

    fn unwrap(&self, epoch: KeyEpoch, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        self.inner.unwrap(epoch, wrapped)
    }

    fn destroy(&self, epoch: KeyEpoch) -> Result<(), CustodyError> {
        self.change(|| self.inner.destroy(epoch))
    }
}

/// The stores of log and keys.
pub enum Stores {
    /// The engine in memory with faults from the seed.
    Memory(Arc<FaultyLog>, Arc<FaultyKeys>),
    /// The embedded engine on a simulated disk.
    Folder(Folder),
}

impl Stores {
    pub fn memory(power: &Arc<Power>) -> Self {
        let (log, keys) = (FaultyLog::new(Arc::clone(power)), FaultyKeys::new(Arc::clone(power)));
        Self::Memory(Arc::new(log), Arc::new(keys))
    }

    pub fn log(&self) -> Arc<dyn LogStore> {
        match self {
            Self::Memory(log, _) => Arc::clone(log) as _,
            Self::Folder(folder) => folder.log(),
        }
    }

    pub fn keys(&self) -> Arc<dyn KeyStore> {
        match self {
            Self::Memory(_, keys) => Arc::clone(keys) as _,
            Self::Folder(folder) => folder.keys(),
        }
    }

    /// The stores with an empty log and the current keys.
    pub fn without_log(self) -> Self {
        match self {
            Self::Memory(log, keys) => {
                let power = log.power();
                Self::Memory(Arc::new(FaultyLog::new(power)), Arc::new(keys.restart().unwrap()))
            }
            Self::Folder(folder) => Self::Folder(folder.restart_without("log")),
        }
    }

    /// The stores as the next process finds them, without the index: a restore brings back only the log's
    /// entries.
    pub fn without_index(self) -> Self {
        match self {
            Self::Memory(log, keys) => {
                log.lose_custom_records();
                Self::Memory(log, keys).restart()
            }
            Self::Folder(folder) => Self::Folder(folder.restart_without("log/index")),
        }
    }

    /// The stores as the next process finds them.
    pub fn restart(self) -> Self {
        match self {
            Self::Memory(log, keys) => {
                Self::Memory(Arc::new(log.restart().unwrap()), Arc::new(keys.restart().unwrap()))
            }
            Self::Folder(folder) => Self::Folder(folder.restart()),
        }
    }
}
