//! Bounds that changed reach the grants that are open: at once when they are published, and by itself when a version comes
//! into force later or a sweep was cut short.
//!
//! `CheckGrant` does not wait for it: it holds a grant that was issued under other bounds against those of now. A sweep
//! takes open grants from an index by expiry, a page at a time, so that its memory does not grow with the people held.

use super::App;
use super::caller::Caller;
use super::error::AppError;
use super::falls::{contradiction, fallen, fallen_artifacts};
use super::lane::Lane;
use super::revocations::OPEN;
use super::write::{Begin, Pace, WriteOptions};
use crate::domain::event::{ArtifactInvalidated, Event, Reason, Role};
use crate::domain::ids::{EventId, Handle};
use crate::domain::profile::{GrantState, SubjectState};
use sayso_proof::entry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Index records read at once.
const READ_COUNT: usize = 256;
/// How often it is looked whether a version came into force.
const TICK: Duration = Duration::from_millis(250);
/// How long a write that found the ledger overloaded waits before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// What the sweeps know.
#[derive(Default)]
pub(super) struct Sweeping {
    /// Held by the one sweep under way. Positions of the bounds that the last whole one was under; none: there was none.
    done: tokio::sync::Mutex<Option<Vec<u64>>>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

impl App {
    /// Revokes every open grant that the bounds in force contradict; gives how many fell.
    ///
    /// # Errors
    /// The store; then it is tried again by itself.
    pub(super) async fn sweep(self: &Arc<Self>) -> Result<u64, AppError> {
        let app = Arc::clone(self);
        // To the end, even where the caller goes away.
        let task = tokio::spawn(async move { app.sweep_to_the_end().await });
        task.await.map_err(|_| AppError::Internal(super::Cause::Task))?
    }

    async fn sweep_to_the_end(self: &Arc<Self>) -> Result<u64, AppError> {
        let mut done = self.sweeping.done.lock().await;
        let positions = self.rules().bounds.positions().to_vec();
        if done.as_ref() == Some(&positions) {
            return Ok(0);
        }
        let mut fallen: u64 = 0;
        let mut after = [OPEN, &self.now_ms().to_be_bytes()].concat();
        loop {
            let found = self.store().index_scan(OPEN, Some(&after), READ_COUNT)?;
            let Some((last, _)) = found.last() else { break };
            after.clone_from(last);
            for (key, _) in &found {
                let position = key.last_chunk::<8>().map_or(0, |position| u64::from_be_bytes(*position));
                fallen = fallen.saturating_add(self.sweep_at(position).await?);
            }
        }
        *done = Some(positions);
        Ok(fallen)
    }

    /// Sweeps the lane of whoever has the grant at a position.
    async fn sweep_at(self: &Arc<Self>, position: u64) -> Result<u64, AppError> {
        let Some(bytes) = self.store().read_entry(position)?.bytes else { return Ok(0) };
        let handle = entry::parse_header(&bytes)?.handle;
        if handle == Handle::NOBODY {
            return Ok(0);
        }
        let lane = match self.lane_by_handle(handle).await {
            Ok(Some(lane)) => lane,
            // Erased meanwhile: there is nothing left to revoke.
            Ok(None) | Err(AppError::Erased) => return Ok(0),
            Err(error) => return Err(error),
        };
        loop {
            match self.sweep_lane(&lane).await {
                Err(AppError::Overloaded) => tokio::time::sleep(PAUSE).await,
                Err(AppError::Erased) => return Ok(0),
                swept => return swept,
            }
        }
    }

    async fn sweep_lane(self: &Arc<Self>, lane: &Arc<Lane>) -> Result<u64, AppError> {
        let now_ms = self.now_ms();
        let rules = self.rules_at(now_ms);
        let under_others = {
            let now = lane.read();
            let mut grants = now.state.grants.values();
            grants.any(|grant| grant.is_open(now_ms) && grant.issued.bounds != rules.bounds.positions())
        };
        if !under_others {
            return Ok(0);
        }
        let caller = Caller { role: Role::Ledger, name: String::new(), subject: None };
        let options = WriteOptions::default();
        let begun = self.begin_in(Arc::clone(lane), &caller, &options, now_ms, Pace::Shared);
        let Begin::Turn(turn) = begun.await? else { return Ok(0) };
        let fallen = {
            let now = turn.lane.read();
            fallen(&now.state, &turn.rules, &[], turn.now_ms)
        };
        let mut by_cause: BTreeMap<Option<EventId>, Vec<_>> = BTreeMap::new();
        for fall in fallen {
            by_cause.entry(fall.newer_bounds).or_default().push(fall);
        }
        let newest = by_cause.keys().next_back().copied().flatten();
        let planned: Vec<_> =
            by_cause.into_iter().flat_map(|(cause, fallen)| self.plan_falls(fallen, cause)).collect();
        let count = planned.len() as u64;
        let built = {
            let now = turn.lane.read();
            fallen_artifacts(&now.state, &turn.rules, (&[], &[]), turn.now_ms)
        };
        let cause = newest.map(|cause| cause.0.to_vec()).unwrap_or_default();
        let built = built.into_iter().map(|fallen| {
            let cause = cause.clone();
            self.plan(Event::ArtifactInvalidated(ArtifactInvalidated { cause, ..fallen }))
        });
        let planned: Vec<_> = planned.into_iter().chain(built).collect();
        if !planned.is_empty() {
            self.commit(turn, planned).await?;
        }
        Ok(count)
    }

    /// Why a grant that was issued under other bounds does not stand under those of now, though no sweep has come to it
    /// yet; nothing where it stands.
    pub(super) fn contradicted_by_bounds(
        &self,
        state: &SubjectState,
        grant: &GrantState,
        now_ms: u64,
    ) -> Option<Reason> {
        let rules = self.rules_at(now_ms);
        if grant.issued.bounds == rules.bounds.positions() {
            return None;
        }
        contradiction(state, grant, &rules, &[], now_ms).map(|found| found.reason)
    }

    /// Looks, as long as the daemon runs, whether a version came into force.
    pub(super) fn watch_bounds(self: &Arc<Self>) {
        let rules = self.rules();
        let genesis = |version: &super::Version| version.actor.role() == Role::Ledger;
        if let (true, Ok(mut done)) = (rules.versions().iter().all(genesis), self.sweeping.done.try_lock()) {
            // No grant can be older than what the log began with.
            *done = Some(rules.bounds.positions().to_vec());
        }
        let watching = tokio::spawn(watch(Arc::downgrade(self)));
        *self.sweeping.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(watching);
    }

    /// Ends [`App::watch_bounds`].
    pub(super) async fn stop_watching_bounds(&self) {
        let watching = self.sweeping.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watching) = watching {
            watching.abort();
            let _aborted = watching.await;
        }
    }
}

async fn watch(app: Weak<App>) {
    let mut told = false;
    loop {
        let Some(app) = app.upgrade() else { return };
        match app.sweep_to_the_end().await {
            Ok(0) => told = false,
            Ok(count) => tracing::info!(count, "bounds came into force, and grants fell"),
            Err(error) if !told => {
                tracing::error!(?error, "revoking what bounds contradict; it is tried again");
                told = true;
            }
            Err(_) => {}
        }
        drop(app);
        tokio::time::sleep(TICK).await;
    }
}
