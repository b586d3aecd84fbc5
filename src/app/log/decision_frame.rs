//! Which open grants and artifacts a change contradicts. They end with the change: as many as fit are recorded in its frame, and
//! the rest right after it (`pending`).

use crate::app::log::append::{Append, Frame, PendingEvent};
use crate::app::log::core::Core;
use crate::bounds::invalidation::revocations;
use crate::domain::event::{Event, Recorded};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;

impl Core {
    /// The planned events with everything that they revoke.
    pub(crate) fn with_revocations(&self, append: &Append, pending_events: Vec<PendingEvent>) -> Frame {
        let after = preview(append, &pending_events);
        let cause = pending_events.first().map(|first| first.event_id);
        let revocations = {
            let now = append.stream.read();
            let known = |event: &EventId| now.pending.has(event);
            revocations(&after, &append.rules, append.now_ms, cause, &known)
        };
        let frame = self.frame(append, pending_events, revocations);
        Frame { is_decision: true, ..frame }
    }

    /// Planned events and the revocations that they imply, as far as these fit beside them; the rest is pending.
    pub(crate) fn frame(
        &self,
        append: &Append,
        mut events: Vec<PendingEvent>,
        mut revocations: Vec<Event>,
    ) -> Frame {
        let pending = revocations.split_off(revocations.len().min(self.use_limits.revocations_at_once_max));
        events.extend(revocations.into_iter().map(|event| self.plan(event)));
        if !pending.is_empty() {
            let left = append.stream.read().pending.len().saturating_add(pending.len());
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            events.push(self.plan(Event::RevocationsPending { left }));
        }
        Frame { events, pending, is_decision: false }
    }
}

/// The subject as it will stand once the planned events are durable.
pub(crate) fn preview(append: &Append, pending_events: &[PendingEvent]) -> SubjectState {
    let mut state = append.stream.read().state.clone();
    for each in pending_events {
        let event = Recorded {
            event_id: each.event_id,
            position: u64::MAX,
            version: state.version,
            recorded_at_ms: append.now_ms,
            sealed_at_ms: append.now_ms,
            about_ms: append.about_ms,
            actor: append.caller.actor_of(&each.event),
            request_digest: Vec::new(),
            event: each.event.clone(),
        };
        state.apply(&event);
    }
    state
}
