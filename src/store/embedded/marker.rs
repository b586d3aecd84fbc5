//! Writing marks behind the commits, so that recovery has a bounded way to go and no commit waits for it.

use super::log::{Running, Shared, Writer};
use super::mark::{Extent, Mark};
use crate::store::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

/// The thread that writes marks; ends when this is dropped.
pub struct Marker {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    /// The number of entries at which the next mark is due.
    due_at: AtomicU64,
}

impl Marker {
    /// Starts the thread.
    pub fn start(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let (wake, woken) = sync_channel::<()>(1);
        let due_at = AtomicU64::new(shared.head().size.saturating_add(shared.options.mark_entries));
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("sayso-mark".into()).spawn(move || {
            while woken.recv().is_ok() {
                shared.mark();
            }
        });
        let thread = thread.map_err(|source| StoreError::Io { doing: "starting a thread", source })?;
        Ok(Self { wake: Some(wake), thread: Some(thread), due_at })
    }

    /// Has a mark written if enough entries came since the last.
    pub fn wake_if_due(&self, shared: &Shared, size: u64) {
        if size >= self.due_at.load(Ordering::Relaxed) {
            self.due_at.store(size.saturating_add(shared.options.mark_entries), Ordering::Relaxed);
            // Where one is waiting already, it will do.
            let _waiting = self.wake.as_ref().map(|wake| wake.try_send(()));
        }
    }
}

impl Drop for Marker {
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
        let synced = self.sync_derived();
        let mut writer = self.writer();
        let extent = writer.pending.take().unwrap_or(writer.marked.extent);
        if self.running() != Running::Yes {
            return;
        }
        if let Err(error) = synced.and_then(|()| self.write_mark(&mut writer, extent, false)) {
            tracing::error!(%error, "the log stops: what can be rebuilt can't be made durable");
            self.set_running(Running::Stopped);
        }
    }

    /// Makes everything durable that can be rebuilt.
    pub(super) fn sync_derived(&self) -> Result<(), StoreError> {
        self.tree.sync()?;
        self.locations.sync()?;
        self.index.flush()
    }

    /// Says that everything that can be rebuilt is durable for these entries.
    pub(super) fn write_mark(
        &self,
        writer: &mut Writer,
        extent: Extent,
        clean: bool,
    ) -> Result<(), StoreError> {
        let further = self.further.load(Ordering::Acquire).min(extent.size);
        writer.marked = Mark { extent, flat: extent.size, further, indexed: true, clean };
        self.mark_file.write(&writer.marked)
    }

    /// Says again what is durable, after something of it was taken away or given back.
    pub(super) fn write_mark_again(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let extent = writer.marked.extent;
        self.write_mark(writer, extent, false)
    }
}
