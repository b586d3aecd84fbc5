//! Errors of use cases. [`AppError`] also covers the errors of the other top-level modules that use cases
//! call. Only `api::status` turns these errors into gRPC codes.

use crate::app::reserved::Reserved;
use crate::bounds::error::BoundsError;
use crate::domain::Violations;
use crate::domain::erased_grant::ErasedGrant;
use crate::domain::erasure::TooLarge;
use crate::domain::event::codec::CodecError;
use crate::domain::event::{RecordingRefused, Role};
use crate::domain::recorder_usage::AttributeLimitReached;
use crate::ledger::{LedgerError, SubmitError};
use crate::store::StoreError;
use crate::vault::VaultError;
use sayso_proof::entry::EntryError;

/// Why a use case failed. The display text is safe to show to callers; causes go only to the daemon's log
/// output.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A field is malformed, out of range, or names something unknown. Nothing was written.
    #[error("{0}")]
    Invalid(Violations),
    /// The caller's role may not do this, or not for this data subject. Never reveals whether the data
    /// subject exists.
    #[error("{why}")]
    Denied {
        /// What the caller may not do, and what to do instead.
        why: &'static str,
        /// The roles that may do it, as far as they may call the method at all.
        allowed: &'static [Role],
    },
    /// Only other callers may record this statement or take it back. Nothing was written.
    #[error("{why}")]
    Reserved {
        /// The rule that the request breaks.
        rule: Reserved,
        /// What the request conflicts with, and who may record or lift it.
        why: String,
    },
    /// The requested thing does not exist, or does not belong to the caller.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// Nothing is recorded about the data subject, or everything was erased.
    #[error("no such subject")]
    UnknownSubject,
    /// Nothing is recorded about the data subject whom the caller wants erased, or everything was erased.
    #[error(
        "no such subject; if an earlier request erased this person, ask for its certificate with the id of that \
         request"
    )]
    NothingToErase,
    /// The subject has newer events than the caller expected.
    #[error("the subject has {actual} events, not {expected}; read it again")]
    StaleVersion {
        /// The number of events that the caller expected.
        expected: u64,
        /// The current number of events.
        actual: u64,
    },
    /// A service's write expects an earlier version: the data subject has made a decision since. The error
    /// does not reveal how many events there are.
    #[error("the person's decisions are not the expected ones; read them again")]
    StaleDecisions,
    /// The idempotency key was used before, for another request.
    #[error("the idempotency key was already used for another request; use a new key")]
    KeyReused,
    /// The write concerns a time before an erasure of the data subject, or before an erasure of the part of
    /// the data that the write is about.
    #[error("this write is about a time before an erasure that covers it; delete your copy")]
    Erased,
    /// The consents in a request concern a time before an erasure of the data subject.
    #[error(
        "the consents in this request are about a time before an erasure that covers them; delete your copy"
    )]
    ConsentErased,
    /// The request failed for this reason, but what the data subject refused in it is recorded.
    #[error("{0}. What was refused or withdrawn in the same request is recorded")]
    RefusalsRecorded(#[source] Box<AppError>),
    /// The record of this grant was erased, and the caller may know that.
    #[error("{0}")]
    GrantErased(Box<ErasedGrant>),
    /// There is no record of the grant whose decision is to be repeated.
    #[error("no such grant is recorded; if it was issued, its record has reached the end of its retention")]
    GrantGone,
    /// The request does not fit the current state.
    #[error("{0}")]
    Precondition(&'static str),
    /// The machine's clock is not trusted, so all use is denied. Nothing was written.
    #[error(
        "the clock of the ledger's machine jumped or stands still; all use is denied until it is right, \
         or an operator accepts it"
    )]
    ClockSkewed,
    /// Bounds forbid recording this. Only the attempt was recorded.
    #[error("recording was refused by bounds")]
    RecordingRefused(Vec<RecordingRefused>),
    /// The limit on attributes of the data subject is reached. Nothing was written.
    #[error("{0}")]
    AttributeLimit(AttributeLimitReached),
    /// An erasure was carried out while an export ran.
    #[error("an erasure was carried out during the export; start the export again")]
    Overtaken,
    /// The caller has as many open grants or artifacts of this data subject as it may have.
    #[error(
        "{open} of this service's {what} about this person are open, which is the limit; wait until one ends"
    )]
    LimitReached {
        /// What is limited: grants or artifacts.
        what: &'static str,
        /// How many grants or artifacts the caller has open.
        open: usize,
    },
    /// The operation was stopped because it took longer than it may.
    #[error("{0}")]
    TooLong(&'static str),
    /// A queue is full.
    #[error("overloaded; try again shortly")]
    Overloaded,
    /// The store accepts no writes at the moment.
    #[error("the ledger accepts no writes at the moment; nothing was written; try again later")]
    Unavailable,
    /// The daemon is shutting down, which ends every stream that would otherwise never end.
    #[error("the ledger is shutting down; resume from your cursor after it restarts")]
    ShuttingDown,
    /// The outcome of a write is unknown. The daemon must be restarted.
    #[error("the ledger has stopped after a storage failure; restart it to recover")]
    Stopped,
    /// An internal failure. The cause is logged, never sent.
    #[error("internal error")]
    Internal(#[source] Cause),
}

impl From<TooLarge> for AppError {
    fn from(error: TooLarge) -> Self {
        Self::Precondition(match error {
            TooLarge::Dependents => {
                "more depends on this part than one erasure can follow, so nothing was erased; erase the whole \
                 profile (scope profile) or everything (scope all), which have no such limit"
            }
            TooLarge::Text => {
                "the person's record has more text than one search for a text reads, so nothing was erased; \
                 erase by key, by category, or the whole profile"
            }
        })
    }
}

/// The cause of an internal failure.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An entry could not be read.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// An event could not be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Bounds do not compile.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// An export could not be written.
    #[error("could not write an export: {0}")]
    Export(#[from] std::io::Error),
    /// A task ended before it returned a result.
    #[error("a task ended before it returned a result")]
    Task,
    /// Data is not as this code would have written it.
    #[error("{0}")]
    Inconsistent(&'static str),
}

impl AppError {
    /// The type of the precondition failure that says that the refusals in a failed request were recorded.
    pub const REFUSALS_RECORDED: &str = "REFUSALS_RECORDED";

    /// An error about one field.
    pub(crate) fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::Invalid(Violations::one(field, problem))
    }
}

impl<E: Into<Cause>> From<E> for AppError {
    fn from(error: E) -> Self {
        match error.into() {
            Cause::Vault(VaultError::Overloaded) => Self::Overloaded,
            // The disk is full: nothing was written, and the caller may try again.
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
            SubmitError::TooLarge => Self::invalid("attributes", "must fit one write; send fewer at once"),
            // This can't happen: a subject stream writes its events in order and sets the version itself.
            SubmitError::Stale { .. } => {
                Self::Internal(Cause::Inconsistent("a stream and the log disagree on a version"))
            }
            // This can't happen: the key changes only while nothing else writes.
            SubmitError::OtherKey => {
                Self::Internal(Cause::Inconsistent("an entry is signed by a key that is not in force"))
            }
            // The clock jumped after the entry was sealed and before it was sequenced. A retry seals a new
            // entry.
            SubmitError::Clock => Self::Unavailable,
        }
    }
}
