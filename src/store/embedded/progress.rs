//! Stores how far the ledger's retention passes have come. A retention pass goes through the index and
//! finds what has expired. After a restart, the passes continue from the stored place.

use super::disk;
use crate::store::{PROGRESS_BYTES_MAX, StoreError};
use crate::two_slots::{Slot, TwoSlots};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const MAGIC: &[u8; 8] = b"SAYSOPR1";
/// Bytes of a slot besides the progress: magic, number of the write, length, checksum.
const FIELDS_BYTES: usize = 8 + 8 + 4 + 4;

const _: () = assert!(PROGRESS_BYTES_MAX + FIELDS_BYTES <= Progress::BYTES_MAX);

#[derive(Clone)]
struct Progress(Vec<u8>);

impl Slot for Progress {
    const BYTES_MAX: usize = 4 << 10;

    const FIRST_NUMBER: u64 = 1;

    fn encode(&self, number: u64) -> Vec<u8> {
        let Self(progress) = self;
        let length = u32::try_from(progress.len()).unwrap_or(u32::MAX);
        let mut slot = [MAGIC, number.to_be_bytes().as_slice(), &length.to_be_bytes(), progress].concat();
        let checksum = crc32fast::hash(&slot);
        slot.extend_from_slice(&checksum.to_be_bytes());
        slot
    }

    fn decode(slot: &[u8]) -> Option<(u64, Self)> {
        let (number, rest) = slot.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (progress, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let (checksum, _) = rest.split_first_chunk::<4>()?;
        let covered = slot.get(..FIELDS_BYTES.saturating_sub(4).saturating_add(progress.len()))?;
        let is_intact = crc32fast::hash(covered).to_be_bytes() == *checksum;
        is_intact.then(|| (u64::from_be_bytes(*number), Self(progress.to_vec())))
    }
}

/// The file of the progress. A write can't run out of space, because the slots are reserved.
pub struct ProgressFile(Mutex<State>);

struct State {
    slots: TwoSlots<Progress>,
    current: Option<Progress>,
}

impl ProgressFile {
    /// Opens or creates the file.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let file = disk::open(&dir.join("progress"))?;
        disk::reserve(&file, disk::length(&file)?, 2 * Progress::BYTES_MAX as u64, 1)?;
        let (slots, found) = TwoSlots::open(file).map_err(disk::io("reading a file of the store"))?;
        Ok(Self(Mutex::new(State { slots, current: found.value })))
    }

    /// The progress, if any is stored.
    pub fn read(&self) -> Option<Vec<u8>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.current.clone().map(|Progress(progress)| progress)
    }

    /// Replaces the progress, durably.
    pub fn write(&self, progress: &[u8]) -> Result<(), StoreError> {
        if progress.len() > PROGRESS_BYTES_MAX {
            return Err(StoreError::LimitExceeded("progress has at most 4,000 bytes"));
        }
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = Progress(progress.to_vec());
        state.slots.replace(&progress).map_err(disk::io("writing or syncing a file of the store"))?;
        state.current = Some(progress);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_progress_survives_and_a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let open = || ProgressFile::open(dir.path()).unwrap();
        assert_eq!(open().read(), None);
        for text in ["first", "second, longer", ""] {
            open().write(text.as_bytes()).unwrap();
            assert_eq!(open().read().unwrap(), text.as_bytes());
        }
        open().write(b"fourth").unwrap();
        // The fourth write went to the first slot. Every flipped bit and every cut of it is noticed.
        let path = dir.path().join("progress");
        let intact = std::fs::read(&path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        for at in 0..(FIELDS_BYTES + 6) as u64 {
            let byte = intact.get(usize::try_from(at).unwrap()).unwrap();
            file.write_all_at(&[byte ^ 1], at).unwrap();
            assert_eq!(open().read().unwrap(), b"", "byte {at}");
            file.write_all_at(&[*byte], at).unwrap();
        }
        assert_eq!(open().read().unwrap(), b"fourth");
        // A file of other bytes counts as empty, and is written again.
        std::fs::write(&path, vec![7; 100]).unwrap();
        assert_eq!(open().read(), None);
        open().write(&[1; PROGRESS_BYTES_MAX]).unwrap();
        assert_eq!(open().read().unwrap(), [1; PROGRESS_BYTES_MAX]);
        let result = open().write(&[1; PROGRESS_BYTES_MAX + 1]);
        assert!(matches!(result, Err(StoreError::LimitExceeded(_))));
    }
}
