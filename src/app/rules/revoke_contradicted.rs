//! Applies new bounds and new definitions (such as those of purposes and categories) to open grants and to
//! artifacts. Revokes the grants, and invalidates the artifacts, that the new rules contradict.
//!
//! A revocation pass runs when rules are published, when a published version comes into force later, and
//! after a pass that was interrupted. `CheckGrant` does not wait for a pass: it compares a grant that was
//! issued under other rules with the rules in force. A pass reads open grants from an index by expiry, and
//! artifacts from an index by position, a page at a time. So its memory does not grow with the number of data
//! subjects.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Append, Begun, Frame, Timestamping};
use crate::app::log::index::{ARTIFACTS, OPEN};
use crate::app::log::receipt::WriteOptions;
use crate::app::log::stream::SubjectStream;
use crate::app::rules::RuleChanges;
use crate::app::rules::revocation_task::{CompletedPass, RulesVersion};
use crate::bounds::invalidation::{invalidated, invalidated_artifacts};
use crate::bounds::rulebook::{Rules, Version};
use crate::domain::event::{ArtifactInvalidated, Event, Role};
use crate::domain::ids::{EventId, Handle};
use crate::domain::profile::SubjectState;
use crate::telemetry::metrics;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// Index records in one read.
const READ_COUNT: usize = 256;
/// How often the watcher checks whether a version has come into force.
const TICK: Duration = Duration::from_millis(250);
/// How long a pass waits before it retries a write that was refused as overloaded.
const PAUSE: Duration = Duration::from_millis(50);

/// The counts of a pass in progress.
#[derive(Clone, Copy, Default)]
struct Progress {
    /// Grants that were revoked.
    revoked: u64,
    /// Subjects whose streams could not be written. Even so, `CheckGrant` denies what the rules contradict.
    failed: u64,
}

/// The result of a call that applies the rules in force.
enum Applied {
    /// An earlier pass had applied these rules, and revoked this many grants.
    Already(u64),
    /// This call ran a pass, which revoked this many grants.
    Now(u64),
}

impl RuleChanges {
    /// Revokes every open grant, and invalidates every artifact, that the rules in force contradict. Returns
    /// how many grants were revoked under these rules, by this pass or an earlier one. The pass runs to its
    /// end even if the caller disconnects.
    ///
    /// # Errors
    /// The store fails; the watcher tries again.
    pub(crate) async fn revoke_contradicted(self: &Arc<Self>) -> Result<u64, AppError> {
        let rule_changes = Arc::clone(self);
        let task = tokio::spawn(async move { rule_changes.apply_rules().await });
        match task.await.map_err(|_| AppError::Internal(Cause::Task))?? {
            Applied::Already(revoked) | Applied::Now(revoked) => Ok(revoked),
        }
    }

    async fn apply_rules(self: &Arc<Self>) -> Result<Applied, AppError> {
        let mut completed = self.revocation.completed.lock().await;
        let rules = RulesVersion::of(&self.core.rules());
        if let Some(pass) = completed.as_ref().filter(|pass| pass.rules == rules) {
            return Ok(Applied::Already(pass.revoked));
        }
        // Once this lock is granted, every decision under other rules is durable, so this pass finds the
        // grants of those decisions.
        drop(self.core.rules.begin_change().await);
        let mut progress = Progress::default();
        for (index, mut after) in
            [(OPEN, Some([OPEN, &self.core.now_ms().to_be_bytes()].concat())), (ARTIFACTS, None)]
        {
            loop {
                let found = self.core.store().index_scan(index, after.as_deref(), READ_COUNT)?;
                let Some((last, _)) = found.last() else { break };
                after = Some(last.clone());
                let position = |key: &Vec<u8>| key.last_chunk::<8>().copied().map(u64::from_be_bytes);
                let positions: Vec<u64> = found.iter().filter_map(|(key, _)| position(key)).collect();
                self.revoke_in_page(positions, &mut progress).await?;
            }
        }
        let Progress { revoked, failed } = progress;
        if failed == 0 {
            *completed = Some(CompletedPass { rules, revoked });
        } else {
            tracing::warn!(
                failed,
                "new rules could not be applied to the open grants of some subjects; retrying"
            );
        }
        Ok(Applied::Now(revoked))
    }

    /// Revokes what the rules contradict in the streams that the entries at these positions belong to. Each
    /// stream is handled once. A stream that fails does not stop the others.
    async fn revoke_in_page(
        self: &Arc<Self>,
        positions: Vec<u64>,
        progress: &mut Progress,
    ) -> Result<(), AppError> {
        let mut done = HashSet::new();
        for position in positions {
            let Some(handle) = self.core.header_at(position)?.map(|header| header.handle) else { continue };
            if handle == Handle::SYSTEM || !done.insert(handle) {
                continue;
            }
            match self.revoke_by_handle(handle).await {
                Ok(revoked) => progress.revoked = progress.revoked.saturating_add(revoked),
                Err(AppError::Stopped) => return Err(AppError::Stopped),
                Err(error) => {
                    metrics().rules_delayed();
                    tracing::warn!(
                        ?error,
                        "new rules could not be applied to the open grants of one subject"
                    );
                    progress.failed = progress.failed.saturating_add(1);
                }
            }
        }
        Ok(())
    }

    async fn revoke_by_handle(self: &Arc<Self>, handle: Handle) -> Result<u64, AppError> {
        let stream = match self.core.stream_by_handle(handle).await {
            Ok(Some(stream)) => stream,
            // Erased in the meantime: nothing is left to revoke.
            Ok(None) | Err(AppError::Erased) => return Ok(0),
            Err(error) => return Err(error),
        };
        loop {
            match self.revoke_in_stream(&stream).await {
                Err(AppError::Overloaded) => tokio::time::sleep(PAUSE).await,
                Err(AppError::Erased) => return Ok(0),
                result => return result,
            }
        }
    }

    async fn revoke_in_stream(self: &Arc<Self>, stream: &Arc<SubjectStream>) -> Result<u64, AppError> {
        let now_ms = self.core.now_ms();
        if !may_be_contradicted(&stream.read().state, &self.core.rules_at(now_ms), now_ms) {
            return Ok(0);
        }
        let caller = Caller { role: Role::Ledger, channel: false, name: String::new(), subject: None };
        let options = WriteOptions::default();
        let begun = self.core.begin_in(Arc::clone(stream), &caller, &options, now_ms, Timestamping::Shared);
        let Begun::Append(append) = begun.await? else { return Ok(0) };
        let (frame, revoked) = self.revocations(&append);
        if !frame.events.is_empty() {
            self.core.commit(append, frame).await?;
        }
        Ok(revoked)
    }

    /// The revocations of everything that the rules of this write contradict, and how many of them revoke
    /// grants.
    fn revocations(&self, append: &Append) -> (Frame, u64) {
        let (grants, artifacts) = {
            let now = append.stream.read();
            let known = |event: &EventId| now.pending.contains(event);
            let artifacts = invalidated_artifacts(&now.state, &append.rules, append.now_ms, &known);
            (invalidated(&now.state, &append.rules, append.now_ms, &known), artifacts)
        };
        let count = grants.len() as u64;
        let cause = append.rules.newest_change();
        let grants = grants.into_iter().map(|grant| grant.event(grant.newer_rules));
        let artifacts = artifacts
            .into_iter()
            .map(|artifact| Event::ArtifactInvalidated(ArtifactInvalidated { cause, ..artifact }));
        (self.core.frame(append, Vec::new(), grants.chain(artifacts).collect()), count)
    }

    /// Starts the task that applies versions of bounds when they come into force.
    pub(crate) fn watch_bounds(self: &Arc<Self>) {
        let rules = self.core.rules();
        let is_first = |version: &Version| version.actor.role == Role::Ledger;
        let is_unchanged = rules.versions().iter().all(is_first) && rules.vocabulary_changed_at().is_none();
        if let (true, Ok(mut completed)) = (is_unchanged, self.revocation.completed.try_lock()) {
            // No grant can be older than the rules that the log began with.
            *completed = Some(CompletedPass { rules: RulesVersion::of(&rules), revoked: 0 });
        }
        let watcher = tokio::spawn(watch(Arc::downgrade(self)));
        *self.revocation.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(watcher);
    }

    /// Stops the task of [`RuleChanges::watch_bounds`].
    pub(crate) async fn stop_watching_bounds(&self) {
        let watcher = self.revocation.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(watcher) = watcher {
            watcher.abort();
            let _aborted = watcher.await;
        }
    }
}

/// Whether the subject has anything that these rules may contradict.
fn may_be_contradicted(state: &SubjectState, rules: &Rules, now_ms: u64) -> bool {
    let mut grants = state.grants.values();
    let mut artifacts = state.rights.artifacts.values();
    grants.any(|grant| grant.is_open(now_ms) && rules.changed_since(grant))
        || artifacts.any(|artifact| artifact.ended_at(now_ms).is_none())
}

/// Applies the rules in force at every tick. Of failures in a row only the first is logged.
async fn watch(rule_changes: Weak<RuleChanges>) {
    let mut is_failing = false;
    loop {
        let Some(rule_changes) = rule_changes.upgrade() else { return };
        match rule_changes.apply_rules().await {
            Ok(Applied::Now(revoked)) if revoked > 0 => {
                tracing::info!(count = revoked, "bounds came into force and revoked grants");
            }
            Ok(_) => is_failing = false,
            Err(error) if !is_failing => {
                tracing::error!(?error, "revoking what bounds contradict failed; retrying");
                is_failing = true;
            }
            Err(_) => {}
        }
        drop(rule_changes);
        tokio::time::sleep(TICK).await;
    }
}
