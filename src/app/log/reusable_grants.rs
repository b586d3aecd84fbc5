//! Grants of a subject that may answer a repeated request, and how often they did until that is recorded.

use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::app::log::receipt::{EventReceipt, Receipt};
use crate::app::log::stream::SubjectStream;
use crate::bounds::rulebook::Rules;
use crate::bounds::valid_until::valid_until_ms;
use crate::domain::event::{Event, GrantGivenAgain};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::task::JoinSet;

/// Grants of one person that are remembered, the latest ones.
const REMEMBERED_MAX: usize = 8;

/// People with times that are not written down yet; a question about another one is answered anew.
const UNWRITTEN_MAX: usize = 4_096;

/// People whose times are written down side by side.
const WRITTEN_AT_ONCE: usize = 64;

/// How long a time may stay unwritten while the daemon runs, milliseconds.
const UNWRITTEN_MS_MAX: u64 = 60_000;

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

/// Whose times are not written down yet, and since when, milliseconds since the Unix epoch.
#[derive(Default)]
pub(crate) struct UnrecordedReuse(Mutex<(Vec<Weak<SubjectStream>>, u64)>);

impl UnrecordedReuse {
    pub(crate) fn has_room(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.len() < UNWRITTEN_MAX
    }

    pub(crate) fn push(&self, stream: &Arc<SubjectStream>, now_ms: u64) {
        let mut unrecorded_reuse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unrecorded_reuse.0.is_empty() {
            unrecorded_reuse.1 = now_ms;
        }
        unrecorded_reuse.0.push(Arc::downgrade(stream));
    }

    /// Everybody, where the first has waited for so long or half of the room is taken.
    pub(crate) fn take_due(&self, now_ms: u64, waited_ms: u64) -> Vec<Weak<SubjectStream>> {
        let mut unrecorded_reuse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now_ms.saturating_sub(unrecorded_reuse.1) >= waited_ms;
        if is_due || unrecorded_reuse.0.len() >= UNWRITTEN_MAX / 2 {
            std::mem::take(&mut unrecorded_reuse.0)
        } else {
            Vec::new()
        }
    }
}

impl Core {
    /// A grant was issued that may be given again.
    pub(crate) fn note_issued(stream: &SubjectStream, event: EventId, receipt: &Receipt, ttl_ms: u64) {
        if let Some(receipt) = receipt.events.first() {
            let receipt = EventReceipt { proof: None, ..receipt.clone() };
            stream.given().issued(event, receipt, ttl_ms);
        }
    }

    /// Writes down what has waited long enough.
    ///
    /// # Errors
    /// The store; what is not written down stays counted, and is tried again.
    pub(crate) async fn record_due_reuse(self: &Arc<Self>) -> Result<(), AppError> {
        self.write_down(UNWRITTEN_MS_MAX).await
    }

    /// Writes down how often grants were given again.
    ///
    /// # Errors
    /// As [`Core::record_due_reuse`].
    pub(crate) async fn record_all_reuse(self: &Arc<Self>) -> Result<(), AppError> {
        self.write_down(0).await
    }

    /// Waits until people who are only kept in memory to be counted take the room of others.
    pub async fn eviction_blocked(&self) {
        self.streams.eviction_blocked().await;
    }

    /// Writes the counts down, so that whoever is only kept for them can go.
    ///
    /// # Errors
    /// As [`Core::record_due_reuse`].
    pub async fn make_room(self: &Arc<Self>) -> Result<(), AppError> {
        self.record_all_reuse().await
    }

    async fn write_down(self: &Arc<Self>, waited_ms: u64) -> Result<(), AppError> {
        // A lane that is gone is of somebody who was erased.
        let due = self.unrecorded_reuse.take_due(self.now_ms(), waited_ms);
        let mut due = due.into_iter().filter_map(|stream| stream.upgrade());
        let (mut writing, mut written) = (JoinSet::new(), Ok(()));
        loop {
            while writing.len() < WRITTEN_AT_ONCE
                && let Some(stream) = due.next()
            {
                let core = Arc::clone(self);
                writing.spawn(async move {
                    let written = core.write_down_of(&stream).await;
                    if written.is_err() {
                        core.unrecorded_reuse.push(&stream, core.now_ms());
                    }
                    written
                });
            }
            match writing.join_next().await {
                Some(one) => {
                    written = one.unwrap_or(Err(AppError::Internal(crate::app::Cause::Task))).and(written)
                }
                None => return written,
            }
        }
    }

    /// As [`Core::record_all_reuse`], of one person, for whoever is about to be shown them. A failure is logged and nothing
    /// more: what is durable can be shown.
    pub(crate) async fn record_reuse_before_read(self: &Arc<Self>, stream: &Arc<SubjectStream>) {
        if let Err(error) = self.write_down_of(stream).await {
            tracing::warn!(%error, "how often grants were given again is not written down yet");
        }
    }

    async fn write_down_of(self: &Arc<Self>, stream: &Arc<SubjectStream>) -> Result<(), AppError> {
        if !stream.given().is_unwritten() {
            return Ok(());
        }
        let write_lock = stream.write_lock().await;
        let append = self.append_for_ledger(Arc::clone(stream), write_lock).await;
        let unrecorded_reuse = {
            let now = stream.read();
            // Of a grant that is not known any more there is nobody to tell it of.
            let known =
                |(event, times)| Some((event, times, now.state.grants.get(&event)?.issued.recipient.clone()));
            stream.given().take_unwritten().into_iter().filter_map(known).collect::<Vec<_>>()
        };
        let pending_events = unrecorded_reuse.iter().map(|(event, times, recipient)| {
            let grant = event.0.to_vec();
            let Times { count, first_ms, last_ms } = *times;
            let recipient = recipient.clone();
            self.plan(Event::GrantGivenAgain(GrantGivenAgain { grant, count, first_ms, last_ms, recipient }))
        });
        let pending_events: Vec<_> = pending_events.collect();
        if pending_events.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.commit(append, pending_events).await {
            let mut given = stream.given();
            unrecorded_reuse.into_iter().for_each(|(event, times, _)| given.note(event, times));
            return Err(error);
        }
        Ok(())
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
