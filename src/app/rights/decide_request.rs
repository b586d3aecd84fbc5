//! Records a decision about a data subject's request: a steward accepts, completes or refuses it, or extends
//! its due date.

use crate::app::caller::Caller;
use crate::app::erasure::erase_subject::Erasure;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Append, PendingEvent};
use crate::app::log::receipt::WriteOptions;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::Rights;
use crate::app::rights::list_requests::SubmittedRequest;
use crate::app::rights::submit_request::ErasureVerdict;
use crate::domain::attribute::is_text;
use crate::domain::checks::Checks;
use crate::domain::erasure::Scope;
use crate::domain::event::{ErasureRefused, Event, RequestDecided, RequestExtended, SignalKind};
use crate::domain::ids::EventId;
use crate::domain::request::{
    self, Ground, Jurisdiction, REASON_BYTES_MAX, RequestKind, RequestOutcome, RequestRecord,
};
use crate::domain::stopped_purposes::{DIRECT_MARKETING, covered};
use std::sync::Arc;

/// A steward's decision.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Accepts the request. An erasure is carried out immediately. Any other request stays open until it is
    /// completed.
    Accept {
        /// At most 512 bytes, without personal data.
        reason: String,
    },
    /// Records that the request was fulfilled.
    Complete {
        /// At most 512 bytes, without personal data. Required for a complaint and for a request about an
        /// automated decision, because it states the outcome.
        reason: String,
        /// The keys of the attributes that were changed, at most 128; only for a rectification. None means
        /// the keys of the request.
        keys: Vec<String>,
    },
    /// Refuses the request.
    Refuse {
        /// The legal ground of the refusal.
        ground: Ground,
        /// 1 to 512 bytes, without personal data; the data subject can read it (GDPR Art. 12(4)).
        reason: String,
        /// For an erasure refused on a ground of GDPR Art. 17(3): the purposes for which the ground requires
        /// uses.
        purposes: Vec<String>,
    },
    /// Extends the due date of the request. This is possible once.
    Extend {
        /// 1 to 512 bytes, without personal data.
        reason: String,
    },
}

impl Rights {
    /// Decides about a request.
    ///
    /// # Errors There is no such request, the request was decided already or can no longer be extended, a
    /// field is invalid, the expected version is stale, or the store fails.
    pub async fn decide_request(
        self: &Arc<Self>,
        caller: &Caller,
        id: &EventId,
        verdict: Verdict,
        options: &WriteOptions,
    ) -> Result<SubmittedRequest, AppError> {
        check(&verdict)?;
        let Some((append, record)) = self.begin_on_request(caller, id, options, "DecideRequest").await?
        else {
            return self.submitted(*id, Vec::new()).await;
        };
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
                return Err(AppError::Precondition(
                    "an erasure can't be completed by hand; accept it, and it is carried out",
                ));
            }
            Verdict::Complete { reason, keys } => {
                let pending_events = vec![self.completion(&append.stream, &record, reason, &keys)?];
                self.core.commit(append, pending_events).await?;
            }
            Verdict::Refuse { ground, reason, purposes } => {
                let pending_events = self.refusal(&append.stream, &record, (ground, purposes), reason)?;
                let frame = self.core.with_revocations(&append, pending_events);
                self.core.commit(append, frame).await?;
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
        self.core.plan(Event::RequestDecided(decided(record, outcome, ground, reason)))
    }

    /// The completion of a request. A rectification is completed with what was changed.
    fn completion(
        &self,
        stream: &SubjectStream,
        record: &RequestRecord,
        reason: String,
        keys: &[String],
    ) -> Result<PendingEvent, AppError> {
        let needs_reason = matches!(
            record.kind,
            RequestKind::Complaint | RequestKind::DecisionAccess | RequestKind::DecisionAppeal
        );
        if needs_reason && reason.is_empty() {
            let problem = match record.kind {
                RequestKind::Complaint => "must tell the person the outcome of their complaint",
                RequestKind::DecisionAccess => "must tell the person how they got the explanation",
                _ => "must tell the person the outcome of their appeal",
            };
            return Err(AppError::invalid("reason", problem));
        }
        let changes = self.changes_since(stream, record, keys)?;
        let completed = decided(record, RequestOutcome::Completed, Ground::Unspecified, reason);
        Ok(self.core.plan(Event::RequestDecided(RequestDecided { changes, ..completed })))
    }

    fn extension(
        &self,
        record: &RequestRecord,
        now_ms: u64,
        reason: String,
    ) -> Result<PendingEvent, AppError> {
        if record.extended_because.is_some() {
            return Err(AppError::Precondition("the due date was extended already"));
        }
        if now_ms > record.due_at_ms {
            // GDPR Art. 12(3): the data subject must learn of an extension within the first month.
            return Err(AppError::Precondition(
                "the request is overdue, so its due date can no longer be extended",
            ));
        }
        let submitted = record.submitted.as_ref().map(|submitted| submitted.jurisdiction);
        let jurisdiction = submitted.unwrap_or(Jurisdiction::Gdpr);
        let due_at_ms = request::extended_due_at_ms(jurisdiction, record.submitted_at_ms);
        Ok(self.core.plan(Event::RequestExtended(RequestExtended { request: record.id, due_at_ms, reason })))
    }

    async fn accept_erasure(
        self: &Arc<Self>,
        append: Append,
        record: &RequestRecord,
        reason: String,
    ) -> Result<SubmittedRequest, AppError> {
        let missing = || AppError::Internal(Cause::Inconsistent("a request for erasure has no scope"));
        let scope = Scope::of_request(record).ok_or_else(missing)?;
        let holds = append.stream.read().state.rights.holds.clone();
        match self.weigh_holds(&append.stream, record.id, &scope, holds)? {
            ErasureVerdict::Refuse(refused) => {
                let ground = refused.ground;
                let decided = self.decision(record, RequestOutcome::Refused, ground, reason);
                let pending_events = vec![self.core.plan(Event::ErasureRefused(refused)), decided];
                let frame = self.core.with_revocations(&append, pending_events);
                self.core.commit(append, frame).await?;
            }
            ErasureVerdict::Erase { holds, events } => {
                let mut pending_events =
                    vec![self.decision(record, RequestOutcome::Accepted, Ground::Unspecified, reason)];
                pending_events.extend(events);
                let (submitted_at_ms, due_at_ms) = (record.submitted_at_ms, record.due_at_ms);
                let request = record.id;
                let erasure = Erasure { request, scope, holds, submitted_at_ms, due_at_ms };
                let copies = self.erasure.erase(append, pending_events, erasure).await?.left;
                return Ok(SubmittedRequest { copies, ..self.submitted(record.id, Vec::new()).await? });
            }
        }
        self.submitted(record.id, Vec::new()).await
    }

    /// Checks that a request to be refused is not an objection to direct marketing.
    ///
    /// # Errors
    /// The request is such an objection, or its purposes can no longer be read.
    fn check_objection(&self, record: &RequestRecord) -> Result<(), AppError> {
        if record.kind != RequestKind::Objection {
            return Ok(());
        }
        let purposes = record.submitted.as_ref().map_or(&[][..], |submitted| &submitted.purposes);
        if covered(&DIRECT_MARKETING, purposes, &self.core.rules().vocabulary).is_empty() {
            return Ok(());
        }
        Err(AppError::Precondition(
            "an objection to direct marketing can't be refused (GDPR Art. 21(3)), and one to all purposes \
             covers direct marketing; complete the request",
        ))
    }

    /// The events of a refusal. If the request had set a signal when it was submitted, the signal is lifted,
    /// unless another signal of its kind is in force.
    fn refusal(
        &self,
        stream: &SubjectStream,
        record: &RequestRecord,
        (ground, purposes): (Ground, Vec<String>),
        reason: String,
    ) -> Result<Vec<PendingEvent>, AppError> {
        self.check_objection(record)?;
        let mut checks = Checks::new();
        let is_erasure = record.kind == RequestKind::Erasure;
        checks.need(
            is_erasure || purposes.is_empty(),
            "purposes",
            "must be empty unless an erasure is refused",
        );
        self.need_required_uses(&mut checks, ground, &purposes);
        checks.finish()?;
        let mut pending_events = Vec::new();
        if record.kind == RequestKind::Erasure {
            let scope = Scope::of_request(record).unwrap_or(Scope::All);
            let refused = ErasureRefused { ground, purposes, ..scope.refusal(record.id) };
            pending_events.push(self.core.plan(Event::ErasureRefused(refused)));
        }
        pending_events.push(self.decision(record, RequestOutcome::Refused, ground, reason));
        let kind = match record.kind {
            RequestKind::Restriction => SignalKind::Restriction,
            RequestKind::Objection => SignalKind::Objection,
            _ => return Ok(pending_events),
        };
        let signal_version = record.version.saturating_add(1);
        let history = self.erasure.history(stream)?;
        let signal = history.iter().find(|event| event.version == signal_version).map(|event| event.event_id);
        let now = stream.read();
        let mut in_force = now.state.signals.iter().filter(|signal| signal.kind == kind);
        // Lifting ends every signal of a kind. The subject may have given another signal of this kind apart
        // from the request. If such a signal is in force, nothing is lifted.
        if let (Some(only), None) = (in_force.next(), in_force.next())
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

/// The event of a decision.
fn decided(
    record: &RequestRecord,
    outcome: RequestOutcome,
    ground: Ground,
    reason: String,
) -> RequestDecided {
    RequestDecided {
        request: record.id,
        kind: record.kind,
        outcome,
        ground,
        reason,
        submitted_at_ms: record.submitted_at_ms,
        due_at_ms: record.due_at_ms,
        erasure: None,
        changes: Vec::new(),
    }
}

fn check(verdict: &Verdict) -> Result<(), AppError> {
    let (reason, bytes_min) = match verdict {
        Verdict::Accept { reason } | Verdict::Complete { reason, .. } => (reason, 0),
        Verdict::Refuse { reason, .. } | Verdict::Extend { reason } => (reason, 1),
    };
    if !is_text(reason, bytes_min, REASON_BYTES_MAX) {
        let problem = if bytes_min == 0 { "must have at most 512 bytes" } else { "must have 1 to 512 bytes" };
        return Err(AppError::invalid("reason", problem));
    }
    match verdict {
        Verdict::Refuse { ground: Ground::Unspecified, .. } => {
            Err(AppError::invalid("ground", "must name the ground of the refusal"))
        }
        _ => Ok(()),
    }
}
