//! Records how often grants answered repeated requests.

use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::app::log::receipt::{EventReceipt, Receipt};
use crate::app::log::reusable_grants::Times;
use crate::app::log::stream::SubjectStream;
use crate::domain::event::{Event, GrantGivenAgain};
use crate::domain::ids::EventId;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How long a time may stay unwritten while the daemon runs, milliseconds.
const UNWRITTEN_MS_MAX: u64 = 60_000;

/// People whose times are written down side by side.
const WRITTEN_AT_ONCE: usize = 64;

impl Core {
    /// A grant was issued that may be given again.
    pub(crate) fn note_issued(stream: &SubjectStream, event: EventId, receipt: &Receipt, ttl_ms: u64) {
        if let Some(receipt) = receipt.events.first() {
            let receipt = EventReceipt { proof: None, ..receipt.clone() };
            stream.given().issued(event, receipt, ttl_ms);
        }
    }

    /// Writes down what has waited long enough.
    ///
    /// # Errors
    /// The store; what is not written down stays counted, and is tried again.
    pub(crate) async fn record_due_reuse(self: &Arc<Self>) -> Result<(), AppError> {
        self.write_down(UNWRITTEN_MS_MAX).await
    }

    /// Writes down how often grants were given again.
    ///
    /// # Errors
    /// As [`Core::record_due_reuse`].
    pub(crate) async fn record_all_reuse(self: &Arc<Self>) -> Result<(), AppError> {
        self.write_down(0).await
    }

    /// Waits until people who are only kept in memory to be counted take the room of others.
    pub async fn eviction_blocked(&self) {
        self.streams.eviction_blocked().await;
    }

    /// Writes the counts down, so that whoever is only kept for them can go.
    ///
    /// # Errors
    /// As [`Core::record_due_reuse`].
    pub async fn make_room(self: &Arc<Self>) -> Result<(), AppError> {
        self.record_all_reuse().await
    }

    async fn write_down(self: &Arc<Self>, waited_ms: u64) -> Result<(), AppError> {
        // A lane that is gone is of somebody who was erased.
        let due = self.unrecorded_reuse.take_due(self.now_ms(), waited_ms);
        let mut due = due.into_iter().filter_map(|stream| stream.upgrade());
        let (mut writing, mut written) = (JoinSet::new(), Ok(()));
        loop {
            while writing.len() < WRITTEN_AT_ONCE
                && let Some(stream) = due.next()
            {
                let core = Arc::clone(self);
                writing.spawn(async move {
                    let written = core.write_down_of(&stream).await;
                    if written.is_err() {
                        core.unrecorded_reuse.push(&stream, core.now_ms());
                    }
                    written
                });
            }
            match writing.join_next().await {
                Some(one) => {
                    written = one.unwrap_or(Err(AppError::Internal(crate::app::Cause::Task))).and(written)
                }
                None => return written,
            }
        }
    }

    /// As [`Core::record_all_reuse`], of one person, for whoever is about to be shown them. A failure is logged and nothing
    /// more: what is durable can be shown.
    pub(crate) async fn record_reuse_before_read(self: &Arc<Self>, stream: &Arc<SubjectStream>) {
        if let Err(error) = self.write_down_of(stream).await {
            tracing::warn!(%error, "how often grants were given again is not written down yet");
        }
    }

    async fn write_down_of(self: &Arc<Self>, stream: &Arc<SubjectStream>) -> Result<(), AppError> {
        if !stream.given().is_unwritten() {
            return Ok(());
        }
        let write_lock = stream.write_lock().await;
        let append = self.append_for_ledger(Arc::clone(stream), write_lock).await;
        let unrecorded_reuse = {
            let now = stream.read();
            // Of a grant that is not known any more there is nobody to tell it of.
            let known =
                |(event, times)| Some((event, times, now.state.grants.get(&event)?.issued.recipient.clone()));
            stream.given().take_unwritten().into_iter().filter_map(known).collect::<Vec<_>>()
        };
        let pending_events = unrecorded_reuse.iter().map(|(event, times, recipient)| {
            let grant = event.0.to_vec();
            let Times { count, first_ms, last_ms } = *times;
            let recipient = recipient.clone();
            self.plan(Event::GrantGivenAgain(GrantGivenAgain { grant, count, first_ms, last_ms, recipient }))
        });
        let pending_events: Vec<_> = pending_events.collect();
        if pending_events.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.commit(append, pending_events).await {
            let mut given = stream.given();
            unrecorded_reuse.into_iter().for_each(|(event, times, _)| given.note(event, times));
            return Err(error);
        }
        Ok(())
    }
}
