//! After a restore nothing may be used until somebody confirms it: a withdrawal, an objection or a restriction that was
//! given since the backup is lost with the log, and what it stopped must not come back in silence. Recording goes on, so
//! that what is missing can be said again.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::Begun;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::operations::Operations;
use crate::domain::event::{Event, RestoreConfirmed};
use std::sync::Arc;

impl Operations {
    /// Says in the log that what was given since the backup is in it again, as far as it can be found; use goes on.
    ///
    /// # Errors
    /// No restore waits to be confirmed; or the event can't be written.
    pub async fn confirm_restore(
        self: &Arc<Self>,
        caller: &Caller,
        options: &WriteOptions,
    ) -> Result<Receipt, AppError> {
        if let Some(Begun::Replayed(receipt, _)) =
            self.core.replay(&self.core.request_stamp(caller, options)?, false)?
        {
            return Ok(receipt);
        }
        let restore = self.core.rules().unconfirmed().map(|restored| restored.restore.clone());
        let restore = restore.ok_or(AppError::Precondition("no restore waits to be confirmed"))?;
        let confirmed = Event::RestoreConfirmed(RestoreConfirmed { restore });
        self.core.publish(caller, vec![confirmed], options).await
    }
}
