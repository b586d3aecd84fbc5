//! What stands on the machine that loses power: the root keys, and the stores in memory or in a folder.

use super::folder::Folder;
use sayso::clock::Clock;
use sayso::store::faulty::{Fault, FaultyKeys, FaultyLog, Power};
use sayso::store::{KeyStore, LogStore};
use sayso::vault::custody::{CustodyError, Generation};
use sayso::vault::{MemoryCustody, RootCustody};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Root keys that are made and destroyed durably, or not.
pub struct FaultyCustody {
    power: Arc<Power>,
    kept: MemoryCustody,
}

impl FaultyCustody {
    pub fn new(power: Arc<Power>) -> Self {
        Self { power, kept: MemoryCustody::default() }
    }

    fn change(&self, work: impl FnOnce() -> Result<(), CustodyError>) -> Result<(), CustodyError> {
        let failed = || CustodyError::from(std::io::Error::other("a fault was planned here"));
        let is_done = match self.power.step().map_err(|_| failed())? {
            None => return work(),
            Some(Fault::Persisted) => true,
            Some(Fault::Lost | Fault::Full) => false,
            Some(Fault::Crash | Fault::Flush) => self.power.below(2) == 0,
        };
        if is_done {
            work()?;
        }
        Err(failed())
    }
}

impl RootCustody for FaultyCustody {
    fn generations(&self) -> Result<Vec<Generation>, CustodyError> {
        self.kept.generations()
    }

    fn make(&self, generation: Generation, clock: &dyn Clock) -> Result<(), CustodyError> {
        self.change(|| self.kept.make(generation, clock))
    }

    fn wrap(
        &self,
        generation: Generation,
        key: &[u8; 32],
        clock: &dyn Clock,
    ) -> Result<Vec<u8>, CustodyError> {
        self.kept.wrap(generation, key, clock)
    }

    fn unwrap(&self, generation: Generation, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        self.kept.unwrap(generation, wrapped)
    }

    fn destroy(&self, generation: Generation) -> Result<(), CustodyError> {
        self.change(|| self.kept.destroy(generation))
    }
}

/// Where log and keys are.
pub enum Stores {
    /// The engine in memory that fails on the seed.
    Memory(Arc<FaultyLog>, Arc<FaultyKeys>),
    /// The embedded engine.
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

    /// An empty log beside the keys of now.
    pub fn without_log(self) -> Self {
        match self {
            Self::Memory(log, keys) => {
                let power = log.power();
                Self::Memory(Arc::new(FaultyLog::new(power)), Arc::new(keys.restart().unwrap()))
            }
            Self::Folder(folder) => Self::Folder(folder.restart_without("log")),
        }
    }

    /// As the next process finds them, and nothing but the entries of the log: a restore gives nothing else
    /// back.
    pub fn without_index(self) -> Self {
        match self {
            Self::Memory(log, keys) => {
                log.lose_custom_records();
                Self::Memory(log, keys).restart()
            }
            Self::Folder(folder) => Self::Folder(folder.restart_without("log/index")),
        }
    }

    /// As the next process finds them.
    pub fn restart(self) -> Self {
        match self {
            Self::Memory(log, keys) => {
                Self::Memory(Arc::new(log.restart().unwrap()), Arc::new(keys.restart().unwrap()))
            }
            Self::Folder(folder) => Self::Folder(folder.restart()),
        }
    }
}
