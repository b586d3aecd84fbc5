//! Tells callers that speak for people which parts of their request match nothing in the ledger. A service
//! that is not a channel never learns which parts these are, because that would reveal about whom something
//! is recorded. A channel does not learn of a part if that would reveal which other recipients have a
//! person's data.

use crate::app::caller::Caller;
use crate::app::consent::Consent;
use crate::app::consent::choice::ConsentChanged;
use crate::app::error::AppError;
use crate::app::log::append::{Append, PendingEvent};
use crate::app::log::moment::Moment;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::revocation::revoked_ids;
use crate::bounds::rulebook::Rules;
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use crate::domain::unmatched::{SeenBy, Statements, Unmatched};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a request was decided on.
pub(super) struct Before {
    /// The state of the data subject before it.
    pub state: SubjectState,
    /// The rules then.
    pub rules: Arc<Rules>,
    /// The time, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl Consent {
    /// The parts of the events that match nothing in the ledger. The events are about to be written.
    ///
    /// # Errors
    /// The index can't be read.
    pub(super) fn unmatched(
        &self,
        append: &Append,
        events: &[PendingEvent],
    ) -> Result<Vec<Unmatched>, AppError> {
        if !append.caller.speaks_for_people() {
            return Ok(Vec::new());
        }
        let seen_by = self.seen_by(&append.caller, events.iter().map(|each| &each.event), u64::MAX)?;
        let statements = Statements {
            events: events.iter().map(|each| &each.event).collect(),
            said_ms: append.about_ms.min(append.now_ms),
            sealed_ms: append.now_ms,
        };
        Ok(append.stream.read().state.unmatched(&append.rules.vocabulary, &statements, &seen_by))
    }

    /// What the caller may learn about these events, which are recorded at the position `before` or later.
    fn seen_by<'a>(
        &self,
        caller: &Caller,
        events: impl Iterator<Item = &'a Event>,
        before: u64,
    ) -> Result<SeenBy, AppError> {
        if caller.sees_others() {
            return Ok(SeenBy::All);
        }
        let mut unknown = BTreeSet::new();
        for event in events {
            let Event::Consent { terms, .. } = event else { continue };
            for recipient in &terms.recipients {
                if !self.core.has_named_recipient(recipient, before)? {
                    unknown.insert(recipient.clone());
                }
            }
        }
        Ok(SeenBy::Recipient { name: caller.name.clone(), unknown })
    }

    /// What the request that recorded these events was decided on, so that a repeated request gets the same
    /// answer.
    ///
    /// # Errors
    /// The subject was erased, or the store failed.
    pub(super) async fn before(&self, subject: &SubjectId, events: &[Recorded]) -> Result<Before, AppError> {
        let stream = self.core.stream(subject).await?.ok_or(AppError::Erased)?;
        let first = events.first().ok_or(AppError::Erased)?;
        let state = self.core.state_as_of(&stream, Moment::Version(first.version))?;
        Ok(Before { state, rules: self.core.rules_at(first.sealed_at_ms), now_ms: first.sealed_at_ms })
    }

    /// The answer to a repeated request, with the parts that matched nothing when it was first made.
    pub(super) fn replayed_change(
        &self,
        caller: &Caller,
        before: &Before,
        receipt: Receipt,
        events: &[Recorded],
    ) -> Result<ConsentChanged, AppError> {
        let revoked_grants = revoked_ids(caller, events.iter().map(|event| &event.event));
        let mut unmatched = Vec::new();
        if let Some(first) = events.first().filter(|_| caller.speaks_for_people()) {
            let statements = Statements {
                events: events.iter().map(|event| &event.event).collect(),
                said_ms: first.about_ms.min(first.sealed_at_ms),
                sealed_ms: first.sealed_at_ms,
            };
            let seen_by = self.seen_by(caller, events.iter().map(|event| &event.event), first.position)?;
            unmatched = before.state.unmatched(&before.rules.vocabulary, &statements, &seen_by);
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
        let receipt = self.core.receipt_if_unknown(caller, subject, options).await?;
        Ok(receipt.map(|receipt| ConsentChanged {
            receipt,
            revoked_grants: Vec::new(),
            unmatched: vec![Unmatched::Subject],
            effect: None,
            remaining_uses: Vec::new(),
        }))
    }
}
