//! The grants of one subject that may answer a repeated request, with counts of how often each was reused. A
//! count is kept here until it is recorded in the log.

use crate::app::log::receipt::EventReceipt;
use crate::bounds::rulebook::Rules;
use crate::bounds::valid_until::valid_until_ms;
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The most grants that are kept for one subject; the newest are kept.
pub(crate) const GRANTS_MAX: usize = 8;

/// The reusable grants of one subject.
#[derive(Default)]
pub(crate) struct ReusableGrants(pub(crate) Vec<ReusableGrant>);

/// A grant that may answer the same request again.
pub(crate) struct ReusableGrant {
    pub(crate) event: EventId,
    pub(crate) receipt: EventReceipt,
    /// The requested lifetime, milliseconds.
    pub(crate) ttl_ms: u64,
    pub(crate) unrecorded: Option<ReuseCount>,
    /// The last decision that was the same as the grant's.
    pub(crate) confirmed: Option<ConfirmedDecision>,
}

/// What a decision depended on. While all of this is unchanged, the decision need not be made again.
#[derive(Clone)]
pub(crate) struct ConfirmedDecision {
    /// As in [`SubjectState::decisive_version`].
    pub(crate) decisive_version: u64,
    pub(crate) rules: Weak<Rules>,
    /// The time span from the decision until something that the decision depends on expires.
    pub(crate) span_ms: Range<u64>,
}

impl ConfirmedDecision {
    pub(crate) fn by(rules: &Arc<Rules>, state: &SubjectState, now_ms: u64) -> Self {
        let span_ms = now_ms..valid_until_ms(state, now_ms);
        Self { decisive_version: state.decisive_version, rules: Arc::downgrade(rules), span_ms }
    }

    pub(crate) fn is_valid(&self, rules: &Arc<Rules>, state: &SubjectState, now_ms: u64) -> bool {
        self.decisive_version == state.decisive_version
            && std::ptr::eq(self.rules.as_ptr(), Arc::as_ptr(rules))
            && self.span_ms.contains(&now_ms)
    }
}

/// How often a grant was reused, and when first and last, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReuseCount {
    pub(crate) count: u32,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
}

impl ReuseCount {
    pub(crate) fn plus(self, later: Self) -> Self {
        Self {
            count: self.count.saturating_add(later.count),
            // A count that could not be recorded is added back after newer ones.
            first_ms: self.first_ms.min(later.first_ms),
            last_ms: self.last_ms.max(later.last_ms),
        }
    }
}

/// A count that is not recorded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnrecordedCount {
    /// The event of the grant.
    pub(crate) event: EventId,
    /// The position of the grant in the log.
    pub(crate) position: u64,
    pub(crate) count: ReuseCount,
}

impl ReusableGrants {
    /// Whether a count is not recorded yet.
    pub fn has_unrecorded(&self) -> bool {
        self.0.iter().any(|grant| grant.unrecorded.is_some())
    }

    /// Adds a new grant. If there are too many, drops the oldest grant without an unrecorded count. If every
    /// grant has an unrecorded count, leaves out the new grant.
    pub(crate) fn add(&mut self, event: EventId, receipt: EventReceipt, ttl_ms: u64) {
        if self.0.len() >= GRANTS_MAX {
            let recorded = self.0.iter().position(|grant| grant.unrecorded.is_none());
            let Some(oldest) = recorded else { return };
            self.0.remove(oldest);
        }
        self.0.push(ReusableGrant { event, receipt, ttl_ms, unrecorded: None, confirmed: None });
    }

    pub(crate) fn add_count(&mut self, event: EventId, count: ReuseCount) {
        if let Some(grant) = self.0.iter_mut().find(|grant| grant.event == event) {
            grant.unrecorded = Some(grant.unrecorded.map_or(count, |before| before.plus(count)));
        }
    }

    pub(crate) fn confirm(&mut self, event: EventId, confirmed: ConfirmedDecision) {
        if let Some(grant) = self.0.iter_mut().find(|grant| grant.event == event) {
            grant.confirmed = Some(confirmed);
        }
    }

    /// Drops all cached decisions.
    pub fn forget_decisions(&mut self) {
        self.0.iter_mut().for_each(|grant| grant.confirmed = None);
    }

    pub(crate) fn take_unrecorded(&mut self) -> Vec<UnrecordedCount> {
        let take = |grant: &mut ReusableGrant| {
            let (event, position) = (grant.event, grant.receipt.position);
            Some(UnrecordedCount { event, position, count: grant.unrecorded.take()? })
        };
        self.0.iter_mut().filter_map(take).collect()
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

    fn at(now_ms: u64) -> ReuseCount {
        ReuseCount { count: 1, first_ms: now_ms, last_ms: now_ms }
    }

    #[test]
    fn counts_add_up_and_are_taken_once() {
        let (one, other) = (EventId([1; 16]), EventId([2; 16]));
        let mut grants = ReusableGrants::default();
        grants.add(one, receipt(), 1);
        grants.add(other, receipt(), 1);
        assert!(!grants.has_unrecorded());
        grants.add_count(one, at(5));
        grants.add_count(one, at(9));
        grants.add_count(EventId([3; 16]), at(1));
        assert!(grants.has_unrecorded());
        grants.add_count(one, at(7));
        let count = ReuseCount { count: 3, first_ms: 5, last_ms: 9 };
        assert_eq!(grants.take_unrecorded(), [UnrecordedCount { event: one, position: 0, count }]);
        assert!(!grants.has_unrecorded() && grants.take_unrecorded().is_empty());
    }

    #[test]
    fn the_oldest_grant_is_dropped_but_never_an_unrecorded_count() {
        let mut grants = ReusableGrants::default();
        let event = |number: u8| EventId([number; 16]);
        for number in 0..8 {
            grants.add(event(number), receipt(), 1);
        }
        grants.add_count(event(0), at(1));
        grants.add(event(8), receipt(), 1);
        let kept: Vec<EventId> = grants.0.iter().map(|grant| grant.event).collect();
        assert_eq!(kept, [0, 2, 3, 4, 5, 6, 7, 8].map(event));
        (0..9).for_each(|number| grants.add_count(event(number), at(2)));
        grants.add(event(9), receipt(), 1);
        assert_eq!(grants.take_unrecorded().len(), 8);
    }
}
