//! People about whom nothing is recorded yet. A write about one of them is decided on a lane that is in memory alone; handle
//! and key are made durable right before the first event. So a write that is refused, for whatever reason, leaves nothing.

use crate::app::App;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Frame, Turn, Written};
use crate::app::log::stream::Lane;
use crate::domain::ids::SubjectId;
use crate::vault::{PendingSubject, VaultError};
use sayso_proof::merkle::Hash;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Lanes that are known of, dead ones included, before the dead are cleared away.
const KNOWN_MAX: usize = 1_024;

/// The lanes of people about whom nothing is recorded yet: one a person, for as long as a write holds it.
#[derive(Default)]
pub(crate) struct Arrivals(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// By the keyed hash of the person's id.
    lanes: HashMap<Hash, Weak<Lane>>,
    /// Clears away at this size; moves up where more are in use at once.
    max: usize,
}

impl Known {
    fn insert(&mut self, subject: Hash, lane: &Arc<Lane>) {
        if self.lanes.len() >= self.max.max(KNOWN_MAX) {
            self.lanes.retain(|_, lane| lane.strong_count() > 0);
            self.max = self.lanes.len().saturating_mul(2);
        }
        self.lanes.insert(subject, Arc::downgrade(lane));
    }
}

impl Arrivals {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// The lane of a person for a write; of one about whom nothing is recorded yet, one in memory alone. Everybody who writes
    /// about the same person gets the same.
    pub(crate) async fn lane_or_arriving(
        self: &Arc<Self>,
        subject: &SubjectId,
    ) -> Result<Arc<Lane>, AppError> {
        if let Some(keys) = self.vault.subject(subject)? {
            return self.lane_of(keys).await;
        }
        let hash = self.vault.keyed_hash("arrival", &[subject.as_str().as_bytes()]);
        let keys = {
            let mut known = self.lanes.arrivals.known();
            if let Some(lane) = known.lanes.get(&hash).and_then(Weak::upgrade) {
                return Ok(lane);
            }
            // Under the lock: a lane leaves the map only once its keys are the person's.
            match self.vault.subject(subject)? {
                Some(keys) => keys,
                None => {
                    let lane = Arc::new(Lane::arriving(hash, self.vault.prepare(subject)));
                    known.insert(hash, &lane);
                    return Ok(lane);
                }
            }
        };
        self.lane_of(keys).await
    }

    /// The lane of a person that something is held about, for a write; where the first write about them is under way, once that
    /// is done.
    ///
    /// # Errors
    /// Nothing is held about the person; or the store.
    pub(crate) async fn lane_of_known(self: &Arc<Self>, subject: &SubjectId) -> Result<Arc<Lane>, AppError> {
        if let Some(lane) = self.lane(subject).await? {
            return Ok(lane);
        }
        let hash = self.vault.keyed_hash("arrival", &[subject.as_str().as_bytes()]);
        let arriving = self.lanes.arrivals.known().lanes.get(&hash).and_then(Weak::upgrade);
        let lane = match (arriving, self.vault.subject(subject)?) {
            (Some(lane), _) => lane,
            (None, Some(keys)) => self.lane_of(keys).await?,
            (None, None) => return Err(AppError::NotFound("subject")),
        };
        drop(lane.gate().await);
        let is_held = lane.read().state.version > 0;
        if is_held { Ok(lane) } else { Err(AppError::NotFound("subject")) }
    }

    /// Writes planned events; the first ones of a person after their handle and key. Where nothing was written, those are taken
    /// back. For the holder of the gate.
    ///
    /// # Errors
    /// What the write is about is from before the person's erasure, which only a write is told that would otherwise have been
    /// made; or as [`App::commit`].
    pub(crate) async fn commit_arrived(&self, turn: &Turn, frame: Frame) -> Result<Written, AppError> {
        if turn.is_late {
            return Err(AppError::Erased);
        }
        let arrived = self.settle(&turn.lane).await?;
        let written = self.commit_to_the_end(turn, frame).await;
        // Only where it is certain that nothing was written: a key that something was sealed under must stay.
        let is_lost =
            matches!(written, Err(AppError::Overloaded | AppError::Unavailable | AppError::Invalid(_)));
        if let Some((hash, pending)) = arrived.filter(|_| is_lost) {
            self.unsettle(&turn.lane, hash, pending).await;
        }
        written
    }

    /// Makes handle and key durable where they are not yet; gives them, where it did.
    async fn settle(&self, lane: &Arc<Lane>) -> Result<Option<(Hash, PendingSubject)>, AppError> {
        let Some((hash, pending)) = lane.arrival().take() else { return Ok(None) };
        self.lanes.adopt(lane);
        match self.vault.create(&pending).await {
            Ok(()) => {
                self.lanes.arrivals.known().lanes.remove(&hash);
                Ok(Some((hash, pending)))
            }
            Err(error) => {
                self.lanes.remove(&lane.keys.handle);
                *lane.arrival() = Some((hash, pending));
                Err(match error {
                    // After a failure of which nobody knew what it left.
                    VaultError::Destroyed => AppError::Overloaded,
                    error => error.into(),
                })
            }
        }
    }

    async fn unsettle(&self, lane: &Arc<Lane>, hash: Hash, pending: PendingSubject) {
        // First, so that others who come find this lane and no second one.
        self.lanes.arrivals.known().insert(hash, lane);
        match self.vault.take_back(&pending).await {
            Ok(()) => {
                self.lanes.remove(&lane.keys.handle);
                *lane.arrival() = Some((hash, pending));
            }
            Err(error) => {
                // The keys stay, and nothing is told of somebody without events.
                self.lanes.arrivals.known().lanes.remove(&hash);
                let cause = Cause::from(error);
                tracing::warn!(%cause, "keys under which nothing was written could not be taken back");
            }
        }
    }
}
