//! Erasures that wait to be completed.

use crate::domain::event::ErasureCompleted;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The most erasures that one frame (events that are written together) completes, with one event each.
const BATCH_MAX: usize = 128;

/// The event that records what to discard for one erasure, and the channel for the report that the event is
/// recorded and its entries are discarded.
pub(crate) type Waiting = (ErasureCompleted, oneshot::Sender<()>);

/// Completions that wait to be carried out.
#[derive(Default)]
pub(crate) struct CompletionQueue {
    waiting: Mutex<Vec<Waiting>>,
    /// Locked by the task that is carrying out a batch.
    pub batch_lock: tokio::sync::Mutex<()>,
}

impl CompletionQueue {
    pub fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn take_batch(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(BATCH_MAX);
        waiting.drain(..count).collect()
    }
}
