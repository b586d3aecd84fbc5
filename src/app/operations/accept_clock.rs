//! The machine's clock may jump. While it is not believed, use is denied and everything else goes on: what was given out as
//! ended must not stand again, and a no is taken whatever time it is. The operator may accept the clock as it is.

use crate::app::error::AppError;
use crate::app::log::append::{Begun, Receipt};
use crate::app::log::system_events::SystemEvent;
use crate::app::operations::confirm_restore::withhold;
use crate::app::{App, Caller, WriteOptions};
use crate::bounds::Decision;
use crate::clock::{Accepted, ClockReading, ClockState};
use crate::domain::event::{ClockAccepted, Event, Reason, Recorded};
use crate::domain::profile::SubjectState;
use std::sync::Arc;

/// How far the machine's clock may be from what the operator says, milliseconds.
const SAID_MS_MAX: u64 = 60_000;

impl App {
    /// The ledger's time, the machine's clock, and whether it is believed.
    #[must_use]
    pub fn clock_reading(&self) -> ClockReading {
        self.clock.look()
    }

    /// Whether the machine's clock is believed.
    #[must_use]
    pub fn clock_state(&self) -> ClockState {
        self.clock.state()
    }

    /// Keeps the ledger's time for the next start. Called every second or so; blocks on a file.
    pub fn keep_time(&self) {
        self.clock.keep();
    }

    /// Why nobody may use anything now, whatever people allow; nothing where they may.
    #[must_use]
    pub fn use_waits_for(&self) -> Option<Reason> {
        if self.waits_for_confirmation() {
            return Some(Reason::RestoreUnconfirmed);
        }
        self.clock_state().is_skewed().then_some(Reason::ClockSkewed)
    }

    /// A decision of now: while the clock is not believed, what would be allowed is withheld for that.
    pub(crate) fn deny_in_doubt(&self, decision: Decision, state: &SubjectState) -> Decision {
        if self.clock_state().is_skewed() {
            // As accurate as what is held: nobody can tell whether it, or the yes to it, has ended.
            return withhold(decision, state, (Reason::ClockSkewed, "built-in/clock", "GDPR Art. 5(1)(e)"));
        }
        decision
    }

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
        let request_stamp = self.request_stamp(caller, options)?;
        if let Some(Begun::Replayed(receipt, events)) = self.replay(&request_stamp, false)? {
            return Ok((receipt, accepted(&events).map_or(0, |accepted| accepted.ledger_ms)));
        }
        let found = self.clock.acceptable();
        let found =
            found.ok_or(AppError::Precondition("the clock is believed; there is nothing to accept"))?;
        if found.clock_ms.abs_diff(clock_ms) > SAID_MS_MAX {
            return Err(AppError::Precondition(
                "the machine's clock is more than a minute from this time; set it, or look at `sayso stats`",
            ));
        }
        let event = ClockAccepted { clock_ms: found.clock_ms, ledger_ms: found.ledger_ms };
        let plain = vec![SystemEvent::new(Event::ClockAccepted(event))];
        let about_ms = self.about(options)?;
        let (mut receipt, _) = self.publish_as(caller.actor(), about_ms, plain, request_stamp).await?;
        self.clock.accept(found);
        tracing::warn!(
            clock_ms = found.clock_ms,
            ledger_ms = found.ledger_ms,
            "the clock was accepted as it is"
        );
        receipt.events = self.attach(receipt.events, options.proofs)?;
        Ok((receipt, found.ledger_ms))
    }
}

/// The clock as it was accepted last.
pub(crate) fn accepted(events: &[Recorded]) -> Option<Accepted> {
    events.iter().rev().find_map(|event| match &event.event {
        Event::ClockAccepted(ClockAccepted { clock_ms, ledger_ms }) => {
            Some(Accepted { clock_ms: *clock_ms, ledger_ms: *ledger_ms })
        }
        _ => None,
    })
}
