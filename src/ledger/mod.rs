//! The ledger: one controller's append-only log of signed, sealed entries, its Merkle tree, checkpoints and
//! proofs.
//!
//! This room (top-level module) never sees the plaintext of an entry about a person. Writes go through one
//! sequencer; reads and signatures run in parallel.

mod cosigned;
mod error;
mod kept_checkpoint;
mod key;
mod manual_sequencing;
mod proofs;
mod sequencer;
#[cfg(test)]
mod tests;
mod timestamps;
mod types;

pub use cosigned::{CosignedCheckpoint, Cosigning};
pub use error::{LedgerError, SubmitError};
pub use kept_checkpoint::KeptCheckpoint;
pub use key::{FoundKeys, LogKey, LogKeys, Signing};
pub use manual_sequencing::ManualSequencing;
pub use timestamps::write_timestamp;
pub use types::{Committed, Place, Prepared, SignedCheckpoint, SignedEntry};

use crate::clock::SharedClock;
use crate::store::{LogStore, StoreError};
use crate::telemetry::metrics;
use kept_checkpoint::CheckpointFile;
use sayso_proof::checkpoint::{self, Checkpoint, VerifierKey};
use sayso_proof::entry::{self, EntryError};
use sayso_proof::keys::{KeyChain, Rotation};
use sayso_proof::merkle::{self, Frontier, Hash, Nodes};
use sayso_proof::signed_document::{DocumentKind, DocumentStatement};
use sequencer::{AppendLimits, Sequencer, Submission};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// How long writes are reported as unavailable after the store rejected one, milliseconds.
const REFUSED_MS: u64 = 5_000;
/// Pause between two attempts to queue a write that must not be refused.
const QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// Settings of one log.
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    /// `<ledger name>/<controller>`.
    pub origin: String,
    /// Submissions that may wait in the queue.
    pub queue_max: usize,
    /// Events in one batch.
    pub batch_events_max: usize,
    /// How far ahead of the clock an event may have been sealed, milliseconds.
    pub clock_skew_ms_max: u64,
    /// How long ago an event may have been sealed, milliseconds.
    pub sealed_age_ms_max: u64,
    /// File that keeps the last checkpoint outside the store. Without a file, the checkpoint is not kept.
    pub checkpoint_file: Option<PathBuf>,
    /// Whether the operator declared a restore. If so, the store may have fewer entries than the kept
    /// checkpoint, or different ones.
    pub is_restored: bool,
    /// If set, a simulation runs the sequencer step by step. Otherwise, the sequencer has its own thread.
    pub manual: Option<Arc<ManualSequencing>>,
}

/// What a submission does while the queue is full.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenFull {
    Refuse,
    Wait,
}

/// One controller's log.
pub struct Ledger {
    origin: String,
    store: Arc<dyn LogStore>,
    /// The keys that sign the log. The sequencer replaces them when it writes an entry that changes the key.
    signing: Arc<watch::Sender<Arc<Signing>>>,
    queue: Mutex<Option<SyncSender<Submission>>>,
    newest: watch::Receiver<Arc<SignedCheckpoint>>,
    cosigning: Cosigning,
    /// The folder with timestamps of checkpoints, beside the kept checkpoint.
    timestamps: Option<PathBuf>,
    clock: SharedClock,
    /// When the store last rejected a write, milliseconds; 0 after a success. Written by the sequencer.
    refused_at_ms: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
    manual: Option<Arc<ManualSequencing>>,
}

/// Reads the stored nodes of the tree.
struct StoreNodes<'a>(&'a dyn LogStore);

impl Nodes for StoreNodes<'_> {
    type Error = StoreError;
    fn nodes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError> {
        self.0.read_hashes(level, start, count)
    }
}

impl Ledger {
    /// Opens a log: recovers its tree from the store, checks it against the kept checkpoint, and starts the
    /// sequencer.
    ///
    /// # Errors
    /// The store can't be read. Or the kept checkpoint covers entries that are missing from the store or
    /// differ there.
    pub fn open(
        options: LedgerOptions,
        store: Arc<dyn LogStore>,
        key: LogKey,
        clock: SharedClock,
    ) -> Result<Self, LedgerError> {
        let signing = Signing::with(&options.origin, key);
        Self::open_signed(options, store, signing, clock)
    }

    /// Like [`Ledger::open`], for a log that may have changed its key.
    ///
    /// # Errors
    /// See [`Ledger::open`].
    pub fn open_signed(
        options: LedgerOptions,
        store: Arc<dyn LogStore>,
        signing: Signing,
        clock: SharedClock,
    ) -> Result<Self, LedgerError> {
        let head = store.head();
        let frontier = Frontier::load(head.size, &StoreNodes(store.as_ref()))?;
        let mut checkpoint_file = CheckpointFile::open(options.checkpoint_file.as_deref())?;
        if let Some(note) = checkpoint_file.last().filter(|_| !options.is_restored) {
            check_continues(note, &signing.chain, store.as_ref())?;
        }
        let now_ms = clock.now_ms();
        let first = Arc::new(sequencer::sign_checkpoint(&options.origin, &frontier, &signing, now_ms));
        // This checkpoint is about to be published, so it must survive a crash.
        checkpoint_file
            .keep(&first.note)
            .and_then(|()| checkpoint_file.sync(clock.now_ms()))
            .map_err(LedgerError::CheckpointFile)?;
        let (publish, newest) = watch::channel(first);
        let (queue, work) = sync_channel(options.queue_max);
        let (origin, manual) = (options.origin.clone(), options.manual);
        let timestamps = options.checkpoint_file.as_ref().map(|file| file.with_file_name("timestamps"));
        let refused_at_ms = Arc::new(AtomicU64::new(0));
        let signing = Arc::new(watch::Sender::new(Arc::new(signing)));
        let limits = AppendLimits {
            batch_events_max: options.batch_events_max,
            clock_skew_ms_max: options.clock_skew_ms_max,
            sealed_age_ms_max: options.sealed_age_ms_max,
        };
        let sequencer = Sequencer::new(
            options.origin,
            limits,
            Arc::clone(&store),
            Arc::clone(&signing),
            Arc::clone(&clock),
            frontier,
            checkpoint_file,
            publish,
            Arc::clone(&refused_at_ms),
        );
        let thread = match &manual {
            Some(manual) => {
                manual.begin(sequencer, work);
                None
            }
            None => {
                let thread = std::thread::Builder::new().name("sequencer".into());
                Some(thread.spawn(move || sequencer.run(&work)).map_err(LedgerError::Thread)?)
            }
        };
        let (queue, thread) = (Mutex::new(Some(queue)), Mutex::new(thread));
        let cosigning = Cosigning::default();
        Ok(Self {
            origin,
            store,
            signing,
            cosigning,
            timestamps,
            clock,
            queue,
            newest,
            refused_at_ms,
            thread,
            manual,
        })
    }

    /// The checkpoint kept in this file, if there is one. Makes the file if it does not exist.
    ///
    /// # Errors
    /// The file can't be read, or is damaged.
    pub fn kept_checkpoint(file: &Path) -> Result<Option<String>, LedgerError> {
        Ok(CheckpointFile::open(Some(file))?.last().map(str::to_owned))
    }

    /// Reads the checkpoint kept in this file without changing or making the file.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn inspect_kept_checkpoint(file: &Path) -> Result<KeptCheckpoint, LedgerError> {
        CheckpointFile::inspect(file)
    }

    /// Signs a payload. May be called from any thread, in parallel.
    ///
    /// # Errors
    /// The payload is not one that `sayso_proof::entry` made.
    pub fn sign(&self, payload: Vec<u8>) -> Result<SignedEntry, EntryError> {
        let key = Arc::clone(&self.signing().key);
        let bytes = entry::sign(payload, &self.origin, &*key)?;
        let (leaf_hash, header) = (merkle::leaf_hash(&bytes), entry::parse_header(&bytes)?);
        Ok(SignedEntry { bytes, leaf_hash, header, key_id: key.id() })
    }

    /// Appends entries as one frame: all of them or none. They are durable when it returns.
    ///
    /// # Errors
    /// See [`SubmitError`]. After [`SubmitError::Stopped`], the entries may or may not have been written.
    /// After any other error, they were not.
    pub async fn submit(&self, entries: Vec<Prepared>) -> Result<Committed, SubmitError> {
        self.send(entries, None, WhenFull::Refuse).await
    }

    /// Like [`Ledger::submit`], but waits while the queue is full. It is meant for writes that must not be
    /// refused because of load.
    ///
    /// # Errors
    /// See [`SubmitError`], except [`SubmitError::Overloaded`].
    pub async fn submit_patiently(&self, entries: Vec<Prepared>) -> Result<Committed, SubmitError> {
        self.send(entries, None, WhenFull::Wait).await
    }

    /// Appends an entry that changes the log key. The old key signs this entry and everything before it. The
    /// new key signs the checkpoint that includes this entry, and everything after it. Until the event's
    /// `old_key_until_ms`, checkpoints carry both signatures.
    ///
    /// # Errors
    /// See [`SubmitError`]; [`SubmitError::OtherKey`] if the entry is not a valid next rotation of this log
    /// at its position.
    pub async fn submit_rotation(&self, entry: Prepared, new: Arc<LogKey>) -> Result<Committed, SubmitError> {
        let now = self.signing();
        let mut chain = now.chain.clone();
        let until_ms = chain.take(self.checkpoint().size, &entry.entry.bytes).map_err(|error| {
            tracing::error!(%error, "the rotation of the log key does not verify; nothing was written");
            SubmitError::OtherKey
        })?;
        if chain.newest().key != new.verifying() {
            return Err(SubmitError::OtherKey);
        }
        let also = Some((Arc::clone(&now.key), until_ms));
        let signing = Arc::new(Signing { chain, key: new, also });
        self.send(vec![entry], Some(signing), WhenFull::Refuse).await
    }

    async fn send(
        &self,
        entries: Vec<Prepared>,
        rotation: Option<Arc<Signing>>,
        when_full: WhenFull,
    ) -> Result<Committed, SubmitError> {
        let key_id = entries.first().map(|first| first.entry.key_id).unwrap_or_default();
        // If the key changed while entries were signed, those with the old signature are invalid.
        if entries.iter().any(|one| one.entry.key_id != key_id) {
            return Err(SubmitError::OtherKey);
        }
        let (reply, answer) = oneshot::channel();
        let mut submission = Submission { entries, key_id, rotation, reply };
        loop {
            match self.queue(submission)? {
                None => return answer.await.map_err(|_| SubmitError::Stopped)?,
                Some(refused) if when_full == WhenFull::Wait => submission = refused,
                Some(_) => return Err(SubmitError::Overloaded),
            }
            tokio::time::sleep(QUEUE_PAUSE).await;
        }
    }

    /// Queues a submission; returns it if the queue is full.
    fn queue(&self, submission: Submission) -> Result<Option<Submission>, SubmitError> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or(SubmitError::Stopped)?;
        metrics().write_queued();
        match queue.try_send(submission).inspect_err(|_| metrics().write_dequeued()) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(submission)) => Ok(Some(submission)),
            Err(TrySendError::Disconnected(_)) => Err(SubmitError::Stopped),
        }
    }

    /// The newest checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Arc<SignedCheckpoint> {
        self.newest.borrow().clone()
    }

    /// The cosignatures of witnesses.
    #[must_use]
    pub fn cosigning(&self) -> &Cosigning {
        &self.cosigning
    }

    /// The checkpoint in a note, if it proves that this log was forked or lost entries: a key of this log
    /// signed it, but this log has fewer or different entries. `None` if the note does not prove that, or if
    /// the store can't be read.
    #[must_use]
    pub fn contradicted_by(&self, note: &str) -> Option<Checkpoint> {
        let text = self.signing().chain.open_note(note, 0).ok()?;
        let claimed =
            Checkpoint::parse_extended(text).ok().filter(|claimed| claimed.origin == self.origin())?;
        let (own, size) = (self.checkpoint(), claimed.size);
        if size > own.size {
            return Some(claimed);
        }
        let proof = self.consistency_proof(size, own.size).ok()?;
        let continues = merkle::verify_consistency(size, &claimed.root, own.size, &own.root, &proof);
        continues.is_err().then_some(claimed)
    }

    /// The note of the checkpoint to publish: the newest one that enough witnesses cosigned. If no witnesses
    /// are asked, or too few of them answer in time, it is the newest checkpoint of all.
    #[must_use]
    pub fn published(&self) -> String {
        let is_enough = self.cosigning.is_enough(self.clock.now_ms()) == Some(true);
        let cosigned = self.cosigning.newest().filter(|_| is_enough);
        cosigned.map_or_else(|| self.checkpoint().note.clone(), |cosigned| cosigned.checkpoint.note.clone())
    }

    /// Watches the newest checkpoint.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<SignedCheckpoint>> {
        self.newest.clone()
    }

    /// Whether the log is running. A log that has stopped does not run again before the next start.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.newest.has_changed().is_ok()
    }

    /// Whether writes are accepted. False once the log has stopped, and for 5 seconds after the store
    /// rejected a write, for example because the disk is full. After these 5 seconds it is true again,
    /// because only another write can show whether the store accepts writes.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        let refused_at_ms = self.refused_at_ms.load(Ordering::Relaxed);
        let waited_ms = self.clock.now_ms().saturating_sub(refused_at_ms);
        self.is_running() && (refused_at_ms == 0 || waited_ms >= REFUSED_MS)
    }

    /// The store under the log.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn LogStore> {
        &self.store
    }

    /// `<ledger name>/<controller>`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The keys that sign the log now.
    #[must_use]
    pub fn signing(&self) -> Arc<Signing> {
        Arc::clone(&self.signing.borrow())
    }

    /// Watches changes of the log key.
    #[must_use]
    pub fn watch_keys(&self) -> watch::Receiver<Arc<Signing>> {
        self.signing.subscribe()
    }

    /// The key that verifies new entries and checkpoints.
    #[must_use]
    pub fn verifier_key(&self) -> VerifierKey {
        self.signing().chain.newest().clone()
    }

    /// Every key that the log had.
    #[must_use]
    pub fn key_chain(&self) -> KeyChain {
        self.signing().chain.clone()
    }

    /// The statement of a rotation to `new`, signed by both keys, to be written as the next entry.
    #[must_use]
    pub fn state_rotation(&self, new: &LogKey) -> String {
        let now = self.signing();
        let from_position = self.checkpoint().size.saturating_add(1);
        let rotation: Rotation = now.chain.next(from_position, new.signing());
        rotation.sign(now.key.signing(), new.signing())
    }

    /// Ends the transition to a new key when its time is over: checkpoints no longer carry the old key's
    /// signature. Returns whether it ended now.
    #[must_use]
    pub fn end_transition(&self) -> bool {
        let now_ms = self.clock.now_ms();
        self.signing.send_if_modified(|signing| {
            let is_over = signing.also.as_ref().is_some_and(|(_, until_ms)| *until_ms <= now_ms);
            if is_over {
                let (chain, key) = (signing.chain.clone(), Arc::clone(&signing.key));
                *signing = Arc::new(Signing { chain, key, also: None });
            }
            is_over
        })
    }

    /// Signs a document as a whole. The result is the note that `sayso_proof::signed_document` verifies.
    #[must_use]
    pub fn sign_document(&self, kind: DocumentKind, digest: Hash) -> String {
        // The size is read before the key: a key that is read later signs trees of this size or larger ones.
        let tree_size = self.checkpoint().size;
        let statement = DocumentStatement { kind, origin: &self.origin, tree_size, digest };
        self.sign_note(&statement.to_text())
    }

    /// Signs a note under the log's origin. The text must not be a checkpoint.
    #[must_use]
    pub fn sign_note(&self, text: &str) -> String {
        checkpoint::sign_note(text, &self.origin, &*self.signing().key)
    }

    /// Stops accepting writes, finishes those that wait, and closes the store.
    pub fn shutdown(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the sequencer panicked");
        }
        if let Some(manual) = &self.manual {
            manual.finish();
        }
    }
}

/// Checks that the store has every entry of the kept checkpoint.
fn check_continues(note: &str, keys: &KeyChain, store: &dyn LogStore) -> Result<(), LedgerError> {
    let store_size = store.head().size;
    let last = match keys.open(note) {
        Ok(last) => last,
        Err(error) => {
            // A store from before a change of key does not have the new key. In this case, report that the
            // store is behind and not that the signature is wrong.
            let text = note.split_once("\n\n").map(|(text, _)| format!("{text}\n"));
            let claimed = text.and_then(|text| Checkpoint::parse(&text).ok());
            return Err(match claimed.filter(|claimed| claimed.size > store_size) {
                Some(claimed) => LedgerError::Behind { checkpoint_size: claimed.size, store_size },
                None => LedgerError::KeptCheckpoint(error),
            });
        }
    };
    if last.size > store_size {
        return Err(LedgerError::Behind { checkpoint_size: last.size, store_size });
    }
    if Frontier::load(last.size, &StoreNodes(store))?.root() != last.root {
        return Err(LedgerError::Forked { size: last.size });
    }
    Ok(())
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shutdown();
    }
}
