//! Counts two things in a log: events about rules, and erasures. Signs both numbers. Anyone may read the
//! signed counts (`/counts`), so that even a reader who sees only the log's hashes can watch both numbers
//! grow.

use crate::domain::event::{Event, Recorded, codec};
use crate::ledger::{Ledger, SignedCheckpoint};
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::counts::{Counts, EventCounts};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The numbers of events. Only the owner of the lock on the system stream changes them.
pub(crate) struct KeptCounts(Mutex<State>);

struct State {
    counted: EventCounts,
    /// The newest checkpoint before the frame that is being written, if one is. It is not known yet whether a
    /// later checkpoint covers that frame.
    before: Option<Arc<SignedCheckpoint>>,
    /// The counts that were signed last, and the size of their tree.
    signed: Option<(u64, String)>,
}

impl KeptCounts {
    /// Counts the system events that the log has.
    pub(crate) fn new(system_events: &[Recorded]) -> Self {
        let counted = added(EventCounts::default(), system_events.iter().map(|event| &event.event));
        Self(Mutex::new(State { counted, before: None, signed: None }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Call it before a frame of system events is submitted.
    pub(crate) fn begin(&self, ledger: &Ledger) {
        self.state().before = Some(ledger.checkpoint());
    }

    /// Call it when a frame is durable, or with no events if it is certain that the frame was not written. If
    /// that is unknown, the log has stopped, so the counts stay those of the tree before the frame.
    pub(crate) fn end<'a>(&self, events: impl Iterator<Item = &'a Event>) {
        let mut state = self.state();
        state.counted = added(state.counted, events);
        state.before = None;
    }

    /// The counts of the newest tree for which they are known, as a note.
    pub(crate) fn signed(&self, ledger: &Ledger) -> String {
        let mut state = self.state();
        // A frame that begins after this lock is free extends this checkpoint, so the counts are exact.
        let newest = state.before.clone().unwrap_or_else(|| ledger.checkpoint());
        if let Some((_, note)) = state.signed.as_ref().filter(|(size, _)| *size == newest.size) {
            return note.clone();
        }
        let tree = Checkpoint { origin: ledger.origin().to_owned(), size: newest.size, root: newest.root };
        let note = ledger.sign_note(&Counts { tree, events: state.counted }.to_text());
        state.signed = Some((newest.size, note.clone()));
        note
    }
}

fn added<'a>(mut counted: EventCounts, events: impl Iterator<Item = &'a Event>) -> EventCounts {
    events.for_each(|event| counted.add(&codec::encode_event(event)));
    counted
}
