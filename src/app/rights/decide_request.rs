//! A steward decides about a request: accepts, completes, refuses, extends.

use crate::app::caller::Caller;
use crate::app::erasure::erase_subject::Erasure;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Append, Begun, PendingEvent, Timestamping};
use crate::app::log::receipt::WriteOptions;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::Rights;
use crate::app::rights::list_requests::SubmittedRequest;
use crate::app::rights::submit_request::ErasureVerdict;
use crate::domain::attribute::is_text;
use crate::domain::erasure::Scope;
use crate::domain::event::{ErasureRefused, Event, RequestDecided, RequestExtended, SignalKind};
use crate::domain::ids::EventId;
use crate::domain::request::{
    self, Ground, Jurisdiction, REASON_BYTES_MAX, RequestKind, RequestOutcome, RequestRecord,
};
use sayso_proof::event::ErasureScope;
use std::sync::Arc;

/// What is decided.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Granted: an erasure is carried out, anything else is still to be done.
    Accept {
        /// At most 512 bytes, without personal data.
        reason: String,
    },
    /// Done.
    Complete {
        /// At most 512 bytes, without personal data.
        reason: String,
    },
    /// Not done.
    Refuse {
        /// On what ground.
        ground: Ground,
        /// 1 to 512 bytes, without personal data: the person is told (GDPR Art. 12(4)).
        reason: String,
    },
    /// More time, once.
    Extend {
        /// 1 to 512 bytes, without personal data.
        reason: String,
    },
}

impl Rights {
    /// Decides about a request.
    ///
    /// # Errors
    /// No such request, decided already, extended already or too late, out of bounds, stale; or the store.
    pub async fn decide_request(
        self: &Arc<Self>,
        caller: &Caller,
        id: &EventId,
        verdict: Verdict,
        options: &WriteOptions,
    ) -> Result<SubmittedRequest, AppError> {
        check(&verdict)?;
        let (stream, _) = self.core.find_request(id).await?.ok_or(AppError::NotFound("request"))?;
        let about_ms = self.core.event_time(options)?;
        let begun = self
            .core
            .begin_in(Arc::clone(&stream), caller, options, about_ms, Timestamping::Distinct)
            .await?;
        let append = match begun {
            Begun::Replayed(..) => {
                self.core.record_view_in(caller, stream, "DecideRequest").await?;
                return self.submitted(*id, Vec::new()).await;
            }
            Begun::Append(append) => append,
        };
        // As it stands now that it is this write's turn.
        let record = append.stream.read().state.rights.requests.get(id).cloned();
        let record = record.ok_or(AppError::NotFound("request"))?;
        if !record.is_open() {
            return Err(AppError::Precondition("the request was decided already"));
        }
        match verdict {
            Verdict::Extend { reason } => {
                let pending_events = vec![self.extension(&record, append.now_ms, reason)?];
                self.core.commit(append, pending_events).await?;
            }
            Verdict::Accept { reason } if record.kind == RequestKind::Erasure => {
                return self.accept_erasure(append, &record, reason).await;
            }
            Verdict::Accept { reason } => {
                let pending_events =
                    vec![self.decision(&record, RequestOutcome::Accepted, Ground::Unspecified, reason)];
                self.core.commit(append, pending_events).await?;
            }
            Verdict::Complete { .. } if record.kind == RequestKind::Erasure => {
                return Err(AppError::Precondition("an erasure is completed by being carried out"));
            }
            Verdict::Complete { reason } => {
                let pending_events =
                    vec![self.decision(&record, RequestOutcome::Completed, Ground::Unspecified, reason)];
                self.core.commit(append, pending_events).await?;
            }
            Verdict::Refuse { ground, reason } => {
                let pending_events = self.refusal(&append.stream, &record, ground, reason)?;
                self.core.commit(append, pending_events).await?;
            }
        }
        self.submitted(*id, Vec::new()).await
    }

    pub(crate) fn decision(
        &self,
        record: &RequestRecord,
        outcome: RequestOutcome,
        ground: Ground,
        reason: String,
    ) -> PendingEvent {
        self.core.plan(Event::RequestDecided(RequestDecided {
            request: record.id.0.to_vec(),
            kind: record.kind.into(),
            outcome: outcome.into(),
            ground: ground.into(),
            reason,
            submitted_at_ms: record.submitted_at_ms,
            due_at_ms: record.due_at_ms,
            erasure: None,
        }))
    }

    fn extension(
        &self,
        record: &RequestRecord,
        now_ms: u64,
        reason: String,
    ) -> Result<PendingEvent, AppError> {
        if record.extended_because.is_some() {
            return Err(AppError::Precondition("the time to answer was extended already"));
        }
        if now_ms > record.due_at_ms {
            // GDPR Art. 12(3): the person is told within the first month.
            return Err(AppError::Precondition("the time to answer is over; it can't be extended any more"));
        }
        let submitted = record.submitted.as_ref().map(|submitted| submitted.jurisdiction());
        let jurisdiction = submitted.unwrap_or(Jurisdiction::Gdpr);
        let due_at_ms = request::extended_due_at_ms(jurisdiction, record.submitted_at_ms);
        Ok(self.core.plan(Event::RequestExtended(RequestExtended {
            request: record.id.0.to_vec(),
            due_at_ms,
            reason,
        })))
    }

    async fn accept_erasure(
        self: &Arc<Self>,
        append: Append,
        record: &RequestRecord,
        reason: String,
    ) -> Result<SubmittedRequest, AppError> {
        let lost = || AppError::Internal(Cause::Inconsistent("the request of an erasure has no scope"));
        let scope = scope_of(record).ok_or_else(lost)?;
        let holds = append.stream.read().state.rights.holds.clone();
        match self.erasure_or_refusal(&append, record.id, &scope, holds)? {
            ErasureVerdict::Refused(refused) => {
                let ground = refused.ground();
                let decided = self.decision(record, RequestOutcome::Refused, ground, reason);
                let pending_events = vec![self.core.plan(Event::ErasureRefused(refused)), decided];
                self.core.commit(append, pending_events).await?;
            }
            ErasureVerdict::Erase(holds, kept) => {
                let mut pending_events =
                    vec![self.decision(record, RequestOutcome::Accepted, Ground::Unspecified, reason)];
                pending_events.extend(kept);
                let (submitted_at_ms, due_at_ms) = (record.submitted_at_ms, record.due_at_ms);
                let request = record.id;
                let erasure = Erasure { request, scope, holds, submitted_at_ms, due_at_ms };
                self.erasure.erase(append, pending_events, erasure).await?;
            }
        }
        self.submitted(record.id, Vec::new()).await
    }

    /// A refusal, and the end of the signal that the request had set at once.
    fn refusal(
        &self,
        stream: &SubjectStream,
        record: &RequestRecord,
        ground: Ground,
        reason: String,
    ) -> Result<Vec<PendingEvent>, AppError> {
        let mut pending_events = Vec::new();
        if record.kind == RequestKind::Erasure {
            let (request, ground) = (record.id.0.to_vec(), ground.into());
            let refused = ErasureRefused { request, ground, holds: Vec::new(), whole: true };
            pending_events.push(self.core.plan(Event::ErasureRefused(refused)));
        }
        pending_events.push(self.decision(record, RequestOutcome::Refused, ground, reason));
        let kind = match record.kind {
            RequestKind::Restriction => SignalKind::Restriction,
            RequestKind::Objection => SignalKind::Objection,
            _ => return Ok(pending_events),
        };
        let set = record.version.saturating_add(1);
        let history = self.erasure.history(stream)?;
        let signal = history.iter().find(|event| event.version == set).map(|event| event.event_id);
        let now = stream.read();
        let mut standing = now.state.signals.iter().filter(|signal| signal.kind == kind);
        // Lifting takes back every signal of its kind: one that the person gave apart from this request stays.
        if let (Some(only), None) = (standing.next(), standing.next())
            && Some(only.event_id) == signal
        {
            let purposes = only.purposes.clone();
            pending_events.push(self.core.plan(Event::Signal {
                kind,
                purposes,
                lifted: true,
                interaction: String::new(),
            }));
        }
        Ok(pending_events)
    }
}

fn check(verdict: &Verdict) -> Result<(), AppError> {
    let (reason, least) = match verdict {
        Verdict::Accept { reason } | Verdict::Complete { reason } => (reason, 0),
        Verdict::Refuse { reason, .. } | Verdict::Extend { reason } => (reason, 1),
    };
    if !is_text(reason, least, REASON_BYTES_MAX) {
        let problem = if least == 0 { "must have at most 512 bytes" } else { "must have 1 to 512 bytes" };
        return Err(AppError::invalid("reason", problem));
    }
    match verdict {
        Verdict::Refuse { ground: Ground::Unspecified, .. } => {
            Err(AppError::invalid("ground", "must say on what ground"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn scope_of(record: &RequestRecord) -> Option<Scope> {
    let submitted = record.submitted.as_ref()?;
    match submitted.scope() {
        ErasureScope::All => Some(Scope::All),
        ErasureScope::Profile => Some(Scope::Profile),
        ErasureScope::Key => submitted.keys.first().cloned().map(Scope::Key),
        ErasureScope::Category => Some(Scope::Category(submitted.category.clone())),
        ErasureScope::Retention | ErasureScope::Unspecified => None,
    }
}
