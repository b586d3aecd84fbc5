//! The only way to write to a subject's stream: take the write lock, decide which events to write, append
//! them ([`signed_frame`](super::signed_frame)), and notify watchers.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::core::Core;
use crate::app::log::index::{RECIPIENT_NAMES, index_of};
use crate::app::log::receipt::{EventReceipt, Receipt, RequestStamp, WriteOptions};
use crate::app::log::revocation::revoked_ids;
use crate::app::log::signed_frame::{DurableFrame, NewEvent, SignedFrame, StreamEnd, Submission};
use crate::app::log::stream::SubjectStream;
use crate::bounds::rulebook::Rules;
use crate::domain::attribute::AHEAD_MS_MAX;
use crate::domain::event::{Actor, Draft, Event, Recorded, Role};
use crate::domain::ids::{EventId, SubjectId};
use crate::telemetry::InCall;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, OwnedRwLockReadGuard, oneshot};
use tracing::Instrument;

/// The longest time that the answer to a decision waits for all revocations to be recorded. Before that wait,
/// the decision is already durable and in effect.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(500);

/// How often a write begins if the subject is erased each time while the write waits.
const BEGINS_MAX: usize = 8;

/// A write that owns the write lock of its stream.
pub(crate) struct Append {
    pub stream: Arc<SubjectStream>,
    pub caller: Caller,
    /// The time that the writer states, or else the time of the call.
    pub about_ms: u64,
    /// The time that the writer states; `None` if the writer states none.
    pub stated_ms: Option<u64>,
    /// The ledger's time, never before the stream's newest event.
    pub now_ms: u64,
    /// Whether the write concerns a time before the data subject's erasure. If so, it is refused, unless it
    /// records a person's no.
    pub predates_erasure: bool,
    pub proofs: bool,
    /// The rules under which the write is decided.
    pub rules: Arc<Rules>,
    pub request_stamp: RequestStamp,
    write_lock: OwnedMutexGuard<()>,
    /// Keeps the rules unchanged until the write is durable.
    _rules_guard: OwnedRwLockReadGuard<()>,
}

/// How a write begins.
pub(crate) enum Begun {
    /// The write owns the write lock and may continue.
    Append(Append),
    /// The same request was made before, and this is what it did.
    Replayed(Receipt, Vec<Recorded>),
}

/// Whether events of one data subject may share a millisecond.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timestamping {
    /// They may.
    Shared,
    /// They may not. Consents, signals, contests and confirmations are ordered by time, and at equal times a
    /// no wins.
    Distinct,
}

/// An event that is not written yet.
pub(crate) struct PendingEvent {
    pub event_id: EventId,
    pub event: Event,
    /// Index records that find this event: key prefix and value.
    pub index: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the ledger decided on this event itself, and not the caller whose request led to it.
    pub by_ledger: bool,
}

/// Events to be written together, and revocations that take effect with them.
#[derive(Default)]
pub(crate) struct Frame {
    pub events: Vec<PendingEvent>,
    /// Revocations that take effect with the events and are recorded in later frames.
    pub pending: Vec<Event>,
    /// Whether the events record someone's decision about use. If so, the frame waits for room in the queue;
    /// other frames are refused when the queue is full.
    pub is_decision: bool,
}

impl From<Vec<PendingEvent>> for Frame {
    fn from(events: Vec<PendingEvent>) -> Self {
        Self { events, ..Self::default() }
    }
}

/// A write that is durable.
pub(crate) struct Written {
    pub receipt: Receipt,
    pub events: Vec<Recorded>,
    /// Ids of the grants that the write revoked. Their revocations are recorded in this frame or later.
    pub revoked: Vec<String>,
}

impl Append {
    /// Ends the write and returns the write lock.
    pub fn into_write_lock(self) -> OwnedMutexGuard<()> {
        self.write_lock
    }
}

impl Core {
    /// A pending event with a new id and its index records.
    pub(crate) fn plan(&self, event: Event) -> PendingEvent {
        let mut index = index_of(&event, self.now_ms());
        if let Event::GrantIssued(issued) = &event
            && !self.named_recipients.needs_record(&issued.recipient)
        {
            index.retain(|(key, _)| !key.starts_with(RECIPIENT_NAMES));
        }
        PendingEvent { event_id: self.new_id(), event, index, by_ledger: false }
    }

    /// Begins a write to a data subject's stream.
    ///
    /// `oldest_ms` is the earliest time that the write concerns. A write that concerns a time before an
    /// erasure is refused, unless it is a person's no. If the subject is erased while the write waits, the
    /// write begins again: it may be a no.
    ///
    /// # Errors
    /// The request is invalid or reuses an idempotency key, the expected version is stale, the subject is
    /// being erased, or the store can't be read.
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
        let mut begun = self.begin_once(caller, subject, options, about_ms, timestamping).await;
        for _ in 1..BEGINS_MAX {
            if !matches!(begun, Err(AppError::Erased)) {
                break;
            }
            begun = self.begin_once(caller, subject, options, about_ms, timestamping).await;
        }
        self.mark_if_predates_erasure(begun?, subject, oldest_ms)
    }

    async fn begin_once(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        options: &WriteOptions,
        about_ms: u64,
        timestamping: Timestamping,
    ) -> Result<Begun, AppError> {
        let stream = self.stream_or_new(subject).await?;
        self.link_subject(subject, &stream).await;
        self.begin_in(stream, caller, options, about_ms, timestamping).await
    }

    /// Begins a write to the stream of a data subject with recorded events.
    pub(crate) async fn begin_existing(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        options: &WriteOptions,
        timestamping: Timestamping,
    ) -> Result<Begun, AppError> {
        let stream = self.existing_stream(subject).await?;
        self.link_subject(subject, &stream).await;
        let about_ms = self.event_time(options)?;
        let begun = self.begin_in(stream, caller, options, about_ms, timestamping).await?;
        self.mark_if_predates_erasure(begun, subject, about_ms)
    }

    /// Notes whether a write concerns a time before the data subject's erasure. Only [`Core::commit`] then
    /// refuses the write. So a caller whose write is refused for another reason does not learn when someone
    /// was erased.
    pub(crate) fn mark_if_predates_erasure(
        &self,
        begun: Begun,
        subject: &SubjectId,
        oldest_ms: u64,
    ) -> Result<Begun, AppError> {
        let Begun::Append(append) = begun else { return Ok(begun) };
        let predates_erasure = self.vault.fenced_at(subject)?.is_some_and(|erased_at| oldest_ms <= erased_at);
        Ok(Begun::Append(Append { predates_erasure, ..append }))
    }

    /// Begins a write to a stream that is already known.
    pub(crate) async fn begin_in(
        self: &Arc<Self>,
        stream: Arc<SubjectStream>,
        caller: &Caller,
        options: &WriteOptions,
        about_ms: u64,
        timestamping: Timestamping,
    ) -> Result<Begun, AppError> {
        let request_stamp = self.request_stamp(caller, options)?;
        let about_ms = match timestamping {
            Timestamping::Distinct if options.about_ms.is_none() => about_ms.max(next_ms(&stream)),
            _ => about_ms,
        };
        let mut write_lock = stream.write_lock().await;
        if stream.has_pending() {
            write_lock = self.record_pending_first(&stream, write_lock).await?;
        }
        let _rules_guard = self.rules.keep_unchanged().await;
        let (stale, last_ms) = {
            let now = stream.read();
            if now.erased {
                return Err(AppError::Erased);
            }
            (caller.stale(options.expected_version, &now.state), now.state.last_sealed_at_ms)
        };
        if let Some(replayed) = self.replay_in(&stream, &request_stamp, options.proofs)? {
            return Ok(replayed);
        }
        if let Some(stale) = stale {
            return Err(stale);
        }
        let earliest_ms = last_ms.saturating_add(u64::from(timestamping == Timestamping::Distinct));
        let now_ms = self.now_ms().max(earliest_ms);
        let (caller, proofs, rules) = (caller.clone(), options.proofs, self.rules_at(now_ms));
        let predates_erasure = false;
        Ok(Begun::Append(Append {
            stream,
            caller,
            about_ms,
            stated_ms: options.about_ms,
            now_ms,
            predates_erasure,
            proofs,
            rules,
            request_stamp,
            write_lock,
            _rules_guard,
        }))
    }

    /// Begins a write of the ledger itself, for the owner of the write lock.
    pub(crate) async fn append_for_ledger(
        &self,
        stream: Arc<SubjectStream>,
        write_lock: OwnedMutexGuard<()>,
    ) -> Append {
        let _rules_guard = self.rules.keep_unchanged().await;
        let now_ms = self.now_ms().max(stream.read().state.last_sealed_at_ms);
        let caller = Caller { role: Role::Ledger, channel: false, name: String::new(), subject: None };
        let (rules, request_stamp) = (self.rules_at(now_ms), RequestStamp::default());
        let (predates_erasure, proofs) = (false, false);
        Append {
            stream,
            caller,
            about_ms: now_ms,
            stated_ms: None,
            now_ms,
            predates_erasure,
            proofs,
            rules,
            request_stamp,
            write_lock,
            _rules_guard,
        }
    }

    /// The time that the writer states for the event; the ledger's time if the writer states none.
    pub(crate) fn event_time(&self, options: &WriteOptions) -> Result<u64, AppError> {
        let now_ms = self.now_ms();
        let about_ms = options.about_ms.unwrap_or(now_ms);
        // The caller's clock may be right and this machine's clock wrong. A withdrawal must not be refused
        // for that reason.
        if about_ms > now_ms && self.clock_state().is_skewed() {
            return Ok(now_ms);
        }
        if about_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
            return Err(AppError::invalid("options.about", "must not be more than 5 minutes in the future"));
        }
        Ok(about_ms)
    }

    /// Makes a frame durable and notifies watchers. Runs in a separate task, so that the stream in memory
    /// keeps up with the log even if the caller disconnects.
    ///
    /// # Errors
    /// Nothing was written, or the outcome is unknown ([`AppError::Stopped`]).
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

    /// As [`Core::commit`], for a decision with more revocations than fit into its frame. The other
    /// revocations are recorded in later frames, before anyone else writes to the stream. The answer waits
    /// for these frames for at most [`WAIT_MAX`]. Before that wait, the decision is already durable and in
    /// effect.
    async fn commit_in_parts(self: &Arc<Self>, append: Append, frame: Frame) -> Result<Written, AppError> {
        let (core, stream) = (Arc::clone(self), Arc::clone(&append.stream));
        let (answer, answered) = oneshot::channel();
        let work = async move {
            let written = core.commit_inline(&append, frame).await;
            let _disconnected = answer.send(written);
            let stream = Arc::clone(&append.stream);
            drop(core.record_pending(&stream, append.into_write_lock()).await);
        };
        let task = tokio::spawn(InCall::inherit(Box::pin(work.instrument(tracing::Span::current()))));
        let written = answered.await.map_err(|_| AppError::Internal(Cause::Task))?;
        if tokio::time::timeout(WAIT_MAX, task).await.is_err() {
            self.announce_pending(&stream);
        }
        written
    }

    /// As [`Core::commit`], in the caller's own task. The caller keeps the write lock.
    pub(crate) async fn commit_and_keep_lock(
        &self,
        append: Append,
        frame: impl Into<Frame>,
    ) -> Result<OwnedMutexGuard<()>, AppError> {
        self.commit_inline(&append, frame.into()).await?;
        Ok(append.write_lock)
    }

    /// Writes a frame to a stream whose keys are durable. After an error, the state of the stream is folded
    /// from the log again.
    pub(crate) async fn commit_frame(&self, append: &Append, frame: Frame) -> Result<Written, AppError> {
        let Frame { events: pending_events, pending, is_decision } = frame;
        // What an earlier decision revoked must stay revoked. So its revocations are recorded before any
        // event that could allow more.
        if append.stream.has_pending() && !pending_events.iter().all(|each| each.event.only_narrows()) {
            return Err(AppError::Overloaded);
        }
        let signed = self.sign_pending(append, pending_events)?;
        let submission = if is_decision { Submission::Patient } else { Submission::Prompt };
        let durable = match self.submit_frame(signed, submission).await {
            Ok(durable) => durable,
            Err(error) => {
                // After any error, the next write has to start from the state of the log.
                self.reload_stream(&append.stream)?;
                return Err(error.into());
            }
        };
        let revoked = durable.events.iter().map(|event| &event.event).chain(&pending);
        let revoked = revoked_ids(&append.caller, revoked);
        append.stream.write().apply(&durable.events, durable.newest, pending);
        if append.stream.has_pending() {
            self.unrecorded.revocations.push(&append.stream);
        }
        self.streams.measure(&append.stream);
        durable.notify_watchers(self);
        self.projections.open_requests.update(&durable.events);
        let DurableFrame { events: recorded, receipts, checkpoint, .. } = durable;
        let events = self.attach_proofs(receipts, append.proofs)?;
        Ok(Written { receipt: Receipt { events, checkpoint, replayed: false }, events: recorded, revoked })
    }

    /// Seals and signs pending events.
    fn sign_pending(
        &self,
        append: &Append,
        pending_events: Vec<PendingEvent>,
    ) -> Result<SignedFrame, AppError> {
        let (version, newest) = {
            let now = append.stream.read();
            (now.state.version, now.newest)
        };
        let keys = Some(append.stream.keys.as_ref());
        let end = StreamEnd { keys, version, newest, sealed_at_ms: append.now_ms };
        let events = pending_events.into_iter().map(|each| {
            let actor = match each.by_ledger {
                true => Actor { role: Role::Ledger, name: String::new() },
                false => append.caller.actor_of(&each.event),
            };
            let draft = Draft { about_ms: append.about_ms, actor, event: each.event };
            NewEvent { event_id: each.event_id, draft, index: each.index, signature: None }
        });
        self.sign_frame(end, events.collect(), append.request_stamp.clone())
    }

    /// Attaches inclusion proofs to receipts if `proofs`.
    ///
    /// # Errors
    /// The proof of an event can't be read.
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

/// The first time after every event of a stream so far. A statement without a time of its own follows these
/// events, even if they were sealed in the same millisecond.
fn next_ms(stream: &SubjectStream) -> u64 {
    stream.read().state.last_sealed_at_ms.saturating_add(1)
}
