//! The sequencer's turns taken by hand, for a simulation: it says which of the writes that wait go into the next batch, and
//! in what order. What a turn does is what it always does. No daemon has this.

use super::sequencer::{Sequencer, Submission};
use std::fmt;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whoever takes the turns of one log's sequencer, in place of its thread. One a [`super::Ledger`].
#[derive(Default)]
pub struct ManualSequencing(Mutex<Option<Seat>>);

struct Seat {
    sequencer: Sequencer,
    queue: Receiver<Submission>,
    waiting: Vec<Submission>,
}

impl fmt::Debug for ManualSequencing {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("ManualSequencing")
    }
}

impl ManualSequencing {
    fn seat(&self) -> MutexGuard<'_, Option<Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, sequencer: Sequencer, queue: Receiver<Submission>) {
        *self.seat() = Some(Seat { sequencer, queue, waiting: Vec::new() });
    }

    /// How many writes wait, in the order in which they came.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let mut seat = self.seat();
        let Some(Seat { queue, waiting, .. }) = seat.as_mut() else { return 0 };
        waiting.extend(queue.try_iter());
        waiting.len()
    }

    /// Has these of the waiting writes taken together, by their places among them and in this order; a place that is not
    /// there is passed over. Their answers are there when this returns. Where the log stops, those that go on waiting are
    /// told so.
    pub fn take(&self, places: &[usize]) {
        let mut seat = self.seat();
        let Some(Seat { sequencer, waiting, .. }) = seat.as_mut() else { return };
        let mut there: Vec<Option<Submission>> = std::mem::take(waiting).into_iter().map(Some).collect();
        let (sender, taken) = sync_channel(there.len());
        for place in places {
            let Some(submission) = there.get_mut(*place).and_then(Option::take) else { continue };
            let _room_for_all = sender.try_send(submission);
        }
        drop(sender);
        waiting.extend(there.into_iter().flatten());
        while let Ok(first) = sequencer.next(&taken) {
            if !sequencer.write(first, &taken) {
                *seat = None;
                return;
            }
        }
    }

    /// Ends as the thread does once nobody can submit any more.
    pub(super) fn finish(&self) {
        if let Some(Seat { sequencer, queue, .. }) = self.seat().take() {
            sequencer.run(&queue);
        }
    }
}
