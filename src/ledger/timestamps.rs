//! Keeps timestamps that a timestamping authority (RFC 3161) issued for checkpoints of the log.
//!
//! The timestamps are in the folder `timestamps`, beside the file of the kept checkpoint. Each file contains
//! one timestamp and is named by the tree size of the checkpoint. No file is ever changed.

use super::{Ledger, LedgerError, StoreNodes};
use sayso_proof::bundle::TIMESTAMPS_MAX;
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::merkle::Frontier;
use sayso_proof::timestamp::Token;
use std::fs::{self, File};
use std::io::{Error, Write};
use std::path::Path;

impl Ledger {
    /// Keeps a token for the checkpoint of the first `size` entries durably. Without a file for the kept
    /// checkpoint, nothing is kept.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn keep_timestamp(&self, size: u64, token: &[u8]) -> Result<(), Error> {
        let Some(folder) = &self.timestamps else { return Ok(()) };
        fs::create_dir_all(folder)?;
        let unfinished = folder.join("unfinished");
        let mut file = File::create(&unfinished)?;
        file.write_all(token)?;
        file.sync_all()?;
        fs::rename(&unfinished, folder.join(format!("{size}.tst")))?;
        File::open(folder)?.sync_all()
    }

    /// The tree size of the newest kept timestamp; 0 if there is none.
    #[must_use]
    pub fn newest_timestamp(&self) -> u64 {
        self.timestamps.as_deref().map(sizes_in).and_then(|sizes| sizes.last().copied()).unwrap_or(0)
    }

    /// The newest kept timestamps of trees of at most `size` entries, in order of tree size, at most 1,024
    /// of them. Timestamps that can't be read, or that are of another tree, are left out: a log that was
    /// restored from a backup can have them.
    #[must_use]
    pub fn timestamps(&self, size: u64) -> Vec<(u64, Vec<u8>)> {
        let Some(folder) = &self.timestamps else { return Vec::new() };
        let sizes: Vec<u64> = sizes_in(folder).into_iter().filter(|of| (1..=size).contains(of)).collect();
        let newest = sizes.iter().skip(sizes.len().saturating_sub(TIMESTAMPS_MAX));
        let read = newest.filter_map(|of| {
            let token = fs::read(folder.join(format!("{of}.tst"))).ok()?;
            let text = self.text_at(*of).ok()?;
            let is_own = Token::parse(&token).and_then(|parsed| parsed.check_text(&text)).is_ok();
            if !is_own {
                tracing::warn!(
                    size = of,
                    "a kept timestamp is not of this log; it is left out of the export"
                );
            }
            is_own.then_some((*of, token))
        });
        read.collect()
    }

    /// The text of the checkpoint of the first `size` entries.
    fn text_at(&self, size: u64) -> Result<String, LedgerError> {
        let root = Frontier::load(size, &StoreNodes(self.store.as_ref()))?.root();
        Ok(Checkpoint { origin: self.origin.clone(), size, root }.to_text())
    }
}

/// The tree sizes of the timestamps in a folder, in order.
fn sizes_in(folder: &Path) -> Vec<u64> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let size_of = |file: fs::DirEntry| file.file_name().to_str()?.strip_suffix(".tst")?.parse().ok();
    let mut sizes: Vec<u64> = files.filter_map(size_of).collect();
    sizes.sort_unstable();
    sizes
}
