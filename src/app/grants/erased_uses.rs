//! Finds the recipients of data that was erased, for the list of uses. An erasure of a part of a subject's
//! data can also destroy the record of how that part was used. Then only the list of recipients in
//! `ErasureCompleted` is left.

use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::address::address_of;
use crate::domain::event::{ErasureScope, Event, PriorRecipient, RequestDecided};
use crate::domain::ids::EventId;

/// The most recipients of one erasure in an answer.
const RECIPIENTS_MAX: usize = 1_024;
/// The sizes in an answer without texts, bytes: of an erasure and of a recipient.
const ERASURE_BYTES: usize = 96;
const RECIPIENT_BYTES: usize = 32;

/// A recipient of data that was erased later.
#[derive(Clone, Debug)]
pub struct ErasedRecipient {
    /// Its name.
    pub name: String,
    /// How many of its grants were erased.
    pub grants: u32,
    /// How many of its artifacts were erased.
    pub artifacts: u32,
    /// Whether it confirmed that it deleted its copies.
    pub has_acknowledged: bool,
}

/// An erasure of a part of the data that destroyed the record of uses.
#[derive(Clone, Debug)]
pub struct ErasedUses {
    /// The request that it carried out.
    pub request: EventId,
    /// What was erased.
    pub scope: ErasureScope,
    /// The category of an erasure of one category.
    pub category: String,
    /// When it was completed, milliseconds since the Unix epoch.
    pub completed_at_ms: u64,
    /// The recipients that had received the erased data.
    pub recipients: Vec<ErasedRecipient>,
    /// How many further recipients had received it.
    pub recipients_left_out: u32,
}

impl ErasedUses {
    /// Its approximate size in an answer, bytes.
    pub(crate) fn bytes(&self) -> usize {
        let names =
            self.recipients.iter().map(|recipient| recipient.name.len().saturating_add(RECIPIENT_BYTES));
        names.fold(ERASURE_BYTES.saturating_add(self.category.len()), usize::saturating_add)
    }
}

impl Grants {
    /// What is left of the uses that a partial erasure destroyed. `None` if it erased no grant of this
    /// recipient (empty for all), or if it was completed before `from_ms`. The erased uses may have been at
    /// any time before the erasure. They may have been of any category, because an erased grant may have
    /// allowed other data, too.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn erased_uses(
        &self,
        decided: &RequestDecided,
        recipient: &str,
        from_ms: Option<u64>,
    ) -> Result<Option<ErasedUses>, AppError> {
        let Some(summary) = &decided.erasure else { return Ok(None) };
        let Some(position) = self.core.erasure_position(&decided.request)? else { return Ok(None) };
        let event = self.core.system_event_at(position)?;
        let Event::ErasureCompleted(completed) = event.event else { return Ok(None) };
        if from_ms.is_some_and(|from| event.recorded_at_ms < from) {
            return Ok(None);
        }
        let named = |prior: &&PriorRecipient| recipient.is_empty() || prior.name == recipient;
        let all: Vec<&PriorRecipient> = completed.recipients.iter().filter(named).collect();
        let mut recipients = Vec::new();
        for prior in all.iter().take(RECIPIENTS_MAX) {
            recipients.push(ErasedRecipient {
                name: prior.name.clone(),
                grants: number(prior.grant_ids.len()),
                artifacts: number(prior.artifact_ids.len()),
                has_acknowledged: self.core.has_acknowledged(&address_of(prior), position)?,
            });
        }
        let recipients_left_out = number(all.len().saturating_sub(RECIPIENTS_MAX));
        Ok((!recipients.is_empty()).then(|| ErasedUses {
            request: decided.request,
            scope: completed.scope,
            category: summary.category.clone(),
            completed_at_ms: event.recorded_at_ms,
            recipients,
            recipients_left_out,
        }))
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
