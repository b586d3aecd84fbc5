//! Runs a sequencer step by step, for a simulation. A daemon never uses this module.
//!
//! The simulation chooses which waiting writes go into the next batch, and in which order. Everything else is
//! the code that the sequencer's thread runs.

use super::sequencer::{Sequencer, Submission};
use std::fmt;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Runs the sequencer of one ledger in place of the sequencer's thread. Each ledger needs its own
/// `ManualSequencing`.
#[derive(Default)]
pub struct ManualSequencing(Mutex<Option<Paused>>);

/// A sequencer between two batches.
struct Paused {
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
    fn paused(&self) -> MutexGuard<'_, Option<Paused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, sequencer: Sequencer, queue: Receiver<Submission>) {
        *self.paused() = Some(Paused { sequencer, queue, waiting: Vec::new() });
    }

    /// Returns how many writes wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let mut paused = self.paused();
        let Some(Paused { queue, waiting, .. }) = paused.as_mut() else { return 0 };
        waiting.extend(queue.try_iter());
        waiting.len()
    }

    /// Takes some of the waiting writes and runs the sequencer on them. `places` are their indexes in the
    /// order of arrival, from 0; indexes that don't exist are skipped. When this method returns, every write
    /// that it took has its answer. If the log stops, all other waiting writes fail too.
    pub fn take(&self, places: &[usize]) {
        let mut paused = self.paused();
        let Some(Paused { sequencer, waiting, .. }) = paused.as_mut() else { return };
        let mut arrived: Vec<Option<Submission>> = std::mem::take(waiting).into_iter().map(Some).collect();
        let (sender, taken) = sync_channel(arrived.len());
        for place in places {
            let Some(submission) = arrived.get_mut(*place).and_then(Option::take) else { continue };
            let _room_for_all = sender.try_send(submission);
        }
        drop(sender);
        waiting.extend(arrived.into_iter().flatten());
        while let Ok(first) = sequencer.next(&taken) {
            if !sequencer.write(first, &taken) {
                *paused = None;
                return;
            }
        }
    }

    /// Ends as the thread does after the last sender is dropped.
    pub(super) fn finish(&self) {
        if let Some(Paused { sequencer, queue, .. }) = self.paused().take() {
            sequencer.run(&queue);
        }
    }
}
