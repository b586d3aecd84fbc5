//! The newest checkpoint that enough witnesses cosigned, for publication and exports.

use super::types::SignedCheckpoint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// A checkpoint that enough witnesses cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignedCheckpoint {
    /// The checkpoint; its note contains the cosignatures.
    pub checkpoint: SignedCheckpoint,
    /// Names of the witnesses that cosigned.
    pub witnesses: Vec<String>,
    /// When the last of these cosignatures arrived, milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// State of cosigning. The task that asks the witnesses writes it; all others read it.
pub struct Cosigning {
    newest: watch::Sender<Option<Arc<CosignedCheckpoint>>>,
    /// Time within which enough witnesses must cosign, milliseconds; 0: no witnesses are asked.
    within_ms: AtomicU64,
    /// When enough witnesses cosigned last; before that, when asking began.
    enough_at_ms: AtomicU64,
}

impl Default for Cosigning {
    fn default() -> Self {
        let newest = watch::Sender::new(None);
        Self { newest, within_ms: AtomicU64::new(0), enough_at_ms: AtomicU64::new(0) }
    }
}

impl Cosigning {
    /// Starts to expect cosignatures: from now on, enough witnesses must cosign within this time.
    pub fn expect(&self, within_ms: u64, now_ms: u64) {
        self.enough_at_ms.store(now_ms, Ordering::SeqCst);
        self.within_ms.store(within_ms, Ordering::SeqCst);
    }

    /// Publishes a checkpoint that enough witnesses cosigned.
    pub fn publish(&self, cosigned: CosignedCheckpoint) {
        self.enough_at_ms.store(cosigned.at_ms, Ordering::SeqCst);
        self.newest.send_replace(Some(Arc::new(cosigned)));
    }

    /// The newest checkpoint that enough witnesses cosigned.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<CosignedCheckpoint>> {
        self.newest.borrow().clone()
    }

    /// Whether enough witnesses cosigned within the expected time; `None` if no witnesses are asked.
    #[must_use]
    pub fn is_enough(&self, now_ms: u64) -> Option<bool> {
        let within_ms = self.within_ms.load(Ordering::SeqCst);
        let since_ms = now_ms.saturating_sub(self.enough_at_ms.load(Ordering::SeqCst));
        (within_ms > 0).then_some(since_ms <= within_ms)
    }

    /// Waits until enough witnesses have cosigned a tree of at least `size` entries. Never returns if none
    /// are asked.
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
