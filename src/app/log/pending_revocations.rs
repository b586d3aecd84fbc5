//! Revocations that a decision implies and that did not fit beside it. They count from the moment of the decision, for everybody
//! who reads the stream; their events follow in frames of their own, also after a restart.

use crate::app::App;
use crate::app::error::{AppError, Cause};
use crate::app::grants::invalidate;
use crate::app::grants::watch_revocations::{Revocation, revocation_of};
use crate::app::log::append::Frame;
use crate::app::log::stream::Lane;
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
pub(crate) struct Pending {
    events: VecDeque<Event>,
    /// The grants and artifacts that they are about.
    about: HashSet<EventId>,
}

impl Pending {
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
pub(crate) struct Unrecorded {
    streams: Mutex<Vec<Arc<Lane>>>,
    /// Those of them whose recipients are told before the revocations are recorded, since that takes too long or fails.
    late: Mutex<Vec<Weak<Lane>>>,
}

impl Unrecorded {
    pub fn push(&self, lane: &Arc<Lane>) {
        let mut all = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < STREAMS_MAX && !all.iter().any(|other| Arc::ptr_eq(other, lane)) {
            all.push(Arc::clone(lane));
        }
    }

    fn take(&self) -> Vec<Arc<Lane>> {
        std::mem::take(&mut *self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push_late(&self, lane: &Arc<Lane>) {
        let mut late = self.late();
        late.retain(|other| other.upgrade().is_some_and(|other| other.has_pending()));
        if late.len() < STREAMS_MAX
            && !late.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(lane)))
        {
            late.push(Arc::downgrade(lane));
        }
    }

    /// Revocations in effect, not recorded yet and late, of those who wait at this key.
    pub fn late_at(&self, key: &[u8]) -> Vec<Revocation> {
        let lanes: Vec<_> = self.late().iter().filter_map(Weak::upgrade).collect();
        let mut found = Vec::new();
        for lane in lanes {
            let now = lane.read();
            found.extend(
                now.pending.revocations().filter(|(at, _)| at == key).map(|(_, revocation)| revocation),
            );
        }
        found
    }

    fn late(&self) -> MutexGuard<'_, Vec<Weak<Lane>>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index record of an event that says that revocations follow.
pub(crate) fn index_of(event: &Event) -> Option<(Vec<u8>, Vec<u8>)> {
    let follows = matches!(event, Event::RevocationsPending { left } if *left > 0);
    follows.then(|| (INDEX.to_vec(), Vec::new()))
}

impl App {
    /// What a folded state implies and no event says: derived again where a stream is read from the log. Nothing that could let a
    /// grant stand again is written before these are recorded, so the state is the decision's still.
    pub(crate) fn implied_by(&self, state: &SubjectState) -> Vec<Event> {
        if state.revocations_pending == 0 {
            return Vec::new();
        }
        let now_ms = self.now_ms();
        invalidate::revocations(state, &self.rules_at(now_ms), now_ms, None, &|_| false)
    }

    /// Records what is pending before another write, in a task of its own: the caller may go away. Gives the gate back.
    pub(crate) async fn record_pending_first(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        gate: OwnedMutexGuard<()>,
    ) -> Result<OwnedMutexGuard<()>, AppError> {
        let (app, lane) = (Arc::clone(self), Arc::clone(lane));
        let task = tokio::spawn(async move { app.record_pending(&lane, gate).await });
        task.await.map_err(|_| AppError::Internal(Cause::Task))
    }

    /// Records all that is pending, frame by frame. Where that fails it is tried again by itself.
    pub(crate) async fn record_pending(
        self: &Arc<Self>,
        lane: &Arc<Lane>,
        mut gate: OwnedMutexGuard<()>,
    ) -> OwnedMutexGuard<()> {
        while lane.has_pending() {
            let turn = self.turn_of_ledger(Arc::clone(lane), gate).await;
            let (events, left) = {
                let now = lane.read();
                let events = now.pending.first(self.use_limits.revocations_at_once_max);
                let left = now.pending.len().saturating_sub(events.len());
                (events, left)
            };
            let count = events.len();
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            let planned = events.into_iter().chain([Event::RevocationsPending { left }]);
            let frame = Frame::from(planned.map(|event| self.plan(event)).collect::<Vec<_>>());
            let written = self.commit_to_the_end(&turn, frame).await;
            gate = turn.into_gate();
            if let Err(error) = written {
                metrics().revocations_delayed();
                tracing::warn!(%error, "revocations are in effect and not recorded yet; it is tried again");
                self.unrecorded.push(lane);
                self.tell_before_recorded(lane);
                return gate;
            }
            lane.write().pending.drop_first(count);
        }
        gate
    }

    /// Tells the recipients of what is pending before it is recorded.
    pub(crate) fn tell_before_recorded(&self, lane: &Arc<Lane>) {
        self.unrecorded.push_late(lane);
        let keys: BTreeSet<_> = lane.read().pending.revocations().map(|(key, _)| key).collect();
        keys.iter().for_each(|key| self.bells.ring(key));
    }

    /// Tries again what could not be recorded.
    pub(crate) async fn record_what_is_pending(self: &Arc<Self>) {
        for lane in self.unrecorded.take() {
            let gate = lane.gate().await;
            drop(self.record_pending(&lane, gate).await);
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
                match self.lane_at(position).await {
                    Ok(Some(lane)) if lane.has_pending() => self.unrecorded.push(&lane),
                    Ok(_) | Err(AppError::Erased) => {}
                    // Others go on; whoever reads this stream meets the same.
                    Err(error) => tracing::error!(?error, "a stream with revocations to be recorded"),
                }
            }
        }
    }
}
