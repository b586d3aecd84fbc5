//! Requests as they stand: one, a person's own, everybody's by what is due.

use crate::app::caller::Caller;
use crate::app::erasure::certificate::Certificate;
use crate::app::error::{AppError, Cause};
use crate::app::rights::Rights;
use crate::domain::event::{Actor, RequestDecided, Role};
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::request::{Decided, RequestKind, RequestOutcome, RequestRecord};
use std::sync::Arc;

const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;

/// A request that was made, and what became of it at once.
#[derive(Clone, Debug)]
pub struct SubmittedRequest {
    /// As it stands now.
    pub request: RequestRecord,
    /// Of an erasure that was carried out.
    pub certificate: Option<Certificate>,
    /// Grants that fell with it.
    pub revoked_grants: Vec<String>,
}

/// Some requests, the first due first.
#[derive(Clone, Debug, Default)]
pub struct RequestPage {
    /// The requests.
    pub requests: Vec<RequestRecord>,
    /// Where to go on; none at the end.
    pub next: Option<String>,
}

impl Rights {
    /// A request as it stands. Of a person who is erased only what the certificate says is known any more.
    ///
    /// # Errors
    /// No such request, or (for a subject) somebody else's; or the store.
    pub async fn get_request(
        self: &Arc<Self>,
        caller: &Caller,
        id: &EventId,
    ) -> Result<RequestRecord, AppError> {
        let missing = || AppError::NotFound("request");
        if let Some((stream, record)) = self.core.find_request(id).await? {
            if let Some(own) = &caller.subject {
                let own = self.core.vault.subject(own)?.is_some_and(|keys| keys.handle == stream.keys.handle);
                return if own { Ok(record) } else { Err(missing()) };
            }
            self.core.record_view_in(caller, stream, "GetRequest").await?;
            return Ok(record);
        }
        self.erased_request(id)?.ok_or_else(missing)
    }

    /// What is left of a request whose person is erased.
    fn erased_request(&self, id: &EventId) -> Result<Option<RequestRecord>, AppError> {
        let Some((completed, _, completed_at_ms)) = self.erasure.completion_of(id)? else { return Ok(None) };
        let event = RequestDecided {
            request: id.0.to_vec(),
            kind: RequestKind::Erasure.into(),
            outcome: RequestOutcome::Completed.into(),
            ..RequestDecided::default()
        };
        let by = Actor { role: Role::Ledger.into(), name: String::new() };
        Ok(Some(RequestRecord {
            id: *id,
            kind: RequestKind::Erasure,
            submitted: None,
            version: 0,
            submitted_at_ms: completed.requested_at_ms,
            due_at_ms: 0,
            extended_because: None,
            decided: Some(Decided { event, by, at_ms: completed_at_ms }),
        }))
    }

    /// A request right after it was made or decided, with its certificate where there is one.
    pub(crate) async fn submitted(
        self: &Arc<Self>,
        id: EventId,
        revoked_grants: Vec<String>,
    ) -> Result<SubmittedRequest, AppError> {
        let request = match self.core.find_request(&id).await? {
            Some((_, record)) => record,
            None => self.erased_request(&id)?.ok_or(AppError::Internal(Cause::Inconsistent(
                "a request that was recorded can't be found",
            )))?,
        };
        let certificate = match self.erasure.certificate_with(&id, Some(&request)) {
            Ok(certificate) => Some(certificate),
            Err(AppError::NotFound(_)) => None,
            Err(error) => return Err(error),
        };
        Ok(SubmittedRequest { request, certificate, revoked_grants })
    }

    /// Requests by when they are due: a person's own, decided ones too; or everybody's that are to be answered. Whoever is
    /// shown to a steward is told so.
    ///
    /// # Errors
    /// Nothing is held about the person, a malformed cursor, the count is above 1,000; or the store.
    pub async fn list_requests(
        self: &Arc<Self>,
        caller: &Caller,
        subject: Option<&SubjectId>,
        due_by_ms: Option<u64>,
        cursor: &str,
        count: usize,
    ) -> Result<RequestPage, AppError> {
        if count > PAGE_MAX {
            return Err(AppError::invalid("page_size", "must be 1 to 1,000"));
        }
        let count = if count == 0 { PAGE_DEFAULT } else { count };
        let after = parse_cursor(cursor)?;
        let mut found: Vec<RequestRecord> = match subject {
            Some(subject) => {
                self.core.record_view(caller, subject, "ListRequests").await?;
                self.requests_of(subject, after, count.saturating_add(1)).await?
            }
            None => self.requests_due(after, count.saturating_add(1)).await?,
        };
        let most = due_by_ms.unwrap_or(u64::MAX);
        found.retain(|request| request.due_at_ms <= most);
        let more = found.len() > count;
        found.truncate(count);
        if subject.is_none() {
            self.record_views_of(caller, &found).await?;
        }
        let next = found.last().filter(|_| more).map(|last| format!("{}-{}", last.due_at_ms, last.id));
        Ok(RequestPage { requests: found, next })
    }

    async fn record_views_of(
        self: &Arc<Self>,
        caller: &Caller,
        shown: &[RequestRecord],
    ) -> Result<(), AppError> {
        for request in shown {
            // Whoever was erased meanwhile has nobody to tell.
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

    async fn requests_due(
        self: &Arc<Self>,
        mut after: Option<(u64, EventId)>,
        count: usize,
    ) -> Result<Vec<RequestRecord>, AppError> {
        let mut found = Vec::new();
        loop {
            let page = self.core.open_requests.after(after, count);
            let Some((due, id, _)) = page.last() else { return Ok(found) };
            after = Some((*due, *id));
            for (_, id, position) in &page {
                // One that was erased meanwhile is not there any more.
                let Some(stream) = self.core.stream_at(*position).await? else { continue };
                let record = stream.read().state.rights.requests.get(id).cloned();
                found.extend(record);
                if found.len() >= count {
                    return Ok(found);
                }
            }
        }
    }
}

fn parse_cursor(cursor: &str) -> Result<Option<(u64, EventId)>, AppError> {
    if cursor.is_empty() {
        return Ok(None);
    }
    let parsed = cursor.split_once('-').and_then(|(due, id)| Some((due.parse().ok()?, id.parse().ok()?)));
    parsed.map(Some).ok_or_else(|| AppError::invalid("cursor", "must be the cursor of the answer before"))
}
