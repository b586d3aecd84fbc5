//! Completes the history that is kept in memory for a data subject: from which attributes each attribute was
//! derived, and which attributes shaped the replies that were reported.

use crate::app::error::{AppError, Cause};
use crate::app::log::core::Core;
use crate::app::log::stream::SubjectStream;
use std::sync::Arc;

impl Core {
    /// Reads those events of a subject that the history in memory does not have yet.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn read_history(self: &Arc<Self>, stream: &Arc<SubjectStream>) -> Result<(), AppError> {
        let (core, stream) = (Arc::clone(self), Arc::clone(stream));
        let task = tokio::task::spawn_blocking(move || {
            // The history is not locked meanwhile, so that a write that needs it does not wait.
            let mut later = stream.history().following();
            core.for_each_event(&stream.keys, later.next_version(), |event, _| {
                later.note(&event);
                Ok(())
            })?;
            stream.history().append(later);
            Ok(())
        });
        task.await.map_err(|_| AppError::Internal(Cause::Task))?
    }
}
