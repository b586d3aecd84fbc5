//! What the tests of the ledger share: subjects that make sealed events, and a store that can be blocked
//! or made to fail.

use crate::clock::{Clock, SystemClock};
use crate::ledger::{Committed, Ledger, LedgerOptions, LogKey, Prepared, SubmitError};
use crate::store::memory::MemoryLog;
use crate::store::{CommitError, Frame, Head, IndexRecord, LogStore, StoreError, StoredEntry};
use sayso_proof::entry::{self, EventKey, Handle, Header, SchemaVersion};
use sayso_proof::event::EventBody;
use sayso_proof::merkle::Hash;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

pub const ORIGIN: &str = "ledger.test/dev";
pub const NOW: u64 = 1_800_000_000_000;
const EVENT_KEY: [u8; 32] = [5; 32];

/// The outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Rejected,
    /// Fails with an unknown outcome; nothing was written.
    Lost,
    /// Fails with an unknown outcome; everything was written.
    Persisted,
    /// Fails with an unknown outcome; a prefix of the frames was written.
    Torn,
    Conflict,
}

/// A store in memory whose commits have scripted outcomes.
#[derive(Default)]
pub struct Scripted {
    inner: MemoryLog,
    outcomes: Mutex<VecDeque<Outcome>>,
    /// Number of events and frames of each commit that was written.
    pub commits: Mutex<Vec<(usize, usize)>>,
    /// While true, commits wait.
    shut: Mutex<bool>,
    opened: Condvar,
    /// Whether a commit waits.
    pub waiting: AtomicBool,
    pub closed: AtomicBool,
}

impl Scripted {
    pub fn script(&self, outcome: Outcome) {
        self.outcomes.lock().unwrap().push_back(outcome);
    }

    pub fn shut(&self) {
        *self.shut.lock().unwrap() = true;
    }

    pub fn open(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn write(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        let head = self.inner.commit(expected, frames)?;
        self.commits.lock().unwrap().push((frames.iter().map(Vec::len).sum(), frames.len()));
        Ok(head)
    }
}

impl LogStore for Scripted {
    fn head(&self) -> Head {
        self.inner.head()
    }

    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError> {
        self.waiting.store(true, Ordering::SeqCst);
        let mut shut = self.shut.lock().unwrap();
        while *shut {
            shut = self.opened.wait(shut).unwrap();
        }
        drop(shut);
        self.waiting.store(false, Ordering::SeqCst);
        let outcome = self.outcomes.lock().unwrap().pop_front();
        let unknown = || Err(CommitError::Unknown(StoreError::Stopped));
        match outcome {
            None => self.write(expected, frames),
            Some(Outcome::Rejected) => Err(CommitError::Rejected(StoreError::Full)),
            Some(Outcome::Lost) => unknown(),
            Some(Outcome::Persisted) => self.write(expected, frames).and_then(|_| unknown()),
            Some(Outcome::Torn) => self.write(expected, &frames[..frames.len() / 2]).and_then(|_| unknown()),
            Some(Outcome::Conflict) => Err(CommitError::Conflict { expected, actual: expected + 1 }),
        }
    }

    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError> {
        self.inner.read_entry(position)
    }

    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError> {
        self.inner.read_entries(start, count)
    }

    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        self.inner.read_subject(handle, start, count)
    }

    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError> {
        self.inner.subject_head(handle)
    }

    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError> {
        self.inner.find_idempotent(hash)
    }

    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        self.inner.read_hashes(level, start, count)
    }

    fn discard(&self, positions: &[u64]) -> Result<(), StoreError> {
        self.inner.discard(positions)
    }

    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.index_get(key)
    }

    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError> {
        self.inner.index_scan(prefix, after, count)
    }

    fn unindexed_from(&self) -> Option<u64> {
        self.inner.unindexed_from()
    }

    fn read_progress(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read_progress()
    }

    fn write_progress(&self, progress: &[u8]) -> Result<(), StoreError> {
        self.inner.write_progress(progress)
    }

    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError> {
        self.inner.index_restore(records, done_to)
    }

    fn entry_bytes(&self) -> u64 {
        self.inner.entry_bytes()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// A clock that changes only when a test sets it.
pub struct SetClock(pub AtomicU64);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn fill(&self, bytes: &mut [u8]) {
        SystemClock.fill(bytes);
    }
}

pub struct Bench {
    pub store: Arc<Scripted>,
    pub clock: Arc<SetClock>,
    pub options: LedgerOptions,
}

impl Bench {
    pub fn new() -> Self {
        let options = LedgerOptions {
            origin: ORIGIN.into(),
            queue_max: 1_000,
            batch_events_max: 64,
            clock_skew_ms_max: 5_000,
            sealed_age_ms_max: 60_000,
            checkpoint_file: None,
            is_restored: false,
            manual: None,
        };
        Self { store: Arc::default(), clock: Arc::new(SetClock(AtomicU64::new(NOW))), options }
    }

    pub fn with_checkpoint_file(path: PathBuf) -> Self {
        let mut bench = Self::new();
        bench.options.checkpoint_file = Some(path);
        bench
    }

    pub fn try_open(&self) -> Result<Arc<Ledger>, crate::ledger::LedgerError> {
        let store: Arc<dyn LogStore> = Arc::clone(&self.store) as _;
        let key = LogKey::from_seed(&[42; 32]);
        Ledger::open(self.options.clone(), store, key, Arc::clone(&self.clock) as _).map(Arc::new)
    }

    pub fn open(&self) -> Arc<Ledger> {
        self.try_open().unwrap()
    }
}

/// A subject and the end of its chain.
#[derive(Clone, Debug)]
pub struct Subject {
    pub handle: Handle,
    pub version: u64,
    pub previous: Option<Hash>,
    pub sealed_at_ms: u64,
}

impl Subject {
    pub fn new(number: u8) -> Self {
        Self { handle: Handle([number; 16]), version: 0, previous: None, sealed_at_ms: NOW }
    }

    /// Makes the next event of the chain.
    pub fn next(&mut self, ledger: &Ledger) -> Prepared {
        let mut event_id = [0; 16];
        SystemClock.fill(&mut event_id);
        let header = Header {
            event_id,
            handle: self.handle,
            version: self.version,
            previous: self.previous,
            sealed_at_ms: self.sealed_at_ms,
            idempotency: None,
            key_commitment: None,
            schema_version: SchemaVersion::One,
        };
        let body = EventBody { about_ms: self.sealed_at_ms, ..EventBody::default() };
        let payload = if self.handle == Handle::SYSTEM {
            entry::plain(&header, &body).unwrap()
        } else {
            entry::seal(&header, &body, &EventKey::derive(&EVENT_KEY, &event_id)).unwrap()
        };
        let signed = ledger.sign(payload).unwrap();
        (self.version, self.previous) = (self.version + 1, Some(signed.leaf_hash()));
        Prepared { entry: signed, index: Vec::new() }
    }

    pub fn frame(&mut self, ledger: &Ledger, count: usize) -> Vec<Prepared> {
        (0..count).map(|_| self.next(ledger)).collect()
    }

    pub async fn write(&mut self, ledger: &Ledger) -> Result<Committed, SubmitError> {
        let entry = self.next(ledger);
        ledger.submit(vec![entry]).await
    }
}

/// Lets other tasks run until a condition holds; panics after 10 seconds.
pub async fn until(holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the condition did not become true within 10 seconds");
}
