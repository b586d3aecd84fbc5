//! Stores how far the ledger's retention passes have come, which go through the index and find what has
//! expired. After a restart, the passes continue from there. The file has two slots, so that a torn write
//! leaves the other slot intact.

use super::disk;
use crate::store::{PROGRESS_BYTES_MAX, StoreError};
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const MAGIC: &[u8; 8] = b"SAYSOPR1";
/// Bytes of a slot: whole disk sectors, so that a torn write of one slot leaves the other intact.
const SLOT_BYTES: u64 = 4 << 10;
/// Bytes of a slot besides the progress: magic, number of the write, length, checksum.
const FIELDS_BYTES: usize = 8 + 8 + 4 + 4;

const _: () = assert!(PROGRESS_BYTES_MAX + FIELDS_BYTES <= SLOT_BYTES as usize);

/// The file of the progress: two slots that are written alternately. They are overwritten in place, so a
/// write can't run out of space.
pub struct ProgressFile {
    file: File,
    /// The number of the newest write. Locked during a write.
    newest: Mutex<u64>,
}

impl ProgressFile {
    /// Opens or creates the file.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let file = disk::open(&dir.join("progress"))?;
        disk::reserve(&file, disk::length(&file)?, 2 * SLOT_BYTES, 1)?;
        let newest = read(&file)?.map_or(0, |(number, _)| number);
        Ok(Self { file, newest: Mutex::new(newest) })
    }

    /// The progress in the newest intact slot, if any.
    pub fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let _no_write = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(read(&self.file)?.map(|(_, progress)| progress))
    }

    /// Replaces the progress, durably.
    pub fn write(&self, progress: &[u8]) -> Result<(), StoreError> {
        let length = u32::try_from(progress.len()).ok().filter(|_| progress.len() <= PROGRESS_BYTES_MAX);
        let length = length.ok_or(StoreError::LimitExceeded("progress has at most 4,000 bytes"))?;
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let number = newest.saturating_add(1);
        let mut slot = [MAGIC, number.to_be_bytes().as_slice(), &length.to_be_bytes(), progress].concat();
        let checksum = crc32fast::hash(&slot);
        slot.extend_from_slice(&checksum.to_be_bytes());
        // If this write fails, the next one goes to the same slot, so the other slot stays intact.
        disk::write(&self.file, number % 2 * SLOT_BYTES, &slot)?;
        disk::sync(&self.file)?;
        *newest = number;
        Ok(())
    }
}

/// The number of the newest intact slot, and the progress in it.
fn read(file: &File) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    let bytes = disk::read(file, 0, 2 * SLOT_BYTES as usize)?;
    Ok(bytes.chunks(SLOT_BYTES as usize).filter_map(decode).max_by_key(|(number, _)| *number))
}

fn decode(slot: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (number, rest) = slot.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (progress, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    let covered = slot.get(..FIELDS_BYTES.saturating_sub(4).saturating_add(progress.len()))?;
    let is_intact = crc32fast::hash(covered).to_be_bytes() == *checksum;
    is_intact.then(|| (u64::from_be_bytes(*number), progress.to_vec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_progress_survives_and_a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let open = || ProgressFile::open(dir.path()).unwrap();
        assert_eq!(open().read().unwrap(), None);
        for text in ["first", "second, longer", ""] {
            open().write(text.as_bytes()).unwrap();
            assert_eq!(open().read().unwrap().unwrap(), text.as_bytes());
        }
        open().write(b"fourth").unwrap();
        // The fourth write went to the first slot. Every flipped bit and every cut of it is noticed.
        let path = dir.path().join("progress");
        let intact = std::fs::read(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        for at in 0..(FIELDS_BYTES + 6) as u64 {
            let byte = intact.get(usize::try_from(at).unwrap()).unwrap();
            file.write_all_at(&[byte ^ 1], at).unwrap();
            assert_eq!(open().read().unwrap().unwrap(), b"", "byte {at}");
            file.write_all_at(&[*byte], at).unwrap();
        }
        assert_eq!(open().read().unwrap().unwrap(), b"fourth");
        // A file of other bytes counts as empty, and is written again.
        std::fs::write(&path, vec![7; 100]).unwrap();
        assert_eq!(open().read().unwrap(), None);
        open().write(&[1; PROGRESS_BYTES_MAX]).unwrap();
        assert_eq!(open().read().unwrap().unwrap(), [1; PROGRESS_BYTES_MAX]);
        let result = open().write(&[1; PROGRESS_BYTES_MAX + 1]);
        assert!(matches!(result, Err(StoreError::LimitExceeded(_))));
    }
}
