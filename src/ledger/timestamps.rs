//! Keeps timestamps that a timestamping authority (RFC 3161) issued for checkpoints of the log.
//!
//! The timestamps are in the folder `timestamps`, beside the file with the last checkpoint
//! (`kept_checkpoint.rs`). Each file contains one timestamp and is named by the tree size of the
//! checkpoint. A file is replaced only if a restored log reaches the same size again.

use super::{Ledger, LedgerError, StoreNodes};
use sayso_proof::bundle::TIMESTAMPS_MAX;
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::merkle::Frontier;
use sayso_proof::timestamp::Token;
use std::fs::{self, File};
use std::io::{Error, Write};
use std::path::{Path, PathBuf};

impl Ledger {
    /// Keeps a token for the checkpoint of the first `size` entries durably. Without a file for the kept
    /// checkpoint, nothing is kept.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn keep_timestamp(&self, size: u64, token: &[u8]) -> Result<(), Error> {
        let Some(folder) = &self.timestamps else { return Ok(()) };
        write_timestamp(folder, size, token)
    }

    /// The tree size of the newest kept timestamp; 0 if there is none. A log that was restored from a backup
    /// can have timestamps of larger trees, which it lost. They do not count.
    #[must_use]
    pub fn newest_timestamp(&self) -> u64 {
        self.timestamp_sizes(self.checkpoint().size).last().copied().unwrap_or(0)
    }

    /// The newest kept timestamps of trees of at most `size` entries, in order of tree size, at most 1,024
    /// of them.
    #[must_use]
    pub fn timestamps(&self, size: u64) -> Vec<(u64, Vec<u8>)> {
        let sizes = self.timestamp_sizes(size);
        let newest = sizes.iter().skip(sizes.len().saturating_sub(TIMESTAMPS_MAX));
        newest.filter_map(|of| Some((*of, self.timestamp(*of)?))).collect()
    }

    /// The tree sizes, in order, of all kept timestamps of trees of at most `size` entries.
    #[must_use]
    pub fn timestamp_sizes(&self, size: u64) -> Vec<u64> {
        let sizes = self.timestamps.as_deref().map(sizes_in).unwrap_or_default();
        sizes.into_iter().filter(|of| (1..=size).contains(of)).collect()
    }

    /// The kept timestamp of the first `size` entries. `None` if it can't be read, or is of another tree: a
    /// log that was restored from a backup can have such timestamps.
    #[must_use]
    pub fn timestamp(&self, size: u64) -> Option<Vec<u8>> {
        let token = fs::read(path_of(self.timestamps.as_deref()?, size)).ok()?;
        let text = self.text_at(size).ok()?;
        let is_own = Token::parse(&token).and_then(|parsed| parsed.check_text(&text)).is_ok();
        if !is_own {
            tracing::warn!(size, "a kept timestamp is not of this log; exports and backups leave it out");
        }
        is_own.then_some(token)
    }

    /// The text of the checkpoint of the first `size` entries.
    fn text_at(&self, size: u64) -> Result<String, LedgerError> {
        let root = Frontier::load(size, &StoreNodes(self.store.as_ref()))?.root();
        Ok(Checkpoint { origin: self.origin.clone(), size, root }.to_text())
    }
}

fn path_of(folder: &Path, size: u64) -> PathBuf {
    folder.join(format!("{size}.tst"))
}

/// Writes a token for the checkpoint of the first `size` entries into a folder durably.
///
/// # Errors
/// The file can't be written.
pub fn write_timestamp(folder: &Path, size: u64, token: &[u8]) -> Result<(), Error> {
    fs::create_dir_all(folder)?;
    let unfinished = folder.join("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(token)?;
    file.sync_all()?;
    fs::rename(&unfinished, path_of(folder, size))?;
    File::open(folder)?.sync_all()
}

/// The tree sizes of the timestamps in a folder, in order.
fn sizes_in(folder: &Path) -> Vec<u64> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let size_of = |file: fs::DirEntry| file.file_name().to_str()?.strip_suffix(".tst")?.parse().ok();
    let mut sizes: Vec<u64> = files.filter_map(size_of).collect();
    sizes.sort_unstable();
    sizes
}
