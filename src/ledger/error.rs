//! What the ledger fails with.

use crate::store::StoreError;
use sayso_proof::checkpoint::NoteError;

/// Why the log can't be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log key's file.
    #[error("log key: {0}")]
    Key(std::io::Error),
    /// The log says that it is signed by a key that is in none of the key files.
    #[error(
        "the log is signed by the key `{0}`, which is not in `secrets`: bring back the `log.key` that belongs to this log"
    )]
    KeyNotHeld(String),
    /// The log's own changes of key do not hold.
    #[error("the log's keys: {0}")]
    Keys(#[from] sayso_proof::keys::KeysError),
    /// The file of the kept checkpoint.
    #[error("checkpoint file: {0}")]
    CheckpointFile(std::io::Error),
    /// The kept checkpoint is not one of this log and key.
    #[error("the kept checkpoint: {0}")]
    KeptCheckpoint(NoteError),
    /// A checkpoint was given out for more entries than are held.
    #[error(
        "a checkpoint of {given_out} entries was given out, but the store holds {held}: it is not the newest copy"
    )]
    Behind {
        /// Size given out.
        given_out: u64,
        /// Size held.
        held: u64,
    },
    /// The entries held are not those that a checkpoint was given out for.
    #[error("the first {size} entries are not those that a checkpoint was given out for")]
    Forked {
        /// Size given out.
        size: u64,
    },
    /// A position or size beyond the log.
    #[error("beyond the end of the log")]
    OutOfRange,
    /// The sequencer's thread can't be started.
    #[error("the sequencer can't be started: {0}")]
    Thread(std::io::Error),
}

/// Why entries were not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The version or the previous leaf hash does not continue the subject's chain. Nothing was written.
    #[error("the subject has {actual_version} events")]
    Stale {
        /// How many events the subject has.
        actual_version: u64,
    },
    /// Too many writes wait. Nothing was written.
    #[error("too many writes wait")]
    Overloaded,
    /// Sealed ahead of the clock or too long ago. Nothing was written.
    #[error("sealed out of bounds of the clock")]
    Clock,
    /// Signed by a key that is not the log's any more, or a change of key for another place. Nothing was written.
    #[error("signed by a key that is not in force")]
    OtherKey,
    /// More than one batch holds. Nothing was written.
    #[error("too many events, or too large")]
    TooLarge,
    /// The store took nothing.
    #[error("the store took nothing")]
    Unavailable,
    /// The log has stopped; where a write was under way, it is unknown what became of it.
    #[error("the log has stopped")]
    Stopped,
}
