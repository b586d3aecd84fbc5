//! Another log key from the next entry on, as an event that both keys signed.
//!
//! The new key is durable in its file before the log names it, and takes the old one's place only after; a start puts right
//! what a crash left in between ([`crate::ledger::LogKeys`]). Nobody writes meanwhile, so that no entry is left with a
//! signature of a key that is not in force where it comes to stand.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::Begun;
use crate::app::log::receipt::{Receipt, RequestStamp, WriteOptions};
use crate::app::log::system_stream::SystemEvent;
use crate::app::operations::Operations;
use crate::domain::DAY_MS;
use crate::domain::event::{Event, LogKeyRotated};
use std::sync::Arc;

/// How long checkpoints carry both keys' signatures, at most: a year.
const TRANSITION_MS_MAX: u64 = 366 * DAY_MS;

/// A log that has another key.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// Of the event.
    pub receipt: Receipt,
    /// The verifier key from now on.
    pub vkey: String,
    /// The first position that it signs.
    pub from_position: u64,
}

impl Operations {
    /// Gives the log another key. For `transition_ms` checkpoints carry the old key's signature as well, so that whoever
    /// knows only that one can follow; 0 where it is in wrong hands, and is to sign nothing any more.
    ///
    /// # Errors
    /// The transition is too long, the key can't be made, or the event can't be written.
    pub async fn rotate_log_key(
        self: &Arc<Self>,
        caller: &Caller,
        transition_ms: u64,
        options: &WriteOptions,
    ) -> Result<Rotated, AppError> {
        if transition_ms > TRANSITION_MS_MAX {
            return Err(AppError::invalid("transition", "must be at most 366 days"));
        }
        let (request_stamp, operations, caller) =
            (self.core.request_stamp(caller, options)?, Arc::clone(self), caller.clone());
        let task =
            tokio::spawn(
                async move { operations.rotate_to_the_end(&caller, transition_ms, request_stamp).await },
            );
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }

    async fn rotate_to_the_end(
        &self,
        caller: &Caller,
        transition_ms: u64,
        request_stamp: RequestStamp,
    ) -> Result<Rotated, AppError> {
        let _nobody_writes = self.core.rules_lock.write().await;
        let mut system_stream = self.core.system_stream.lock().await;
        if let Some(Begun::Replayed(receipt, _)) = self.core.replay(&request_stamp, false)? {
            return self.rotated(receipt);
        }
        let new = Arc::new(self.log_keys.stage(self.core.clock.as_ref())?);
        let now_ms = self.core.now_ms();
        let event = LogKeyRotated {
            statement: self.core.ledger.state_rotation(&new),
            old_key_until_ms: if transition_ms == 0 { 0 } else { now_ms.saturating_add(transition_ms) },
        };
        let event = SystemEvent::new(Event::LogKeyRotated(event));
        let written = self
            .core
            .publish_locked(&mut system_stream, caller.actor(), now_ms, vec![event], request_stamp, Some(new))
            .await?;
        // The log has the new key already, whatever becomes of these.
        if let Err(error) = self.log_keys.promote() {
            tracing::error!(%error, "the key files are as before; the next start brings the new key in");
        }
        self.end_key_transition();
        self.rotated(written.0)
    }

    fn rotated(&self, receipt: Receipt) -> Result<Rotated, AppError> {
        let position = receipt.events.first().map(|event| event.position);
        let position =
            position.ok_or(AppError::Internal(Cause::Inconsistent("a rotation without an event")))?;
        let from_position = position.saturating_add(1);
        let vkey = self.core.ledger.key_chain().at(from_position).to_string();
        Ok(Rotated { receipt, vkey, from_position })
    }

    /// Destroys the key before once its time is up.
    pub(crate) fn end_key_transition(&self) {
        if self.core.ledger.end_transition()
            && let Err(error) = self.log_keys.retire()
        {
            tracing::error!(%error, "the old log key's file can't be destroyed; remove `log.key.previous`");
        }
    }
}
