//! The rules now and at every earlier moment, and the lock that keeps them unchanged during a write.

use crate::bounds::error::BoundsError;
use crate::bounds::rulebook::{Rules, RulesHistory};
use crate::domain::event::Recorded;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// The rules of the log. `system_events` alone adds to them.
pub(crate) struct RulesInForce {
    history: RwLock<RulesHistory>,
    /// Every write holds this lock, shared, from its decision until it is durable. A change of the rules
    /// holds it exclusively. So no event is recorded under rules that its decision did not use.
    lock: Arc<tokio::sync::RwLock<()>>,
}

impl RulesInForce {
    pub fn new(history: RulesHistory) -> Self {
        Self { history: RwLock::new(history), lock: Arc::default() }
    }

    /// The rules now and at every earlier moment. Work that takes long copies them, so that no other task
    /// waits for the lock.
    pub fn history(&self) -> RwLockReadGuard<'_, RulesHistory> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules in force at this moment, which is now or close to it.
    pub fn at(&self, now_ms: u64) -> Arc<Rules> {
        if let Some(rules) = self.history().known(now_ms) {
            return rules;
        }
        let mut write = self.history.write().unwrap_or_else(PoisonError::into_inner);
        write.look_up(now_ms).unwrap_or_else(|error| {
            // Can't happen: publishing compiled the rules for every moment at which a version comes into
            // force.
            tracing::error!(?error, "bounds that came into force do not compile");
            write.now()
        })
    }

    /// Applies new system events.
    ///
    /// # Errors
    /// Bounds among them do not compile.
    pub fn push(&self, recorded: &[Recorded], now_ms: u64) -> Result<(), BoundsError> {
        self.history.write().unwrap_or_else(PoisonError::into_inner).push(recorded, now_ms)
    }

    /// Keeps the rules unchanged until the guard is dropped: for a write, from its decision until it is
    /// durable.
    pub async fn keep_unchanged(&self) -> tokio::sync::OwnedRwLockReadGuard<()> {
        Arc::clone(&self.lock).read_owned().await
    }

    /// Waits for the writes in progress, and lets no other write begin until the guard is dropped.
    pub async fn begin_change(&self) -> tokio::sync::RwLockWriteGuard<'_, ()> {
        self.lock.write().await
    }
}
