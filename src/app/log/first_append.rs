//! Makes the first append to the stream of a data subject. While the write is checked and decided, the stream
//! exists in memory only. The subject's handle (their random pseudonym in the log) and key become durable
//! right before the first event. So a refused write leaves nothing behind.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::append::{Append, Frame, Written};
use crate::app::log::core::Core;
use crate::app::log::receipt::{Receipt, WriteOptions};
use crate::app::log::stream::SubjectStream;
use crate::domain::ids::SubjectId;
use crate::domain::profile::SubjectState;
use crate::domain::refusal_events::are_refusals;
use crate::vault::{PendingSubject, VaultError};
use sayso_proof::merkle::Hash;
use std::sync::{Arc, Weak};

impl Core {
    /// The stream of a data subject, for a write. If nothing is recorded yet, the stream exists in memory
    /// only, and all writers of this subject share it.
    ///
    /// # Errors
    /// Nothing is recorded and the id is refused, or the store failed.
    pub(crate) async fn stream_or_new(
        self: &Arc<Self>,
        subject: &SubjectId,
    ) -> Result<Arc<SubjectStream>, AppError> {
        if let Some(keys) = self.vault.subject(subject)? {
            return self.stream_of(keys).await;
        }
        subject.check_new()?;
        let hash = self.vault.keyed_hash("arrival", &[subject.as_str().as_bytes()]);
        let keys = {
            let mut known = self.streams.new_streams.known();
            if let Some(stream) = known.streams.get(&hash).and_then(Weak::upgrade) {
                return Ok(stream);
            }
            // The keys are looked up again while the map is locked: a stream leaves the map only after its
            // keys are durable.
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

    /// The receipt of a request that takes something back, about a person about whom nothing is recorded. It
    /// has no events: the request leaves nothing in the log, so it does not create the person. `None` if
    /// something is recorded.
    ///
    /// # Errors
    /// The stated time or the expected version is wrong, or the store fails.
    pub(crate) async fn receipt_if_unknown(
        self: &Arc<Self>,
        caller: &Caller,
        subject: &SubjectId,
        options: &WriteOptions,
    ) -> Result<Option<Receipt>, AppError> {
        match self.existing_stream(subject).await {
            Ok(_) => return Ok(None),
            Err(AppError::UnknownSubject) => {}
            Err(error) => return Err(error),
        }
        self.event_time(options)?;
        if let Some(stale) = caller.stale(options.expected_version, &SubjectState::default()) {
            return Err(stale);
        }
        let checkpoint = self.ledger.checkpoint().note.clone();
        Ok(Some(Receipt { events: Vec::new(), checkpoint, replayed: false }))
    }

    /// The stream of a data subject with recorded events, for a write. If their first write is in progress,
    /// waits for it.
    ///
    /// # Errors
    /// Nothing is recorded about the data subject, or the store failed.
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
        let has_events = stream.read().state.version > 0;
        if has_events { Ok(stream) } else { Err(AppError::UnknownSubject) }
    }

    /// Writes a frame in the caller's own task. Before the first events of a data subject, makes their handle
    /// and key durable. If nothing was written then, removes the handle and key again. Only the owner of the
    /// write lock may call this.
    ///
    /// # Errors
    /// The errors of [`Core::commit`] are possible. The write also fails with [`AppError::Erased`] if it
    /// concerns a time before the data subject's erasure and is not a refusal ([`are_refusals`]). All other
    /// checks of the request come before. So a caller whose write is refused for another reason does not
    /// learn when someone was erased.
    pub(crate) async fn commit_inline(&self, append: &Append, frame: Frame) -> Result<Written, AppError> {
        if append.predates_erasure && !are_refusals(frame.events.iter().map(|planned| &planned.event)) {
            return Err(AppError::Erased);
        }
        let created = self.create_keys(&append.stream).await?;
        let written = self.commit_frame(append, frame).await;
        // Keys are removed only if certainly nothing was written: a key that sealed an event must stay.
        let is_unwritten =
            matches!(written, Err(AppError::Overloaded | AppError::Unavailable | AppError::Invalid(_)));
        if let Some((hash, pending)) = created.filter(|_| is_unwritten) {
            self.remove_keys(&append.stream, hash, pending).await;
        }
        written
    }

    /// Makes the handle and key durable and returns them; `None` if they are durable already.
    async fn create_keys(
        &self,
        stream: &Arc<SubjectStream>,
    ) -> Result<Option<(Hash, PendingSubject)>, AppError> {
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
                    // An earlier failure with an unknown outcome destroyed the keys.
                    VaultError::Destroyed => AppError::Overloaded,
                    error => error.into(),
                })
            }
        }
    }

    async fn remove_keys(&self, stream: &Arc<SubjectStream>, hash: Hash, pending: PendingSubject) {
        // This comes first, so that other writers find this stream instead of creating a second one.
        self.streams.new_streams.known().insert(hash, stream);
        match self.vault.take_back(&pending).await {
            Ok(()) => {
                self.streams.remove(&stream.keys.handle);
                *stream.pending_subject() = Some((hash, pending));
            }
            Err(error) => {
                // The keys stay. A subject without events counts as unknown, so this reveals nothing.
                self.streams.new_streams.known().streams.remove(&hash);
                let cause = Cause::from(error);
                tracing::warn!(%cause, "keys of a data subject without events could not be removed");
            }
        }
    }
}
