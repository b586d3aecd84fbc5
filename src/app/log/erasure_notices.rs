//! Finds the erasure that a notice to a recipient is about. Such a notice is one of three events: the
//! `ErasureCompleted` itself, a reminder, or a report of another recipient that passed the data on.

use crate::app::error::{AppError, Cause};
use crate::app::log::core::Core;
use crate::app::log::read::open_system_entry;
use crate::domain::event::{ErasureCompleted, Event};
use crate::domain::ids::Handle;
use sayso_proof::entry::parse_header;

impl Core {
    /// The position of the `ErasureCompleted` that a notice is about: the position itself, or the one that a
    /// reminder or a report of another recipient names. `None` if the entry is no such notice.
    pub(crate) fn erasure_of_notice(&self, position: u64) -> Result<Option<u64>, AppError> {
        if position >= self.store().head().size {
            return Ok(None);
        }
        let stored = self.stored_entry(position)?;
        let header = stored.bytes.as_deref().map(parse_header).transpose()?;
        if header.is_none_or(|header| header.handle != Handle::SYSTEM) {
            return Ok(None);
        }
        Ok(match open_system_entry(stored)?.event {
            Event::ErasureCompleted(_) => Some(position),
            Event::RecipientReminded(reminded) => Some(reminded.position),
            Event::RecipientReported(report) => report.positions.first().copied(),
            _ => None,
        })
    }

    /// The `ErasureCompleted` at a position.
    pub(crate) fn erasure_at(&self, position: u64) -> Result<ErasureCompleted, AppError> {
        match self.system_event_at(position)?.event {
            Event::ErasureCompleted(completed) => Ok(completed),
            _ => Err(AppError::Internal(Cause::Inconsistent("an erasure was expected here"))),
        }
    }
}
