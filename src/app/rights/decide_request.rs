//! A steward decides about a request: accepts, completes, refuses, extends.

use crate::app::erasure::erase_subject::Erasure;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Begin, Pace, Planned, Turn};
use crate::app::log::stream::Lane;
use crate::app::rights::list_requests::Submitted;
use crate::app::rights::submit_request::Begun;
use crate::app::{App, Caller, WriteOptions};
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

impl App {
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
    ) -> Result<Submitted, AppError> {
        check(&verdict)?;
        let (lane, _) = self.find_request(id).await?.ok_or(AppError::NotFound("request"))?;
        let about_ms = self.about(options)?;
        let begun = self.begin_in(Arc::clone(&lane), caller, options, about_ms, Pace::Distinct).await?;
        let turn = match begun {
            Begin::Replayed(..) => {
                self.record_view_in(caller, lane, "DecideRequest").await?;
                return self.submitted(*id, Vec::new()).await;
            }
            Begin::Turn(turn) => turn,
        };
        // As it stands now that it is this write's turn.
        let record = turn.lane.read().state.rights.requests.get(id).cloned();
        let record = record.ok_or(AppError::NotFound("request"))?;
        if !record.is_due() {
            return Err(AppError::Precondition("the request was decided already"));
        }
        match verdict {
            Verdict::Extend { reason } => {
                let planned = vec![self.extension(&record, turn.now_ms, reason)?];
                self.commit(turn, planned).await?;
            }
            Verdict::Accept { reason } if record.kind == RequestKind::Erasure => {
                return self.accept_erasure(turn, &record, reason).await;
            }
            Verdict::Accept { reason } => {
                let planned =
                    vec![self.decision(&record, RequestOutcome::Accepted, Ground::Unspecified, reason)];
                self.commit(turn, planned).await?;
            }
            Verdict::Complete { .. } if record.kind == RequestKind::Erasure => {
                return Err(AppError::Precondition("an erasure is completed by being carried out"));
            }
            Verdict::Complete { reason } => {
                let planned =
                    vec![self.decision(&record, RequestOutcome::Completed, Ground::Unspecified, reason)];
                self.commit(turn, planned).await?;
            }
            Verdict::Refuse { ground, reason } => {
                let planned = self.refusal(&turn.lane, &record, ground, reason)?;
                self.commit(turn, planned).await?;
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
    ) -> Planned {
        self.plan(Event::RequestDecided(RequestDecided {
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

    fn extension(&self, record: &RequestRecord, now_ms: u64, reason: String) -> Result<Planned, AppError> {
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
        Ok(self.plan(Event::RequestExtended(RequestExtended {
            request: record.id.0.to_vec(),
            due_at_ms,
            reason,
        })))
    }

    async fn accept_erasure(
        self: &Arc<Self>,
        turn: Turn,
        record: &RequestRecord,
        reason: String,
    ) -> Result<Submitted, AppError> {
        let lost = || AppError::Internal(Cause::Inconsistent("the request of an erasure has no scope"));
        let scope = scope_of(record).ok_or_else(lost)?;
        let holds = turn.lane.read().state.rights.holds.clone();
        match self.erasure_or_refusal(&turn, record.id, &scope, holds)? {
            Begun::Refused(refused) => {
                let ground = refused.ground();
                let decided = self.decision(record, RequestOutcome::Refused, ground, reason);
                let planned = vec![self.plan(Event::ErasureRefused(refused)), decided];
                self.commit(turn, planned).await?;
            }
            Begun::Erase(holds, kept) => {
                let mut planned =
                    vec![self.decision(record, RequestOutcome::Accepted, Ground::Unspecified, reason)];
                planned.extend(kept);
                let (submitted_at_ms, due_at_ms) = (record.submitted_at_ms, record.due_at_ms);
                let request = record.id;
                let erasure = Erasure { request, scope, holds, submitted_at_ms, due_at_ms };
                self.erase(turn, planned, erasure).await?;
            }
        }
        self.submitted(record.id, Vec::new()).await
    }

    /// A refusal, and the end of the signal that the request had set at once.
    fn refusal(
        &self,
        lane: &Lane,
        record: &RequestRecord,
        ground: Ground,
        reason: String,
    ) -> Result<Vec<Planned>, AppError> {
        let mut planned = Vec::new();
        if record.kind == RequestKind::Erasure {
            let (request, ground) = (record.id.0.to_vec(), ground.into());
            let refused = ErasureRefused { request, ground, holds: Vec::new(), whole: true };
            planned.push(self.plan(Event::ErasureRefused(refused)));
        }
        planned.push(self.decision(record, RequestOutcome::Refused, ground, reason));
        let kind = match record.kind {
            RequestKind::Restriction => SignalKind::Restriction,
            RequestKind::Objection => SignalKind::Objection,
            _ => return Ok(planned),
        };
        let set = record.version.saturating_add(1);
        let history = self.history(lane)?;
        let signal = history.iter().find(|event| event.version == set).map(|event| event.event_id);
        let now = lane.read();
        let mut standing = now.state.signals.iter().filter(|signal| signal.kind == kind);
        // Lifting takes back every signal of its kind: one that the person gave apart from this request stays.
        if let (Some(only), None) = (standing.next(), standing.next())
            && Some(only.event_id) == signal
        {
            let purposes = only.purposes.clone();
            planned.push(self.plan(Event::Signal {
                kind,
                purposes,
                lifted: true,
                interaction: String::new(),
            }));
        }
        Ok(planned)
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
