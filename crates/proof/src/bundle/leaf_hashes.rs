//! `leaf-hashes.bin`, which comes before the entries and is needed again along with them.

use crate::merkle::Hash;
use std::io::{self, Read, Seek, SeekFrom, Write};
use tempfile::SpooledTempFile;

/// Up to so many bytes stay in memory; more go to a temporary file without a name.
const MEMORY_BYTES_MAX: usize = 16 << 20;

/// The leaf hashes of a log: written once, then read once from the first to the last.
pub(super) struct LeafHashes {
    bytes: SpooledTempFile,
}

impl Default for LeafHashes {
    fn default() -> Self {
        Self { bytes: SpooledTempFile::new(MEMORY_BYTES_MAX) }
    }
}

impl LeafHashes {
    /// Takes the next ones.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.write_all(bytes)
    }

    /// Goes back to the first one, to read from now on.
    pub fn rewind(&mut self) -> io::Result<()> {
        self.bytes.seek(SeekFrom::Start(0)).map(drop)
    }

    /// The next `count`, or as many as are left.
    pub fn next(&mut self, count: u64) -> io::Result<Vec<Hash>> {
        let mut bytes = Vec::new();
        (&mut self.bytes).take(count.saturating_mul(32)).read_to_end(&mut bytes)?;
        Ok(bytes.as_chunks().0.to_vec())
    }
}
