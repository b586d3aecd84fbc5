//! Reads requests of data subjects: one request, the requests of one subject, or all open requests by due
//! date.

use crate::app::caller::Caller;
use crate::app::consent::remaining_uses::RemainingUse;
use crate::app::erasure::certificate::Certificate;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Append, Begun, Timestamping};
use crate::app::log::receipt::WriteOptions;
use crate::app::profile::paging::Room;
use crate::app::rights::Rights;
use crate::app::rights::rectification::RequestChange;
use crate::domain::erased_copies::ErasedCopy;
use crate::domain::event::{Actor, RequestDecided, Role};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::request::{Decided, RequestKind, RequestOutcome, RequestRecord};
use crate::domain::unmatched::Unmatched;
use std::sync::Arc;

/// The size of a request in an answer without its texts, in bytes.
const REQUEST_BYTES: usize = 512;

/// The state of a request after it was submitted or decided, and what that changed.
#[derive(Clone, Debug)]
pub struct SubmittedRequest {
    /// The request.
    pub request: RequestRecord,
    /// The certificate, if the request was for an erasure that is complete.
    pub certificate: Option<Certificate>,
    /// Ids of the grants that the submission or decision revoked.
    pub revoked_grants: Vec<String>,
    /// What carried out a completed rectification.
    pub changes: Vec<RequestChange>,
    /// After an objection was submitted: purposes for which data may still be used.
    pub remaining_uses: Vec<RemainingUse>,
    /// After an erasure of a part: what holds an erased value, or nearly so, and was not erased.
    pub copies: Vec<ErasedCopy>,
    /// For a restriction or objection: whether it matches nothing in the ledger.
    pub unmatched: Vec<Unmatched>,
}

/// A page of requests, by due date.
#[derive(Clone, Debug, Default)]
pub struct RequestPage {
    /// The requests.
    pub requests: Vec<RequestRecord>,
    /// The cursor of the next page; none on the last page.
    pub next: Option<String>,
}

impl Rights {
    /// One request, and the changes with which it was completed if it is a rectification. If its subject was
    /// erased, only an erasure request is found, and the answer has only what the certificate of the erasure
    /// states.
    ///
    /// # Errors
    /// There is no such request, the caller is a subject and the request is another subject's, or the store
    /// fails.
    pub async fn get_request(
        self: &Arc<Self>,
        caller: &Caller,
        id: &EventId,
    ) -> Result<(RequestRecord, Vec<RequestChange>), AppError> {
        let missing = || AppError::NotFound("request");
        let Some((stream, record)) = self.core.find_request(id).await? else {
            return Ok((self.erased_request(id)?.ok_or_else(missing)?, Vec::new()));
        };
        if let Some(own) = &caller.subject
            && self.core.vault.subject(own)?.is_none_or(|keys| keys.handle != stream.keys.handle)
        {
            return Err(missing());
        }
        self.core.record_view_in(caller, Arc::clone(&stream), "GetRequest").await?;
        let changes = self.changes_of(&stream, &record)?;
        Ok((record, changes))
    }

    /// What is left of an erasure request whose subject was erased. `None` if no completed erasure is
    /// recorded for the request.
    fn erased_request(&self, id: &EventId) -> Result<Option<RequestRecord>, AppError> {
        let Some(completion) = self.erasure.completion_of(id)? else { return Ok(None) };
        let event = RequestDecided {
            request: *id,
            kind: RequestKind::Erasure,
            outcome: RequestOutcome::Completed,
            ..RequestDecided::default()
        };
        let by = Actor { role: Role::Ledger, name: String::new() };
        Ok(Some(RequestRecord {
            id: *id,
            kind: RequestKind::Erasure,
            submitted: None,
            version: 0,
            submitted_at_ms: completion.requested_at_ms(),
            due_at_ms: 0,
            extended_because: None,
            decided: Some(Decided { event, by, at_ms: completion.recorded_at_ms }),
            submitted_by: Role::Unspecified,
            withdrawn_at_ms: None,
        }))
    }

    /// The state of a request right after it was submitted or decided.
    pub(crate) async fn submitted(
        self: &Arc<Self>,
        id: EventId,
        revoked_grants: Vec<String>,
    ) -> Result<SubmittedRequest, AppError> {
        let (request, changes) = match self.core.find_request(&id).await? {
            Some((stream, record)) => {
                let changes = self.changes_of(&stream, &record)?;
                (record, changes)
            }
            None => {
                let lost = Cause::Inconsistent("a request that was recorded can't be found");
                (self.erased_request(&id)?.ok_or(AppError::Internal(lost))?, Vec::new())
            }
        };
        let certificate = self.erasure.certificate_with(&id, Some(&request))?;
        let (remaining_uses, copies, unmatched) = (Vec::new(), Vec::new(), Vec::new());
        Ok(SubmittedRequest {
            request,
            certificate,
            revoked_grants,
            changes,
            remaining_uses,
            copies,
            unmatched,
        })
    }

    /// Begins a write about a request, which is read under the write lock. `None` if this is a repetition;
    /// then a view is recorded for the method.
    ///
    /// # Errors
    /// There is no such request, the caller is a subject and the request is another subject's, the expected
    /// version is stale, or the store fails.
    pub(super) async fn begin_on_request(
        self: &Arc<Self>,
        caller: &Caller,
        id: &EventId,
        options: &WriteOptions,
        method: &'static str,
    ) -> Result<Option<(Append, RequestRecord)>, AppError> {
        let missing = || AppError::NotFound("request");
        let (stream, _) = self.core.find_request(id).await?.ok_or_else(missing)?;
        if let Some(own) = &caller.subject
            && self.core.vault.subject(own)?.is_none_or(|keys| keys.handle != stream.keys.handle)
        {
            return Err(missing());
        }
        let about_ms = self.core.event_time(options)?;
        let begun =
            self.core.begin_in(Arc::clone(&stream), caller, options, about_ms, Timestamping::Distinct);
        match begun.await? {
            Begun::Replayed(..) => {
                self.core.record_view_in(caller, stream, method).await?;
                Ok(None)
            }
            Begun::Append(append) => {
                let record = append.stream.read().state.rights.requests.get(id).cloned();
                Ok(Some((append, record.ok_or_else(missing)?)))
            }
        }
    }

    /// Lists requests by due date: all requests of one subject, or the open requests of all subjects.
    /// `due_by_ms` limits the list to requests due by then. A view by a steward is recorded for each subject
    /// on the page.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, the page token is malformed, or the store fails.
    pub async fn list_requests(
        self: &Arc<Self>,
        caller: &Caller,
        subject: Option<&SubjectId>,
        due_by_ms: Option<u64>,
        page_token: &str,
        count: usize,
    ) -> Result<RequestPage, AppError> {
        let after = parse_page_token(page_token)?;
        let mut found: Vec<RequestRecord> = match subject {
            Some(subject) => {
                self.core.record_view(caller, subject, "ListRequests").await?;
                self.requests_of(subject, after, count.saturating_add(1)).await?
            }
            None => self.open_requests(after, count.saturating_add(1)).await?,
        };
        let due_by_ms = due_by_ms.unwrap_or(u64::MAX);
        found.retain(|request| request.due_at_ms <= due_by_ms);
        let (mut room, read) = (Room::new(count), found.len());
        found.truncate(found.iter().take_while(|request| room.take(bytes(request))).count());
        let has_more = found.len() < read;
        if subject.is_none() {
            self.record_views_of(caller, &found).await?;
        }
        let next = found.last().filter(|_| has_more).map(|last| format!("{}-{}", last.due_at_ms, last.id));
        Ok(RequestPage { requests: found, next })
    }

    async fn record_views_of(
        self: &Arc<Self>,
        caller: &Caller,
        shown: &[RequestRecord],
    ) -> Result<(), AppError> {
        for request in shown {
            // A subject who was erased in the meantime has no stream in which the view could be recorded.
            if let Some((stream, _)) = self.core.find_request(&request.id).await? {
                self.core.record_view_in(caller, stream, "ListRequests").await?;
            }
        }
        Ok(())
    }

    async fn requests_of(
        self: &Arc<Self>,
        subject: &SubjectId,
        after: Option<(u64, EventId)>,
        count: usize,
    ) -> Result<Vec<RequestRecord>, AppError> {
        let stream = self.core.stream(subject).await?.ok_or(AppError::UnknownSubject)?;
        let now = stream.read();
        let mut own: Vec<&RequestRecord> = now.state.rights.requests.values().collect();
        own.sort_by_key(|request| (request.due_at_ms, request.id));
        let later = own.into_iter().filter(|request| after < Some((request.due_at_ms, request.id)));
        Ok(later.take(count).cloned().collect())
    }

    async fn open_requests(
        self: &Arc<Self>,
        after: Option<(u64, EventId)>,
        count: usize,
    ) -> Result<Vec<RequestRecord>, AppError> {
        let mut found = Vec::new();
        let mut after = after.map(|(due, id)| (due, id.request_hash()));
        loop {
            let page = self.core.projections.open_requests.after(after, count);
            let Some((due, hash, _)) = page.last() else { return Ok(found) };
            after = Some((*due, *hash));
            for (_, hash, position) in &page {
                // A subject who was erased in the meantime is skipped.
                let Some(stream) = self.core.stream_at(*position).await? else { continue };
                let record = stream.read().state.rights.request_with(hash).cloned();
                found.extend(record);
                if found.len() >= count {
                    return Ok(found);
                }
            }
        }
    }
}

/// The size of a request in an answer, approximately.
fn bytes(request: &RequestRecord) -> usize {
    let Some(of) = &request.submitted else { return REQUEST_BYTES };
    let texts = of.keys.iter().chain(&of.purposes).map(String::len);
    texts.fold(REQUEST_BYTES.saturating_add(of.details.len()), usize::saturating_add)
}

fn parse_page_token(page_token: &str) -> Result<Option<(u64, EventId)>, AppError> {
    if page_token.is_empty() {
        return Ok(None);
    }
    let parsed = page_token.split_once('-').and_then(|(due, id)| Some((due.parse().ok()?, id.parse().ok()?)));
    parsed.map(Some).ok_or_else(|| {
        AppError::invalid("page_token", "must be the `next_page_token` of the previous answer")
    })
}
