//! Reminds recipients that were notified of an erasure and have not reported what they did about it, and
//! lists them.

use crate::app::erasure::Erasures;
use crate::app::error::{AppError, Cause};
use crate::app::log::address::address_of;
use crate::app::log::outstanding::{Key, Waiting, hash_of};
use crate::domain::event::{ErasureScope, Event, PriorRecipient, RecipientReminded, Role};
use crate::domain::ids::EventId;
use std::sync::Arc;

/// The most reminders that one pass records.
const REMINDERS_AT_ONCE_MAX: usize = 64;

/// A recipient that was notified of an erasure and has not answered.
#[derive(Clone, Debug)]
pub struct OutstandingRecipient {
    /// The request that the erasure carried out. `None` unless an early version recorded the erasure: new
    /// events have only a hash of the id.
    pub request: Option<EventId>,
    /// The cursor of the notice: the position of the `ErasureCompleted`, plus one.
    pub cursor: u64,
    /// What was erased.
    pub scope: ErasureScope,
    /// When the erasure was completed, milliseconds since the Unix epoch.
    pub completed_at_ms: u64,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// How many of its grants were erased.
    pub grants: u64,
    /// How many of its artifacts were erased.
    pub artifacts: u64,
    /// When its answer is due, milliseconds since the Unix epoch.
    pub due_at_ms: u64,
    /// How often it was reminded.
    pub reminders: u32,
    /// When it became overdue, milliseconds since the Unix epoch; 0 if it is not.
    pub escalated_at_ms: u64,
    /// The recipient that passed the data on to it; empty if the ledger disclosed it.
    pub named_by: String,
}

/// A page of recipients that have not answered.
#[derive(Clone, Debug, Default)]
pub struct OutstandingPage {
    /// The recipients, the oldest erasure first.
    pub recipients: Vec<OutstandingRecipient>,
    /// The last of this page, after which the next page begins; `None` on the last page.
    pub next: Option<(u64, [u8; 16])>,
    /// How many have not answered, and are not listed because there are too many.
    pub left_out: u64,
}

impl Erasures {
    /// Records the reminders that are due. Returns whether there are more.
    ///
    /// # Errors
    /// The store failed. The next pass tries again.
    pub(crate) async fn remind_recipients(self: &Arc<Self>) -> Result<bool, AppError> {
        if self.core.clock_state().is_skewed() {
            return Ok(false);
        }
        let due =
            self.core.projections.disclosures.outstanding.due(self.core.now_ms(), REMINDERS_AT_ONCE_MAX);
        let mut events = Vec::with_capacity(due.len());
        for reminder in &due {
            let (recipient, _) = self.recipient_of(&reminder.key, reminder.named_at)?;
            if reminder.is_escalated {
                tracing::warn!(
                    position = reminder.key.0,
                    "a recipient did not say in time what it did about an erasure; \
                     `sayso erasures outstanding` lists it"
                );
            }
            events.push(Event::RecipientReminded(RecipientReminded {
                position: reminder.key.0,
                recipient: recipient.name,
                role: recipient.role,
                number: reminder.number,
                escalated: reminder.is_escalated,
                named_at: reminder.named_at,
            }));
        }
        if events.is_empty() {
            return Ok(false);
        }
        self.core.publish_for_ledger(events).await?;
        Ok(due.len() == REMINDERS_AT_ONCE_MAX)
    }

    /// How many recipients have not answered, and how many of them are overdue.
    #[must_use]
    pub fn outstanding_counts(&self) -> (u64, u64) {
        self.core.projections.disclosures.outstanding.counts()
    }

    /// The cursor before the oldest notice that a service has not answered; `None` if it has answered all.
    #[must_use]
    pub fn first_outstanding(&self, recipient: &str) -> Option<u64> {
        self.core.projections.disclosures.outstanding.first_of(recipient)
    }

    /// Whether a service has not answered the notice at a cursor yet.
    ///
    /// # Errors
    /// The store failed.
    pub fn awaits_answer(&self, recipient: &str, cursor: u64) -> Result<bool, AppError> {
        let outstanding = &self.core.projections.disclosures.outstanding;
        let Some(position) = self.core.erasure_of_notice(cursor.saturating_sub(1))? else { return Ok(false) };
        // Of those that are not in memory, it is not known.
        Ok(outstanding.left_out() > 0 || outstanding.get(&(position, hash_of(recipient))).is_some())
    }

    /// Lists the recipients that have not answered; only those that are overdue if `overdue_only`.
    ///
    /// # Errors
    /// The store failed.
    pub fn list_outstanding(
        &self,
        after: Option<(u64, [u8; 16])>,
        count: usize,
        overdue_only: bool,
    ) -> Result<OutstandingPage, AppError> {
        let mut page = OutstandingPage {
            left_out: self.core.projections.disclosures.outstanding.left_out(),
            ..Default::default()
        };
        let found = self.core.projections.disclosures.outstanding.after(after, count);
        page.next = found.last().map(|(key, _)| *key).filter(|_| found.len() == count);
        for (key, waiting) in found {
            if !overdue_only || waiting.escalated_ms > 0 {
                page.recipients.push(self.outstanding(&key, &waiting)?);
            }
        }
        Ok(page)
    }

    fn outstanding(&self, key: &Key, waiting: &Waiting) -> Result<OutstandingRecipient, AppError> {
        let recorded = self.core.system_event_at(key.0)?;
        let Event::ErasureCompleted(completed) = recorded.event else { return Err(wrong()) };
        let (recipient, named_by) = self.recipient_of(key, waiting.named_at)?;
        Ok(OutstandingRecipient {
            request: completed.request,
            cursor: key.0.saturating_add(1),
            scope: completed.scope,
            completed_at_ms: recorded.recorded_at_ms,
            role: if recipient.role == Role::Auditor { Role::Auditor } else { Role::Service },
            grants: recipient.grant_ids.len() as u64,
            artifacts: recipient.artifact_ids.len() as u64,
            name: recipient.name,
            due_at_ms: waiting.due_ms(self.core.projections.disclosures.outstanding.deadlines()),
            reminders: waiting.reminders,
            escalated_at_ms: waiting.escalated_ms,
            named_by,
        })
    }

    /// A recipient by the hash of its address, and the recipient that named it. `named_at` is the position of
    /// the report that named it, or 0.
    fn recipient_of(&self, key: &Key, named_at: u64) -> Result<(PriorRecipient, String), AppError> {
        let (position, hash) = key;
        if named_at == 0 {
            let completed = self.core.erasure_at(*position)?;
            let found = completed.recipients.into_iter().find(|of| hash_of(&address_of(of)) == *hash);
            return found.map(|of| (of, String::new())).ok_or_else(wrong);
        }
        let recorded = self.core.system_event_at(named_at)?;
        let Event::RecipientReported(report) = recorded.event else { return Err(wrong()) };
        let found = report.onward.into_iter().find(|name| hash_of(name) == *hash).ok_or_else(wrong)?;
        Ok((PriorRecipient { name: found, ..PriorRecipient::default() }, report.recipient))
    }
}

fn wrong() -> AppError {
    AppError::Internal(Cause::Inconsistent("a recipient that has not answered is not in the log"))
}
