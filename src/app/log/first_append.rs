//! Appends about a data subject whose first event is not recorded yet.

use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Append, Frame, Written};
use crate::app::log::core::Core;
use crate::app::log::stream::SubjectStream;
use crate::domain::ids::SubjectId;
use crate::vault::{PendingSubject, VaultError};
use sayso_proof::merkle::Hash;
use std::sync::{Arc, Weak};

impl Core {
    /// The lane of a person for a write; of one about whom nothing is recorded yet, one in memory alone. Everybody who writes
    /// about the same person gets the same.
    pub(crate) async fn stream_or_new(
        self: &Arc<Self>,
        subject: &SubjectId,
    ) -> Result<Arc<SubjectStream>, AppError> {
        if let Some(keys) = self.vault.subject(subject)? {
            return self.stream_of(keys).await;
        }
        let hash = self.vault.keyed_hash("arrival", &[subject.as_str().as_bytes()]);
        let keys = {
            let mut known = self.streams.new_streams.known();
            if let Some(stream) = known.streams.get(&hash).and_then(Weak::upgrade) {
                return Ok(stream);
            }
            // Under the lock: a lane leaves the map only once its keys are the person's.
            match self.vault.subject(subject)? {
                Some(keys) => keys,
                None => {
                    let stream = Arc::new(SubjectStream::new_stream(hash, self.vault.prepare(subject)));
                    known.insert(hash, &stream);
                    return Ok(stream);
                }
            }
        };
        self.stream_of(keys).await
    }

    /// The lane of a person that something is held about, for a write; where the first write about them is under way, once that
    /// is done.
    ///
    /// # Errors
    /// Nothing is held about the person; or the store.
    pub(crate) async fn existing_stream(
        self: &Arc<Self>,
        subject: &SubjectId,
    ) -> Result<Arc<SubjectStream>, AppError> {
        if let Some(stream) = self.stream(subject).await? {
            return Ok(stream);
        }
        let hash = self.vault.keyed_hash("arrival", &[subject.as_str().as_bytes()]);
        let new_stream = self.streams.new_streams.known().streams.get(&hash).and_then(Weak::upgrade);
        let stream = match (new_stream, self.vault.subject(subject)?) {
            (Some(stream), _) => stream,
            (None, Some(keys)) => self.stream_of(keys).await?,
            (None, None) => return Err(AppError::UnknownSubject),
        };
        drop(stream.write_lock().await);
        let is_held = stream.read().state.version > 0;
        if is_held { Ok(stream) } else { Err(AppError::UnknownSubject) }
    }

    /// Writes planned events; the first ones of a person after their handle and key. Where nothing was written, those are taken
    /// back. For the holder of the gate.
    ///
    /// # Errors
    /// What the write is about is from before the person's erasure, which only a write is told that would otherwise have been
    /// made; or as [`Core::commit`].
    pub(crate) async fn commit_inline(&self, append: &Append, frame: Frame) -> Result<Written, AppError> {
        if append.is_late {
            return Err(AppError::Erased);
        }
        let arrived = self.settle(&append.stream).await?;
        let written = self.commit_frame(append, frame).await;
        // Only where it is certain that nothing was written: a key that something was sealed under must stay.
        let is_lost =
            matches!(written, Err(AppError::Overloaded | AppError::Unavailable | AppError::Invalid(_)));
        if let Some((hash, pending)) = arrived.filter(|_| is_lost) {
            self.unsettle(&append.stream, hash, pending).await;
        }
        written
    }

    /// Makes handle and key durable where they are not yet; gives them, where it did.
    async fn settle(&self, stream: &Arc<SubjectStream>) -> Result<Option<(Hash, PendingSubject)>, AppError> {
        let Some((hash, pending)) = stream.pending_subject().take() else { return Ok(None) };
        self.streams.adopt(stream);
        match self.vault.create(&pending).await {
            Ok(()) => {
                self.streams.new_streams.known().streams.remove(&hash);
                Ok(Some((hash, pending)))
            }
            Err(error) => {
                self.streams.remove(&stream.keys.handle);
                *stream.pending_subject() = Some((hash, pending));
                Err(match error {
                    // After a failure of which nobody knew what it left.
                    VaultError::Destroyed => AppError::Overloaded,
                    error => error.into(),
                })
            }
        }
    }

    async fn unsettle(&self, stream: &Arc<SubjectStream>, hash: Hash, pending: PendingSubject) {
        // First, so that others who come find this lane and no second one.
        self.streams.new_streams.known().insert(hash, stream);
        match self.vault.take_back(&pending).await {
            Ok(()) => {
                self.streams.remove(&stream.keys.handle);
                *stream.pending_subject() = Some((hash, pending));
            }
            Err(error) => {
                // The keys stay, and nothing is told of somebody without events.
                self.streams.new_streams.known().streams.remove(&hash);
                let cause = Cause::from(error);
                tracing::warn!(%cause, "keys under which nothing was written could not be taken back");
            }
        }
    }
}
