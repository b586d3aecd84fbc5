//! Tells callers that speak for people which parts of their request match nothing in the ledger. A service
//! that is not a channel is never told this, because it could then find out about whom something is recorded.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::consent::choice::ConsentChanged;
use crate::app::error::AppError;
use crate::app::log::append::{Append, PendingEvent};
use crate::app::log::moment::Moment;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::revocation::revoked_ids;
use crate::domain::event::Recorded;
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use crate::domain::unmatched::{Statements, Unmatched};
use std::sync::Arc;

impl Consent {
    /// The parts of the events that match nothing in the ledger. The events are about to be written.
    pub(super) fn unmatched(append: &Append, events: &[PendingEvent]) -> Vec<Unmatched> {
        if !append.caller.speaks_for_people() {
            return Vec::new();
        }
        let statements = Statements {
            events: events.iter().map(|each| &each.event).collect(),
            said_ms: append.about_ms.min(append.now_ms),
            sealed_ms: append.now_ms,
        };
        append.stream.read().state.unmatched(&append.rules.vocabulary, &statements)
    }

    /// The answer to a repeated request, with the parts that matched nothing when it was first made.
    pub(super) async fn replayed_change(
        &self,
        caller: &Caller,
        subject: &SubjectId,
        receipt: Receipt,
        events: &[Recorded],
    ) -> Result<ConsentChanged, AppError> {
        let revoked_grants = revoked_ids(caller, events.iter().map(|event| &event.event));
        let mut unmatched = Vec::new();
        if let Some(first) = events.first().filter(|_| caller.speaks_for_people()) {
            let stream = self.core.stream(subject).await?.ok_or(AppError::Erased)?;
            let before = self.core.state_as_of(&stream, Moment::Version(first.version))?;
            let statements = Statements {
                events: events.iter().map(|event| &event.event).collect(),
                said_ms: first.about_ms.min(first.sealed_at_ms),
                sealed_ms: first.sealed_at_ms,
            };
            unmatched = before.unmatched(&self.core.rules_at(first.sealed_at_ms).vocabulary, &statements);
        }
        Ok(ConsentChanged { receipt, revoked_grants, unmatched, effect: None, remaining_uses: Vec::new() })
    }

    /// The answer to a request that lifts a signal of a person about whom nothing is recorded. The request
    /// leaves nothing in the log, so it does not create the person. `None` if something is recorded.
    pub(super) async fn lift_for_unknown(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        options: &WriteOptions,
    ) -> Result<Option<ConsentChanged>, AppError> {
        match self.core.existing_stream(subject).await {
            Ok(_) => return Ok(None),
            Err(AppError::UnknownSubject) => {}
            Err(error) => return Err(error),
        }
        self.core.event_time(options)?;
        if let Some(stale) = caller.stale(options.expected_version, &SubjectState::default()) {
            return Err(stale);
        }
        let checkpoint = self.core.ledger.checkpoint().note.clone();
        let receipt = Receipt { events: Vec::new(), checkpoint, replayed: false };
        Ok(Some(ConsentChanged {
            receipt,
            revoked_grants: Vec::new(),
            unmatched: vec![Unmatched::Subject],
            effect: None,
            remaining_uses: Vec::new(),
        }))
    }
}
