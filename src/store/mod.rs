//! What the ledger and the vault need kept, as contracts; and the engines that keep it.
//!
//! The contracts speak of entries, leaf hashes, positions and pages, never of plaintext: an engine sees sealed bytes.
//! One suite (`contract`) runs against every engine.

pub mod backup;
#[cfg(test)]
pub(crate) mod contract;
pub mod embedded;
pub mod faulty;
pub mod memory;

use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;

/// A further index record: key and value.
pub type IndexRecord = (Vec<u8>, Vec<u8>);

/// One entry on its way into the log.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The COSE_Sign1, verbatim.
    pub bytes: Vec<u8>,
    /// RFC 6962 leaf hash of `bytes`.
    pub leaf_hash: Hash,
    /// Whose it is; [`Handle::SYSTEM`] for events about nobody.
    pub handle: Handle,
    /// 0-based and dense within the handle.
    pub version: u64,
    /// Keyed hash of the request's idempotency key: of one frame, of no other.
    pub idempotency: Option<Hash>,
    /// Recorded time, milliseconds since the Unix epoch; never less than the entry before it.
    pub recorded_at_ms: u64,
    /// Further index records (key, value), written and discarded with the entry. Keys are unique in the log.
    /// They can't be rebuilt by the store, only by whoever can open the entry: see [`LogStore::unindexed_from`].
    /// An engine's database may keep traces of removed ones for a while, so nothing personal stands in them in clear.
    pub index: Vec<IndexRecord>,
}

/// What one request writes: after a crash all of it is there, or nothing.
pub type Frame = Vec<NewEntry>;

/// Where the log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Number of entries.
    pub size: u64,
    /// Recorded time of the last entry; 0 in an empty log.
    pub recorded_at_ms: u64,
}

/// An entry as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// 0-based.
    pub position: u64,
    /// Recorded time, milliseconds since the Unix epoch.
    pub recorded_at_ms: u64,
    /// Stays when the bytes go.
    pub leaf_hash: Hash,
    /// `None` where the entry was discarded.
    pub bytes: Option<Vec<u8>>,
}

/// Why a commit did not return a head.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The log is not where the caller believed; nothing was written. Reload and retry.
    #[error("the log has {actual} entries, not {expected}")]
    Conflict {
        /// What the caller expected.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// Nothing was written (no room, batch out of bounds). The store stays usable.
    #[error("nothing was written: {0}")]
    Rejected(StoreError),
    /// Nobody can say what became durable: stop, and reopen through recovery. Every later call fails too.
    #[error("unknown what was written: {0}")]
    Unknown(StoreError),
}

/// A failed read, or a failed write outside [`LogStore::commit`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was attempted, without any path of personal data.
        doing: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// Bytes are not what was written. Names the place.
    #[error("damaged: {what} at {place}; nothing was changed; `sayso restore` brings a backup back")]
    Damaged {
        /// What kind of record.
        what: &'static str,
        /// Position, file offset or page.
        place: String,
    },
    /// The database under an index or the key store failed.
    #[error("database: {0}")]
    Database(String),
    /// Another daemon has the folder open.
    #[error("another daemon has this folder open")]
    Busy,
    /// More than the engine can take, whatever room there is.
    #[error("{0} is out of bounds")]
    OutOfBounds(&'static str),
    /// Asked for something that is not there.
    #[error("no such {0}")]
    Missing(&'static str),
    /// No room left on the device.
    #[error("no space left on the device")]
    Full,
    /// An earlier failure left the store in an unknown state.
    #[error("the store stopped after an earlier failure; restart to recover")]
    Stopped,
}

/// The log: entries in order, their leaf hashes, and what finds them.
///
/// Concurrency: every method may be called from any thread; `commit` and `discard` are serialised by the engine.
/// Reads see everything whose commit has returned.
pub trait LogStore: Send + Sync {
    /// Where the log ends. Never blocks on a commit in progress.
    fn head(&self) -> Head;

    /// Appends all frames at `expected` (a compare-and-swap on the number of entries), with leaf hashes and indexes.
    ///
    /// Durability: on `Ok`, everything survives a power cut. After a crash before that, each frame is there whole or
    /// not at all, and a prefix of the frames may be there.
    /// Retry: [`CommitError::Conflict`] and [`CommitError::Rejected`] wrote nothing; after [`CommitError::Unknown`]
    /// the store must be reopened.
    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError>;

    /// One entry. [`StoreError::Missing`] beyond the head; but what another method found can be read, be the head
    /// there already or not.
    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError>;

    /// Entries from `start` on, in order, at most `count`, fewer at the end of the log.
    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError>;

    /// Positions of a subject's entries from version `start` on, in order, at most `count`. Empty for a discarded or
    /// unknown subject. (version, position).
    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError>;

    /// The subject's newest entry that is there: (version, position). One whose newest was discarded seems shorter.
    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError>;

    /// Position of the first entry and number of entries of the request that carried this idempotency hash: from the
    /// first to the last of them that was not discarded, so that a request of which anything is left stays known.
    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError>;

    /// Merkle nodes of complete subtrees: `count` of them from index `start` on, at `level` 0 (leaf hashes), 8, 16, …
    /// [`StoreError::Missing`] where they are not complete yet.
    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError>;

    /// Destroys the bytes of these entries in place and everything that was indexed for them; leaf hashes stay.
    ///
    /// Durability: on `Ok` the bytes are overwritten and synced. Idempotent: discarding again is no error. A position
    /// beyond the head is [`StoreError::Missing`], and nothing is discarded. After a crash before that it either never
    /// began or is finished when the store is opened; the caller may repeat it.
    fn discard(&self, positions: &[u64]) -> Result<(), StoreError>;

    /// The value of a further index record.
    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Further index records whose key starts with `prefix` and is greater than `after` (where given), in order, at
    /// most `count`.
    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError>;

    /// The first position whose further index records are missing, where the index had to be rebuilt: the owner reads
    /// on from there and gives them back with [`LogStore::index_restore`].
    fn unindexed_from(&self) -> Option<u64>;

    /// Gives further index records back for `position`, durably; `done_to` is the position up to which (exclusive)
    /// nothing is missing any more. Those of entries that were discarded meanwhile are dropped.
    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError>;

    /// Bytes of entries held, for statistics.
    fn entry_bytes(&self) -> u64;

    /// Makes everything durable and marks a clean end. Later writes fail with [`StoreError::Stopped`], and so does
    /// this where one failed before; reads go on.
    fn close(&self) -> Result<(), StoreError>;
}

/// A page: id and content.
pub type Page = (Vec<u8>, Vec<u8>);

/// Encrypted key pages, apart from the log and backed up apart from it: it can't be rebuilt from anything.
///
/// Concurrency: any thread; writes are serialised by the engine.
pub trait KeyStore: Send + Sync {
    /// One page, verbatim.
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes (`Some`) and removes (`None`) pages: all or nothing, durable on return (a power cut included).
    /// [`StoreError::Full`] wrote nothing; after any other error nobody knows, and every later write is
    /// [`StoreError::Stopped`] until the store is opened again.
    fn write_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError>;

    /// Writes and removes pages ahead of the write that will make them count: durable only once a later
    /// [`KeyStore::write_pages`] has returned, which then makes all of them durable. Until then a crash may keep any part
    /// of them, each page whole or not at all. Reads see them at once. Errors as for `write_pages`, but that
    /// [`StoreError::Full`] may have written a part.
    fn stage_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError>;

    /// Pages whose id starts with `prefix` and is greater than `after` (where given), in order, at most `count`.
    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError>;

    /// Number of pages whose id starts with `prefix`.
    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError>;

    /// Whether writes are taken: not once one has failed so that nobody knows what became of it.
    fn takes_writes(&self) -> bool {
        true
    }
}
