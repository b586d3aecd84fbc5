//! Loads a subject's stream into memory: folds all events of the subject in the log into the subject's state.

use crate::app::error::AppError;
use crate::app::log::core::Core;
use crate::app::log::pending_revocations::PendingRevocations;
use crate::app::log::requests_made::RequestsMade;
use crate::app::log::stream::{StreamState, SubjectStream};
use crate::domain::profile::SubjectState;
use crate::vault::SubjectKeys;
use std::sync::Arc;

impl Core {
    /// Folds all events of a subject into a stream in memory.
    ///
    /// # Errors
    /// The log can't be read or opened.
    pub(crate) fn load_stream(&self, keys: Arc<SubjectKeys>) -> Result<SubjectStream, AppError> {
        let stream = SubjectStream::empty(keys);
        self.reload_stream(&stream)?;
        Ok(stream)
    }

    /// Folds a stream again from the log. Only the owner of its write lock may call this.
    ///
    /// # Errors
    /// The log can't be read or opened.
    pub(crate) fn reload_stream(&self, stream: &SubjectStream) -> Result<(), AppError> {
        let (mut state, mut newest, mut requests) = (SubjectState::default(), None, RequestsMade::default());
        self.for_each_event(&stream.keys, 0, |event, leaf| {
            state.apply(&event);
            requests.apply(&event);
            newest = Some(leaf);
            Ok(())
        })?;
        let (implied, mut pending) = (self.implied_by(&state), PendingRevocations::default());
        pending.extend(&mut state, implied);
        let mut now = stream.write();
        *now = StreamState { state, newest, requests, pending, erased: now.erased };
        // After an erasure, a stream can have the same version as before but fewer events. So decisions
        // made on the old state must not be used again.
        stream.reusable_grants().forget_decisions();
        stream.history().reset();
        Ok(())
    }

    /// Puts a loaded stream into the cache. If another thread cached the subject's stream first, returns that
    /// stream.
    ///
    /// # Errors
    /// The log can't be read or opened, or the subject was erased during the load.
    pub(crate) fn cache_stream(&self, stream: SubjectStream) -> Result<Arc<SubjectStream>, AppError> {
        self.streams.put(stream, |stream| {
            let handle = stream.keys.handle;
            // An erasure destroys the keys first and then removes the stream: a late load must not bring it
            // back.
            self.vault.by_handle(handle)?.ok_or(AppError::Erased)?;
            // Another stream of the subject may have been inserted, written to and evicted during the load.
            // Then the log has newer events, and the stream is loaded again. The cache is locked here, so
            // this can't happen during the second load.
            let count =
                self.store().subject_head(handle)?.map_or(0, |(version, _)| version.saturating_add(1));
            if stream.read().state.version == count { Ok(stream) } else { self.load_stream(stream.keys) }
        })
    }
}
