//! The request that a package answers: completed once the whole of it was handed over.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Begun, Timestamping};
use crate::app::log::receipt::WriteOptions;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::Rights;
use crate::app::rights::export_subject::{Export, PackageChunk, WAITING_MAX};
use crate::domain::ids::EventId;
use crate::domain::request::{Ground, RequestKind, RequestOutcome, RequestRecord};
use crate::package::Kind;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a package of this kind answers.
fn answers(kind: Kind) -> RequestKind {
    match kind {
        Kind::Access => RequestKind::Access,
        Kind::Portability => RequestKind::Portability,
    }
}

/// The request is this person's, of this kind, and to be answered.
///
/// # Errors
/// It is not.
pub(crate) fn check(stream: &SubjectStream, kind: Kind, request: &EventId) -> Result<(), AppError> {
    let now = stream.read();
    let record = now.state.rights.requests.get(request).ok_or(AppError::NotFound("request"))?;
    if record.kind != answers(kind) {
        let problem = "must be of the package's kind: of an access request, or of one for portability";
        return Err(AppError::invalid("request_id", problem));
    }
    if !record.is_open() {
        return Err(AppError::Precondition("the request was decided already; export without naming it"));
    }
    Ok(())
}

impl Export {
    /// Completes the request, if there is one and whoever asked took everything.
    ///
    /// # Errors
    /// The person was erased meanwhile; or the store.
    pub(crate) async fn answer(
        &self,
        sender: &mpsc::Sender<Result<PackageChunk, AppError>>,
    ) -> Result<(), AppError> {
        let Some(request) = &self.request else { return Ok(()) };
        // All places free: the last piece was taken. Who went away before has not been answered.
        if sender.reserve_many(WAITING_MAX).await.is_err() {
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
        // Decided meanwhile by somebody: that stands.
        let Some(record) = record.filter(RequestRecord::is_open) else { return Ok(()) };
        let pending_events =
            vec![self.decision(&record, RequestOutcome::Completed, Ground::Unspecified, String::new())];
        self.core.commit(append, pending_events).await.map(|_| ())
    }
}
