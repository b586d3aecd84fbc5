//! Records that an operator accepts the time of the machine's clock after it has jumped. Until then the clock
//! is not trusted: all use is denied, and everything else continues (`log::suspension`).

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::Begun;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::suspension::accepted;
use crate::app::log::system_stream::SystemEvent;
use crate::app::operations::Operations;
use crate::domain::event::{ClockAccepted, Event};
use std::sync::Arc;

/// Largest difference between the machine's clock and the time that the operator states, milliseconds.
const DIFFERENCE_MS_MAX: u64 = 60_000;

impl Operations {
    /// Accepts the machine's clock, records the acceptance, and allows use again. `clock_ms` is the time that
    /// the operator reads from another clock. Returns the time from which the ledger's clock continues,
    /// milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The machine's clock is trusted already or differs from the operator's time by more than a minute, or
    /// the event can't be written.
    pub async fn accept_clock(
        self: &Arc<Self>,
        caller: &Caller,
        clock_ms: u64,
        options: &WriteOptions,
    ) -> Result<(Receipt, u64), AppError> {
        let request_stamp = self.core.request_stamp(caller, options)?;
        if let Some(Begun::Replayed(receipt, events)) = self.core.replay(&request_stamp, false)? {
            return Ok((receipt, accepted(&events).map_or(0, |accepted| accepted.ledger_ms)));
        }
        let jump = self.core.clock.acceptable();
        let jump =
            jump.ok_or(AppError::Precondition("the clock is trusted, so there is nothing to accept"))?;
        if jump.clock_ms.abs_diff(clock_ms) > DIFFERENCE_MS_MAX {
            return Err(AppError::Precondition(
                "the machine's clock differs by more than a minute; set it, and check it with `sayso stats`",
            ));
        }
        let event = ClockAccepted { clock_ms: jump.clock_ms, ledger_ms: jump.ledger_ms };
        let events = vec![SystemEvent::new(Event::ClockAccepted(event))];
        let about_ms = self.core.event_time(options)?;
        let (mut receipt, _) = self.core.publish_as(caller.actor(), about_ms, events, request_stamp).await?;
        self.core.clock.accept(jump);
        tracing::warn!(
            clock_ms = jump.clock_ms,
            ledger_ms = jump.ledger_ms,
            "the operator accepted the clock as it is"
        );
        receipt.events = self.core.attach_proofs(receipt.events, options.proofs)?;
        Ok((receipt, jump.ledger_ms))
    }
}
