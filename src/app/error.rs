//! What a use case can fail with, summed over the rooms. `api::status` alone turns it into gRPC codes.

use crate::bounds::error::BoundsError;
use crate::domain::Violations;
use crate::domain::codec::CodecError;
use crate::domain::recorder_usage::NoRoom;
use crate::ledger::{LedgerError, SubmitError};
use crate::store::StoreError;
use crate::vault::VaultError;
use sayso_proof::entry::EntryError;
use sayso_proof::event::RecordingRefused;

/// Why a use case did not do what was asked. The display text is safe to show to callers; causes are for the log.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A field is malformed, out of bounds, or names something unknown. Nothing was written.
    #[error("{0}")]
    Invalid(Violations),
    /// The caller's role may not do this, or not to this person. Never says whether the person exists.
    #[error("{0}")]
    Denied(&'static str),
    /// Only others may say this, or take it back. Nothing was written, or only the noes of the request.
    #[error("{why}")]
    Reserved {
        /// Which rule, for programs.
        reason: &'static str,
        /// Which word stands, and who may say or lift it.
        why: String,
    },
    /// Asked for something that is not there, or not the caller's.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Nothing is recorded about the data subject, or everything was erased.
    #[error("no such subject")]
    UnknownSubject,
    /// The subject has moved on since the caller looked.
    #[error("the subject has {actual} events, not {expected}")]
    StaleVersion {
        /// What the caller expected.
        expected: u64,
        /// What is current.
        actual: u64,
    },
    /// The person has decided since a service looked, which is not told how much else there is.
    #[error("the person's decisions are not the expected ones; read them again")]
    StaleDecisions,
    /// The idempotency key was used before, for another request.
    #[error("the idempotency key was already used for another request")]
    KeyReused,
    /// The write is about a person from before their erasure.
    #[error("the person was erased after what this is about")]
    Erased,
    /// What was asked does not fit the state of things.
    #[error("{0}")]
    Precondition(&'static str),
    /// The machine's clock is not believed, so nothing may be used. Nothing was written.
    #[error(
        "the clock of the ledger's machine jumped or stands still; use is denied until it is right or accepted"
    )]
    ClockSkewed,
    /// Bounds forbid recording this. Nothing was recorded but the attempt.
    #[error("recording was refused by bounds")]
    RecordingRefused(Vec<RecordingRefused>),
    /// There is no room for further facts about the person. Nothing was written.
    #[error("{0}")]
    NoRoom(NoRoom),
    /// An erasure overtook the export.
    #[error("an erasure was carried out meanwhile; start the export again")]
    Overtaken,
    /// The caller has as much open about this person as it may have.
    #[error(
        "{open} of this service's {what} about this person are open, which is the limit; wait until one ends"
    )]
    LimitReached {
        /// What is limited.
        what: &'static str,
        /// How many of the caller's are open.
        open: usize,
    },
    /// It was given up: it takes longer than it may.
    #[error("{0}")]
    TooLong(&'static str),
    /// Queues are full.
    #[error("overloaded; try again shortly")]
    Overloaded,
    /// The store does not take writes.
    #[error("the store does not take writes now; nothing was written")]
    Unavailable,
    /// The daemon is being stopped, and this would go on for ever.
    #[error("the ledger is shutting down; resume where you are")]
    ShuttingDown,
    /// The outcome of a write is unknown; the daemon must be restarted.
    #[error("the ledger has stopped after a storage failure; restart it to recover")]
    Stopped,
    /// Something is wrong inside. The cause is logged, never sent.
    #[error("internal error")]
    Internal(#[source] Cause),
}

/// What went wrong inside.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// Reading the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Keys.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An entry that can't be read.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// An event that can't be read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Bounds that don't compile.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// Writing an export.
    #[error("writing an export: {0}")]
    Export(#[from] std::io::Error),
    /// A task that ended before its result.
    #[error("a task ended early")]
    Task,
    /// The log holds something that this code would not have written.
    #[error("{0}")]
    Inconsistent(&'static str),
}

impl AppError {
    /// One violated field.
    pub(crate) fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::Invalid(Violations::one(field, problem))
    }
}

impl<E: Into<Cause>> From<E> for AppError {
    fn from(error: E) -> Self {
        match error.into() {
            Cause::Vault(VaultError::Overloaded) => Self::Overloaded,
            // No room: nothing was written, and it may be tried again.
            Cause::Store(StoreError::Full) | Cause::Vault(VaultError::Store(StoreError::Full)) => {
                Self::Unavailable
            }
            Cause::Store(StoreError::Stopped)
            | Cause::Vault(
                VaultError::Halted | VaultError::Stopped | VaultError::Store(StoreError::Stopped),
            ) => Self::Stopped,
            cause => Self::Internal(cause),
        }
    }
}

impl From<Violations> for AppError {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<SubmitError> for AppError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Overloaded => Self::Overloaded,
            SubmitError::Unavailable => Self::Unavailable,
            SubmitError::Stopped => Self::Stopped,
            SubmitError::TooLarge => Self::invalid("attributes", "too large to be written at once"),
            // A lane keeps its subject's events in order and stamps them itself.
            SubmitError::Stale { .. } => Self::Internal(Cause::Inconsistent("a stream lost its place")),
            // Nobody writes while the key changes.
            SubmitError::OtherKey => {
                Self::Internal(Cause::Inconsistent("an entry is signed by a key that is not in force"))
            }
            // The clock jumped between the seal and its place in the log: another try is sealed anew.
            SubmitError::Clock => Self::Unavailable,
        }
    }
}
