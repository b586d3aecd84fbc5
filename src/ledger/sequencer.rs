//! The sequencer: one thread for each log, which gives entries their positions and writes them. It does only
//! what must be sequential.
//!
//! Submissions (the entries of one request each) that wait together become one durable batch with one
//! checkpoint. Then each submission is answered.

use super::error::SubmitError;
use super::kept_checkpoint::CheckpointFile;
use super::key::Signing;
use super::types::{Committed, Place, Prepared, SignedCheckpoint};
use crate::clock::{SharedClock, Stopwatch};
use crate::store::{CommitError, Frame, LogStore, NewEntry};
use crate::telemetry::metrics;
use lru::LruCache;
use sayso_proof::checkpoint::{Checkpoint, cosign_note};
use sayso_proof::entry::Handle;
use sayso_proof::merkle::{Frontier, Hash};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use tokio::sync::{oneshot, watch};

/// Subjects whose newest event stays in memory, so that their chains are checked without reading the store.
const HEADS_MAX: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// Bytes of one submission's entries, at most.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Bytes of one batch's entries, at most.
const BATCH_BYTES_MAX: usize = 32 << 20;

type Reply = oneshot::Sender<Result<Committed, SubmitError>>;

/// Entries to be written as one frame, and where to send the answer.
pub(super) struct Submission {
    pub entries: Vec<Prepared>,
    /// Id of the key that signed all of them.
    pub key_id: [u8; 8],
    /// The keys that sign the log after these entries, if the entries change the keys.
    pub rotation: Option<Arc<Signing>>,
    pub reply: Reply,
}

/// The number of events of a handle, and the leaf hash of the newest one.
type Newest = (u64, Hash);

/// What the sequencer accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppendLimits {
    /// Events in one batch.
    pub batch_events_max: usize,
    /// How far ahead of the clock an event may have been sealed, milliseconds.
    pub clock_skew_ms_max: u64,
    /// How long ago an event may have been sealed, milliseconds.
    pub sealed_age_ms_max: u64,
}

/// Owns everything that changes when entries are written.
pub(super) struct Sequencer {
    origin: String,
    limits: AppendLimits,
    store: Arc<dyn LogStore>,
    signing: Arc<watch::Sender<Arc<Signing>>>,
    clock: SharedClock,
    frontier: Frontier,
    recorded_at_ms: u64,
    heads: LruCache<Handle, Newest>,
    checkpoint_file: CheckpointFile,
    newest: watch::Sender<Arc<SignedCheckpoint>>,
    /// When the store last rejected a batch; 0 after a success. The ledger reads it for readiness.
    refused_at_ms: Arc<AtomicU64>,
    /// A submission that did not fit into the last batch; it starts the next one.
    postponed: Option<Submission>,
}

/// Signs the checkpoint of a tree. During the transition after a rotation the previous key signs it as well.
pub(super) fn sign_checkpoint(
    origin: &str,
    frontier: &Frontier,
    signing: &Signing,
    now_ms: u64,
) -> SignedCheckpoint {
    let (size, root) = (frontier.size(), frontier.root());
    let checkpoint = Checkpoint { origin: origin.to_owned(), size, root };
    let mut note = checkpoint.sign(&*signing.key);
    if let Some(before) = signing.also_at(now_ms) {
        note = cosign_note(&note, origin, before);
    }
    SignedCheckpoint { note, size, root }
}

/// A batch that is being filled.
#[derive(Default)]
struct Batch {
    frames: Vec<Frame>,
    waiting: Vec<(Reply, Vec<Place>)>,
    /// The newest event of each handle after this batch.
    heads: HashMap<Handle, Newest>,
    /// The keys that sign the log after this batch, if the batch changes the keys. A rotation is the last
    /// frame of its batch.
    rotation: Option<Arc<Signing>>,
    events: usize,
    bytes: usize,
}

impl Batch {
    /// Whether a submission fits into the batch. The first submission always fits; `Sequencer::check` limits
    /// its size.
    fn has_room(&self, submission: &Submission, events_max: usize) -> bool {
        let events = self.events.saturating_add(submission.entries.len());
        let bytes = self.bytes.saturating_add(bytes_of(&submission.entries));
        let fits = events <= events_max && bytes <= BATCH_BYTES_MAX;
        self.events == 0 || (fits && self.rotation.is_none())
    }
}

fn bytes_of(entries: &[Prepared]) -> usize {
    entries.iter().map(|each| each.entry.bytes.len()).sum()
}

impl Sequencer {
    #[expect(clippy::too_many_arguments, reason = "everything that one thread owns, passed once")]
    pub fn new(
        origin: String,
        limits: AppendLimits,
        store: Arc<dyn LogStore>,
        signing: Arc<watch::Sender<Arc<Signing>>>,
        clock: SharedClock,
        frontier: Frontier,
        checkpoint_file: CheckpointFile,
        newest: watch::Sender<Arc<SignedCheckpoint>>,
        refused_at_ms: Arc<AtomicU64>,
    ) -> Self {
        let recorded_at_ms = store.head().recorded_at_ms;
        let heads = LruCache::new(HEADS_MAX);
        let postponed = None;
        Self {
            origin,
            limits,
            store,
            signing,
            clock,
            frontier,
            recorded_at_ms,
            heads,
            checkpoint_file,
            newest,
            refused_at_ms,
            postponed,
        }
    }

    /// Runs until the last sender is dropped or the store fails.
    pub fn run(mut self, queue: &Receiver<Submission>) {
        loop {
            match self.next(queue) {
                Ok(first) => {
                    if !self.write(first, queue) {
                        self.sync_checkpoint_file();
                        return;
                    }
                    // The sync comes after the writers were answered, so that they do not wait for it.
                    if self.checkpoint_file.due_in(self.clock.now_ms()).is_some_and(|left| left.is_zero()) {
                        self.sync_checkpoint_file();
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.sync_checkpoint_file(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.sync_checkpoint_file();
        if let Err(error) = self.store.close() {
            tracing::error!(%error, "closing the store failed; the next start recovers");
        }
    }

    /// Waits for the next submission, at most until the checkpoint file must be synced.
    pub(super) fn next(&mut self, queue: &Receiver<Submission>) -> Result<Submission, RecvTimeoutError> {
        if let Some(postponed) = self.postponed.take() {
            return Ok(postponed);
        }
        match self.checkpoint_file.due_in(self.clock.now_ms()) {
            Some(left) => queue.recv_timeout(left),
            None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn sync_checkpoint_file(&mut self) {
        if let Err(error) = self.checkpoint_file.sync(self.clock.now_ms()) {
            tracing::error!(%error, "the checkpoint file could not be written");
        }
    }

    /// Writes one batch. Returns false if the log has to stop.
    pub(super) fn write(&mut self, first: Submission, queue: &Receiver<Submission>) -> bool {
        let mut batch = Batch::default();
        self.admit(first, &mut batch);
        for _ in 1..self.limits.batch_events_max {
            let Ok(next) = queue.try_recv() else { break };
            if !batch.has_room(&next, self.limits.batch_events_max) {
                self.postponed = Some(next);
                break;
            }
            self.admit(next, &mut batch);
        }
        if batch.frames.is_empty() {
            return true;
        }
        let mut frontier = self.frontier.clone();
        batch.frames.iter().flatten().for_each(|entry| frontier.push(entry.leaf_hash));
        let watch = Stopwatch::start();
        match self.store.commit(self.frontier.size(), &batch.frames) {
            Ok(head) if head.size == frontier.size() => {
                metrics().flushed(batch.events, watch.elapsed());
                self.refused_at_ms.store(0, Ordering::Relaxed);
                self.publish(frontier, batch);
                true
            }
            Ok(_) => self.stop("the number of entries in the store is not the expected one", batch),
            Err(CommitError::Rejected(error)) => {
                tracing::warn!(%error, "the store rejected a batch; nothing was written");
                self.refused_at_ms.store(self.clock.now_ms(), Ordering::Relaxed);
                refuse(batch, &SubmitError::Unavailable);
                true
            }
            Err(error) => self.stop(&error.to_string(), batch),
        }
    }

    fn stop(&self, why: &str, batch: Batch) -> bool {
        tracing::error!(
            why,
            "the log stops: it is unknown whether the last batch was written; restart to recover"
        );
        refuse(batch, &SubmitError::Stopped);
        false
    }

    fn publish(&mut self, frontier: Frontier, batch: Batch) {
        self.frontier = frontier;
        self.recorded_at_ms =
            batch.frames.iter().flatten().last().map_or(self.recorded_at_ms, |entry| entry.recorded_at_ms);
        for (handle, newest) in batch.heads {
            self.heads.put(handle, newest);
        }
        if let Some(next) = batch.rotation {
            self.signing.send_replace(next);
        }
        let signing = Arc::clone(&self.signing.borrow());
        let (origin, now_ms) = (&self.origin, self.clock.now_ms());
        let checkpoint = Arc::new(sign_checkpoint(origin, &self.frontier, &signing, now_ms));
        // The checkpoint is kept before it is published, because a published checkpoint must survive a crash.
        if let Err(error) = self.checkpoint_file.keep(&checkpoint.note) {
            tracing::error!(%error, "the checkpoint file could not be written");
        }
        self.newest.send_replace(Arc::clone(&checkpoint));
        for (reply, entries) in batch.waiting {
            let _gone = reply.send(Ok(Committed { entries, checkpoint: Arc::clone(&checkpoint) }));
        }
    }

    /// Adds a submission to the batch, or refuses it without affecting the others.
    fn admit(&mut self, submission: Submission, batch: &mut Batch) {
        metrics().write_dequeued();
        match self.check(&submission, batch) {
            Ok(chains) => {
                batch.heads.extend(chains);
                batch.rotation = submission.rotation;
                batch.bytes = batch.bytes.saturating_add(bytes_of(&submission.entries));
                let mut places = Vec::with_capacity(submission.entries.len());
                let mut recorded_at_ms = batch
                    .frames
                    .iter()
                    .flatten()
                    .last()
                    .map_or(self.recorded_at_ms, |entry| entry.recorded_at_ms);
                let mut frame = Vec::with_capacity(submission.entries.len());
                for entry in submission.entries {
                    let position = self.frontier.size().saturating_add(batch.events as u64);
                    recorded_at_ms = recorded_at_ms.max(entry.entry.header.sealed_at_ms);
                    places.push(Place { position, recorded_at_ms });
                    frame.push(at_place(entry, position, recorded_at_ms));
                    batch.events = batch.events.saturating_add(1);
                }
                batch.frames.push(frame);
                batch.waiting.push((submission.reply, places));
            }
            Err(error) => {
                let _gone = submission.reply.send(Err(error));
            }
        }
    }

    /// Checks that entries are signed by the key in force, continue their chains, were sealed recently and
    /// fit into a frame. Returns the newest event of each handle after them.
    fn check(
        &mut self,
        submission: &Submission,
        batch: &Batch,
    ) -> Result<HashMap<Handle, Newest>, SubmitError> {
        let entries = submission.entries.as_slice();
        if entries.is_empty()
            || entries.len() > self.limits.batch_events_max
            || bytes_of(entries) > FRAME_BYTES_MAX
        {
            return Err(SubmitError::TooLarge);
        }
        let in_force = self.signing.borrow().key.id();
        let position = self.frontier.size().saturating_add(batch.events as u64);
        let is_in_place =
            |next: &Arc<Signing>| entries.len() == 1 && next.chain.rotation_at(position).is_some();
        if submission.key_id != in_force || !submission.rotation.as_ref().is_none_or(is_in_place) {
            return Err(SubmitError::OtherKey);
        }
        let now_ms = self.clock.now_ms();
        let latest = now_ms.saturating_add(self.limits.clock_skew_ms_max);
        let earliest = now_ms.saturating_sub(self.limits.sealed_age_ms_max);
        let mut chains: HashMap<Handle, Newest> = HashMap::new();
        for entry in entries {
            let header = &entry.entry.header;
            if !(earliest..=latest).contains(&header.sealed_at_ms) {
                return Err(SubmitError::Clock);
            }
            let newest = match chains.get(&header.handle).or_else(|| batch.heads.get(&header.handle)) {
                Some(newest) => Some(*newest),
                None => self.newest_of(header.handle)?,
            };
            let (count, leaf) = newest.map_or((0, None), |(count, leaf)| (count, Some(leaf)));
            if header.version != count || header.previous != leaf {
                return Err(SubmitError::Stale { actual_version: count });
            }
            chains.insert(header.handle, (count.saturating_add(1), entry.entry.leaf_hash));
        }
        Ok(chains)
    }

    fn newest_of(&mut self, handle: Handle) -> Result<Option<Newest>, SubmitError> {
        if let Some(newest) = self.heads.get(&handle) {
            return Ok(Some(*newest));
        }
        let read = || {
            let Some((version, position)) = self.store.subject_head(handle)? else { return Ok(None) };
            let leaf = self.store.read_entry(position)?.leaf_hash;
            Ok::<_, crate::store::StoreError>(Some((version.saturating_add(1), leaf)))
        };
        read().map_err(|error| {
            tracing::error!(%error, "the newest event of a subject could not be read");
            SubmitError::Unavailable
        })
    }
}

fn at_place(prepared: Prepared, position: u64, recorded_at_ms: u64) -> NewEntry {
    let Prepared { entry, index } = prepared;
    let with_position = |(prefix, value): (Vec<u8>, Vec<u8>)| {
        let key = [prefix.as_slice(), &position.to_be_bytes()].concat();
        (key, value)
    };
    NewEntry {
        bytes: entry.bytes,
        leaf_hash: entry.leaf_hash,
        handle: entry.header.handle,
        version: entry.header.version,
        idempotency: entry.header.idempotency,
        recorded_at_ms,
        index: index.into_iter().map(with_position).collect(),
    }
}

fn refuse(batch: Batch, error: &SubmitError) {
    for (reply, _) in batch.waiting {
        let _gone = reply.send(Err(error.clone()));
    }
}
