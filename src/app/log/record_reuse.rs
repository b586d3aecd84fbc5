//! Records how often grants answered repeated requests.

use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::app::log::receipt::{EventReceipt, Receipt};
use crate::app::log::reusable_grants::{ReuseCount, UnrecordedCount};
use crate::app::log::stream::SubjectStream;
use crate::domain::event::{Event, GrantGivenAgain, Recorded};
use crate::domain::ids::EventId;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How long a count may stay unrecorded while the daemon runs, milliseconds.
const UNRECORDED_MS_MAX: u64 = 60_000;

/// Subjects whose counts are recorded in parallel.
const RECORDED_AT_ONCE_MAX: usize = 64;

impl Core {
    /// Makes a new grant reusable.
    pub(crate) fn note_issued(stream: &SubjectStream, event: EventId, receipt: &Receipt, ttl_ms: u64) {
        if let Some(receipt) = receipt.events.first() {
            let receipt = EventReceipt { proof: None, ..receipt.clone() };
            stream.reusable_grants().add(event, receipt, ttl_ms);
        }
    }

    /// Records the counts that have waited long enough.
    ///
    /// # Errors
    /// The store failed. The counts are kept, and the next call tries again.
    pub(crate) async fn record_due_reuse(self: &Arc<Self>) -> Result<(), AppError> {
        self.record_reuse(UNRECORDED_MS_MAX).await
    }

    /// Records all counts of reused grants.
    ///
    /// # Errors
    /// As [`Core::record_due_reuse`].
    pub(crate) async fn record_all_reuse(self: &Arc<Self>) -> Result<(), AppError> {
        self.record_reuse(0).await
    }

    /// Waits until the cache needs to evict a stream and can't, because the stream has an unrecorded count.
    pub async fn eviction_blocked(&self) {
        self.streams.eviction_blocked().await;
    }

    /// Records all counts, so that streams kept only for them can be evicted.
    ///
    /// # Errors
    /// As [`Core::record_due_reuse`].
    pub async fn make_room(self: &Arc<Self>) -> Result<(), AppError> {
        self.record_all_reuse().await
    }

    async fn record_reuse(self: &Arc<Self>, waited_ms: u64) -> Result<(), AppError> {
        // A stream that is no longer in memory belonged to an erased subject.
        let due = self.unrecorded.reuse.take_due(self.now_ms(), waited_ms);
        let mut due = due.into_iter().filter_map(|stream| stream.upgrade());
        let (mut writing, mut written) = (JoinSet::new(), Ok(()));
        loop {
            while writing.len() < RECORDED_AT_ONCE_MAX
                && let Some(stream) = due.next()
            {
                let core = Arc::clone(self);
                writing.spawn(async move {
                    let written = core.record_reuse_of(&stream).await;
                    if written.is_err() {
                        core.unrecorded.reuse.push(&stream, core.now_ms());
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

    /// As [`Core::record_all_reuse`], but for one subject whose stream is about to be read. A failure is only
    /// logged, because what is durable can still be read.
    pub(crate) async fn record_reuse_before_read(self: &Arc<Self>, stream: &Arc<SubjectStream>) {
        if let Err(error) = self.record_reuse_of(stream).await {
            self.unrecorded.reuse.push_again(stream, self.now_ms());
            tracing::warn!(%error, "the counts of reused grants are not recorded yet");
        }
    }

    async fn record_reuse_of(self: &Arc<Self>, stream: &Arc<SubjectStream>) -> Result<(), AppError> {
        if !stream.reusable_grants().has_unrecorded() {
            return Ok(());
        }
        let write_lock = stream.write_lock().await;
        let append = self.append_for_ledger(Arc::clone(stream), write_lock).await;
        let unrecorded = stream.reusable_grants().take_unrecorded();
        let recipients: Result<Vec<Option<String>>, AppError> =
            unrecorded.iter().map(|each| self.recipient_of(stream, *each)).collect();
        let counts: Vec<(UnrecordedCount, String)> = match recipients {
            Ok(recipients) => {
                let known = unrecorded.into_iter().zip(recipients);
                known.filter_map(|(each, recipient)| Some((each, recipient?))).collect()
            }
            Err(error) => {
                Self::put_back(stream, unrecorded.into_iter());
                return Err(error);
            }
        };
        let pending_events = counts.iter().map(|(each, recipient)| {
            let UnrecordedCount { event: grant, count: ReuseCount { count, first_ms, last_ms }, .. } = *each;
            let recipient = recipient.clone();
            self.plan(Event::GrantGivenAgain(GrantGivenAgain { grant, count, first_ms, last_ms, recipient }))
        });
        let pending_events: Vec<_> = pending_events.collect();
        if pending_events.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.commit(append, pending_events).await {
            Self::put_back(stream, counts.into_iter().map(|(each, _)| each));
            return Err(error);
        }
        Ok(())
    }

    fn put_back(stream: &SubjectStream, counts: impl Iterator<Item = UnrecordedCount>) {
        let mut grants = stream.reusable_grants();
        counts.for_each(|each| grants.add_count(each.event, each.count));
    }

    /// The recipient of a grant. An expired grant may no longer be in the state, so it is read from the log.
    /// `None` if the grant was erased, because no event may name it any longer.
    fn recipient_of(&self, stream: &SubjectStream, of: UnrecordedCount) -> Result<Option<String>, AppError> {
        if let Some(grant) = stream.read().state.grants.get(&of.event) {
            return Ok(Some(grant.issued.recipient.clone()));
        }
        match self.event_at(&stream.keys, of.position) {
            Ok(Recorded { event: Event::GrantIssued(issued), .. }) => Ok(Some(issued.recipient)),
            Ok(_) | Err(AppError::Erased) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
