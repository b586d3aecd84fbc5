//! Records what recipients report: that they used a grant for a reply, or that they carried out a revocation.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::append::{Append, Begun, Frame, PendingEvent, Timestamping};
use crate::app::log::outstanding::role_in_event;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::domain::attribute::{AHEAD_MS_MAX, REPLY_BYTES_MAX, is_text};
use crate::domain::event::{Event, GrantUsed, GrantedAttribute, Reason, RecipientAcknowledged};
use crate::domain::ids::{EventId, GrantId};
use crate::domain::names;
use std::sync::Arc;

/// A use of a grant.
#[derive(Clone, Debug, Default)]
pub struct Use {
    /// The recipient's own name for the reply.
    pub reply: String,
    /// Keys of the granted attributes that shaped it.
    pub shaped_by: Vec<String>,
    /// How many uses this report counts; 0 counts as 1.
    pub count: u32,
    /// Whether the person was informed that they talk to a machine.
    pub ai_disclosure_shown: bool,
}

impl Grants {
    /// Records that a grant of the caller was used. A use before the end of the grant can still be reported
    /// after its end, if the caller states when the use was. A use that is dated after the end is recorded
    /// too, and a verifier of the log reports it.
    ///
    /// # Errors
    /// The caller has no such grant, [`Use::shaped_by`] names a key that the grant does not allow, the grant
    /// has ended and the caller does not state when the use was, the request is invalid in another way, or
    /// the store failed.
    pub async fn report_use(
        self: &Arc<Self>,
        caller: &Caller,
        grant: &GrantId,
        used: Use,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        if !is_text(&used.reply, 1, REPLY_BYTES_MAX) {
            return Err(AppError::invalid("reply", "must have 1 to 128 bytes"));
        }
        if let Some(problem) = names::problem(&used.reply) {
            return Err(AppError::invalid("reply", problem.to_string()));
        }
        let found = self.find_grant(caller, grant).await?;
        let event = self.core.event_at(&found.stream.keys, grant.position)?;
        let Event::GrantIssued(issued) = event.event else { return Err(AppError::NotFound("grant")) };
        if issued.recipient != caller.name {
            return Err(AppError::NotFound("grant"));
        }
        let cited = |key: &String| {
            let granted = issued.allowed.iter().find(|cited: &&GrantedAttribute| cited.key == *key);
            granted.map(|cited| cited.attribute)
        };
        let shaped_by: Option<Vec<EventId>> = used.shaped_by.iter().map(cited).collect();
        let shaped_by = shaped_by
            .ok_or_else(|| AppError::invalid("shaped_by", "must name keys that the grant allows"))?;
        let about_ms = self.core.event_time(options)?;
        if about_ms.saturating_add(AHEAD_MS_MAX) < event.sealed_at_ms {
            return Err(AppError::invalid("options.about", "must not be before the grant was issued"));
        }
        let stream = Arc::clone(&found.stream);
        let _in_use = self.prepare_late_sources(&stream, &issued, &used.reply, &shaped_by).await;
        match self.core.begin_in(stream, caller, options, about_ms, Timestamping::Shared).await? {
            Begun::Replayed(receipt, _) => Ok(receipt),
            Begun::Append(append) => {
                // Under the write lock, so a revocation does not come between this check and the event.
                if options.about_ms.is_none() && has_ended(self.standing(&found, grant)?.0.reason) {
                    return Err(AppError::Precondition(
                        "the grant has ended; state with `options.about` when it was used",
                    ));
                }
                let used = GrantUsed {
                    grant: found.event,
                    reply: used.reply,
                    shaped_by,
                    count: used.count.max(1),
                    ai_disclosure_shown: used.ai_disclosure_shown,
                };
                let completed = self.late_sources(&append, &issued, &used).await?;
                let frame = self.frame_of_use(&append, used, completed);
                Ok(self.core.commit(append, frame).await?.receipt)
            }
        }
    }

    /// The report, and what it changes about attributes that name its reply. If they may not be used any
    /// longer, their grants are revoked in the same frame. The caller reports a use. What follows for the
    /// attributes is decided by the ledger, and is not to be taken for the words of a person who speaks
    /// through the caller.
    fn frame_of_use(&self, append: &Append, used: GrantUsed, completed: Vec<Event>) -> Frame {
        let is_plain = completed.is_empty();
        let plan = |event: Event| PendingEvent { by_ledger: true, ..self.core.plan(event) };
        let completed = completed.into_iter().map(plan);
        let report = self.core.plan(Event::GrantUsed(used));
        let pending_events: Vec<PendingEvent> = std::iter::once(report).chain(completed).collect();
        match is_plain {
            true => pending_events.into(),
            false => Frame { is_decision: false, ..self.core.with_revocations(append, pending_events) },
        }
    }

    /// Records that the caller carried out the revocation at a cursor of its revocation stream.
    ///
    /// # Errors
    /// The caller has no revocation there, or the store failed.
    pub async fn acknowledge(
        self: &Arc<Self>,
        caller: &Caller,
        cursor: u64,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        let position = cursor.checked_sub(1).ok_or(AppError::NotFound("revocation"))?;
        if !self.core.has_revocation(&caller.address(), position)? {
            return Err(AppError::NotFound("revocation"));
        }
        // A reminder, or the report of another recipient, is about an erasure.
        let position = self.core.erasure_of_notice(position)?.unwrap_or(position);
        let role = role_in_event(caller.role);
        let recipient = caller.name.clone();
        let event = Event::RecipientAcknowledged(RecipientAcknowledged { position, recipient, role });
        self.core.publish(caller, vec![event], options).await
    }
}

/// Whether a grant has ended. Use of a grant that has not ended can be suspended, which ends nothing.
fn has_ended(reason: Option<Reason>) -> bool {
    reason.is_some_and(|reason| !matches!(reason, Reason::RestoreUnconfirmed | Reason::ClockSkewed))
}
