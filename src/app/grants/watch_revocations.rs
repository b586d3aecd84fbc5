//! What fell, told to its recipients: found again after any restart, and as it happens.

use crate::app::caller::Caller;
use crate::app::error::AppError;
use crate::app::grants::Grants;
use crate::app::log::index::revocations_key;
use crate::app::log::notifier::Subscription;
use crate::app::log::revocation::Revocation;
use crate::telemetry::metrics;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A recipient's view of what falls.
pub struct Watch {
    grants: Arc<Grants>,
    key: Vec<u8>,
    subscription: Subscription,
    stopping: watch::Receiver<bool>,
    cursor: u64,
    ready: VecDeque<Revocation>,
    /// What is ready fell while this was waiting for it.
    is_live: bool,
    /// Grants and artifacts that it told of before their revocation was recorded.
    told_early: HashSet<String>,
}

impl Watch {
    /// Where it stands.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The next that fell; waits for it.
    ///
    /// # Errors
    /// The index can't be read, or the daemon is being stopped.
    pub async fn next(&mut self) -> Result<Revocation, AppError> {
        loop {
            if let Some(mut next) = self.ready.pop_front() {
                if next.recorded_at_ms > 0 {
                    self.cursor = next.cursor;
                } else {
                    next.cursor = self.cursor;
                }
                if self.is_live && next.recorded_at_ms > 0 {
                    let after_ms = self.grants.core.now_ms().saturating_sub(next.recorded_at_ms);
                    metrics().revocation_delivered(Duration::from_millis(after_ms));
                }
                return Ok(next);
            }
            let invalidated = self
                .subscription
                .look(self.cursor, || self.grants.core.revocations_after(&self.key, self.cursor))?;
            self.ready.extend(invalidated.iter().cloned());
            self.tell_late();
            if !self.ready.is_empty() {
                continue;
            }
            self.is_live = true;
            tokio::select! {
                notified = self.subscription.notified() => notified?,
                _ = self.stopping.wait_for(|stopping| *stopping) => return Err(AppError::ShuttingDown),
            }
        }
    }

    /// Adds what is in effect and late in being recorded, once; it comes again with its cursor when it is recorded.
    fn tell_late(&mut self) {
        let late = self.grants.core.pending_streams.late_at(&self.key);
        let ids = |of: &Revocation| of.grant_ids.iter().chain(&of.artifact_ids).cloned().collect::<Vec<_>>();
        let still: HashSet<_> = late.iter().flat_map(ids).collect();
        self.told_early.retain(|id| still.contains(id));
        for revocation in late {
            if ids(&revocation).into_iter().any(|id| self.told_early.insert(id)) {
                self.ready.push_back(revocation);
            }
        }
    }
}

impl Grants {
    /// Watches what falls of the caller's grants: after a cursor, or from now on. A cursor of a part of the log that was lost
    /// since goes back to where that began.
    pub fn watch_revocations(self: &Arc<Self>, caller: &Caller, after_cursor: Option<u64>) -> Watch {
        let key = revocations_key(&caller.name);
        let subscription = self.core.notifier.subscribe(&key);
        let after = after_cursor.map(|cursor| self.core.rules().cursor_now(cursor));
        let cursor = after.unwrap_or_else(|| self.core.ledger.checkpoint().size);
        let stopping = self.core.stopping.subscribe();
        Watch {
            grants: Arc::clone(self),
            key,
            subscription,
            stopping,
            cursor,
            ready: VecDeque::new(),
            is_live: false,
            told_early: HashSet::new(),
        }
    }
}
