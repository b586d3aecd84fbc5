//! Streams to a recipient the revocations of its grants and artifacts. If the recipient states a cursor,
//! the revocations in the log after this cursor come first. New revocations follow as they happen.

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

/// A recipient's stream of revocations.
pub struct Watch {
    grants: Arc<Grants>,
    key: Vec<u8>,
    subscription: Subscription,
    stopping: watch::Receiver<bool>,
    cursor: u64,
    ready: VecDeque<Revocation>,
    /// Whether the revocations in `ready` happened while this watch was waiting.
    is_live: bool,
    /// Grants and artifacts announced before their revocation was recorded.
    announced: HashSet<String>,
}

impl Watch {
    /// The cursor of the last revocation that was returned.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Waits for the next revocation and returns it.
    ///
    /// # Errors
    /// The index can't be read, or the daemon is shutting down.
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
            let revocations = self
                .subscription
                .read(self.cursor, || self.grants.core.revocations_after(&self.key, self.cursor))?;
            self.ready.extend(revocations.iter().cloned());
            self.add_late_revocations();
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

    /// Adds late revocations, which are in effect but not recorded yet. The watch returns each late
    /// revocation once now, and once more with a cursor when it is recorded.
    fn add_late_revocations(&mut self) {
        let late = self.grants.core.unrecorded.revocations.late_at(&self.key);
        let ids = |revocation: &Revocation| {
            revocation.grant_ids.iter().chain(&revocation.artifact_ids).cloned().collect::<Vec<_>>()
        };
        let still_late: HashSet<_> = late.iter().flat_map(ids).collect();
        self.announced.retain(|id| still_late.contains(id));
        for revocation in late {
            if ids(&revocation).into_iter().any(|id| self.announced.insert(id)) {
                self.ready.push_back(revocation);
            }
        }
    }
}

impl Grants {
    /// Watches revocations of the caller's grants and artifacts: after a cursor, or from now on. If a restore
    /// lost the part of the log with the cursor, the watch begins where that part began.
    ///
    /// # Errors
    /// The cursor is ahead of the log, so no watch ever returned it. A watch from there would pass over the
    /// revocations in between.
    pub fn watch_revocations(
        self: &Arc<Self>,
        caller: &Caller,
        after_cursor: Option<u64>,
    ) -> Result<Watch, AppError> {
        let key = revocations_key(&caller.address());
        let subscription = self.core.notifier.subscribe(&key);
        let after = after_cursor.map(|cursor| self.core.rules().cursor_after_restores(cursor));
        let size = self.core.ledger.checkpoint().size;
        let cursor = after.unwrap_or(size);
        if cursor > size {
            let problem = format!("must be a cursor of this log, which ends at {size}; this one is {cursor}");
            return Err(AppError::invalid("after_cursor", problem));
        }
        let stopping = self.core.shutdown_signal();
        Ok(Watch {
            grants: Arc::clone(self),
            key,
            subscription,
            stopping,
            cursor,
            ready: VecDeque::new(),
            is_live: false,
            announced: HashSet::new(),
        })
    }
}
