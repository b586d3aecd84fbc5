//! The format of the two copies of the key pages, and how both are read together.
//!
//! The copies are byte for byte the same. A batch is used if it is intact in either copy. If a batch is
//! intact in neither copy, and a later batch says that the damaged one had been durable, the store reports
//! damage. If no later batch says so, the batch counts as a torn write (one that a crash interrupted).

use super::batch::{self, Batch, Header, Place};
use crate::store::StoreError;
use crate::store::embedded::disk;
use crate::store::embedded::frame::{ALIGN, field, put};
use crate::store::embedded::scan::Window;
use std::collections::BTreeMap;
use std::fs::File;

/// File names of the copies.
pub const NAMES: [&str; 2] = ["pages-1", "pages-2"];
const MAGIC: &[u8; 8] = b"SAYSOKEY";
const VERSION: u32 = 1;

/// Where each page is, by its id.
pub type Catalog = BTreeMap<Vec<u8>, Place>;

/// The header of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CopyHeader {
    /// How many times the store was compacted.
    pub generation: u64,
    /// Number of the first batch.
    pub first: u64,
}

impl CopyHeader {
    /// The 64 bytes on disk.
    pub fn encode(self) -> [u8; ALIGN] {
        let mut bytes = [0; ALIGN];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &self.generation.to_le_bytes());
        put(&mut bytes, 20, &self.first.to_le_bytes());
        let checksum = crc32fast::hash(bytes.split_at(60).0);
        put(&mut bytes, 60, &checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let generation = u64::from_le_bytes(field(bytes, 12));
        let header = Self { generation, first: u64::from_le_bytes(field(bytes, 20)) };
        (header.encode() == bytes).then_some(header)
    }

    /// The header of a copy, if it has one.
    pub fn read(file: &File) -> Result<Option<Self>, StoreError> {
        Ok(Self::decode(&disk::read(file, 0, ALIGN)?))
    }
}

/// A range that is damaged in one copy and intact in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// Index of the damaged copy.
    pub file: usize,
    /// Offset in the copy.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// The result of reading the copies from the first batch to the end.
#[derive(Debug, Default)]
pub struct Walked {
    /// Where each page is.
    pub catalog: Catalog,
    /// Offset of the end of the last intact batch.
    pub offset: u64,
    /// Number of the next batch.
    pub number: u64,
    /// Bytes of the records of current pages.
    pub live: u64,
    /// Ranges that are damaged in one copy and intact in the other.
    pub damaged: Vec<DamagedRange>,
    /// Whether at least one copy has bytes after the end that are not an intact batch.
    pub torn: bool,
}

impl Walked {
    /// Adds the records of the next batch.
    fn add(&mut self, batch: Batch) {
        for (id, place) in batch.records {
            let previous = match place {
                Some(place) => {
                    self.live = self.live.saturating_add(u64::from(place.length));
                    self.catalog.insert(id, place)
                }
                None => self.catalog.remove(&id),
            };
            let previous_bytes = previous.map_or(0, |place| u64::from(place.length));
            self.live = self.live.saturating_sub(previous_bytes);
        }
    }
}

/// Reads copies with the same header together, from the first batch to the end.
///
/// # Errors
/// [`StoreError::Damaged`] if a batch that had been durable is intact in no copy; [`StoreError::Io`] if a
/// copy can't be read.
pub fn walk(files: &[&File], header: CopyHeader) -> Result<Walked, StoreError> {
    let mut windows = files.iter().map(|file| Window::new(file)).collect::<Result<Vec<_>, _>>()?;
    let mut walked = Walked { offset: ALIGN as u64, number: header.first, ..Walked::default() };
    loop {
        let (mut intact, mut broken) = (None, Vec::new());
        for (file, window) in windows.iter_mut().enumerate() {
            match batch_at(window, walked.offset)?.filter(|batch| batch.header.number == walked.number) {
                Some(batch) => intact = Some(batch),
                None => broken.push(file),
            }
        }
        let Some(batch) = intact else { break };
        let (offset, length) = (walked.offset, u64::from(batch.header.length));
        walked.damaged.extend(broken.into_iter().map(|file| DamagedRange { file, offset, length }));
        walked.add(batch);
        walked.offset = offset.saturating_add(length);
        walked.number = walked.number.saturating_add(1);
    }
    for window in &mut windows {
        if was_durable(window, walked.offset, walked.number)? {
            let place = format!("write {}", walked.number);
            return Err(StoreError::Damaged { what: "key store, both copies", place });
        }
        walked.torn |= window.next_written(walked.offset)?.is_some();
    }
    Ok(walked)
}

fn batch_at(window: &mut Window<'_>, offset: u64) -> Result<Option<Batch>, StoreError> {
    let Some(header) = Header::decode(window.at(offset, ALIGN)?) else { return Ok(None) };
    Ok(batch::parse(window.at(offset, header.length as usize)?, offset))
}

/// Whether an intact batch after `offset` says that batch `number` had been durable.
fn was_durable(window: &mut Window<'_>, mut offset: u64, number: u64) -> Result<bool, StoreError> {
    while let Some(written) = window.next_written(offset)? {
        offset = written;
        if batch_at(window, offset)?.is_some_and(|batch| batch.header.synced > number) {
            return Ok(true);
        }
        offset = offset.saturating_add(ALIGN as u64);
    }
    Ok(false)
}
