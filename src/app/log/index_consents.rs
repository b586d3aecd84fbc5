//! Indexes the consents in old logs by the time when they were given. Earlier versions of the daemon did
//! not write this index. With it, retention passes find consents that are too old under a rule.

use crate::app::error::{AppError, Cause};
use crate::app::log::core::Core;
use crate::app::log::index::{HAS_CONSENTS_SAID, at_position, index_of_said};
use std::sync::Arc;

/// Entries in one call.
const READ_COUNT: usize = 1_024;

impl Core {
    /// Whether the index has all consents by when they were given.
    ///
    /// # Errors
    /// The index can't be read.
    pub(crate) fn has_consents_said(&self) -> Result<bool, AppError> {
        Ok(!self.store().index_scan(HAS_CONSENTS_SAID, None, 1)?.is_empty())
    }

    /// Indexes the consents in a page of the log from position `start` on, durably. Returns where the next
    /// page begins. Returns `None` at the end of the log; then the index is marked as complete. What is
    /// written meanwhile is indexed when it is written. The call may be repeated.
    ///
    /// # Errors
    /// An entry can't be opened, or the store fails.
    pub(crate) async fn index_consents_said(self: &Arc<Self>, start: u64) -> Result<Option<u64>, AppError> {
        let core = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || core.index_page(start));
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    fn index_page(&self, start: u64) -> Result<Option<u64>, AppError> {
        let entries = self.store().read_entries(start, READ_COUNT)?;
        let next = entries.last().map(|last| last.position.saturating_add(1));
        let mut records = Vec::new();
        for stored in entries {
            let position = stored.position;
            let event = match self.open_any(stored) {
                Ok(event) => event,
                Err(AppError::Erased) => continue,
                Err(error) => return Err(error),
            };
            let said = index_of_said(&event.event, event.about_ms.min(event.sealed_at_ms));
            records.extend(said.map(|record| (position, vec![at_position(record, position)])));
        }
        if next.is_none() {
            // The first entry opens the log and is never erased.
            records.push((0, vec![at_position((HAS_CONSENTS_SAID.to_vec(), Vec::new()), 0)]));
        }
        if !records.is_empty() {
            self.store().index_restore(&records, 0)?;
        }
        Ok(next)
    }
}
