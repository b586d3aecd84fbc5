//! Why a log can't be opened or read, and why entries were not written.

use crate::store::StoreError;
use sayso_proof::checkpoint::NoteError;

/// Why the log can't be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of a log key can't be read, made or changed.
    #[error("log key: {0}")]
    Key(std::io::Error),
    /// The key that signs the log is in none of the key files.
    #[error(
        "the log is signed by the key `{0}`, which is not in the folder `secrets`; restore the `log.key` of this log"
    )]
    KeyMissing(String),
    /// A change of key in the log does not verify.
    #[error("changes of the log key: {0}")]
    Keys(#[from] sayso_proof::keys::KeysError),
    /// The file that keeps the last checkpoint outside the store can't be read or written.
    #[error("checkpoint file: {0}")]
    CheckpointFile(std::io::Error),
    /// The kept checkpoint is malformed, or not signed by a key of this log.
    #[error("kept checkpoint: {0}")]
    KeptCheckpoint(NoteError),
    /// The store has fewer entries than the kept checkpoint.
    #[error(
        "the kept checkpoint has {checkpoint_size} entries, but the store has {store_size}; it is an older copy: use \
         the newest copy, or restore a backup with `sayso restore`"
    )]
    Behind {
        /// Entries of the kept checkpoint.
        checkpoint_size: u64,
        /// Entries in the store.
        store_size: u64,
    },
    /// The entries of the store differ from those of the kept checkpoint.
    #[error(
        "the first {size} entries of the store are not those of the kept checkpoint; use this log's store, or \
         restore a backup with `sayso restore`"
    )]
    Forked {
        /// Entries of the kept checkpoint.
        size: u64,
    },
    /// The position or size is beyond the end of the log.
    #[error("the position or size is beyond the end of the log")]
    OutOfRange,
    /// The sequencer's thread could not be started.
    #[error("the sequencer could not be started: {0}")]
    Thread(std::io::Error),
}

/// Why entries were not written. Except after [`SubmitError::Stopped`], nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The version or the previous leaf hash does not continue the subject's chain.
    #[error("the write does not continue the subject's chain, which has {actual_version} events")]
    Stale {
        /// Number of events that the subject has.
        actual_version: u64,
    },
    /// The queue is full.
    #[error("too many writes are waiting; try again later")]
    Overloaded,
    /// An entry was sealed too far ahead of the clock, or too long ago.
    #[error("the entry was sealed too far ahead of the clock or too long ago")]
    Clock,
    /// An entry is signed by a key that is not in force. Or the entry changes the log's key, but is not valid
    /// at the position where it would be written.
    #[error("the entry is signed by a key that is not in force")]
    OtherKey,
    /// The submission is empty, or larger than one batch may be.
    #[error("the submission is empty or has too many events or bytes for one batch")]
    TooLarge,
    /// The store rejected the batch, or could not be read.
    #[error("the store rejected the write; try again later")]
    Unavailable,
    /// The log has stopped. A write in progress may or may not have been written.
    #[error("the log has stopped; restart to recover")]
    Stopped,
}
