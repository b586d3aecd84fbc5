//! Completes erasures whose keys are destroyed: discards their entries and records `ErasureCompleted`.
//!
//! Erasures that wait for their completion at the same time are completed together. One discard (the
//! overwriting of entries) removes the bytes of their entries. One frame of the log (events that are
//! written together) records their completion. The vault also destroys the keys of several erasures
//! together: one re-keying (replacement of the root key) can serve all of them.

use crate::app::erasure::Erasures;
use crate::app::error::{AppError, Cause};
use crate::app::log::receipt::RequestStamp;
use crate::app::log::system_stream::SystemEvent;
use crate::domain::event::{Actor, ErasureCompleted, Event, Role};
use crate::telemetry::{ErasureStep, metrics};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

impl Erasures {
    /// Discards the entries of an erasure, then records its completion. The call can be repeated.
    ///
    /// # Errors
    /// The store or the log fails. If completing several erasures together fails, each caller tries its own
    /// erasure again alone. So each caller gets the result of its own erasure.
    pub(crate) async fn discard_and_record(self: &Arc<Self>, own: ErasureCompleted) -> Result<(), AppError> {
        let (reply, mut answer) = oneshot::channel();
        self.completion_queue.waiting().push((own.clone(), reply));
        let _batch_lock = self.completion_queue.batch_lock.lock().await;
        loop {
            match answer.try_recv() {
                Ok(()) => return Ok(()),
                Err(TryRecvError::Closed) => return self.complete_batch(vec![own]).await,
                Err(TryRecvError::Empty) => {}
            }
            let (batch, replies): (Vec<_>, Vec<_>) = self.completion_queue.take_batch().into_iter().unzip();
            match self.complete_batch(batch).await {
                Ok(()) => replies.into_iter().for_each(|reply| {
                    let _receiver_gone = reply.send(());
                }),
                Err(error) => {
                    tracing::warn!(%error, "completing a batch of erasures failed; trying each alone");
                }
            }
        }
    }

    async fn complete_batch(self: &Arc<Self>, batch: Vec<ErasureCompleted>) -> Result<(), AppError> {
        let erasures = Arc::clone(self);
        let ranges = batch.iter().flat_map(|each| &each.discarded);
        let positions: Vec<u64> = ranges.flat_map(|range| range.first..=range.last).collect();
        let discarded = tokio::task::spawn_blocking(move || {
            erasures.core.projections.open_requests.forget(&positions);
            erasures.core.store().discard(&positions)
        });
        discarded.await.map_err(|_| AppError::Internal(Cause::Task))??;
        let key_epoch = self.core.vault.key_epoch();
        let mut events = Vec::with_capacity(batch.len());
        for completed in batch {
            if self.core.erasure_by_hash(&completed.hash_of_request())?.is_none() {
                let event = Event::ErasureCompleted(ErasureCompleted { key_epoch, ..completed });
                events.push(SystemEvent::new(event));
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        let actor = Actor { role: Role::Ledger, name: String::new() };
        let count = events.len();
        self.core.projections.subject_map.add_erasure();
        self.core.publish_as(actor, self.core.now_ms(), events, RequestStamp::default()).await?;
        (0..count).for_each(|_| metrics().erasure(ErasureStep::Completed));
        Ok(())
    }
}
