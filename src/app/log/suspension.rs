//! Reasons to deny all use temporarily: a clock that is not trusted, and a restore that is not confirmed.

use crate::app::log::core::Core;
use crate::bounds::decision::Decision;
use crate::bounds::invalidation::contradiction;
use crate::bounds::withhold::withhold;
use crate::clock::{Accepted, ClockReading, ClockState};
use crate::domain::event::{ClockAccepted, Event, Reason, Recorded};
use crate::domain::profile::{GrantState, SubjectState};

/// The clock as an operator last accepted it.
pub(crate) fn accepted(events: &[Recorded]) -> Option<Accepted> {
    events.iter().rev().find_map(|event| match &event.event {
        Event::ClockAccepted(ClockAccepted { clock_ms, ledger_ms }) => {
            Some(Accepted { clock_ms: *clock_ms, ledger_ms: *ledger_ms })
        }
        _ => None,
    })
}

impl Core {
    /// The ledger's time, the machine's clock, and whether that clock is trusted.
    #[must_use]
    pub fn clock_reading(&self) -> ClockReading {
        self.clock.read()
    }

    /// Whether the machine's clock is trusted.
    #[must_use]
    pub fn clock_state(&self) -> ClockState {
        self.clock.state()
    }

    /// Saves the ledger's time for the next start. Call it every second or so; it blocks on a file.
    pub fn keep_time(&self) {
        self.clock.save_ahead();
    }

    /// Why all use is denied at the moment, regardless of consents; `None` if use is not suspended.
    #[must_use]
    pub fn suspension_reason(&self) -> Option<Reason> {
        if self.is_restore_unconfirmed() {
            return Some(Reason::RestoreUnconfirmed);
        }
        self.clock_state().is_skewed().then_some(Reason::ClockSkewed)
    }

    /// A decision made now. While the clock is not trusted, everything that would be allowed is withheld.
    pub(crate) fn deny_in_doubt(&self, decision: Decision, state: &SubjectState) -> Decision {
        if self.clock_state().is_skewed() {
            // Without a trusted clock it is unknown whether an attribute, or the consent to its use, has
            // expired.
            return withhold(decision, state, (Reason::ClockSkewed, "built-in/clock", "GDPR Art. 5(1)(e)"));
        }
        decision
    }

    /// Whether use is denied until a restore is confirmed.
    #[must_use]
    pub fn is_restore_unconfirmed(&self) -> bool {
        self.rules().unconfirmed().is_some()
    }

    /// Why the rules in force contradict a grant that was issued under other rules, or before the data
    /// subject's age changed by itself; `None` if they do not contradict it. A contradicted grant is denied
    /// for this reason even before its revocation is recorded.
    pub(crate) fn contradicted_by_rules(
        &self,
        state: &SubjectState,
        grant: &GrantState,
        now_ms: u64,
    ) -> Option<Reason> {
        let rules = self.rules_at(now_ms);
        let age = &state.description.age;
        let is_older = age.changes_at_ms(grant.recorded_at_ms).is_some_and(|change_ms| change_ms <= now_ms);
        if !rules.changed_since(grant) && !is_older {
            return None;
        }
        contradiction(state, grant, &rules, now_ms).map(|found| found.reason)
    }
}
