//! Behind the commits: brings index records into sled and writes marks, so that memory is bounded, recovery has a bounded
//! way to go, and no commit waits for either.

use super::shared::{Running, Shared};
use crate::store::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

/// The thread that does it; ends when this is dropped.
pub struct Background {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The number of entries at which the next mark is due.
    due_at: AtomicU64,
}

impl Background {
    /// Starts the thread.
    pub fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let (wake, woken) = sync_channel::<()>(1);
        let mark_entries = shared.options.mark_entries;
        let first_due = shared.head().size.saturating_add(mark_entries);
        let due_at = AtomicU64::new(first_due);
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("sayso-index".into()).spawn(move || {
            let mut mark_at = first_due;
            while woken.recv().is_ok() {
                let size = shared.head().size;
                if size >= mark_at {
                    mark_at = size.saturating_add(mark_entries);
                    shared.mark();
                } else {
                    shared.settle();
                }
            }
        });
        let thread = thread.map_err(|source| StoreError::Io { doing: "starting a thread", source })?;
        Ok(Self { wake: Some(wake), thread: Some(thread), due_at })
    }

    /// Has records brought into sled, or a mark written, if enough came since the last time.
    pub fn wake_if_due(&self, shared: &Shared, size: u64) {
        let marks = size >= self.due_at.load(Ordering::Relaxed);
        if marks || shared.index.waiting() >= shared.options.settle_records {
            if marks {
                self.due_at.store(size.saturating_add(shared.options.mark_entries), Ordering::Relaxed);
            }
            // Where one is waiting already, it will do.
            let _waiting = self.wake.as_ref().map(|wake| wake.try_send(()));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    /// Makes what was committed until now durable in flat files and index, and says so; where that fails, the log
    /// stops, since the system may have dropped what it could not write.
    pub(super) fn mark(&self) {
        let _one_at_a_time = self.marking.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut writer = self.writer();
            if self.running() != Running::Yes {
                return;
            }
            writer.pending = Some(writer.now);
        }
        let synced = self.index.settle_at_leisure().and_then(|()| self.sync_derived());
        if matches!(synced, Err(StoreError::Full)) {
            // Nothing is lost: what is not in sled stays in memory, and commits are refused for want of room as well.
            self.writer().pending = None;
            return;
        }
        let mut writer = self.writer();
        let extent = writer.pending.take().unwrap_or(writer.marked.extent);
        if self.running() != Running::Yes {
            return;
        }
        if let Err(error) = synced.and_then(|()| self.write_watermark(&mut writer, extent, false)) {
            tracing::error!(%error, "the log stops: what can be rebuilt can't be made durable");
            self.set_running(Running::Stopped);
        }
    }

    /// Brings index records into sled; where that fails for more than want of room, the log stops.
    fn settle(&self) {
        if let Err(error) = self.index.settle_at_leisure()
            && !matches!(error, StoreError::Full)
        {
            let _nobody_writes = self.writer();
            tracing::error!(%error, "the log stops: its index can't be written; restart to recover");
            if self.running() == Running::Yes {
                self.set_running(Running::Stopped);
            }
        }
    }
}
