//! The background thread of the embedded log. It moves pending index records into sled, the index's database.
//! It also writes watermarks. A watermark says up to which position the index and the flat files (arrays of
//! fixed-size items) are durable.
//!
//! The thread limits the memory for pending records, and the number of entries that recovery has to replay.
//! Commits do not wait for the thread, unless `pending_records_max` records are pending.

use super::shared::{Running, Shared};
use crate::store::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

/// The background thread. Dropping this ends the thread and waits for it.
pub struct Background {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Number of entries at which the next watermark is due.
    watermark_due_at: AtomicU64,
}

impl Background {
    /// Starts the thread.
    pub fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let (wake, woken) = sync_channel::<()>(1);
        let watermark_entries = shared.options.watermark_entries;
        let first_due_at = shared.head().size.saturating_add(watermark_entries);
        let watermark_due_at = AtomicU64::new(first_due_at);
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("sayso-index".into()).spawn(move || {
            let mut due_at = first_due_at;
            while woken.recv().is_ok() {
                let size = shared.head().size;
                if size >= due_at {
                    due_at = size.saturating_add(watermark_entries);
                    shared.advance_watermark();
                } else {
                    shared.settle();
                }
            }
        });
        let thread = thread.map_err(|source| StoreError::Io { doing: "starting a thread", source })?;
        Ok(Self { wake: Some(wake), thread: Some(thread), watermark_due_at })
    }

    /// Wakes the thread if a watermark is due or enough index records are pending.
    pub fn wake_if_due(&self, shared: &Shared, size: u64) {
        let watermark_due = size >= self.watermark_due_at.load(Ordering::Relaxed);
        if watermark_due || shared.index.pending_records() >= shared.options.settle_records {
            if watermark_due {
                let next = size.saturating_add(shared.options.watermark_entries);
                self.watermark_due_at.store(next, Ordering::Relaxed);
            }
            // A full channel means that the thread is going to wake anyway.
            let _already_woken = self.wake.as_ref().map(|wake| wake.try_send(()));
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
    /// Makes the flat files (arrays of fixed-size items) and the index durable for all entries committed so
    /// far, and writes a watermark.
    ///
    /// If that fails for any reason but lack of space, the log stops, since the operating system may have
    /// dropped data that it could not write.
    pub(super) fn advance_watermark(&self) {
        let _one_at_a_time = self.watermark_lock.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut writer = self.writer();
            if self.running() != Running::Yes {
                return;
            }
            writer.next_watermark = Some(writer.committed);
        }
        let synced = self.index.settle_with_pauses().and_then(|()| self.sync_derived());
        if matches!(synced, Err(StoreError::Full)) {
            // The device is full. Nothing is lost: pending records stay in memory, and commits are rejected
            // as well.
            self.writer().next_watermark = None;
            return;
        }
        let mut writer = self.writer();
        let extent = writer.next_watermark.take().unwrap_or(writer.watermark.extent);
        if self.running() != Running::Yes {
            return;
        }
        if let Err(error) = synced.and_then(|()| self.write_watermark(&mut writer, extent)) {
            tracing::error!(%error, "the log stops: its index or tree can't be made durable; restart to recover");
            self.set_running(Running::Stopped);
        }
    }

    /// Brings pending index records into sled. The log stops if that fails for any reason but lack of space.
    fn settle(&self) {
        if let Err(error) = self.index.settle_with_pauses()
            && !matches!(error, StoreError::Full)
        {
            let _no_writes = self.writer();
            tracing::error!(%error, "the log stops: its index can't be written; restart to recover");
            if self.running() == Running::Yes {
                self.set_running(Running::Stopped);
            }
        }
    }
}
