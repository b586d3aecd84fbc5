//! Reasons to deny all use for now: a clock that is not trusted, a restore that is not confirmed.

use crate::app::log::core::Core;
use crate::bounds::decision::Decision;
use crate::bounds::invalidation::contradiction;
use crate::bounds::withhold::withhold;
use crate::clock::{Accepted, ClockReading, ClockState};
use crate::domain::event::{ClockAccepted, Event, Reason, Recorded};
use crate::domain::profile::{GrantState, SubjectState};

/// The clock as it was accepted last.
pub(crate) fn accepted(events: &[Recorded]) -> Option<Accepted> {
    events.iter().rev().find_map(|event| match &event.event {
        Event::ClockAccepted(ClockAccepted { clock_ms, ledger_ms }) => {
            Some(Accepted { clock_ms: *clock_ms, ledger_ms: *ledger_ms })
        }
        _ => None,
    })
}

impl Core {
    /// The ledger's time, the machine's clock, and whether it is believed.
    #[must_use]
    pub fn clock_reading(&self) -> ClockReading {
        self.clock.read()
    }

    /// Whether the machine's clock is believed.
    #[must_use]
    pub fn clock_state(&self) -> ClockState {
        self.clock.state()
    }

    /// Keeps the ledger's time for the next start. Called every second or so; blocks on a file.
    pub fn keep_time(&self) {
        self.clock.save_ahead();
    }

    /// Why nobody may use anything now, whatever people allow; nothing where they may.
    #[must_use]
    pub fn suspension_reason(&self) -> Option<Reason> {
        if self.is_restore_unconfirmed() {
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
}

impl Core {
    /// Whether use waits for a restore to be confirmed.
    #[must_use]
    pub fn is_restore_unconfirmed(&self) -> bool {
        self.rules().unconfirmed().is_some()
    }
}

impl Core {
    /// Why a grant that was issued under other rules does not stand under those of now, though no sweep has come to it
    /// yet; nothing where it stands.
    pub(crate) fn contradicted_by_rules(
        &self,
        state: &SubjectState,
        grant: &GrantState,
        now_ms: u64,
    ) -> Option<Reason> {
        let rules = self.rules_at(now_ms);
        if !rules.came_after(grant) {
            return None;
        }
        contradiction(state, grant, &rules, now_ms).map(|found| found.reason)
    }
}
