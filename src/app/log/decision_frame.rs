//! Builds the frame of a change, that is, the events that are written together. The frame has the events of
//! the change, and, as far as they fit, revocations of the open grants and artifacts that the change
//! contradicts. The other revocations are pending: they take effect with the frame and are recorded right
//! after it.

use crate::app::log::append::{Append, Frame, PendingEvent};
use crate::app::log::core::Core;
use crate::bounds::invalidation::revocations;
use crate::domain::event::{Event, Recorded, RequestKey};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;

impl Core {
    /// Pending events together with the revocations of everything that they contradict.
    pub(crate) fn with_revocations(&self, append: &Append, pending_events: Vec<PendingEvent>) -> Frame {
        let after = preview(append, &pending_events);
        let cause = pending_events.first().map(|first| first.event_id);
        let revocations = {
            let now = append.stream.read();
            let known = |event: &EventId| now.pending.contains(event);
            revocations(&after, &append.rules, append.now_ms, cause, &known)
        };
        let frame = self.frame(append, pending_events, revocations);
        Frame { is_decision: true, ..frame }
    }

    /// A frame of pending events and of the revocations that they imply, as many as fit. The other
    /// revocations are pending.
    pub(crate) fn frame(
        &self,
        append: &Append,
        mut events: Vec<PendingEvent>,
        mut revocations: Vec<Event>,
    ) -> Frame {
        let pending =
            revocations.split_off(revocations.len().min(self.use_settings.limits.revocations_at_once_max));
        events.extend(revocations.into_iter().map(|event| self.plan(event)));
        if !pending.is_empty() {
            let left = append.stream.read().pending.len().saturating_add(pending.len());
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            events.push(self.plan(Event::RevocationsPending { left }));
        }
        Frame { events, pending, is_decision: false }
    }
}

/// The state of the subject once these events are durable.
pub(crate) fn preview(append: &Append, events: &[PendingEvent]) -> SubjectState {
    let mut state = append.stream.read().state.clone();
    events.iter().for_each(|event| apply_pending(&mut state, append, event));
    state
}

/// Applies an event that is not written yet.
pub(crate) fn apply_pending(state: &mut SubjectState, append: &Append, pending: &PendingEvent) {
    state.apply(&Recorded {
        event_id: pending.event_id,
        position: u64::MAX,
        version: state.version,
        recorded_at_ms: append.now_ms,
        sealed_at_ms: append.now_ms,
        about_ms: append.about_ms,
        actor: append.caller.actor_of(&pending.event),
        request_digest: Vec::new(),
        request_key: RequestKey::None,
        event: pending.event.clone(),
    });
}
