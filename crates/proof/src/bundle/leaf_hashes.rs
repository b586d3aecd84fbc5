//! Keeps the hashes of `leaf-hashes.bin` until the entries are checked against them, because in a bundle this
//! file comes before the files of entries.

use crate::merkle::Hash;
use std::io::{self, Read, Seek, SeekFrom, Write};
use tempfile::SpooledTempFile;

/// Bytes kept in memory. Larger content goes to an unnamed temporary file.
const MEMORY_BYTES_MAX: usize = 16 << 20;

/// The leaf hashes of a log, written once and then read once from first to last.
pub(super) struct LeafHashes {
    bytes: SpooledTempFile,
}

impl Default for LeafHashes {
    fn default() -> Self {
        Self { bytes: SpooledTempFile::new(MEMORY_BYTES_MAX) }
    }
}

impl LeafHashes {
    /// Appends the next bytes of the file.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.write_all(bytes)
    }

    /// Returns to the first hash. Call it once, between writing and reading.
    pub fn rewind(&mut self) -> io::Result<()> {
        self.bytes.seek(SeekFrom::Start(0)).map(drop)
    }

    /// Reads the next `count` hashes, or as many as are left.
    pub fn read_next(&mut self, count: u64) -> io::Result<Vec<Hash>> {
        let mut bytes = Vec::new();
        (&mut self.bytes).take(count.saturating_mul(32)).read_to_end(&mut bytes)?;
        Ok(bytes.as_chunks().0.to_vec())
    }
}
