//! Limits the data that a verifier writes to temporary files, in proportion to the bytes that it has read, so
//! that a small file cannot fill a disk.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that may be put aside, no matter how few bytes were read. They fit in memory.
const FREE_BYTES: u64 = 64 << 20;
/// Maximum ratio of the bytes put aside to the bytes read. Entries that are not system events are encrypted,
/// so they do not compress.
const RATIO_MAX: u64 = 4;
/// Bytes of leaf hashes that may be put aside, no matter how few bytes were read.
const LEAVES_FREE_BYTES: u64 = 1 << 20;
/// Maximum ratio of the leaf hashes put aside to the bytes read. Hashes do not compress.
const LEAVES_RATIO_MAX: u64 = 2;

/// Bytes that may always be unpacked.
const UNPACKED_FREE_BYTES: u64 = 64 << 20;
/// Maximum ratio of the unpacked bytes to the bytes read. A bundle holds each system event up to three times,
/// and equal policies may be published often.
const UNPACKED_RATIO_MAX: u64 = 100;

/// The bytes of the bundle, as stored, that were read so far. Clones count together.
#[derive(Clone, Default)]
pub(super) struct BytesRead(Rc<Cell<u64>>);

impl BytesRead {
    pub fn add(&self, bytes: u64) {
        self.0.set(self.0.get().saturating_add(bytes));
    }

    fn allow(&self, put_aside: u64, free: u64, ratio: u64) -> bool {
        put_aside <= free.saturating_add(self.0.get().saturating_mul(ratio))
    }

    /// Whether this many bytes of entries may be put aside.
    pub fn allow_entries(&self, put_aside: u64) -> Result<(), String> {
        match self.allow(put_aside, FREE_BYTES, RATIO_MAX) {
            true => Ok(()),
            false => Err("the entries are too large for the size of the bundle".to_owned()),
        }
    }

    /// Whether this many bytes may be unpacked into a folder.
    pub fn allow_unpacked(&self, written: u64) -> Result<(), String> {
        match self.allow(written, UNPACKED_FREE_BYTES, UNPACKED_RATIO_MAX) {
            true => Ok(()),
            false => Err("the bundle is more than 100 times larger unpacked than packed".to_owned()),
        }
    }

    /// Whether this many bytes of leaf hashes may be put aside.
    pub fn allow_leaves(&self, put_aside: u64) -> Result<(), String> {
        match self.allow(put_aside, LEAVES_FREE_BYTES, LEAVES_RATIO_MAX) {
            true => Ok(()),
            false => Err("the hashes are compressed, which leaf hashes cannot be".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_aside_is_limited_by_what_was_read() {
        let read = BytesRead::default();
        assert!(
            read.allow_leaves(LEAVES_FREE_BYTES).is_ok() && read.allow_leaves(LEAVES_FREE_BYTES + 1).is_err()
        );
        assert!(read.allow_entries(FREE_BYTES).is_ok() && read.allow_entries(FREE_BYTES + 1).is_err());
        read.clone().add(10);
        assert!(read.allow_leaves(LEAVES_FREE_BYTES + 20).is_ok());
        assert!(read.allow_leaves(LEAVES_FREE_BYTES + 21).is_err());
        assert!(read.allow_entries(FREE_BYTES + 40).is_ok() && read.allow_entries(FREE_BYTES + 41).is_err());
    }
}
