//! The operator accepts the machine's clock as it is, after it has jumped. While the clock is not trusted, use is denied and
//! everything else goes on (`log::suspension`).

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::Begun;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::suspension::accepted;
use crate::app::log::system_stream::SystemEvent;
use crate::app::operations::Operations;
use crate::domain::event::{ClockAccepted, Event};
use std::sync::Arc;

/// How far the machine's clock may be from what the operator says, milliseconds.
const SAID_MS_MAX: u64 = 60_000;

impl Operations {
    /// Accepts the machine's clock as it is, and says so in the log; use goes on. `clock_ms` is what time the operator has by
    /// another clock. Gives the ledger's time that goes on from here, milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// The clock is believed, or says something else than the operator; or the event can't be written.
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
        let found = self.core.clock.acceptable();
        let found =
            found.ok_or(AppError::Precondition("the clock is believed; there is nothing to accept"))?;
        if found.clock_ms.abs_diff(clock_ms) > SAID_MS_MAX {
            return Err(AppError::Precondition(
                "the machine's clock is more than a minute from this time; set it, or look at `sayso stats`",
            ));
        }
        let event = ClockAccepted { clock_ms: found.clock_ms, ledger_ms: found.ledger_ms };
        let plain = vec![SystemEvent::new(Event::ClockAccepted(event))];
        let about_ms = self.core.event_time(options)?;
        let (mut receipt, _) = self.core.publish_as(caller.actor(), about_ms, plain, request_stamp).await?;
        self.core.clock.accept(found);
        tracing::warn!(
            clock_ms = found.clock_ms,
            ledger_ms = found.ledger_ms,
            "the clock was accepted as it is"
        );
        receipt.events = self.core.attach_proofs(receipt.events, options.proofs)?;
        Ok((receipt, found.ledger_ms))
    }
}
