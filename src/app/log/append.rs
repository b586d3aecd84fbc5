//! The way of every write: one turn in the subject's lane, sealed, signed, durable, then told.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::core::Core;
use crate::app::log::index::{index_of, watched_keys};
use crate::app::log::receipt::{EventReceipt, Receipt, RequestStamp, WriteOptions, receipt_of};
use crate::app::log::revocation::revoked_ids;
use crate::app::log::stream::SubjectStream;
use crate::bounds::rulebook::Rules;
use crate::clock;
use crate::domain::attribute::AHEAD_MS_MAX;
use crate::domain::codec;
use crate::domain::event::{Draft, Event, Recorded};
use crate::domain::ids::{EventId, Handle, SubjectId};
use crate::ledger::{Committed, Prepared};
use crate::telemetry::{InCall, metrics};
use crate::vault::clear_stack;
use sayso_proof::entry::{self, Header};
use sayso_proof::event::Role;
use sayso_proof::merkle::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, oneshot};
use tracing::Instrument;

/// How long a decision's answer waits for the rest to be recorded. The decision is durable and in effect already.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(500);

const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// A write that has its place in the lane.
pub(crate) struct Append {
    pub stream: Arc<SubjectStream>,
    pub caller: Caller,
    pub about_ms: u64,
    /// The ledger's clock, never behind the subject's newest event.
    pub now_ms: u64,
    /// What it is about is from before the person's erasure: it will not be written.
    pub is_late: bool,
    pub proofs: bool,
    /// What it decides under.
    pub rules: Arc<Rules>,
    pub request_stamp: RequestStamp,
    write_lock: OwnedMutexGuard<()>,
    /// The rules stay as they are until it is durable.
    _rules_stay: OwnedRwLockReadGuard<()>,
}

/// How a turn begins.
pub(crate) enum Begun {
    /// It is this write's turn.
    Append(Append),
    /// The same request had been made before: what it did then.
    Replayed(Receipt, Vec<Recorded>),
}

/// Whether decisions of the same person must be told apart by their moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timestamping {
    /// Events of one millisecond may share it.
    Shared,
    /// A new moment: consents and signals are weighed by it, and at equal moments no wins.
    Distinct,
}

/// An event on its way.
pub(crate) struct PendingEvent {
    pub event_id: EventId,
    pub event: Event,
    /// Further index records: key prefix and value.
    pub index: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Events to be written together, and what takes effect with them.
#[derive(Default)]
pub(crate) struct Frame {
    pub events: Vec<PendingEvent>,
    /// Revocations that take effect with the events and are recorded in later frames.
    pub pending: Vec<Event>,
    /// Somebody decided about what may be used: it waits for room in the queue rather than be refused.
    pub is_decision: bool,
}

impl From<Vec<PendingEvent>> for Frame {
    fn from(events: Vec<PendingEvent>) -> Self {
        Self { events, ..Self::default() }
    }
}

/// Events on their way to the sequencer.
struct Sealed {
    prepared: Vec<Prepared>,
    drafts: Vec<Draft>,
    /// As in [`codec::kind`].
    kinds: Vec<u32>,
    /// Leaf hash of the last.
    newest: Option<Hash>,
}

/// What is durable now.
pub(crate) struct Written {
    pub receipt: Receipt,
    pub events: Vec<Recorded>,
    /// Ids of the grants that it revoked, recorded here or later.
    pub revoked: Vec<String>,
}

impl Append {
    /// Ends the turn and goes on holding the gate.
    pub fn into_write_lock(self) -> OwnedMutexGuard<()> {
        self.write_lock
    }
}

impl Core {
    /// An event with a fresh id and what finds it again.
    pub(crate) fn plan(&self, event: Event) -> PendingEvent {
        let index = index_of(&event);
        PendingEvent { event_id: EventId(clock::event_id(self.clock.as_ref())), event, index }
    }

    /// Takes a turn in a person's lane.
    ///
    /// `oldest_ms` is the earliest time that the write is about: what is from before an erasure is refused.
    ///
    /// # Errors
    /// Out of bounds, erased, stale, a reused key, or the store can't be read.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        options: &WriteOptions,
        oldest_ms: Option<u64>,
        timestamping: Timestamping,
    ) -> Result<Begun, AppError> {
        let about_ms = self.event_time(options)?;
        let oldest_ms = oldest_ms.map_or(about_ms, |oldest| oldest.min(about_ms));
        let stream = self.stream_or_new(subject).await?;
        let begun = self.begin_in(stream, caller, options, about_ms, timestamping).await?;
        self.with_lateness(begun, subject, oldest_ms)
    }

    /// Notes whether what a turn is about is from before the person's erasure. Said at the end, by [`Core::commit`]: whoever is
    /// refused for another reason learns nothing of when somebody was erased.
    pub(crate) fn with_lateness(
        &self,
        begun: Begun,
        subject: &SubjectId,
        oldest_ms: u64,
    ) -> Result<Begun, AppError> {
        let Begun::Append(append) = begun else { return Ok(begun) };
        let is_late = self.vault.fenced_at(subject)?.is_some_and(|erased_at| oldest_ms <= erased_at);
        Ok(Begun::Append(Append { is_late, ..append }))
    }

    /// Takes a turn in a lane that is already known.
    pub(crate) async fn begin_in(
        self: &Arc<Self>,
        stream: Arc<SubjectStream>,
        caller: &Caller,
        options: &WriteOptions,
        about_ms: u64,
        timestamping: Timestamping,
    ) -> Result<Begun, AppError> {
        let request_stamp = self.request_stamp(caller, options)?;
        let mut write_lock = stream.write_lock().await;
        if stream.has_pending() {
            write_lock = self.record_pending_first(&stream, write_lock).await?;
        }
        let rules_stay = Arc::clone(&self.rules_lock).read_owned().await;
        let (stale, last_ms) = {
            let now = stream.read();
            if now.erased {
                return Err(AppError::Erased);
            }
            (caller.stale(options.expected_version, &now.state), now.state.last_sealed_at_ms)
        };
        if let Some(replayed) = self.replay(&request_stamp, options.proofs)? {
            return Ok(replayed);
        }
        if let Some(stale) = stale {
            return Err(stale);
        }
        let earliest_ms = last_ms.saturating_add(u64::from(timestamping == Timestamping::Distinct));
        let now_ms = self.now_ms().max(earliest_ms);
        let (caller, proofs, rules) = (caller.clone(), options.proofs, self.rules_at(now_ms));
        let _rules_stay = rules_stay;
        let is_late = false;
        Ok(Begun::Append(Append {
            stream,
            caller,
            about_ms,
            now_ms,
            is_late,
            proofs,
            rules,
            request_stamp,
            write_lock,
            _rules_stay,
        }))
    }

    /// The ledger's own turn, for the holder of the gate.
    pub(crate) async fn append_for_ledger(
        &self,
        stream: Arc<SubjectStream>,
        write_lock: OwnedMutexGuard<()>,
    ) -> Append {
        let _rules_stay = Arc::clone(&self.rules_lock).read_owned().await;
        let now_ms = self.now_ms().max(stream.read().state.last_sealed_at_ms);
        let caller = Caller { role: Role::Ledger, channel: false, name: String::new(), subject: None };
        let (rules, request_stamp) = (self.rules_at(now_ms), RequestStamp::default());
        let (is_late, proofs) = (false, false);
        Append {
            stream,
            caller,
            about_ms: now_ms,
            now_ms,
            is_late,
            proofs,
            rules,
            request_stamp,
            write_lock,
            _rules_stay,
        }
    }

    /// The writer's own time of a write.
    pub(crate) fn event_time(&self, options: &WriteOptions) -> Result<u64, AppError> {
        let now_ms = self.now_ms();
        let about_ms = options.about_ms.unwrap_or(now_ms);
        // Whoever says it may be right and the clock wrong: no ground to refuse a no.
        if about_ms > now_ms && self.clock_state().is_skewed() {
            return Ok(now_ms);
        }
        if about_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
            return Err(AppError::invalid("options.about", "must not be in the future"));
        }
        Ok(about_ms)
    }

    pub(crate) fn request_stamp(
        &self,
        caller: &Caller,
        options: &WriteOptions,
    ) -> Result<RequestStamp, AppError> {
        let key = options.idempotency_key.as_bytes();
        if key.is_empty() {
            return Ok(RequestStamp::default());
        }
        if key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(AppError::invalid("options.idempotency_key", "must have at most 128 bytes"));
        }
        let role = (caller.role as i32).to_be_bytes();
        let own = caller.subject.as_ref().map_or("", SubjectId::as_str);
        let parts: [&[u8]; 4] = [&role, caller.name.as_bytes(), own.as_bytes(), key];
        Ok(RequestStamp {
            idempotency: Some(self.vault.keyed_hash("idempotency", &parts)),
            digest: self.vault.keyed_hash("request", &[&options.request]).to_vec(),
        })
    }

    /// What the same request did before, if it was made before.
    pub(crate) fn replay(
        &self,
        request_stamp: &RequestStamp,
        proofs: bool,
    ) -> Result<Option<Begun>, AppError> {
        let Some(hash) = &request_stamp.idempotency else { return Ok(None) };
        let Some((first, count)) = self.store().find_idempotent(hash)? else { return Ok(None) };
        let mut events = Vec::new();
        let mut receipts = Vec::new();
        for stored in self.store().read_entries(first, usize::try_from(count).unwrap_or(usize::MAX))? {
            let leaf_hash = stored.leaf_hash;
            let recorded = self.open_any(stored)?;
            if recorded.request_digest != request_stamp.digest {
                return Err(AppError::KeyReused);
            }
            receipts.push(receipt_of(&recorded, leaf_hash));
            events.push(recorded);
        }
        let checkpoint = self.ledger.checkpoint().note.clone();
        let receipts = self.attach_proofs(receipts, proofs)?;
        Ok(Some(Begun::Replayed(Receipt { events: receipts, checkpoint, replayed: true }, events)))
    }

    /// Opens any entry: a subject's or one about nobody.
    pub(crate) fn open_any(&self, stored: crate::store::StoredEntry) -> Result<Recorded, AppError> {
        let bytes = stored.bytes.as_deref().ok_or(AppError::Erased)?;
        let handle = entry::parse_header(bytes)?.handle;
        if handle == Handle::SYSTEM {
            return crate::app::log::read::open_system_entry(stored);
        }
        let keys = self.vault.by_handle(handle)?.ok_or(AppError::Erased)?;
        crate::app::log::read::open(&keys, stored)
    }

    /// A turn that records an attempt: tied to its request by a mark of its own, so that the request can be made again.
    pub(crate) fn as_attempt(&self, append: Append) -> Append {
        let mark = |hash: Hash| self.vault.keyed_hash("attempt", &[&hash]);
        let request_stamp =
            RequestStamp { idempotency: append.request_stamp.idempotency.map(mark), ..append.request_stamp };
        // It is of now, whatever it is about.
        Append { request_stamp, is_late: false, ..append }
    }

    /// Whether what carries this turn's mark is in the log already.
    pub(crate) fn is_already_recorded(&self, append: &Append) -> Result<bool, AppError> {
        let Some(hash) = &append.request_stamp.idempotency else { return Ok(false) };
        Ok(self.store().find_idempotent(hash)?.is_some())
    }

    /// Makes the planned events durable and lets everybody know. Goes on to the end even where the caller goes away:
    /// the lane must learn what the log holds.
    ///
    /// # Errors
    /// Nothing was written, or nobody knows: see [`AppError`].
    pub(crate) async fn commit(
        self: &Arc<Self>,
        append: Append,
        frame: impl Into<Frame>,
    ) -> Result<Written, AppError> {
        let (core, frame) = (Arc::clone(self), frame.into());
        if !frame.pending.is_empty() {
            return self.commit_in_parts(append, frame).await;
        }
        let work = async move { core.commit_inline(&append, frame).await };
        let task = tokio::spawn(InCall::inherit(Box::pin(work.instrument(tracing::Span::current()))));
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    /// As [`Core::commit`], for a decision that revokes more than fits beside it: the rest is recorded before anybody else
    /// writes about the subject. The answer waits for that a little; the decision is durable and in effect before.
    async fn commit_in_parts(self: &Arc<Self>, append: Append, frame: Frame) -> Result<Written, AppError> {
        let (core, stream) = (Arc::clone(self), Arc::clone(&append.stream));
        let (answer, answered) = oneshot::channel();
        let work = async move {
            let written = core.commit_inline(&append, frame).await;
            let _gone = answer.send(written);
            let stream = Arc::clone(&append.stream);
            drop(core.record_pending(&stream, append.into_write_lock()).await);
        };
        let task = tokio::spawn(InCall::inherit(Box::pin(work.instrument(tracing::Span::current()))));
        let written = answered.await.map_err(|_| AppError::Internal(Cause::Task))?;
        if tokio::time::timeout(WAIT_MAX, task).await.is_err() {
            self.tell_before_recorded(&stream);
        }
        written
    }

    /// As [`Core::commit`], for a task of the caller's own; the lane stays its.
    pub(crate) async fn commit_and_keep_lock(
        &self,
        append: Append,
        frame: impl Into<Frame>,
    ) -> Result<OwnedMutexGuard<()>, AppError> {
        self.commit_inline(&append, frame.into()).await?;
        Ok(append.write_lock)
    }

    pub(crate) async fn commit_frame(&self, append: &Append, frame: Frame) -> Result<Written, AppError> {
        let Frame { events: pending_events, pending, is_decision } = frame;
        // What an earlier decision ended stays ended: its revocations are recorded before anything may allow more.
        if append.stream.has_pending() && !pending_events.iter().all(|each| each.event.only_narrows()) {
            return Err(AppError::Overloaded);
        }
        let watched_keys: Vec<_> = pending_events.iter().flat_map(|each| watched_keys(&each.index)).collect();
        let Sealed { prepared, drafts, kinds, newest } = self.seal(append, pending_events)?;
        let places: Vec<_> =
            prepared.iter().map(|each| (each.entry.header().clone(), each.entry.leaf_hash())).collect();
        let submitted = async {
            if is_decision {
                self.ledger.submit_patiently(prepared).await
            } else {
                self.ledger.submit(prepared).await
            }
        };
        let committed = match submitted.instrument(tracing::trace_span!("submit")).await {
            Ok(committed) => committed,
            Err(error) => {
                // Whatever the reason, the next turn starts from what the log says.
                self.reload_stream(&append.stream)?;
                return Err(error.into());
            }
        };
        kinds.into_iter().for_each(|kind| metrics().event(kind));
        let recorded = record(&places, drafts, &append.request_stamp.digest, &committed);
        let revoked = revoked_ids(&append.caller, recorded.iter().map(|event| &event.event).chain(&pending));
        append.stream.write().take_in(&recorded, newest, pending);
        if append.stream.has_pending() {
            self.pending_streams.push(&append.stream);
        }
        self.streams.grew(&append.stream);
        watched_keys.iter().for_each(|key| self.notifier.notify(key));
        self.open_requests.note(&recorded);
        let leaves = places.iter().map(|(_, leaf)| *leaf);
        let receipts = recorded.iter().zip(leaves).map(|(event, leaf)| receipt_of(event, leaf)).collect();
        let events = self.attach_proofs(receipts, append.proofs)?;
        let checkpoint = committed.checkpoint.note.clone();
        Ok(Written { receipt: Receipt { events, checkpoint, replayed: false }, events: recorded, revoked })
    }

    /// Seals and signs planned events, each after the one before.
    fn seal(&self, append: &Append, pending_events: Vec<PendingEvent>) -> Result<Sealed, AppError> {
        let (mut version, mut newest) = {
            let now = append.stream.read();
            (now.state.version, now.newest)
        };
        let count = pending_events.len();
        let (mut prepared, mut drafts) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut kinds = Vec::with_capacity(count);
        for each in pending_events {
            let header = Header {
                event_id: each.event_id.0,
                handle: append.stream.keys.handle,
                version,
                previous: newest,
                sealed_at_ms: append.now_ms,
                idempotency: append.request_stamp.idempotency,
                key_commitment: None,
            };
            let actor = append.caller.actor_of(&each.event);
            let draft = Draft { about_ms: append.about_ms, actor, event: each.event };
            let body = codec::encode(&draft, &append.request_stamp.digest);
            kinds.push(codec::kind(&body));
            let key = append.stream.keys.event_key(version, &header.event_id)?;
            let payload = entry::seal(&header, &body, &key);
            drop(key);
            clear_stack::<{ crate::app::log::read::CIPHER_STACK_WORDS }>();
            let payload = payload?;
            let entry = self.prepare(payload, each.index)?;
            newest = Some(entry.entry.leaf_hash());
            version = version.saturating_add(1);
            prepared.push(entry);
            drafts.push(draft);
        }
        Ok(Sealed { prepared, drafts, kinds, newest })
    }

    /// Signs a payload and makes it ready for the sequencer.
    pub(crate) fn prepare(
        &self,
        payload: Vec<u8>,
        index: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Prepared, AppError> {
        Ok(Prepared { entry: self.ledger.sign(payload)?, index })
    }

    pub(crate) fn attach_proofs(
        &self,
        mut events: Vec<EventReceipt>,
        proofs: bool,
    ) -> Result<Vec<EventReceipt>, AppError> {
        if proofs {
            for event in &mut events {
                event.proof = Some(self.ledger.proof_text(event.position)?);
            }
        }
        Ok(events)
    }
}

/// What the log holds now of these drafts.
fn record(
    places: &[(Header, Hash)],
    drafts: Vec<Draft>,
    digest: &[u8],
    committed: &Committed,
) -> Vec<Recorded> {
    let places = places.iter().zip(&committed.entries);
    places
        .zip(drafts)
        .map(|(((header, _), place), draft)| Recorded {
            event_id: EventId(header.event_id),
            position: place.position,
            version: header.version,
            recorded_at_ms: place.recorded_at_ms,
            sealed_at_ms: header.sealed_at_ms,
            about_ms: draft.about_ms,
            actor: draft.actor,
            request_digest: digest.to_vec(),
            event: draft.event,
        })
        .collect()
}

impl Core {
    /// Takes a turn about a person that something is held about.
    pub(crate) async fn begin_existing(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        options: &WriteOptions,
        timestamping: Timestamping,
    ) -> Result<Begun, AppError> {
        let stream = self.existing_stream(subject).await?;
        let about_ms = self.event_time(options)?;
        let begun = self.begin_in(stream, caller, options, about_ms, timestamping).await?;
        self.with_lateness(begun, subject, about_ms)
    }
}
