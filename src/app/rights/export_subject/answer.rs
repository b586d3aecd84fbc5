//! Marks a request for access or portability as completed, once the caller has received the whole package
//! that answers it.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Begun, Timestamping};
use crate::app::log::receipt::WriteOptions;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::Rights;
use crate::app::rights::export_subject::export::{CHUNKS_MAX, Export, PackageChunk};
use crate::domain::ids::EventId;
use crate::domain::request::{Ground, RequestKind, RequestOutcome, RequestRecord};
use crate::package::Kind;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The kind of request that a package answers.
fn request_kind(kind: Kind) -> RequestKind {
    match kind {
        Kind::Access => RequestKind::Access,
        Kind::Portability => RequestKind::Portability,
    }
}

/// Checks that the request is of this subject, asks for this kind of package, and is open.
///
/// # Errors
/// The request is of another subject, asks for another kind, or was decided already.
pub(crate) fn check(stream: &SubjectStream, kind: Kind, request: &EventId) -> Result<(), AppError> {
    let now = stream.read();
    let record = now.state.rights.requests.get(request).ok_or(AppError::NotFound("request"))?;
    if record.kind != request_kind(kind) {
        let problem = "must be a request for this kind of package: access or portability";
        return Err(AppError::invalid("request_id", problem));
    }
    if !record.is_open() {
        return Err(AppError::Precondition("the request was decided already; export without naming it"));
    }
    Ok(())
}

impl Export {
    /// Completes the request, if there is one and the caller received the whole package.
    ///
    /// # Errors
    /// The subject was erased in the meantime, or the store fails.
    pub(crate) async fn answer(
        &self,
        sender: &mpsc::Sender<Result<PackageChunk, AppError>>,
    ) -> Result<(), AppError> {
        let Some(request) = &self.request else { return Ok(()) };
        // Once the last chunk was taken, all places in the channel are free. If the caller disconnected
        // before that, the request stays open.
        if sender.reserve_many(CHUNKS_MAX).await.is_err() {
            return Ok(());
        }
        self.rights.complete_request(&self.caller, &self.stream, request).await
    }
}

impl Rights {
    async fn complete_request(
        self: &Arc<Self>,
        caller: &Caller,
        stream: &Arc<SubjectStream>,
        request: &EventId,
    ) -> Result<(), AppError> {
        let options = WriteOptions::default();
        let about_ms = self.core.event_time(&options)?;
        let begun =
            self.core.begin_in(Arc::clone(stream), caller, &options, about_ms, Timestamping::Shared).await?;
        let Begun::Append(append) = begun else { return Ok(()) };
        let record = append.stream.read().state.rights.requests.get(request).cloned();
        // A decision that a steward made in the meantime stays.
        let Some(record) = record.filter(RequestRecord::is_open) else { return Ok(()) };
        let pending_events =
            vec![self.decision(&record, RequestOutcome::Completed, Ground::Unspecified, String::new())];
        self.core.commit(append, pending_events).await.map(|_| ())
    }
}
