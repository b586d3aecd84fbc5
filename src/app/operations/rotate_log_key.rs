//! Rotates the log key: records an event that both the old and the new key sign, and signs all later entries
//! and checkpoints with the new key.
//!
//! The new key is written durably to a file of its own before the event that names it is recorded. Only
//! afterward does this file replace that of the old key. If a crash happens between these steps, the next
//! start repairs the files ([`crate::ledger::LogKeys`]). No other write is in progress during a rotation, so
//! every entry is signed by the key in force at its position.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::Begun;
use crate::app::log::receipt::{Receipt, RequestStamp, WriteOptions};
use crate::app::log::system_stream::SystemEvent;
use crate::app::operations::Operations;
use crate::domain::DAY_MS;
use crate::domain::event::{Event, LogKeyRotated, Recorded};
use std::sync::Arc;

/// Longest time during which checkpoints have the signatures of both keys: 366 days.
const TRANSITION_MS_MAX: u64 = 366 * DAY_MS;

/// The result of a rotation.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The `LogKeyRotated` event.
    pub receipt: Receipt,
    /// The new verifier key.
    pub vkey: String,
    /// The first position that the new key signs.
    pub from_position: u64,
    /// When the old key is destroyed, milliseconds since the Unix epoch; `None` if at once.
    pub old_key_until_ms: Option<u64>,
}

impl Operations {
    /// Rotates the log key. For `transition_ms`, checkpoints also have the old key's signature, so that
    /// verifiers that only know the old key can still verify them. Use 0 if the old key is compromised and
    /// must no longer sign anything.
    ///
    /// # Errors
    /// The transition is longer than 366 days, the key can't be made, or the event can't be written.
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
        let _no_other_writes = self.core.rules.begin_change().await;
        let mut system_stream = self.core.system_stream.lock().await;
        if let Some(Begun::Replayed(receipt, events)) = self.core.replay(&request_stamp, false)? {
            return self.rotated(receipt, &events);
        }
        let new = Arc::new(self.log_keys.stage(self.core.clock.as_ref())?);
        let now_ms = self.core.now_ms();
        let event = LogKeyRotated {
            statement: self.core.ledger.state_rotation(&new),
            old_key_until_ms: if transition_ms == 0 { 0 } else { now_ms.saturating_add(transition_ms) },
        };
        let event = SystemEvent::new(Event::LogKeyRotated(event));
        let (receipt, events) = self
            .core
            .publish_locked(&mut system_stream, caller.actor(), now_ms, vec![event], request_stamp, Some(new))
            .await?;
        // The log names the new key already, even if moving the files fails.
        if let Err(error) = self.log_keys.promote() {
            tracing::error!(%error, "the log key files could not be moved; the next start does it");
        }
        self.end_key_transition();
        self.rotated(receipt, &events)
    }

    fn rotated(&self, receipt: Receipt, events: &[Recorded]) -> Result<Rotated, AppError> {
        let position = receipt.events.first().map(|event| event.position);
        let position =
            position.ok_or(AppError::Internal(Cause::Inconsistent("a key rotation recorded no event")))?;
        let from_position = position.saturating_add(1);
        let vkey = self.core.ledger.key_chain().at(from_position).to_string();
        let until_ms = |event: &Recorded| match &event.event {
            Event::LogKeyRotated(rotated) => Some(rotated.old_key_until_ms).filter(|until| *until > 0),
            _ => None,
        };
        Ok(Rotated { receipt, vkey, from_position, old_key_until_ms: events.iter().find_map(until_ms) })
    }

    /// Destroys the previous key at the end of its transition.
    pub(crate) fn end_key_transition(&self) {
        if self.core.ledger.end_transition()
            && let Err(error) = self.log_keys.retire()
        {
            tracing::error!(%error, "the previous log key could not be destroyed; remove `log.key.previous`");
        }
    }
}
