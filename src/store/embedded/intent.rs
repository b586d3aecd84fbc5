//! The intent of a discard: its positions, written durably before the first entry is touched.
//!
//! If a crash interrupts a discard, opening the log reads the intent and finishes the discard.

use super::disk;
use crate::store::StoreError;
use std::fs::File;
use std::path::Path;

/// The file of the discard in progress: count, checksum, positions. If the file is empty or the count is 0,
/// no discard is in progress.
pub struct Intent {
    file: File,
}

impl Intent {
    /// Opens or creates the file.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { file: disk::open(&dir.join("discarding"))? })
    }

    /// The positions of an unfinished discard, without changing anything.
    pub fn inspect(dir: &Path) -> Result<Vec<u64>, StoreError> {
        let path = dir.join("discarding");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let file = File::open(path).map_err(disk::io("opening a file of the store"))?;
        Self { file }.pending()
    }

    /// Reserves space for a list of positions, so that [`Intent::begin`] can't run out of space.
    pub fn reserve(&self, positions: usize) -> Result<(), StoreError> {
        let bytes = (positions as u64).saturating_mul(8).saturating_add(12);
        disk::reserve(&self.file, disk::length(&self.file)?, bytes, 1).map(drop)
    }

    /// Writes durably that these positions are going to be discarded.
    pub fn begin(&self, positions: &[u64]) -> Result<(), StoreError> {
        let list: Vec<u8> = positions.iter().flat_map(|position| position.to_be_bytes()).collect();
        let mut bytes = (positions.len() as u64).to_be_bytes().to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&list).to_be_bytes());
        bytes.extend_from_slice(&list);
        disk::write(&self.file, 0, &bytes)?;
        disk::sync(&self.file)
    }

    /// Writes that the discard is finished. This is not synced on purpose, because repeating a discard does
    /// no harm.
    pub fn end(&self) -> Result<(), StoreError> {
        self.file.set_len(0).map_err(disk::io("ending a discard"))
    }

    /// The positions of an unfinished discard. A torn list counts as empty: its discard never began.
    pub fn pending(&self) -> Result<Vec<u64>, StoreError> {
        let length = usize::try_from(disk::length(&self.file)?).unwrap_or(0);
        let bytes = disk::read(&self.file, 0, length)?;
        Ok(decode(&bytes).unwrap_or_default())
    }
}

fn decode(bytes: &[u8]) -> Option<Vec<u64>> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u64::from_be_bytes(*count)).ok()?.checked_mul(8)?;
    let list = rest.get(..length)?;
    let intact = crc32fast::hash(list).to_be_bytes() == *checksum;
    intact.then(|| list.as_chunks::<8>().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect())
}
