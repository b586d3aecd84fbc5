//! Completing erasures whose keys are gone: those that wait together share one discard and one frame, as their keys
//! shared one re-keying before.

use crate::app::erasure::Erasures;
use crate::app::error::{AppError, Cause};
use crate::app::log::receipt::RequestStamp;
use crate::app::log::system_stream::SystemEvent;
use crate::domain::event::{Actor, ErasureCompleted, Event, Role};
use crate::domain::ids::EventId;
use crate::telemetry::{ErasureStep, metrics};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Erasures in one frame; each is one event of it.
const TOGETHER_MAX: usize = 128;

/// What is to be discarded and said of one erasure.
#[derive(Clone)]
pub(crate) struct Completion {
    pub request: EventId,
    pub completed: ErasureCompleted,
    /// Of the request that began it, where nothing else is left that answers when it is made again.
    pub request_stamp: RequestStamp,
}

/// Completions that wait for their turn.
#[derive(Default)]
pub(crate) struct Completing {
    waiting: Mutex<Vec<(Completion, oneshot::Sender<()>)>>,
    append: tokio::sync::Mutex<()>,
}

impl Completing {
    fn waiting(&self) -> MutexGuard<'_, Vec<(Completion, oneshot::Sender<()>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<(Completion, oneshot::Sender<()>)> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(TOGETHER_MAX);
        waiting.drain(..count).collect()
    }
}

impl Erasures {
    /// Destroys the bytes, then says so. Can be done again.
    ///
    /// # Errors
    /// The store, or the log. Those that wait together and fail together try again each by itself, so that everybody has
    /// an answer of their own.
    pub(crate) async fn discard_and_say(self: &Arc<Self>, own: Completion) -> Result<(), AppError> {
        let (reply, mut answer) = oneshot::channel();
        self.completing.waiting().push((own.clone(), reply));
        let _turn = self.completing.append.lock().await;
        loop {
            match answer.try_recv() {
                Ok(()) => return Ok(()),
                Err(TryRecvError::Closed) => return self.complete_together(vec![own]).await,
                Err(TryRecvError::Empty) => {}
            }
            let (together, replies): (Vec<_>, Vec<_>) = self.completing.take().into_iter().unzip();
            match self.complete_together(together).await {
                Ok(()) => replies.into_iter().for_each(|reply| {
                    let _gone = reply.send(());
                }),
                Err(error) => tracing::warn!(%error, "completing erasures together failed; trying each"),
            }
        }
    }

    async fn complete_together(self: &Arc<Self>, together: Vec<Completion>) -> Result<(), AppError> {
        let erasures = Arc::clone(self);
        let ranges = together.iter().flat_map(|each| &each.completed.discarded);
        let positions: Vec<u64> = ranges.flat_map(|range| range.first..=range.last).collect();
        let discarded = tokio::task::spawn_blocking(move || {
            erasures.core.open_requests.forget(&positions);
            erasures.core.store().discard(&positions)
        });
        discarded.await.map_err(|_| AppError::Internal(Cause::Task))??;
        let key_epoch = self.core.vault.key_epoch();
        let mut events = Vec::with_capacity(together.len());
        for Completion { request, completed, request_stamp } in together {
            if self.core.erasure_position(&request)?.is_none() {
                let event = Event::ErasureCompleted(ErasureCompleted { key_epoch, ..completed });
                events.push(SystemEvent { request_stamp: Some(request_stamp), ..SystemEvent::new(event) });
            }
        }
        if events.is_empty() {
            return Ok(());
        }
        let actor = Actor { role: Role::Ledger.into(), name: String::new() };
        let count = events.len();
        self.core.publish_as(actor, self.core.now_ms(), events, RequestStamp::default()).await?;
        (0..count).for_each(|_| metrics().erasure(ErasureStep::Completed));
        Ok(())
    }
}
