//! Bounds and words that changed reach the grants that are open and what services built: at once when they are
//! published, and by itself when a version comes into force later or a sweep was cut short.
//!
//! `CheckGrant` does not wait for it: it holds a grant that was issued under others against those of now. A sweep takes
//! open grants from an index by expiry, and artefacts from one by position, a page at a time, so that its memory does not
//! grow with the people held.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::log::append::{Append, Begun, Frame, Timestamping};
use crate::app::log::index::{ARTIFACTS, OPEN};
use crate::app::log::receipt::WriteOptions;
use crate::app::log::stream::SubjectStream;
use crate::app::rules::RuleChanges;
use crate::bounds::invalidation::{invalidated, invalidated_artifacts};
use crate::bounds::rulebook::Rules;
use crate::domain::event::{ArtifactInvalidated, Event, Role};
use crate::domain::ids::{EventId, Handle};
use crate::domain::profile::SubjectState;
use crate::telemetry::metrics;
use sayso_proof::entry;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Index records read at once.
const READ_COUNT: usize = 256;
/// How often it is looked whether a version came into force.
const TICK: Duration = Duration::from_millis(250);
/// How long a write that found the ledger overloaded waits before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Positions of bounds in force, and of the newest word.
pub(crate) type Under = (Vec<u64>, Option<u64>);

/// A whole sweep.
struct RevokedSoFar {
    under: Under,
    /// Grants that fell.
    invalidated: u64,
}

/// How far a sweep came.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Grants that were revoked.
    revoked: u64,
    /// People whose streams could not be written. `CheckGrant` denies what the rules contradict all the same.
    failed: u64,
}

/// What the sweeps know.
#[derive(Default)]
pub(crate) struct Contradictions {
    /// Held by the one sweep under way. The last whole one; none: there was none.
    done: tokio::sync::Mutex<Option<RevokedSoFar>>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

impl RuleChanges {
    /// Revokes every open grant, and invalidates every artefact, that the rules in force contradict; gives how many
    /// grants fell under them, here or where the watch came first.
    ///
    /// # Errors
    /// The store; then it is tried again by itself.
    pub(crate) async fn revoke_contradicted(self: &Arc<Self>) -> Result<u64, AppError> {
        let rule_changes = Arc::clone(self);
        // To the end, even where the caller goes away.
        let task = tokio::spawn(async move { rule_changes.revoke_all_contradicted().await });
        let (_, invalidated) = task.await.map_err(|_| AppError::Internal(crate::app::Cause::Task))??;
        Ok(invalidated)
    }

    /// Whether there was anything to do, and how many grants fell under the rules in force.
    async fn revoke_all_contradicted(self: &Arc<Self>) -> Result<(bool, u64), AppError> {
        let mut done = self.contradictions.done.lock().await;
        let under = under(&self.core.rules());
        if let Some(swept) = done.as_ref().filter(|swept| swept.under == under) {
            return Ok((false, swept.invalidated));
        }
        // Whoever decided under other rules is durable once the gate was alone's, and so found below.
        drop(self.core.rules_lock.write().await);
        let mut progress = Progress::default();
        for (index, mut after) in
            [(OPEN, Some([OPEN, &self.core.now_ms().to_be_bytes()].concat())), (ARTIFACTS, None)]
        {
            loop {
                let found = self.core.store().index_scan(index, after.as_deref(), READ_COUNT)?;
                let Some((last, _)) = found.last() else { break };
                after = Some(last.clone());
                let at = |key: &Vec<u8>| key.last_chunk::<8>().copied().map(u64::from_be_bytes);
                let positions: Vec<u64> = found.iter().filter_map(|(key, _)| at(key)).collect();
                self.revoke_in_page(positions, &mut progress).await?;
            }
        }
        let Progress { revoked, failed } = progress;
        if failed == 0 {
            *done = Some(RevokedSoFar { under, invalidated: revoked });
        } else {
            tracing::warn!(
                failed,
                "new rules are not applied to the open grants of some people; it is tried again"
            );
        }
        Ok((true, revoked))
    }

    /// Sweeps the lanes of whomever the entries at these positions are about, each lane once. A person whose stream fails does
    /// not keep the others waiting.
    async fn revoke_in_page(
        self: &Arc<Self>,
        positions: Vec<u64>,
        progress: &mut Progress,
    ) -> Result<(), AppError> {
        let mut swept = HashSet::new();
        for position in positions {
            let Some(bytes) = self.core.store().read_entry(position)?.bytes else { continue };
            let handle = entry::parse_header(&bytes)?.handle;
            if handle == Handle::SYSTEM || !swept.insert(handle) {
                continue;
            }
            match self.revoke_by_handle(handle).await {
                Ok(revoked) => progress.revoked = progress.revoked.saturating_add(revoked),
                Err(AppError::Stopped) => return Err(AppError::Stopped),
                Err(error) => {
                    metrics().rules_delayed();
                    tracing::warn!(?error, "new rules could not be applied to one person's open grants");
                    progress.failed = progress.failed.saturating_add(1);
                }
            }
        }
        Ok(())
    }

    async fn revoke_by_handle(self: &Arc<Self>, handle: Handle) -> Result<u64, AppError> {
        let stream = match self.core.stream_by_handle(handle).await {
            Ok(Some(stream)) => stream,
            // Erased meanwhile: there is nothing left to revoke.
            Ok(None) | Err(AppError::Erased) => return Ok(0),
            Err(error) => return Err(error),
        };
        loop {
            match self.revoke_in_stream(&stream).await {
                Err(AppError::Overloaded) => tokio::time::sleep(PAUSE).await,
                Err(AppError::Erased) => return Ok(0),
                swept => return swept,
            }
        }
    }

    async fn revoke_in_stream(self: &Arc<Self>, stream: &Arc<SubjectStream>) -> Result<u64, AppError> {
        let now_ms = self.core.now_ms();
        if !is_contradicted(&stream.read().state, &self.core.rules_at(now_ms), now_ms) {
            return Ok(0);
        }
        let caller = Caller { role: Role::Ledger, channel: false, name: String::new(), subject: None };
        let options = WriteOptions::default();
        let begun = self.core.begin_in(Arc::clone(stream), &caller, &options, now_ms, Timestamping::Shared);
        let Begun::Append(append) = begun.await? else { return Ok(0) };
        let (frame, count) = self.contradicted(&append);
        if !frame.events.is_empty() {
            self.core.commit(append, frame).await?;
        }
        Ok(count)
    }

    /// Events for everything that does not stand under the rules of a turn, and how many grants are among it.
    fn contradicted(&self, append: &Append) -> (Frame, u64) {
        let (invalidated, built) = {
            let now = append.stream.read();
            let known = |event: &EventId| now.pending.has(event);
            let built = invalidated_artifacts(&now.state, &append.rules, append.now_ms, &known);
            (invalidated(&now.state, &append.rules, append.now_ms, &known), built)
        };
        let count = invalidated.len() as u64;
        let cause = append.rules.newest_change().map(|cause| cause.0.to_vec()).unwrap_or_default();
        let grants = invalidated.into_iter().map(|invalidated| invalidated.event(invalidated.newer_rules));
        let built = built.into_iter().map(|invalidated| {
            Event::ArtifactInvalidated(ArtifactInvalidated { cause: cause.clone(), ..invalidated })
        });
        (self.core.frame(append, Vec::new(), grants.chain(built).collect()), count)
    }

    /// Looks, as long as the daemon runs, whether a version came into force.
    pub(crate) fn watch_bounds(self: &Arc<Self>) {
        let rules = self.core.rules();
        let genesis = |version: &crate::bounds::rulebook::Version| version.actor.role() == Role::Ledger;
        let untouched = rules.versions().iter().all(genesis) && rules.words_at().is_none();
        if let (true, Ok(mut done)) = (untouched, self.contradictions.done.try_lock()) {
            // No grant can be older than what the log began with.
            *done = Some(RevokedSoFar { under: under(&rules), invalidated: 0 });
        }
        let watching = tokio::spawn(watch(Arc::downgrade(self)));
        *self.contradictions.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(watching);
    }

    /// Ends [`RuleChanges::watch_bounds`].
    pub(crate) async fn stop_watching_bounds(&self) {
        let watching = self.contradictions.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watching) = watching {
            watching.abort();
            let _aborted = watching.await;
        }
    }
}

pub(crate) fn under(rules: &Rules) -> Under {
    (rules.bounds.positions().to_vec(), rules.words_at())
}

/// Whether somebody has anything that these rules may contradict.
fn is_contradicted(state: &SubjectState, rules: &Rules, now_ms: u64) -> bool {
    let mut grants = state.grants.values();
    let mut built = state.rights.artifacts.values();
    grants.any(|grant| grant.is_open(now_ms) && rules.came_after(grant))
        || built.any(|artifact| artifact.ended_at(now_ms).is_none())
}

async fn watch(rule_changes: Weak<RuleChanges>) {
    let mut told = false;
    loop {
        let Some(rule_changes) = rule_changes.upgrade() else { return };
        match rule_changes.revoke_all_contradicted().await {
            Ok((true, count)) if count > 0 => {
                tracing::info!(count, "bounds came into force, and grants fell")
            }
            Ok(_) => told = false,
            Err(error) if !told => {
                tracing::error!(?error, "revoking what bounds contradict; it is tried again");
                told = true;
            }
            Err(_) => {}
        }
        drop(rule_changes);
        tokio::time::sleep(TICK).await;
    }
}
