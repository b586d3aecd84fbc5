//! Resumes erasures whose start is recorded but whose keys still exist, because of a crash or a full disk.
//!
//! The daemon carries out an interrupted erasure when it next starts, or when the same request is made again.

use crate::app::erasure::Erasures;
use crate::app::erasure::erase_subject::Erasure;
use crate::app::error::{AppError, Cause};
use crate::app::log::receipt::RequestStamp;
use crate::app::log::stream::SubjectStream;
use crate::domain::erasure::Scope;
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::EventId;
use crate::domain::request::{RequestKind, RequestRecord};
use crate::telemetry::{ErasureStep, metrics};
use std::sync::Arc;

/// The number of open requests in one read.
const READ_COUNT: usize = 256;

impl Erasures {
    /// Carries out every erasure that was started.
    pub(crate) async fn resume_erasures(self: &Arc<Self>) -> Result<(), AppError> {
        let mut after = None;
        loop {
            let open = self.core.projections.open_requests.after(after, READ_COUNT);
            let Some((due_at_ms, id, _)) = open.last() else { return Ok(()) };
            after = Some((*due_at_ms, *id));
            for (_, hash, position) in open {
                // A subject who was erased in the meantime is skipped.
                let Some(stream) = self.core.stream_at(position).await? else { continue };
                let id = stream.read().state.rights.request_with(&hash).map(|request| request.id);
                let resumed = match id {
                    Some(id) => self.resume_erasure(id).await,
                    None => Ok(()),
                };
                match resumed {
                    // One request must not keep the ledger from starting. It stays open, and is carried out
                    // when it is made again.
                    Err(AppError::Precondition(why)) => tracing::error!(why, "an erasure can't be finished"),
                    resumed => resumed?,
                }
            }
        }
    }

    /// Carries out the erasure of this request if it was started; does nothing for any other request. The
    /// erasure completes even if the caller disconnects.
    pub(crate) async fn resume_erasure(self: &Arc<Self>, id: EventId) -> Result<(), AppError> {
        let erasures = Arc::clone(self);
        let task = tokio::spawn(async move { erasures.resume(id).await });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    async fn resume(self: &Arc<Self>, id: EventId) -> Result<(), AppError> {
        let Some((stream, record)) = self.core.find_request(&id).await? else { return Ok(()) };
        let write_lock = stream.write_lock().await;
        // The previous owner of the write lock may have carried out the erasure already.
        let holds = {
            let now = stream.read();
            let is_open = now.state.rights.requests.get(&id).is_some_and(RequestRecord::is_open);
            if now.erased || record.kind != RequestKind::Erasure || !is_open {
                return Ok(());
            }
            now.state.rights.holds.clone()
        };
        let Some(start) = self.start_event(&stream, id)? else { return Ok(()) };
        let Some(scope) = self.scope_of(&stream, &record)? else { return Ok(()) };
        // A hold on everything was placed after the erasure was started, so a steward has to decide.
        if holds.iter().any(|hold| hold.is_whole()) {
            return Ok(());
        }
        let keeps_entries = !holds.is_empty() && !self.select(&stream, &scope, &holds)?.kept.is_empty();
        let holds = if keeps_entries { holds } else { Vec::new() };
        let (submitted_at_ms, due_at_ms) = (record.submitted_at_ms, record.due_at_ms);
        let erasure = Erasure { request: id, scope, holds, submitted_at_ms, due_at_ms };
        tracing::warn!("carrying out an erasure that was interrupted before its keys were destroyed");
        metrics().erasure(ErasureStep::Resumed);
        if !erasure.is_whole() {
            let append = self.core.append_for_ledger(stream, write_lock).await;
            return self.erase(append, Vec::new(), erasure).await.map(|_| ());
        }
        let request_stamp =
            RequestStamp { in_clear: None, sealed: start.request_key, digest: start.request_digest.clone() };
        let _erasing = self.core.begin_erasing().await;
        self.carry_out_whole(stream, write_lock, request_stamp, start.sealed_at_ms, &erasure).await
    }

    /// The scope of the erasure. The recorded request for one key has only the hash of that key, because the
    /// request itself is not erased. The key is found by comparing hashes.
    pub(crate) fn scope_of(
        &self,
        stream: &SubjectStream,
        record: &RequestRecord,
    ) -> Result<Option<Scope>, AppError> {
        let scope = Scope::of_request(record);
        let hash =
            record.submitted.as_ref().map(|submitted| &submitted.key_hash).filter(|hash| !hash.is_empty());
        let (None, Some(hash)) = (&scope, hash) else { return Ok(scope) };
        let history = self.history(stream)?;
        let keys = history.iter().filter_map(|event| match &event.event {
            Event::AttributeRecorded(attribute)
            | Event::EarlierAttributeRecorded(attribute)
            | Event::AttributeCorrected { attribute, .. } => Some(&attribute.key),
            _ => None,
        });
        for key in keys {
            if self.core.key_hashes(&stream.keys, key)?.contains(hash) {
                return Ok(Some(Scope::Key(key.clone())));
            }
        }
        Ok(None)
    }

    /// The `ErasureRequested` event of this request.
    fn start_event(&self, stream: &SubjectStream, id: EventId) -> Result<Option<Recorded>, AppError> {
        let is_start = |event: &Recorded| matches!(&event.event, Event::ErasureRequested(requested) if requested.request == id);
        Ok(self.history(stream)?.into_iter().find(is_start))
    }
}
