//! Withdraws a request for erasure if the person no longer wants the erasure. This is possible while the
//! request is undecided, and after it was refused.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::receipt::WriteOptions;
use crate::app::reserved::Reserved;
use crate::app::rights::Rights;
use crate::app::rights::list_requests::SubmittedRequest;
use crate::domain::event::{Event, RequestWithdrawn, Role};
use crate::domain::ids::EventId;
use crate::domain::request::{RequestKind, RequestOutcome, RequestRecord};
use crate::domain::rights::Rights as PersonRights;
use std::sync::Arc;

impl Rights {
    /// Withdraws a request for erasure that is open or was refused. If it was refused, its data may be used
    /// again, as the person's other decisions allow.
    ///
    /// # Errors
    /// There is no such request, or it is another person's; it is not a request for erasure, or it was
    /// accepted or withdrawn; the person submitted it with their own credential and the caller is somebody
    /// else; the expected version is stale; or the store fails.
    pub async fn withdraw_request(
        self: &Arc<Self>,
        caller: &Caller,
        id: &EventId,
        options: &WriteOptions,
    ) -> Result<SubmittedRequest, AppError> {
        let Some((append, record)) = self.begin_on_request(caller, id, options, "WithdrawRequest").await?
        else {
            return self.submitted(*id, Vec::new()).await;
        };
        let first = first_of(&append.stream.read().state.rights, &record);
        check(caller, &record, first)?;
        let event = Event::RequestWithdrawn(RequestWithdrawn { request: *id });
        let pending_events = vec![self.core.plan(event)];
        self.core.commit(append, pending_events).await?;
        self.submitted(*id, Vec::new()).await
    }
}

/// The role that submitted the first of the requests that this one follows.
fn first_of(rights: &PersonRights, record: &RequestRecord) -> Role {
    let earlier = |record: &RequestRecord| record.submitted.as_ref()?.follows;
    let mut first = record;
    // A request follows only one that was submitted before, so this ends.
    while let Some(before) = earlier(first).and_then(|id| rights.requests.get(&id)) {
        first = before;
    }
    first.submitted_by
}

/// `submitted_by` is the role that wanted the erasure.
fn check(caller: &Caller, record: &RequestRecord, submitted_by: Role) -> Result<(), AppError> {
    if record.kind != RequestKind::Erasure {
        return Err(AppError::Precondition("only a request for erasure can be withdrawn"));
    }
    if record.withdrawn_at_ms.is_some() {
        return Err(AppError::Precondition("the request was withdrawn already"));
    }
    let outcome = record.decided.as_ref().map(|decided| decided.event.outcome);
    if !matches!(outcome, None | Some(RequestOutcome::Refused)) {
        return Err(AppError::Precondition("the request was accepted already"));
    }
    let is_for_others = matches!(submitted_by, Role::Steward | Role::Channel | Role::Service);
    if caller.role == Role::Subject || is_for_others {
        return Ok(());
    }
    let why = "the person submitted this request with their own credential; only the person can withdraw it";
    Err(AppError::Reserved { rule: Reserved::RefusedBySubject, why: why.to_owned() })
}
