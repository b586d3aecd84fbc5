//! The two copies of the key pages, byte for byte the same: how they are read together at open.
//!
//! A batch counts where either copy has it whole. One that neither has whole is a torn end, unless a later one says that
//! it had been durable: then it is damage.

use super::batch::{self, Batch, Header, Place};
use crate::store::StoreError;
use crate::store::embedded::disk;
use crate::store::embedded::frame::{ALIGN, field, put};
use crate::store::embedded::scan::Window;
use std::collections::BTreeMap;
use std::fs::File;

/// Names of the copies in the folder.
pub const NAMES: [&str; 2] = ["pages-1", "pages-2"];
const MAGIC: &[u8; 8] = b"SAYSOKEY";
const VERSION: u32 = 1;

/// Where each page lies, by its id.
pub type Catalogue = BTreeMap<Vec<u8>, Place>;

/// What a copy begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Title {
    /// How often the store was compacted.
    pub generation: u64,
    /// Number of the first batch.
    pub first: u64,
}

impl Title {
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
        let title = Self { generation, first: u64::from_le_bytes(field(bytes, 20)) };
        (title.encode() == bytes).then_some(title)
    }

    /// Of a copy, if it has one.
    pub fn read(file: &File) -> Result<Option<Self>, StoreError> {
        Ok(Self::decode(&disk::read(file, 0, ALIGN)?))
    }
}

/// A range of one copy that is not what the other has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mend {
    /// Which of the files that were walked.
    pub file: usize,
    /// Offset.
    pub at: u64,
    /// Bytes.
    pub length: u64,
}

/// What a walk through the copies came to.
#[derive(Debug, Default)]
pub struct Walked {
    /// Where the pages lie.
    pub catalogue: Catalogue,
    /// Offset behind the last whole batch.
    pub at: u64,
    /// Number that follows it.
    pub number: u64,
    /// Bytes of the records that count.
    pub live: u64,
    /// What one copy lacks and the other has.
    pub mends: Vec<Mend>,
    /// Something that is no whole batch lies behind the end of at least one copy.
    pub torn: bool,
}

/// Puts a batch's records where they belong.
fn take(walked: &mut Walked, batch: Batch) {
    for (id, place) in batch.records {
        let before = match place {
            Some(place) => {
                walked.live = walked.live.saturating_add(u64::from(place.length));
                walked.catalogue.insert(id, place)
            }
            None => walked.catalogue.remove(&id),
        };
        walked.live = walked.live.saturating_sub(before.map_or(0, |place| u64::from(place.length)));
    }
}

/// Walks copies of the same title together, from the first batch to the end.
///
/// # Errors
/// [`StoreError::Damaged`] where a batch that had been durable is whole in none of them; or they can't be read.
pub fn walk(files: &[&File], title: Title) -> Result<Walked, StoreError> {
    let mut windows = files.iter().map(|file| Window::new(file)).collect::<Result<Vec<_>, _>>()?;
    let mut walked = Walked { at: ALIGN as u64, number: title.first, ..Walked::default() };
    loop {
        let (mut whole, mut broken) = (None, Vec::new());
        for (file, window) in windows.iter_mut().enumerate() {
            match batch_at(window, walked.at)?.filter(|batch| batch.header.number == walked.number) {
                Some(batch) => whole = Some(batch),
                None => broken.push(file),
            }
        }
        let Some(batch) = whole else { break };
        let (at, length) = (walked.at, u64::from(batch.header.length));
        walked.mends.extend(broken.into_iter().map(|file| Mend { file, at, length }));
        take(&mut walked, batch);
        walked.at = at.saturating_add(length);
        walked.number = walked.number.saturating_add(1);
    }
    for window in &mut windows {
        if later(window, walked.at, walked.number)? {
            let place = format!("write {}", walked.number);
            return Err(StoreError::Damaged { what: "key store, both copies", place });
        }
        walked.torn |= window.next_written(walked.at)?.is_some();
    }
    Ok(walked)
}

fn batch_at(window: &mut Window<'_>, at: u64) -> Result<Option<Batch>, StoreError> {
    let Some(header) = Header::decode(window.at(at, ALIGN)?) else { return Ok(None) };
    Ok(batch::parse(window.at(at, header.length as usize)?, at))
}

/// Whether a whole batch follows that says that batch `number` had been durable.
fn later(window: &mut Window<'_>, mut at: u64, number: u64) -> Result<bool, StoreError> {
    while let Some(written) = window.next_written(at)? {
        at = written;
        if batch_at(window, at)?.is_some_and(|batch| batch.header.synced > number) {
            return Ok(true);
        }
        at = at.saturating_add(ALIGN as u64);
    }
    Ok(false)
}
