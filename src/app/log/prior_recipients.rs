//! The recipients that got data before it was erased, read from the events `ErasureCompleted`. A partial
//! erasure also erases the record of what they got, but the data subject may still ask who received their
//! data (GDPR Art. 15(1)(c), 19).

use crate::app::error::AppError;
use crate::app::log::address::address_of;
use crate::app::log::core::Core;
use crate::domain::event::{ErasureScope, Event};
use crate::domain::ids::EventId;
use crate::domain::rights::Rights;

/// A recipient of data that was erased since, and what the erasure left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorRecipient {
    /// The recipient.
    pub name: String,
    /// When the erasure was completed, milliseconds since the Unix epoch.
    pub erased_at_ms: u64,
    /// What was erased.
    pub scope: ErasureScope,
    /// The category of an erasure of one category; otherwise empty.
    pub category: String,
    /// How many of its grants were erased.
    pub grants: u64,
    /// How many of its artifacts were erased.
    pub artifacts: u64,
    /// Whether it confirmed that it deleted its copies.
    pub acknowledged: bool,
    /// The request that the erasure carried out.
    pub request: EventId,
}

impl Core {
    /// The recipients of each partial erasure, in the order of the requests.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn prior_recipients(&self, rights: &Rights) -> Result<Vec<PriorRecipient>, AppError> {
        let mut found = Vec::new();
        for request in rights.requests.values() {
            let decided = request.decided.as_ref();
            let Some(erased) = decided.and_then(|decided| decided.event.erasure.as_ref()) else { continue };
            let Some(position) = self.erasure_position(&request.id)? else { continue };
            let event = self.system_event_at(position)?;
            let Event::ErasureCompleted(completed) = event.event else { continue };
            for recipient in completed.recipients {
                found.push(PriorRecipient {
                    acknowledged: self.has_acknowledged(&address_of(&recipient), position)?,
                    name: recipient.name,
                    erased_at_ms: event.recorded_at_ms,
                    scope: erased.scope,
                    category: erased.category.clone(),
                    grants: recipient.grant_ids.len() as u64,
                    artifacts: recipient.artifact_ids.len() as u64,
                    request: request.id,
                });
            }
        }
        Ok(found)
    }
}
