//! Records that an operator confirms a restore. Until then all use is denied: withdrawals, objections and
//! restrictions since the backup are lost, and the uses that they had stopped must not silently start again.
//! Recording continues, so that lost decisions can be recorded again.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::Begun;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::operations::Operations;
use crate::bounds::rulebook::Rules;
use crate::domain::event::{Event, RestoreConfirmed};
use std::sync::Arc;

impl Operations {
    /// Records the operator's confirmation that the known decisions since the backup are recorded again, and
    /// allows use again.
    ///
    /// # Errors
    /// No restore waits for confirmation, or the event can't be written.
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
        let waiting = |rules: &Rules| {
            let restore = rules.unconfirmed().map(|restored| restored.restore);
            restore.ok_or(AppError::Precondition("no restore waits for confirmation"))
        };
        let restore = waiting(&self.core.rules())?;
        let confirmed = Event::RestoreConfirmed(RestoreConfirmed { restore });
        let check = |rules: &Rules| waiting(rules).map(|_| ());
        self.core.publish_checked(caller, vec![confirmed], options, check).await
    }
}
