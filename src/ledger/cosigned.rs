//! What witnesses have cosigned of this log, for whoever publishes or exports it.

use super::types::SignedCheckpoint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// A checkpoint that enough witnesses cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignedCheckpoint {
    /// With their lines in its note.
    pub checkpoint: SignedCheckpoint,
    /// By name.
    pub witnesses: Vec<String>,
    /// When the last of them answered, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// Where rounds of asking leave what came of them.
pub struct Cosigning {
    newest: watch::Sender<Option<Arc<CosignedCheckpoint>>>,
    /// Enough witnesses within so long; 0: none are asked.
    within_ms: AtomicU64,
    /// When there were enough last; at first, when asking began.
    enough_at_ms: AtomicU64,
}

impl Default for Cosigning {
    fn default() -> Self {
        let newest = watch::Sender::new(None);
        Self { newest, within_ms: AtomicU64::new(0), enough_at_ms: AtomicU64::new(0) }
    }
}

impl Cosigning {
    /// Witnesses are asked from now on, and enough of them are to answer within so long.
    pub fn expect(&self, within_ms: u64, now_ms: u64) {
        self.enough_at_ms.store(now_ms, Ordering::SeqCst);
        self.within_ms.store(within_ms, Ordering::SeqCst);
    }

    /// Enough have cosigned.
    pub fn publish(&self, cosigned: CosignedCheckpoint) {
        self.enough_at_ms.store(cosigned.at_ms, Ordering::SeqCst);
        self.newest.send_replace(Some(Arc::new(cosigned)));
    }

    /// The newest that enough witnesses cosigned.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<CosignedCheckpoint>> {
        self.newest.borrow().clone()
    }

    /// Whether enough have cosigned within the time set for it; nothing where none are asked.
    #[must_use]
    pub fn is_enough(&self, now_ms: u64) -> Option<bool> {
        let within_ms = self.within_ms.load(Ordering::SeqCst);
        let since_ms = now_ms.saturating_sub(self.enough_at_ms.load(Ordering::SeqCst));
        (within_ms > 0).then_some(since_ms <= within_ms)
    }

    /// Waits until enough have cosigned a tree of at least so many entries. Never returns where none are asked.
    pub async fn wait_for(&self, size: u64) -> Arc<CosignedCheckpoint> {
        let mut newest = self.newest.subscribe();
        let reached = |found: &Option<Arc<CosignedCheckpoint>>| {
            found.as_ref().is_some_and(|found| found.checkpoint.size >= size)
        };
        let found = newest.wait_for(reached).await.ok().and_then(|found| found.clone());
        match found {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }
}
