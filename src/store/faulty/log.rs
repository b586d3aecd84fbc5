//! A log on a simulated disk that fails as a test plans it.

use super::power::{Fault, Power, failed};
use crate::store::memory::MemoryLog;
use crate::store::{CommitError, Frame, Head, IndexRecord, LogStore, StoreError, StoredEntry};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::{Hash, leaf_hash};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A log on a simulated disk.
pub struct FaultyLog {
    power: Arc<Power>,
    disk: Arc<MemoryLog>,
    /// Frames (each the entries of one request) that were written but not synced. The next start decides at
    /// random which of them survive.
    unsynced: Mutex<Vec<Frame>>,
    /// Flipped bits: for a position, the index of the bit in its bytes.
    flipped: Arc<Mutex<BTreeMap<u64, u64>>>,
    unindexed: Mutex<Option<u64>>,
    stopped: AtomicBool,
}

impl FaultyLog {
    /// An empty log on this machine.
    #[must_use]
    pub fn new(power: Arc<Power>) -> Self {
        Self {
            power,
            disk: Arc::default(),
            unsynced: Mutex::default(),
            flipped: Arc::default(),
            unindexed: Mutex::new(None),
            stopped: AtomicBool::new(false),
        }
    }

    /// Returns the log as the next process finds it. The old log takes no more writes.
    ///
    /// Each frame that was not synced is intact, torn or lost, independently of the other frames. Recovery
    /// keeps the frames before the first one that is not intact. Custom index records may be lost, and their
    /// owner has to restore them.
    ///
    /// # Errors
    /// The simulated disk can't be written, which does not happen.
    pub fn restart(&self) -> Result<Self, StoreError> {
        self.stopped.store(true, Ordering::SeqCst);
        let unsynced = std::mem::take(&mut *locked(&self.unsynced));
        let intact: Vec<Frame> = unsynced.into_iter().take_while(|_| self.power.below(3) == 0).collect();
        let size = self.disk.head().size;
        self.disk.commit(size, &intact).map_err(|_| failed())?;
        let mut unindexed = *locked(&self.unindexed);
        if self.power.below(4) == 0 {
            self.disk.lose_custom_records();
            unindexed = Some(0);
        }
        Ok(Self {
            power: Arc::clone(&self.power),
            disk: Arc::clone(&self.disk),
            unsynced: Mutex::default(),
            flipped: Arc::clone(&self.flipped),
            unindexed: Mutex::new(unindexed.filter(|_| self.disk.head().size > 0)),
            stopped: AtomicBool::new(false),
        })
    }

    /// The simulated machine of this log.
    #[must_use]
    pub fn power(&self) -> Arc<Power> {
        Arc::clone(&self.power)
    }

    /// Loses all custom index records; their owner has to restore them.
    pub fn lose_custom_records(&self) {
        self.disk.lose_custom_records();
        *locked(&self.unindexed) = Some(0);
    }

    /// Flips one bit of a stored entry, until the entry is discarded.
    pub fn rot(&self, position: u64, bit: u64) {
        locked(&self.flipped).insert(position, bit);
    }

    fn writable(&self) -> Result<(), StoreError> {
        if self.stopped.load(Ordering::SeqCst) { Err(StoreError::Stopped) } else { Ok(()) }
    }

    /// Applies a flipped bit to an entry that was read, and compares its leaf hash.
    fn checked(&self, mut stored: StoredEntry) -> Result<StoredEntry, StoreError> {
        let flipped = locked(&self.flipped).get(&stored.position).copied();
        let (Some(bytes), Some(bit)) = (&mut stored.bytes, flipped) else { return Ok(stored) };
        let bits = (bytes.len() as u64).saturating_mul(8);
        let bit = bit.checked_rem(bits).unwrap_or_default();
        if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|index| bytes.get_mut(index)) {
            *byte ^= 1 << (bit % 8);
        }
        if leaf_hash(bytes) == stored.leaf_hash {
            return Ok(stored);
        }
        Err(StoreError::Damaged { what: "entry", place: format!("position {}", stored.position) })
    }

    /// Does a write other than a commit. It is never torn: either all of it is done or nothing.
    fn change(&self, work: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.writable()?;
        let fault = self.power.step()?;
        let Some(fault) = fault else { return work() };
        if fault == Fault::Full {
            return Err(StoreError::Full);
        }
        self.stopped.store(true, Ordering::SeqCst);
        let is_written = match fault {
            Fault::Persisted => true,
            Fault::Lost | Fault::Full => false,
            Fault::Crash | Fault::Flush => self.power.below(2) == 0,
        };
        if is_written {
            work()?;
        }
        Err(failed())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogStore for FaultyLog {
    fn head(&self) -> Head {
        self.disk.head()
    }

    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        self.writable().map_err(CommitError::Unknown)?;
        let actual = self.head().size;
        if actual != expected {
            return Err(CommitError::Conflict { expected, actual });
        }
        match self.power.step().map_err(CommitError::Unknown)? {
            None => return self.disk.commit(expected, frames),
            Some(Fault::Full) => return Err(CommitError::Rejected(StoreError::Full)),
            Some(Fault::Lost) => {}
            Some(Fault::Persisted) => {
                self.disk.commit(expected, frames)?;
            }
            Some(Fault::Crash | Fault::Flush) => locked(&self.unsynced).extend_from_slice(frames),
        }
        self.stopped.store(true, Ordering::SeqCst);
        Err(CommitError::Unknown(failed()))
    }

    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        self.checked(self.disk.read_entry(position)?)
    }

    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError> {
        self.disk.read_entries(start, count)?.into_iter().map(|stored| self.checked(stored)).collect()
    }

    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        self.disk.read_subject(handle, start, count)
    }

    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        self.disk.subject_head(handle)
    }

    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError> {
        self.disk.find_idempotent(hash)
    }

    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        self.disk.read_hashes(level, start, count)
    }

    fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        if positions.iter().any(|position| *position >= self.head().size) {
            return Err(StoreError::Missing("entry"));
        }
        self.change(|| {
            locked(&self.flipped).retain(|position, _| !positions.contains(position));
            self.disk.discard(positions)
        })
    }

    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.disk.index_get(key)
    }

    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        self.disk.index_scan(prefix, after, count)
    }

    fn unindexed_from(&self) -> Option<u64> {
        *locked(&self.unindexed)
    }

    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError> {
        self.change(|| {
            self.disk.index_restore(records, done_to)?;
            let mut unindexed = locked(&self.unindexed);
            *unindexed = unindexed.map(|from| from.max(done_to)).filter(|from| *from < self.head().size);
            Ok(())
        })
    }

    fn read_progress(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.disk.read_progress()
    }

    fn write_progress(&self, progress: &[u8]) -> Result<(), StoreError> {
        self.change(|| self.disk.write_progress(progress))
    }

    fn entry_bytes(&self) -> u64 {
        self.disk.entry_bytes()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.stopped.store(true, Ordering::SeqCst);
        Ok(())
    }
}
