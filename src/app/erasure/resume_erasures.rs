//! Erasures whose beginning is recorded and whose keys are still there: a crash, or a full disk, came between the two.
//! They are carried out at the next start, and when the same request is made again.

use crate::app::erasure::Erasures;
use crate::app::erasure::erase_subject::Erasure;
use crate::app::error::{AppError, Cause};
use crate::app::log::receipt::RequestStamp;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::decide_request::scope_of;
use crate::domain::erasure::Scope;
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::EventId;
use crate::domain::request::{RequestKind, RequestRecord};
use crate::telemetry::{ErasureStep, metrics};
use sayso_proof::entry;
use std::sync::Arc;

/// Requests looked at in one piece.
const READ_COUNT: usize = 256;

impl Erasures {
    /// Carries out every erasure that had begun.
    pub(crate) async fn resume_erasures(self: &Arc<Self>) -> Result<(), AppError> {
        let mut after = None;
        loop {
            let due = self.core.open_requests.after(after, READ_COUNT);
            let Some((due_at_ms, id, _)) = due.last() else { return Ok(()) };
            after = Some((*due_at_ms, *id));
            for (_, id, _) in due {
                self.resume_erasure(id).await?;
            }
        }
    }

    /// Carries an erasure out if it had begun, to the end, even where the caller goes away. Anything else is left alone.
    pub(crate) async fn resume_erasure(self: &Arc<Self>, id: EventId) -> Result<(), AppError> {
        let erasures = Arc::clone(self);
        let task = tokio::spawn(async move { erasures.resume(id).await });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    async fn resume(self: &Arc<Self>, id: EventId) -> Result<(), AppError> {
        let Some((stream, record)) = self.core.find_request(&id).await? else { return Ok(()) };
        let write_lock = stream.write_lock().await;
        // Whoever held the gate may have carried it out.
        let holds = {
            let now = stream.read();
            let is_open = now.state.rights.requests.get(&id).is_some_and(RequestRecord::is_open);
            if now.erased || record.kind != RequestKind::Erasure || !is_open {
                return Ok(());
            }
            now.state.rights.holds.clone()
        };
        let Some(begun) = self.beginning(&stream, id)? else { return Ok(()) };
        let Some(scope) = self.scope_begun(&stream, &record)? else { return Ok(()) };
        // A hold that was placed since then is for a steward to weigh.
        if holds.iter().any(|hold| hold.is_whole()) {
            return Ok(());
        }
        let keeps = !holds.is_empty() && !self.select(&stream, &scope, &holds)?.kept.is_empty();
        let holds = if keeps { holds } else { Vec::new() };
        let (submitted_at_ms, due_at_ms) = (record.submitted_at_ms, record.due_at_ms);
        let erasure = Erasure { request: id, scope, holds, submitted_at_ms, due_at_ms };
        tracing::warn!("carrying out an erasure that had begun");
        metrics().erasure(ErasureStep::Resumed);
        if !erasure.is_whole() {
            let append = self.core.append_for_ledger(stream, write_lock).await;
            return self.erase(append, Vec::new(), erasure).await;
        }
        let request_stamp = self.stamp_of(&begun)?;
        let _under_way = self.core.erasing.read().await;
        self.carry_out_whole(stream, write_lock, request_stamp, begun.sealed_at_ms, &erasure).await
    }

    /// What is to go. A request for one key does not name it, since the request stays; its hash tells which of the keys it is.
    fn scope_begun(&self, stream: &SubjectStream, record: &RequestRecord) -> Result<Option<Scope>, AppError> {
        let named = scope_of(record);
        let hash =
            record.submitted.as_ref().map(|submitted| &submitted.key_hash).filter(|hash| !hash.is_empty());
        let (None, Some(hash)) = (&named, hash) else { return Ok(named) };
        let history = self.history(stream)?;
        let keys = history.iter().filter_map(|event| match &event.event {
            Event::AttributeRecorded(attribute) | Event::AttributeCorrected { attribute, .. } => {
                Some(&attribute.key)
            }
            _ => None,
        });
        let mut of_this_hash = keys.filter(|key| self.core.key_hash(stream.keys.handle, key) == *hash);
        Ok(of_this_hash.next().map(|key| Scope::Key(key.clone())))
    }

    /// The event that says that the erasure begins.
    fn beginning(&self, stream: &SubjectStream, id: EventId) -> Result<Option<Recorded>, AppError> {
        let begins = |event: &Recorded| matches!(&event.event, Event::ErasureRequested(requested) if requested.request == id.0);
        Ok(self.history(stream)?.into_iter().find(begins))
    }

    /// What ties an event to the request that caused it.
    fn stamp_of(&self, event: &Recorded) -> Result<RequestStamp, AppError> {
        let bytes = self.core.store().read_entry(event.position)?.bytes.ok_or(AppError::Erased)?;
        let idempotency = entry::parse_header(&bytes)?.idempotency;
        Ok(RequestStamp { idempotency, digest: event.request_digest.clone() })
    }
}
