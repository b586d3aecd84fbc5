//! Grants of a subject that may answer a repeated request, and how often they did until that is recorded.

use crate::app::log::receipt::EventReceipt;
use crate::bounds::rulebook::Rules;
use crate::bounds::valid_until::valid_until_ms;
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// Grants of one person that are remembered, the latest ones.
pub(crate) const REMEMBERED_MAX: usize = 8;

/// Grants of one person that may be given again.
#[derive(Default)]
pub(crate) struct ReusableGrants(pub(crate) Vec<ReusableGrant>);

/// A grant that was given lately.
pub(crate) struct ReusableGrant {
    pub(crate) event: EventId,
    pub(crate) receipt: EventReceipt,
    /// The lifetime that was asked for, milliseconds.
    pub(crate) ttl_ms: u64,
    pub(crate) unrecorded_reuse: Option<Times>,
    /// A decision that was the same as the grant's.
    pub(crate) confirmed: Option<Confirmed>,
}

/// What a decision stood on, and while that is so it needs no making again.
#[derive(Clone)]
pub(crate) struct Confirmed {
    /// As in [`SubjectState::decisive_version`].
    pub(crate) decisive_version: u64,
    pub(crate) rules: Weak<Rules>,
    /// From then on, until before then: nothing ends meanwhile.
    pub(crate) span_ms: Range<u64>,
}

impl Confirmed {
    pub(crate) fn by(rules: &Arc<Rules>, state: &SubjectState, now_ms: u64) -> Self {
        let span_ms = now_ms..valid_until_ms(state, now_ms);
        Self { decisive_version: state.decisive_version, rules: Arc::downgrade(rules), span_ms }
    }

    pub(crate) fn holds(&self, rules: &Arc<Rules>, state: &SubjectState, now_ms: u64) -> bool {
        self.decisive_version == state.decisive_version
            && std::ptr::eq(self.rules.as_ptr(), Arc::as_ptr(rules))
            && self.span_ms.contains(&now_ms)
    }
}

/// How often, and when first and last, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) count: u32,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
}

impl Times {
    pub(crate) fn and(self, later: Self) -> Self {
        Self { count: self.count.saturating_add(later.count), last_ms: later.last_ms, ..self }
    }
}

impl ReusableGrants {
    /// Whether something is not written down yet.
    pub fn is_unwritten(&self) -> bool {
        self.0.iter().any(|given| given.unrecorded_reuse.is_some())
    }

    /// A new grant. The oldest is forgotten where there are too many, but none with times that are not written down.
    pub(crate) fn issued(&mut self, event: EventId, receipt: EventReceipt, ttl_ms: u64) {
        if self.0.len() >= REMEMBERED_MAX {
            let written = self.0.iter().position(|given| given.unrecorded_reuse.is_none());
            let Some(oldest) = written else { return };
            self.0.remove(oldest);
        }
        self.0.push(ReusableGrant { event, receipt, ttl_ms, unrecorded_reuse: None, confirmed: None });
    }

    pub(crate) fn note(&mut self, event: EventId, times: Times) {
        if let Some(given) = self.0.iter_mut().find(|given| given.event == event) {
            given.unrecorded_reuse = Some(given.unrecorded_reuse.map_or(times, |before| before.and(times)));
        }
    }

    pub(crate) fn confirm(&mut self, event: EventId, confirmed: Confirmed) {
        if let Some(given) = self.0.iter_mut().find(|given| given.event == event) {
            given.confirmed = Some(confirmed);
        }
    }

    /// No decision of before counts.
    pub fn decide_anew(&mut self) {
        self.0.iter_mut().for_each(|given| given.confirmed = None);
    }

    pub(crate) fn take_unwritten(&mut self) -> Vec<(EventId, Times)> {
        self.0.iter_mut().filter_map(|given| Some((given.event, given.unrecorded_reuse.take()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn receipt() -> EventReceipt {
        EventReceipt {
            event_id: EventId::default(),
            position: 0,
            version: 0,
            leaf_hash: [0; 32],
            recorded_at_ms: 0,
            revoked_for: None,
            proof: None,
        }
    }

    fn at(now_ms: u64) -> Times {
        Times { count: 1, first_ms: now_ms, last_ms: now_ms }
    }

    #[test]
    fn times_add_up_and_are_taken_once() {
        let (one, other) = (EventId([1; 16]), EventId([2; 16]));
        let mut given = ReusableGrants::default();
        given.issued(one, receipt(), 1);
        given.issued(other, receipt(), 1);
        assert!(!given.is_unwritten());
        given.note(one, at(5));
        given.note(one, at(9));
        given.note(EventId([3; 16]), at(1));
        assert!(given.is_unwritten());
        assert_eq!(given.take_unwritten(), [(one, Times { count: 2, first_ms: 5, last_ms: 9 })]);
        assert!(!given.is_unwritten() && given.take_unwritten().is_empty());
    }

    #[test]
    fn the_oldest_is_forgotten_but_nothing_that_is_unwritten() {
        let mut given = ReusableGrants::default();
        let event = |number: u8| EventId([number; 16]);
        for number in 0..8 {
            given.issued(event(number), receipt(), 1);
        }
        given.note(event(0), at(1));
        given.issued(event(8), receipt(), 1);
        let kept: Vec<EventId> = given.0.iter().map(|given| given.event).collect();
        assert_eq!(kept, [0, 2, 3, 4, 5, 6, 7, 8].map(event));
        (0..9).for_each(|number| given.note(event(number), at(2)));
        given.issued(event(9), receipt(), 1);
        assert_eq!(given.take_unwritten().len(), 8);
    }
}
