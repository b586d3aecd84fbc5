//! Forgets a person, or a part of what is held about them: fence, keys, bytes, and then the word that it is done;
//! resumable at every step.
//!
//! The keys go in one durable write, together with the intent (and, where everything goes, the fence). From there on
//! nothing of it can be read; whatever a crash interrupts afterwards is finished at the next start. Only after the bytes
//! are destroyed does `ErasureCompleted` say so, and after it, where the person stays, their own record.

use crate::app::erasure::Erasures;
use crate::app::erasure::complete_erasures::Completion;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Append, Frame, PendingEvent};
use crate::app::log::read::for_each_event;
use crate::app::log::receipt::RequestStamp;
use crate::app::log::stream::SubjectStream;
use crate::domain::erasure::{self, Scope, Selection, ranges};
use crate::domain::event::{ErasureCompleted, ErasureRequested, Event, Recorded};
use crate::domain::ids::{EventId, Handle};
use crate::domain::rights::Hold;
use crate::telemetry::{ErasureStep, metrics};
use prost::Message;
use sayso_proof::event::{ErasureIntent, ErasureSummary, RequestDecided, RequestKind, RequestOutcome};
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Facts set aside in one frame beside a decision.
const SET_ASIDE_MAX: usize = 128;

/// An erasure that nothing stands against.
pub(crate) struct Erasure {
    /// The request.
    pub request: EventId,
    /// What is erased.
    pub scope: Scope,
    /// What is kept nevertheless.
    pub holds: Vec<Hold>,
    /// Milliseconds since the Unix epoch.
    pub submitted_at_ms: u64,
    /// By when it was to be answered.
    pub due_at_ms: u64,
}

impl Erasure {
    /// Whether the person goes as a whole.
    pub fn is_whole(&self) -> bool {
        self.scope == Scope::All && self.holds.is_empty()
    }

    /// The event that says that it begins. It names nothing, since it stays where only a part is erased.
    pub fn requested(&self) -> Event {
        let scope = self.scope.kind().into();
        Event::ErasureRequested(ErasureRequested { request: self.request.0.to_vec(), scope })
    }
}

impl Erasures {
    /// What an erasure would take now, from the whole history; for the holder of the gate.
    pub(crate) fn select(
        &self,
        stream: &SubjectStream,
        scope: &Scope,
        holds: &[Hold],
    ) -> Result<Selection, AppError> {
        let history = self.history(stream)?;
        Ok(erasure::select(&history, scope, holds, &self.core.rules().vocabulary))
    }

    /// Everything that can still be read about a person, oldest first.
    pub(crate) fn history(&self, stream: &SubjectStream) -> Result<Vec<Recorded>, AppError> {
        let mut history = Vec::new();
        for_each_event(&stream.keys, self.core.store(), 0, |event, _| {
            history.push(event);
            Ok(())
        })?;
        Ok(history)
    }

    /// Records what is planned and the beginning of the erasure, and erases. To the end, even where the caller goes away;
    /// returns once all of it is true.
    ///
    /// # Errors
    /// The store. After an error in the middle the erasure is finished by itself at the next start.
    pub(crate) async fn erase(
        self: &Arc<Self>,
        append: Append,
        pending_events: Vec<PendingEvent>,
        erasure: Erasure,
    ) -> Result<(), AppError> {
        let erasures = Arc::clone(self);
        let task = tokio::spawn(async move {
            let (append, pending_events) = erasures.set_aside_first(append, pending_events).await?;
            let _under_way = erasures.core.erasing.read().await;
            metrics().erasure(ErasureStep::Begun);
            let erased = if erasure.is_whole() {
                erasures.erase_whole(append, pending_events, &erasure).await
            } else {
                erasures.erase_part(append, pending_events, &erasure).await
            };
            erased.inspect_err(|_| metrics().erasure(ErasureStep::Failed))
        });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    /// Where more facts are set aside than fit beside the decision, they go ahead of it in frames of their own.
    async fn set_aside_first(
        &self,
        mut append: Append,
        pending_events: Vec<PendingEvent>,
    ) -> Result<(Append, Vec<PendingEvent>), AppError> {
        if pending_events.len() <= SET_ASIDE_MAX {
            return Ok((append, pending_events));
        }
        let is_removal = |each: &PendingEvent| matches!(each.event, Event::AttributeRemoved { .. });
        let (mut removals, decision): (Vec<_>, Vec<_>) = pending_events.into_iter().partition(is_removal);
        let request_stamp = std::mem::take(&mut append.request_stamp);
        while !removals.is_empty() {
            let rest = removals.split_off(removals.len().min(SET_ASIDE_MAX));
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
        pending_events.push(self.core.plan(erasure.requested()));
        let frame = Frame { events: pending_events, is_decision: true, ..Frame::default() };
        let write_lock = self.core.commit_and_keep_lock(append, frame).await?;
        self.carry_out_whole(stream, write_lock, request_stamp, now_ms, erasure).await
    }

    /// From the beginning that is recorded to the end. `request_stamp` is of the request that began it.
    pub(crate) async fn carry_out_whole(
        self: &Arc<Self>,
        stream: Arc<SubjectStream>,
        write_lock: OwnedMutexGuard<()>,
        request_stamp: RequestStamp,
        now_ms: u64,
        erasure: &Erasure,
    ) -> Result<(), AppError> {
        let selection = self.select(&stream, &erasure.scope, &[])?;
        let completed = completed(erasure, &selection, selection.categories.clone());
        let intent = ErasureIntent {
            completed: Some(completed),
            idempotency_hash: request_stamp.idempotency.map(|hash| hash.to_vec()).unwrap_or_default(),
            request_digest: request_stamp.digest,
            ..ErasureIntent::default()
        };
        stream.write().erased = true;
        let fence_ms = self.core.now_ms().max(now_ms);
        let bytes = intent.encode_to_vec();
        if let Err(error) = self.core.vault.erase(&stream.keys, fence_ms, erasure.request.0, &bytes).await {
            // Nothing was destroyed, as far as anybody knows: the lane goes on, or the next start decides.
            stream.write().erased = false;
            return Err(error.into());
        }
        self.core.clock.advance_past(fence_ms);
        stream.forget();
        self.core.streams.remove(&stream.keys.handle);
        drop(write_lock);
        self.complete_erasure(erasure.request, intent, None).await
    }

    async fn erase_part(
        self: &Arc<Self>,
        append: Append,
        pending_events: Vec<PendingEvent>,
        erasure: &Erasure,
    ) -> Result<(), AppError> {
        let (stream, now_ms) = (Arc::clone(&append.stream), append.now_ms);
        // Last, and never erased with a part: the subject's newest event stays, so that its versions go on from there.
        let mut frame = self.core.with_revocations(&append, pending_events);
        frame.events.push(self.core.plan(erasure.requested()));
        let write_lock = self.core.commit_and_keep_lock(append, frame).await?;
        let selection = self.select(&stream, &erasure.scope, &erasure.holds)?;
        let fence_at_ms = self.core.now_ms().max(now_ms);
        let intent = ErasureIntent {
            completed: Some(completed(erasure, &selection, std::collections::BTreeMap::new())),
            subject_handle: stream.keys.handle.0.to_vec(),
            decided: self.decided(erasure, &selection, &stream, fence_at_ms),
            ..ErasureIntent::default()
        };
        let bytes = intent.encode_to_vec();
        let handle = stream.keys.handle;
        let punctured =
            self.core.vault.puncture(handle, &selection.versions, Some((erasure.request.0, &bytes))).await;
        self.core.clock.advance_past(fence_at_ms);
        // Also where that failed: the lane knows what can still be read, and nothing else.
        self.core.reload_stream(&stream)?;
        punctured?;
        self.complete_erasure(erasure.request, intent, Some((stream, write_lock))).await
    }

    /// What the person's own record will say: how much of what kind, and what must not come back, but not what it was.
    fn decided(
        &self,
        erasure: &Erasure,
        selection: &Selection,
        stream: &SubjectStream,
        fence_at_ms: u64,
    ) -> Option<RequestDecided> {
        let (mut category, mut key_hash) = (String::new(), Vec::new());
        match &erasure.scope {
            Scope::Key(key) => key_hash = self.core.key_hash(stream.keys.handle, key),
            Scope::Category(named) => category.clone_from(named),
            // Nobody asked, and what ended may be observed again.
            Scope::Versions(_) => return None,
            Scope::All | Scope::Profile => {}
        }
        let partly = !selection.kept.is_empty();
        let ground = selection.kept.first().map(|kept| kept.ground).unwrap_or_default();
        Some(RequestDecided {
            request: erasure.request.0.to_vec(),
            kind: RequestKind::Erasure.into(),
            outcome: if partly { RequestOutcome::Partly } else { RequestOutcome::Completed }.into(),
            ground,
            reason: String::new(),
            submitted_at_ms: erasure.submitted_at_ms,
            due_at_ms: erasure.due_at_ms,
            erasure: Some(ErasureSummary {
                scope: erasure.scope.kind().into(),
                category,
                key_hash,
                erased_by_category: selection.categories.clone(),
                kept: selection.kept.clone(),
                fence_at_ms,
            }),
        })
    }

    /// How many erasures have begun and are not known to be complete.
    ///
    /// # Errors
    /// The key store.
    pub fn unfinished_erasures(&self) -> Result<u64, AppError> {
        Ok(self.core.vault.pending_erasures()?.len() as u64)
    }

    /// Finishes erasures whose keys are gone but whose completion was not recorded.
    pub(crate) async fn finish_erasures(self: &Arc<Self>) -> Result<(), AppError> {
        for (request, intent) in self.core.vault.pending_erasures()? {
            let malformed = |_| AppError::Internal(Cause::Inconsistent("an erasure's intent can't be read"));
            let intent = ErasureIntent::decode(intent.as_slice()).map_err(malformed)?;
            tracing::warn!("finishing an erasure that was interrupted");
            metrics().erasure(ErasureStep::Resumed);
            let stream = match <[u8; 16]>::try_from(intent.subject_handle.as_slice()) {
                Ok(handle) => self.core.stream_by_handle(Handle(handle)).await?,
                Err(_) => None,
            };
            let held = match stream {
                Some(stream) => {
                    let write_lock = stream.write_lock().await;
                    Some((stream, write_lock))
                }
                None => None,
            };
            self.complete_erasure(EventId(request), intent, held).await?;
        }
        Ok(())
    }

    /// Destroys the bytes, then says so, then (where the person stays) records it with them, then forgets the intent.
    /// Every step can be done again.
    async fn complete_erasure(
        self: &Arc<Self>,
        request: EventId,
        intent: ErasureIntent,
        part_of: Option<(Arc<SubjectStream>, OwnedMutexGuard<()>)>,
    ) -> Result<(), AppError> {
        let ErasureIntent { completed, decided, idempotency_hash, request_digest, .. } = intent;
        let missing = AppError::Internal(Cause::Inconsistent("an erasure's intent lacks its completion"));
        let completed = completed.ok_or(missing)?;
        let request_stamp =
            RequestStamp { idempotency: idempotency_hash.try_into().ok(), digest: request_digest };
        self.discard_and_say(Completion { request, completed, request_stamp }).await?;
        if let (Some((stream, write_lock)), Some(decided)) = (part_of, decided) {
            let said =
                stream.read().state.rights.requests.get(&request).is_some_and(|known| !known.is_open());
            if !said {
                let append = self.core.append_for_ledger(stream, write_lock).await;
                let pending_events = vec![self.core.plan(Event::RequestDecided(decided))];
                drop(self.core.commit_and_keep_lock(append, pending_events).await?);
            }
        }
        Ok(self.core.vault.erasure_done(request.0).await?)
    }
}

/// The completion as it will be said; kept with the keys until it is.
fn completed(
    erasure: &Erasure,
    selection: &Selection,
    erased_by_category: std::collections::BTreeMap<String, u32>,
) -> ErasureCompleted {
    ErasureCompleted {
        request: erasure.request.0.to_vec(),
        scope: erasure.scope.kind().into(),
        discarded: ranges(&selection.positions),
        key_epoch: 0,
        recipients: selection.recipients.clone(),
        erased_by_category,
        requested_at_ms: erasure.submitted_at_ms,
        kept: selection.kept.clone(),
    }
}
