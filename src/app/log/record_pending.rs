//! Records pending revocations, which are already in effect. They are recorded right after the change that
//! caused them, or at the latest before the next write to the stream. After a failure or a restart, the
//! ledger tries again at intervals.

use crate::app::error::{AppError, Cause};
use crate::app::log::append::Frame;
use crate::app::log::core::Core;
use crate::app::log::index::PENDING;
use crate::app::log::stream::SubjectStream;
use crate::bounds::invalidation;
use crate::domain::event::Event;
use crate::domain::profile::SubjectState;
use crate::telemetry::metrics;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Index records in one read.
const READ_COUNT: usize = 256;

impl Core {
    /// The revocations that follow from a folded state and that no event has recorded yet. They are
    /// derived again when a stream is read from the log. Until they are recorded, nothing is written that
    /// could make a grant valid again. So the state still implies the same revocations as right after the
    /// decision that caused them.
    pub(crate) fn implied_by(&self, state: &SubjectState) -> Vec<Event> {
        if state.revocations_pending == 0 {
            return Vec::new();
        }
        let now_ms = self.now_ms();
        invalidation::revocations(state, &self.rules_at(now_ms), now_ms, None, &|_| false)
    }

    /// Records all pending revocations before another write, in a separate task because the caller may
    /// disconnect. Returns the write lock.
    pub(crate) async fn record_pending_first(
        self: &Arc<Self>,
        stream: &Arc<SubjectStream>,
        write_lock: OwnedMutexGuard<()>,
    ) -> Result<OwnedMutexGuard<()>, AppError> {
        let (core, stream) = (Arc::clone(self), Arc::clone(stream));
        let task = tokio::spawn(async move { core.record_pending(&stream, write_lock).await });
        task.await.map_err(|_| AppError::Internal(Cause::Task))
    }

    /// Records all pending revocations, frame by frame. If that fails, [`Core::retry_pending_revocations`]
    /// tries again.
    pub(crate) async fn record_pending(
        self: &Arc<Self>,
        stream: &Arc<SubjectStream>,
        mut write_lock: OwnedMutexGuard<()>,
    ) -> OwnedMutexGuard<()> {
        while stream.has_pending() {
            let append = self.append_for_ledger(Arc::clone(stream), write_lock).await;
            let (events, left) = {
                let now = stream.read();
                let events = now.pending.first(self.use_settings.limits.revocations_at_once_max);
                let left = now.pending.len().saturating_sub(events.len());
                (events, left)
            };
            let count = events.len();
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            let pending_events = events.into_iter().chain([Event::RevocationsPending { left }]);
            let frame = Frame::from(pending_events.map(|event| self.plan(event)).collect::<Vec<_>>());
            let written = self.commit_frame(&append, frame).await;
            write_lock = append.into_write_lock();
            if let Err(error) = written {
                metrics().revocations_delayed();
                tracing::warn!(%error, "revocations in effect could not be recorded yet; this is retried");
                self.unrecorded.revocations.push(stream);
                self.announce_pending(stream);
                return write_lock;
            }
            stream.write().pending.drop_first(count);
        }
        write_lock
    }

    /// Notifies the recipients of pending revocations before these are recorded.
    pub(crate) fn announce_pending(&self, stream: &Arc<SubjectStream>) {
        self.unrecorded.revocations.push_late(stream);
        let keys: BTreeSet<_> = stream.read().pending.revocations().map(|(key, _)| key).collect();
        keys.iter().for_each(|key| self.notifier.notify(key));
    }

    /// Tries again to record revocations that could not be recorded.
    pub(crate) async fn retry_pending_revocations(self: &Arc<Self>) {
        for stream in self.unrecorded.revocations.take() {
            let write_lock = stream.write_lock().await;
            drop(self.record_pending(&stream, write_lock).await);
        }
    }

    /// Finds streams with revocations that were not recorded before the last stop.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn find_pending(self: &Arc<Self>) -> Result<(), AppError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = self.store().index_scan(PENDING, after.as_deref(), READ_COUNT)?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = Some(last.clone());
            let positions =
                found.iter().filter_map(|(key, _)| key.last_chunk().copied().map(u64::from_be_bytes));
            for position in positions {
                match self.stream_at(position).await {
                    Ok(Some(stream)) if stream.has_pending() => self.unrecorded.revocations.push(&stream),
                    Ok(_) | Err(AppError::Erased) => {}
                    // The other streams must not wait for this one. A caller who reads this stream gets the
                    // same error.
                    Err(error) => tracing::error!(?error, "could not load a stream with pending revocations"),
                }
            }
        }
    }
}
