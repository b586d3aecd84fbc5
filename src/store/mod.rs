//! The contracts of storage, and the engines that implement them. One contract is for the log, and one is
//! for the key pages (the encrypted pages with people's keys).
//!
//! The contracts are about entries, leaf hashes, positions and pages. An engine stores entries and pages
//! as bytes. It has no keys, so it cannot decrypt what is sealed. The suite in `contract` tests every
//! engine.

pub mod backup;
#[cfg(test)]
pub(crate) mod contract;
pub mod embedded;
pub mod faulty;
pub mod memory;

use sayso_proof::entry::Handle;
use sayso_proof::merkle::Hash;

/// A custom index record: a key and a value that the ledger chooses.
pub type IndexRecord = (Vec<u8>, Vec<u8>);

/// The most bytes of what [`LogStore::write_progress`] stores.
pub const PROGRESS_BYTES_MAX: usize = 4_000;

/// An entry to append to the log.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The COSE_Sign1, verbatim.
    pub bytes: Vec<u8>,
    /// RFC 6962 leaf hash of `bytes`.
    pub leaf_hash: Hash,
    /// The data subject; [`Handle::SYSTEM`] for events without a subject.
    pub handle: Handle,
    /// 0-based and without gaps within the handle.
    pub version: u64,
    /// Keyed hash of the request's idempotency key. All entries with this hash are in one frame.
    pub idempotency: Option<Hash>,
    /// Recorded time, milliseconds since the Unix epoch; never less than that of the previous entry.
    pub recorded_at_ms: u64,
    /// Custom index records (key, value), written and discarded with the entry. Keys are unique in the log.
    ///
    /// The store can't rebuild them; only a caller that can open the entry can
    /// ([`LogStore::unindexed_from`]). An engine's database may keep traces of removed records for a while,
    /// so they hold no personal data in plaintext.
    pub index: Vec<IndexRecord>,
}

/// The entries that one request writes. After a crash either all of them are there or none.
pub type Frame = Vec<NewEntry>;

/// Where the log ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Number of entries.
    pub size: u64,
    /// Recorded time of the last entry that was not discarded; 0 if there is none.
    pub recorded_at_ms: u64,
}

/// An entry in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// 0-based.
    pub position: u64,
    /// Recorded time, milliseconds since the Unix epoch. 0 if the entry was discarded, except by an early
    /// version.
    pub recorded_at_ms: u64,
    /// RFC 6962 leaf hash; kept when the bytes are discarded.
    pub leaf_hash: Hash,
    /// `None` if the entry was discarded, which means that its bytes were destroyed.
    pub bytes: Option<Vec<u8>>,
}

/// Why a commit returned no head.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The log does not end where the caller expected; nothing was written. Reload and retry.
    #[error("the log has {actual} entries instead of {expected}; nothing was written, reload and retry")]
    Conflict {
        /// The number of entries that the caller expected.
        expected: u64,
        /// The number of entries in the log.
        actual: u64,
    },
    /// Nothing was written: the device is full, or the batch exceeds a limit. The store stays usable.
    #[error("nothing was written: {0}")]
    Rejected(StoreError),
    /// It is unknown what became durable. Every later write fails too. Stop, and reopen the store: opening
    /// recovers it.
    #[error("unknown how much was written, reopen the store to recover: {0}")]
    Unknown(StoreError),
}

/// A failed read, or a failed write outside [`LogStore::commit`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system reported an error.
    #[error("{doing}: {source}")]
    Io {
        /// What was attempted; names no path with personal data.
        doing: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// The bytes read are not the bytes that were written.
    #[error("damaged: {what} at {place}; nothing was changed; restore a backup with `sayso restore`")]
    Damaged {
        /// The kind of record.
        what: &'static str,
        /// Position, file offset or page.
        place: String,
    },
    /// The database under an index failed.
    #[error("database: {0}")]
    Database(String),
    /// Another daemon has the folder open.
    #[error("another daemon has this folder open; stop it first")]
    Busy,
    /// A write exceeds a limit of the engine.
    #[error("limit exceeded: {0}")]
    LimitExceeded(&'static str),
    /// What was requested does not exist.
    #[error("no such {0}")]
    Missing(&'static str),
    /// The device is full.
    #[error("no space left on the device")]
    Full,
    /// An earlier write failed with an unknown outcome.
    #[error("the store stopped after a failed write; restart to recover")]
    Stopped,
}

/// The log: entries in order, their leaf hashes, and an index to find them.
///
/// Concurrency: any thread may call any method; the engine serializes `commit` and `discard`. Reads see
/// everything whose commit has returned.
pub trait LogStore: Send + Sync {
    /// Where the log ends. Never waits for a commit in progress.
    fn head(&self) -> Head;

    /// Appends all frames, with their leaf hashes and index records, if the log has `expected` entries.
    ///
    /// Durability: on `Ok` everything survives a power cut. After a crash before that, a prefix of the frames
    /// may be there. Each frame is there as a whole or not at all.
    ///
    /// Retry: [`CommitError::Conflict`] and [`CommitError::Rejected`] wrote nothing. After
    /// [`CommitError::Unknown`] the store must be reopened.
    fn commit(&self, expected: u64, frames: &[Frame]) -> Result<Head, CommitError>;

    /// Reads one entry. Returns [`StoreError::Missing`] for a position beyond the head, with one exception: a
    /// position that another method returned can always be read, even before the head has reached it.
    fn read_entry(&self, position: u64) -> Result<StoredEntry, StoreError>;

    /// Entries from position `start` on, in order: at most `count`, fewer at the end of the log.
    fn read_entries(&self, start: u64, count: usize) -> Result<Vec<StoredEntry>, StoreError>;

    /// (version, position) of a subject's entries from version `start` on, in order, at most `count`. The
    /// result is empty if the subject is unknown, or if all its entries were discarded.
    fn read_subject(&self, handle: Handle, start: u64, count: usize) -> Result<Vec<(u64, u64)>, StoreError>;

    /// (version, position) of the subject's newest entry that was not discarded.
    fn subject_head(&self, handle: Handle) -> Result<Option<(u64, u64)>, StoreError>;

    /// Where the request with this idempotency hash wrote: position of the first entry, and number of
    /// entries.
    ///
    /// The result spans from the first to the last entry of the request that was not discarded. So a request
    /// stays known for as long as any of its entries is left.
    fn find_idempotent(&self, hash: &Hash) -> Result<Option<(u64, u32)>, StoreError>;

    /// `count` Merkle nodes of complete subtrees from index `start` on, at `level` 0 (leaf hashes), 8, 16, ….
    /// [`StoreError::Missing`] if a subtree is not complete yet.
    fn read_hashes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, StoreError>;

    /// Destroys the bytes of these entries in place, their recorded times, and all of their index records.
    /// Leaf hashes stay.
    ///
    /// Durability: on `Ok` the bytes are overwritten and synced. After a crash before that, either the
    /// discard never began, or opening the store finishes it.
    ///
    /// Retry: safe; discarding an entry again is not an error. If any position is beyond the head, the call
    /// returns [`StoreError::Missing`] and discards nothing.
    fn discard(&self, positions: &[u64]) -> Result<(), StoreError>;

    /// The value of a custom index record.
    fn index_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// What [`LogStore::write_progress`] stored last. `None` if nothing intact is stored.
    fn read_progress(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Stores how far the ledger's walks over the index have come. This replaces what was stored before.
    ///
    /// The store can't rebuild it, and backups do not have it. Without it, the ledger repeats work.
    ///
    /// Durability: on `Ok` it survives a power cut. After a crash before that, it is there, or what was
    /// stored before.
    ///
    /// Retry: safe. A failure does not stop the store. [`StoreError::LimitExceeded`] if there are more than
    /// [`PROGRESS_BYTES_MAX`] bytes.
    fn write_progress(&self, progress: &[u8]) -> Result<(), StoreError>;

    /// Custom index records whose key starts with `prefix` and is greater than `after` (if given), in order,
    /// at most `count`.
    fn index_scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        count: usize,
    ) -> Result<Vec<IndexRecord>, StoreError>;

    /// The first position whose custom index records are missing because the index was rebuilt. The
    /// ledger reads the entries from there on and restores the records with [`LogStore::index_restore`].
    fn unindexed_from(&self) -> Option<u64>;

    /// Restores custom index records by position, durably. Records that are there already stay. Afterward no
    /// record of an entry before `done_to` is missing. Records of entries that were discarded in the meantime
    /// are dropped.
    fn index_restore(&self, records: &[(u64, Vec<IndexRecord>)], done_to: u64) -> Result<(), StoreError>;

    /// Total bytes of the entries that were not discarded, for statistics.
    fn entry_bytes(&self) -> u64;

    /// Makes everything durable and records that the log was closed.
    ///
    /// Later writes fail with [`StoreError::Stopped`]; reads still work. After a failed write, this fails
    /// with [`StoreError::Stopped`] too.
    fn close(&self) -> Result<(), StoreError>;
}

/// A key page: id and content.
pub type Page = (Vec<u8>, Vec<u8>);

/// Encrypted key pages, stored and backed up apart from the log. They can't be rebuilt from other data.
///
/// Concurrency: any thread may call any method; the engine serializes writes.
pub trait KeyStore: Send + Sync {
    /// Reads one page, verbatim.
    fn read_page(&self, id: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes (`Some`) and removes (`None`) pages, all of them or none.
    ///
    /// Durability: on `Ok` all changes survive a power cut.
    ///
    /// Retry: [`StoreError::Full`] and [`StoreError::LimitExceeded`] wrote nothing. After any other error the
    /// outcome is unknown, and later writes may fail with [`StoreError::Stopped`] until the store is
    /// reopened.
    fn write_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError>;

    /// Writes and removes pages in preparation for a later [`KeyStore::write_pages`]. Reads see the changes
    /// immediately.
    ///
    /// Durability: the changes are durable once a later [`KeyStore::write_pages`] has returned. After a crash
    /// before that, any of the changes may be there, each page as a whole or not at all.
    ///
    /// Retry: as for [`KeyStore::write_pages`], except that some of the pages may be written when
    /// [`StoreError::Full`] or [`StoreError::LimitExceeded`] is returned.
    fn stage_pages(&self, pages: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), StoreError>;

    /// Pages whose id starts with `prefix` and is greater than `after` (if given), in order, at most `count`.
    fn scan_pages(&self, prefix: &[u8], after: Option<&[u8]>, count: usize) -> Result<Vec<Page>, StoreError>;

    /// Number of pages whose id starts with `prefix`.
    fn count_pages(&self, prefix: &[u8]) -> Result<u64, StoreError>;

    /// Whether the store takes writes. It stops after a write whose outcome is unknown.
    fn takes_writes(&self) -> bool {
        true
    }
}
