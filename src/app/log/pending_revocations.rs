//! Revocations that a decision implies and that did not fit beside it. They count from the moment of the decision, for everybody
//! who reads the stream; their events follow in frames of their own, also after a restart.

use crate::app::error::{AppError, Cause};
use crate::app::log::append::Frame;
use crate::app::log::core::Core;
use crate::app::log::index::revocation_of;
use crate::app::log::revocation::Revocation;
use crate::app::log::stream::SubjectStream;
use crate::bounds::invalidation;
use crate::domain::event::{Event, Reason};
use crate::domain::ids::EventId;
use crate::domain::profile::SubjectState;
use crate::telemetry::metrics;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// How long a decision's answer waits for the rest to be recorded. The decision is durable and in effect already.
pub(crate) const WAIT_MAX: Duration = Duration::from_millis(500);
/// Streams with revocations that could not be recorded; beyond it they are found at the next start or write.
const STREAMS_MAX: usize = 4_096;
/// Index records read at once.
const READ_COUNT: usize = 256;
/// Entries that say that revocations follow.
const INDEX: &[u8] = b"pend";

/// The revocations of one subject that are still to be recorded, oldest first.
#[derive(Default)]
pub(crate) struct PendingRevocations {
    events: VecDeque<Event>,
    /// The grants and artifacts that they are about.
    about: HashSet<EventId>,
}

impl PendingRevocations {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether the revocation of this grant or artifact is among them.
    pub fn has(&self, event: &EventId) -> bool {
        self.about.contains(event)
    }

    /// Adds revocations, and lets the state say at once that what they revoke does not stand.
    pub fn extend(&mut self, state: &mut SubjectState, events: Vec<Event>) {
        for event in &events {
            let Some((about, reason)) = revoked(event) else { continue };
            self.about.insert(about);
            if let Some(grant) = state.grants.get_mut(&about) {
                grant.implied.get_or_insert(reason);
            }
            if let Some(artifact) = state.rights.artifacts.get_mut(&about) {
                artifact.implied.get_or_insert(reason);
            }
        }
        self.events.extend(events);
    }

    /// Those that a recipient is told of, and where its watches wait.
    fn revocations(&self) -> impl Iterator<Item = (Vec<u8>, Revocation)> {
        self.events.iter().filter_map(revocation_of)
    }

    fn first(&self, count: usize) -> Vec<Event> {
        self.events.iter().take(count).cloned().collect()
    }

    fn drop_first(&mut self, count: usize) {
        for event in self.events.drain(..count.min(self.events.len())) {
            if let Some((about, _)) = revoked(&event) {
                self.about.remove(&about);
            }
        }
    }
}

fn revoked(event: &Event) -> Option<(EventId, Reason)> {
    match event {
        Event::GrantRevoked { grant, reason, .. } => Some((*grant, *reason)),
        Event::ArtifactInvalidated(ended) => Some((EventId::from_slice(&ended.artifact)?, ended.reason())),
        _ => None,
    }
}

/// Streams whose revocations could not be recorded yet; they stay in memory until they are.
#[derive(Default)]
pub(crate) struct PendingStreams {
    streams: Mutex<Vec<Arc<SubjectStream>>>,
    /// Those of them whose recipients are told before the revocations are recorded, since that takes too long or fails.
    late: Mutex<Vec<Weak<SubjectStream>>>,
}

impl PendingStreams {
    pub fn push(&self, stream: &Arc<SubjectStream>) {
        let mut all = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < STREAMS_MAX && !all.iter().any(|other| Arc::ptr_eq(other, stream)) {
            all.push(Arc::clone(stream));
        }
    }

    fn take(&self) -> Vec<Arc<SubjectStream>> {
        std::mem::take(&mut *self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push_late(&self, stream: &Arc<SubjectStream>) {
        let mut late = self.late();
        late.retain(|other| other.upgrade().is_some_and(|other| other.has_pending()));
        if late.len() < STREAMS_MAX
            && !late.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(stream)))
        {
            late.push(Arc::downgrade(stream));
        }
    }

    /// Revocations in effect, not recorded yet and late, of those who wait at this key.
    pub fn late_at(&self, key: &[u8]) -> Vec<Revocation> {
        let streams: Vec<_> = self.late().iter().filter_map(Weak::upgrade).collect();
        let mut found = Vec::new();
        for stream in streams {
            let now = stream.read();
            found.extend(
                now.pending.revocations().filter(|(at, _)| at == key).map(|(_, revocation)| revocation),
            );
        }
        found
    }

    fn late(&self) -> MutexGuard<'_, Vec<Weak<SubjectStream>>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index record of an event that says that revocations follow.
pub(crate) fn index_of(event: &Event) -> Option<(Vec<u8>, Vec<u8>)> {
    let follows = matches!(event, Event::RevocationsPending { left } if *left > 0);
    follows.then(|| (INDEX.to_vec(), Vec::new()))
}

impl Core {
    /// What a folded state implies and no event says: derived again where a stream is read from the log. Nothing that could let a
    /// grant stand again is written before these are recorded, so the state is the decision's still.
    pub(crate) fn implied_by(&self, state: &SubjectState) -> Vec<Event> {
        if state.revocations_pending == 0 {
            return Vec::new();
        }
        let now_ms = self.now_ms();
        invalidation::revocations(state, &self.rules_at(now_ms), now_ms, None, &|_| false)
    }

    /// Records what is pending before another write, in a task of its own: the caller may go away. Gives the gate back.
    pub(crate) async fn record_pending_first(
        self: &Arc<Self>,
        stream: &Arc<SubjectStream>,
        write_lock: OwnedMutexGuard<()>,
    ) -> Result<OwnedMutexGuard<()>, AppError> {
        let (core, stream) = (Arc::clone(self), Arc::clone(stream));
        let task = tokio::spawn(async move { core.record_pending(&stream, write_lock).await });
        task.await.map_err(|_| AppError::Internal(Cause::Task))
    }

    /// Records all that is pending, frame by frame. Where that fails it is tried again by itself.
    pub(crate) async fn record_pending(
        self: &Arc<Self>,
        stream: &Arc<SubjectStream>,
        mut write_lock: OwnedMutexGuard<()>,
    ) -> OwnedMutexGuard<()> {
        while stream.has_pending() {
            let append = self.append_for_ledger(Arc::clone(stream), write_lock).await;
            let (events, left) = {
                let now = stream.read();
                let events = now.pending.first(self.use_limits.revocations_at_once_max);
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
                tracing::warn!(%error, "revocations are in effect and not recorded yet; it is tried again");
                self.pending_streams.push(stream);
                self.tell_before_recorded(stream);
                return write_lock;
            }
            stream.write().pending.drop_first(count);
        }
        write_lock
    }

    /// Tells the recipients of what is pending before it is recorded.
    pub(crate) fn tell_before_recorded(&self, stream: &Arc<SubjectStream>) {
        self.pending_streams.push_late(stream);
        let keys: BTreeSet<_> = stream.read().pending.revocations().map(|(key, _)| key).collect();
        keys.iter().for_each(|key| self.notifier.notify(key));
    }

    /// Tries again what could not be recorded.
    pub(crate) async fn retry_pending_revocations(self: &Arc<Self>) {
        for stream in self.pending_streams.take() {
            let write_lock = stream.write_lock().await;
            drop(self.record_pending(&stream, write_lock).await);
        }
    }

    /// Finds streams whose revocations a stop cut short.
    ///
    /// # Errors
    /// The store.
    pub(crate) async fn find_pending(self: &Arc<Self>) -> Result<(), AppError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = self.store().index_scan(INDEX, after.as_deref(), READ_COUNT)?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = Some(last.clone());
            let positions =
                found.iter().filter_map(|(key, _)| key.last_chunk().copied().map(u64::from_be_bytes));
            for position in positions {
                match self.stream_at(position).await {
                    Ok(Some(stream)) if stream.has_pending() => self.pending_streams.push(&stream),
                    Ok(_) | Err(AppError::Erased) => {}
                    // Others go on; whoever reads this stream meets the same.
                    Err(error) => tracing::error!(?error, "a stream with revocations to be recorded"),
                }
            }
        }
    }
}
