//! Erases a data subject, or a part of their record. First the subject's stream records the start
//! (`ErasureRequested`). Then come three steps, each of which can be resumed after a crash:
//!
//! 1. One durable write destroys the keys and stores the intent, which says what the next steps have to do.
//!    In a full erasure, this write also sets the fence: from then on, the ledger refuses writes about the
//!    subject that concern a time before the erasure. After step 1, nothing that was erased can be read.
//! 2. The bytes of the entries are discarded.
//! 3. `ErasureCompleted` is recorded in the system stream. After a partial erasure that a request caused, the
//!    subject's own stream records the outcome, too (`RequestDecided`).
//!
//! If a crash interrupts an erasure, the daemon finishes the erasure when it next starts: from step 2 if the
//! keys are destroyed (`finish_erasures`), otherwise from step 1 (`resume_erasures`).

use crate::app::erasure::Erasures;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Append, Frame, PendingEvent};
use crate::app::log::key_hashes::{key_hash_of, recipient_key_hash};
use crate::app::log::receipt::RequestStamp;
use crate::app::log::stream::SubjectStream;
use crate::app::log::subject_map::link_of;
use crate::domain::erased_copies::{Copies, left_copies};
use crate::domain::erasure::{self, Limits, Scope, Selection, ranges};
use crate::domain::event::{
    ErasureCompleted, ErasureDetails, ErasureIntent, ErasureRequested, ErasureSummary, Event, Recorded,
    RequestDecided, RequestKey, RequestKind, RequestOutcome, codec,
};
use crate::domain::ids::EventId;
use crate::domain::request::RequestRecord;
use crate::domain::rights::Hold;
use crate::telemetry::{ErasureStep, metrics};
use crate::vault::intent_name;
use sayso_proof::entry::padding;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// The most attributes whose removal is recorded in one frame (events that are written together).
const REMOVALS_MAX: usize = 128;
/// The most pairs of a recipient and an erased key of which a partial erasure keeps a hash (32 KiB).
const RECIPIENT_KEYS_MAX: usize = 4_096;

/// An erasure that may be carried out.
pub(crate) struct Erasure {
    /// The request that it carries out.
    pub request: EventId,
    /// What is erased.
    pub scope: Scope,
    /// The holds under which a part is kept.
    pub holds: Vec<Hold>,
    /// When the request was submitted, milliseconds since the Unix epoch.
    pub submitted_at_ms: u64,
    /// When the answer to the request is due, milliseconds since the Unix epoch.
    pub due_at_ms: u64,
}

/// The data subject of a partial erasure, whose own stream records the decision.
struct Partial {
    stream: Arc<SubjectStream>,
    write_lock: OwnedMutexGuard<()>,
    /// `None` for an erasure at the end of retention.
    decided: Option<RequestDecided>,
}

impl Erasure {
    /// Whether everything about the subject is erased.
    pub fn is_whole(&self) -> bool {
        self.scope == Scope::All && self.holds.is_empty()
    }

    /// The event that records the start of the erasure. A partial erasure does not erase this event, so the
    /// event names neither key nor category.
    pub fn start_event(&self) -> Event {
        let scope = self.scope.kind();
        Event::ErasureRequested(ErasureRequested { request: self.request, scope })
    }
}

impl Erasures {
    /// The entries that an erasure would erase now. The caller holds the stream's write lock.
    pub(crate) fn select(
        &self,
        stream: &SubjectStream,
        scope: &Scope,
        holds: &[Hold],
    ) -> Result<Selection, AppError> {
        let history = self.history(stream)?;
        let mut selection = self.select_started(&history, scope, holds)?;
        self.add_notified(&mut selection, &history, scope, &stream.keys)?;
        Ok(selection)
    }

    /// The entries that an erasure erases whose start is recorded.
    fn select_started(
        &self,
        history: &[Recorded],
        scope: &Scope,
        holds: &[Hold],
    ) -> Result<Selection, AppError> {
        let vocabulary = &self.core.rules().vocabulary;
        Ok(erasure::select(history, scope, holds, vocabulary, Limits::none())?)
    }

    /// All events of a subject that can still be read, oldest first.
    pub(crate) fn history(&self, stream: &SubjectStream) -> Result<Vec<Recorded>, AppError> {
        self.core.events_of(&stream.keys)
    }

    /// Records `pending_events` and the start of the erasure, and carries out the erasure. Returns when the
    /// erasure is complete. The erasure completes even if the caller disconnects.
    ///
    /// Returns the copies of the erased values that a partial erasure found elsewhere in the record.
    ///
    /// # Errors
    /// The store fails. The next start finishes an erasure that failed halfway.
    pub(crate) async fn erase(
        self: &Arc<Self>,
        append: Append,
        pending_events: Vec<PendingEvent>,
        erasure: Erasure,
    ) -> Result<Copies, AppError> {
        let erasures = Arc::clone(self);
        let task = tokio::spawn(async move {
            let (append, pending_events) = erasures.record_removals_first(append, pending_events).await?;
            let _erasing = erasures.core.begin_erasing().await;
            metrics().erasure(ErasureStep::Begun);
            let result = if erasure.is_whole() {
                erasures.erase_whole(append, pending_events, &erasure).await.map(|()| Copies::default())
            } else {
                erasures.erase_part(append, pending_events, &erasure).await
            };
            result.inspect_err(|_| metrics().erasure(ErasureStep::Failed))
        });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    /// Records removals of attributes in separate frames if the frame of the decision has no room for them.
    /// Returns the events that remain.
    async fn record_removals_first(
        &self,
        mut append: Append,
        pending_events: Vec<PendingEvent>,
    ) -> Result<(Append, Vec<PendingEvent>), AppError> {
        if pending_events.len() <= REMOVALS_MAX {
            return Ok((append, pending_events));
        }
        let is_removal = |each: &PendingEvent| matches!(each.event, Event::AttributeRemoved { .. });
        let (mut removals, decision): (Vec<_>, Vec<_>) = pending_events.into_iter().partition(is_removal);
        let request_stamp = std::mem::take(&mut append.request_stamp);
        while !removals.is_empty() {
            let rest = removals.split_off(removals.len().min(REMOVALS_MAX));
            let frame = self.core.with_revocations(&append, std::mem::replace(&mut removals, rest));
            self.core.commit_inline(&append, frame).await?;
        }
        append.request_stamp = request_stamp;
        Ok((append, decision))
    }

    async fn erase_whole(
        self: &Arc<Self>,
        append: Append,
        mut pending_events: Vec<PendingEvent>,
        erasure: &Erasure,
    ) -> Result<(), AppError> {
        let (stream, request_stamp, now_ms) =
            (Arc::clone(&append.stream), append.request_stamp.clone(), append.now_ms);
        pending_events.push(self.core.plan(erasure.start_event()));
        let frame = Frame { events: pending_events, is_decision: true, ..Frame::default() };
        let write_lock = self.core.commit_and_keep_lock(append, frame).await?;
        self.carry_out_whole(stream, write_lock, request_stamp, now_ms, erasure).await
    }

    /// Carries out a full erasure whose start is recorded. `request_stamp` is the stamp (hashes of the
    /// idempotency key and the content) of the request that started the erasure.
    pub(crate) async fn carry_out_whole(
        self: &Arc<Self>,
        stream: Arc<SubjectStream>,
        write_lock: OwnedMutexGuard<()>,
        request_stamp: RequestStamp,
        now_ms: u64,
        erasure: &Erasure,
    ) -> Result<(), AppError> {
        let selection = self.select(&stream, &erasure.scope, &[])?;
        let completed = completion_event(erasure, &selection);
        let sealed_decided = Vec::new();
        let intent = ErasureIntent { completed, subject_handle: None, decided: None, sealed_decided };
        let details = padded_details(erasure, &selection);
        stream.write().erased = true;
        let link = link_of(&stream.keys);
        let fence_ms = self.core.now_ms().max(now_ms);
        let bytes = codec::encode_intent(&intent);
        if let Err(error) =
            self.core.vault.erase(&stream.keys, fence_ms, erasure.request.0, &bytes, &details).await
        {
            // Probably nothing was destroyed, so the stream continues. If keys were destroyed after all, the
            // next start finishes the erasure.
            stream.write().erased = false;
            return Err(error.into());
        }
        self.core.projections.subject_map.forget(stream.keys.handle, link);
        self.core.clock.advance_past(fence_ms);
        stream.forget();
        self.core.streams.remove(&stream.keys.handle);
        drop(write_lock);
        self.complete_erasure(intent_name(&erasure.request.request_hash()), intent.completed, None).await?;
        self.remember(request_stamp, erasure.request);
        Ok(())
    }

    /// Remembers a request in memory, so that a repetition is recognized although no event has its hashes.
    pub(crate) fn remember(&self, request_stamp: RequestStamp, request: EventId) {
        if let RequestKey::Sealed(hash) = request_stamp.sealed {
            self.recent_erasures.insert(hash, request_stamp.digest, request, self.core.now_ms());
        }
    }

    async fn erase_part(
        self: &Arc<Self>,
        mut append: Append,
        pending_events: Vec<PendingEvent>,
        erasure: &Erasure,
    ) -> Result<Copies, AppError> {
        let (stream, now_ms) = (Arc::clone(&append.stream), append.now_ms);
        // The digest of a request has the text of a scope, and would stay with the start event.
        let request_stamp = erasure.scope.is_text().then(|| std::mem::take(&mut append.request_stamp));
        // The start event comes last and is not erased. So it is the newest event that remains, and versions
        // continue from it.
        let mut frame = self.core.with_revocations(&append, pending_events);
        let history = self.history(&stream)?;
        let going = self.select_started(&history, &erasure.scope, &erasure.holds)?;
        let kept = self.kept_recipients(&history, &going.versions, &stream.keys)?;
        frame.events.extend(kept.into_iter().map(|list| self.core.plan(Event::RecipientsKept(list))));
        frame.events.push(self.core.plan(erasure.start_event()));
        let write_lock = self.core.commit_and_keep_lock(append, frame).await?;
        let history = self.history(&stream)?;
        let mut selection = self.select_started(&history, &erasure.scope, &erasure.holds)?;
        self.add_notified(&mut selection, &history, &erasure.scope, &stream.keys)?;
        let copies = find_copies(history, &selection, &erasure.scope).await?;
        let fence_at_ms = self.core.now_ms().max(now_ms);
        let decided = self.decision_event(erasure, (&selection, &copies), &stream, fence_at_ms)?;
        let clear = decided.as_ref().map(codec::encode_decided);
        let sealed = clear.map(|clear| self.core.vault.seal_intent(&stream.keys, &clear)).transpose()?;
        let handle = stream.keys.handle;
        let intent = ErasureIntent {
            completed: completion_event(erasure, &selection),
            subject_handle: Some(handle),
            decided: None,
            sealed_decided: sealed.unwrap_or_default(),
        };
        let bytes = codec::encode_intent(&intent);
        let name = intent_name(&erasure.request.request_hash());
        let punctured = self.core.vault.puncture(handle, &selection.versions, Some((name, &bytes))).await;
        self.core.clock.advance_past(fence_at_ms);
        // Even if the destruction of keys failed, the stream must hold only what can still be read.
        self.core.reload_stream(&stream)?;
        punctured?;
        let partial = Partial { stream, write_lock, decided };
        self.complete_erasure(name, intent.completed, Some(partial)).await?;
        if let Some(request_stamp) = request_stamp {
            self.remember(request_stamp, erasure.request);
        }
        Ok(copies)
    }

    /// The decision that the subject's own stream will record. It says how much was erased, by category, and
    /// what must not be recorded again; it does not have the erased values. None for an erasure at the end of
    /// retention.
    fn decision_event(
        &self,
        erasure: &Erasure,
        (selection, copies): (&Selection, &Copies),
        stream: &SubjectStream,
        fence_at_ms: u64,
    ) -> Result<Option<RequestDecided>, AppError> {
        let (mut category, mut key_hash) = (String::new(), Vec::new());
        match &erasure.scope {
            Scope::Key(key) => key_hash = key_hash_of(&stream.keys, key)?,
            Scope::Category(named) => category.clone_from(named),
            // No request caused this erasure, and what expired may be recorded again.
            Scope::Versions(_) => return Ok(None),
            // Nothing is kept by which a guess of the text could be confirmed.
            Scope::All | Scope::Profile | Scope::Content(_) => {}
        }
        let is_partial = !selection.kept.is_empty();
        let recipient_keys = recipient_key_hashes(selection, stream)?;
        let ground = selection.kept.first().map(|kept| kept.ground).unwrap_or_default();
        Ok(Some(RequestDecided {
            request: erasure.request,
            kind: RequestKind::Erasure,
            outcome: if is_partial { RequestOutcome::Partly } else { RequestOutcome::Completed },
            ground,
            reason: String::new(),
            submitted_at_ms: erasure.submitted_at_ms,
            due_at_ms: erasure.due_at_ms,
            erasure: Some(ErasureSummary {
                scope: erasure.scope.kind(),
                category,
                key_hash,
                erased_by_category: selection.categories.clone(),
                kept: selection.kept.clone(),
                fence_at_ms,
                recipient_keys_left_out: recipient_keys.is_none(),
                recipient_keys: recipient_keys.unwrap_or_default(),
                copies: Some(copies.counts()),
            }),
            changes: Vec::new(),
        }))
    }

    /// The number of erasures that destroyed keys and are not known to be complete.
    ///
    /// # Errors
    /// The key store fails.
    pub fn unfinished_erasures(&self) -> Result<u64, AppError> {
        Ok(self.core.vault.pending_erasures()?.len() as u64)
    }

    /// Finishes erasures whose keys are destroyed but whose completion is not recorded.
    pub(crate) async fn finish_erasures(self: &Arc<Self>) -> Result<(), AppError> {
        let malformed = |_| AppError::Internal(Cause::Inconsistent("the intent of an erasure can't be read"));
        for (name, intent) in self.core.vault.pending_erasures()? {
            let intent = codec::decode_intent(&intent).map_err(malformed)?;
            tracing::warn!("finishing an erasure that was interrupted after its keys were destroyed");
            metrics().erasure(ErasureStep::Resumed);
            let stream = match intent.subject_handle {
                Some(handle) => self.core.stream_by_handle(handle).await?,
                None => None,
            };
            let partial = match stream {
                Some(stream) => {
                    let write_lock = stream.write_lock().await;
                    let decided = match intent.sealed_decided.as_slice() {
                        [] => intent.decided,
                        sealed => {
                            let clear = self.core.vault.open_intent(&stream.keys, sealed)?;
                            Some(codec::decode_decided(&clear).map_err(malformed)?)
                        }
                    };
                    Some(Partial { stream, write_lock, decided })
                }
                None => None,
            };
            // Early versions stored more than the event has now.
            self.complete_erasure(name, intent.completed.for_log(), partial).await?;
        }
        Ok(())
    }

    /// Discards the entries and records the completion; records the decision in the subject's own stream if
    /// the erasure was partial; then deletes the intent. Every step can be repeated.
    async fn complete_erasure(
        self: &Arc<Self>,
        intent_name: [u8; 16],
        completed: ErasureCompleted,
        partial: Option<Partial>,
    ) -> Result<(), AppError> {
        let recorded = self.discard_and_record(completed).await;
        if let Some(Partial { stream, .. }) = &partial {
            self.core.projections.subject_map.add_change(stream.keys.handle);
        }
        recorded?;
        if let Some(Partial { stream, write_lock, decided: Some(decided) }) = partial {
            let is_known = |known: &RequestRecord| !known.is_open();
            let is_decided = stream.read().state.rights.requests.get(&decided.request).is_some_and(is_known);
            if !is_decided {
                let append = self.core.append_for_ledger(stream, write_lock).await;
                let pending_events = vec![self.core.plan(Event::RequestDecided(decided))];
                drop(self.core.commit_and_keep_lock(append, pending_events).await?);
            }
        }
        Ok(self.core.vault.erasure_done(intent_name).await?)
    }
}

/// Looks for copies of the erased values in what an erasure keeps. The search reads a limited number of
/// bytes, and says so if it could not read everything. An erasure at the end of retention has no certificate
/// that could state copies, so it looks for none.
pub(crate) async fn find_copies(
    history: Vec<Recorded>,
    selection: &Selection,
    scope: &Scope,
) -> Result<Copies, AppError> {
    match scope {
        Scope::Versions(_) => Ok(Copies::default()),
        Scope::Content(_) => Ok(Copies { erased: selection.with_text, ..Copies::default() }),
        Scope::All | Scope::Profile | Scope::Key(_) | Scope::Category(_) => {
            let gone = selection.versions.clone();
            let search = tokio::task::spawn_blocking(move || left_copies(&history, &gone));
            search.await.map_err(|_| AppError::Internal(Cause::Task))
        }
    }
}

/// The hashes by which recipients can ask which of their keys were erased. `None` if there are too many.
fn recipient_key_hashes(
    selection: &Selection,
    stream: &SubjectStream,
) -> Result<Option<Vec<Vec<u8>>>, AppError> {
    let pairs = selection
        .recipient_keys
        .iter()
        .flat_map(|(recipient, keys)| keys.iter().map(move |key| (recipient, key)));
    if pairs.clone().count() > RECIPIENT_KEYS_MAX {
        return Ok(None);
    }
    // Sorted, so that the order says nothing about the keys.
    let hashes: Result<BTreeSet<_>, AppError> =
        pairs.map(|(recipient, key)| recipient_key_hash(&stream.keys, recipient, key)).collect();
    Ok(Some(hashes?.into_iter().collect()))
}

/// What only the certificate of a full erasure states, padded so that its length tells little.
fn padded_details(erasure: &Erasure, selection: &Selection) -> Vec<u8> {
    let (erased_by_category, requested_at_ms) = (selection.categories.clone(), erasure.submitted_at_ms);
    let mut details = codec::encode_details(&ErasureDetails { erased_by_category, requested_at_ms });
    padding::pad(&mut details);
    details
}

/// The event that completes an erasure. The stored intent holds this event until it is recorded.
fn completion_event(erasure: &Erasure, selection: &Selection) -> ErasureCompleted {
    let completed = ErasureCompleted {
        request: Some(erasure.request),
        request_hash: Vec::new(),
        scope: erasure.scope.kind(),
        discarded: ranges(&selection.positions),
        key_epoch: 0,
        recipients: selection.recipients.clone(),
        erased_by_category: BTreeMap::new(),
        requested_at_ms: erasure.submitted_at_ms,
        kept: selection.kept.clone(),
        kinds: selection.kinds.clone(),
        // After a full erasure, nothing of the stream remains that a verifier would need them for.
        versions: if erasure.is_whole() { Vec::new() } else { selection.versions.clone() },
    };
    completed.for_log()
}
