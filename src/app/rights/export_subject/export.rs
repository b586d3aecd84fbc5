//! The export of a package while it runs: the state from which the package is made, and the code that
//! reads the subject's events one by one.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::prove_subject::ProvenSubject;
use crate::app::log::stream::SubjectStream;
use crate::app::rights::Rights;
use crate::bounds::rulebook::Rules;
use crate::bounds::titles::TitleHistory;
use crate::domain::event::Recorded;
use crate::domain::ids::{EventId, SubjectId};
use crate::domain::profile::SubjectState;
use crate::package::Kind;
use crate::vault::VaultError;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Chunks that wait for a slow receiver.
pub(crate) const CHUNKS_MAX: usize = 8;
/// Event positions in one read.
const READ_COUNT: usize = 64;

/// A chunk of a package.
#[derive(Clone, Debug)]
pub struct PackageChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Events read so far, in all passes.
    pub done: u64,
    /// Events to read in all passes.
    pub total: u64,
}

/// An export in progress. It exports the state at its start.
pub(crate) struct Export {
    pub rights: Arc<Rights>,
    pub stream: Arc<SubjectStream>,
    pub kind: Kind,
    pub subject: SubjectId,
    pub state: SubjectState,
    pub rules: Arc<Rules>,
    /// The titles that purposes and categories have had.
    pub titles: TitleHistory,
    pub now_ms: u64,
    /// Who receives the package.
    pub caller: Caller,
    /// The request that it answers.
    pub request: Option<EventId>,
    /// What the log committed to about the subject, in a package with everything.
    pub proven: Option<ProvenSubject>,
    pub done: AtomicU64,
}

impl Export {
    /// The error for the caller. Once an erasure of the subject has started, every failure is reported as
    /// caused by the erasure.
    pub fn public_error(&self, error: AppError) -> AppError {
        let destroyed =
            matches!(error, AppError::Erased | AppError::Internal(Cause::Vault(VaultError::Destroyed)));
        if destroyed || self.stream.read().erased { AppError::Overtaken } else { error }
    }

    /// Calls `each` with every event that was recorded before the export started, oldest first.
    pub fn for_each_event(
        &self,
        mut each: impl FnMut(&Recorded) -> Result<(), AppError>,
    ) -> Result<(), AppError> {
        self.rights.core.for_each_entry(&self.stream.keys, 0, READ_COUNT, |entry| {
            if self.stream.read().erased {
                return Err(AppError::Overtaken);
            }
            if entry.version >= self.state.version {
                return Ok(ControlFlow::Break(()));
            }
            each(&entry.event.ok_or(AppError::Erased)?)?;
            self.done.fetch_add(1, Ordering::Relaxed);
            Ok(ControlFlow::Continue(()))
        })
    }
}
