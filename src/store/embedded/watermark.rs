//! The mark: what was durable when it was written, so that opening need not look further back.
//!
//! The mark only ever says less than what is true. Without it everything is rebuilt from the first segment on.

use super::disk;
use crate::store::StoreError;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"SAYSOMK1";
/// Bytes of a slot: a disk sector, so that the slots don't tear each other.
const SLOT: u64 = 512;

/// The first `size` entries, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Number of entries.
    pub size: u64,
    /// Bytes of those among them that were not discarded.
    pub bytes: u64,
    /// Sum of the index records that belong to them (`records::sum`), wrapping.
    pub sum: u64,
}

impl Extent {
    /// Takes what a discarded entry at `position` had out of the sums, if it is one of these entries.
    pub fn forget(&mut self, position: u64, bytes: u64, sum: u64) {
        if position < self.size {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.sum = self.sum.wrapping_sub(sum);
        }
    }
}

/// What is known to be durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// So many entries were durable, and the index held every record of them.
    pub extent: Extent,
    /// Flat files are good up to this position.
    pub flat: u64,
    /// Further index records of entries below are complete.
    pub further: u64,
    /// The index can be trusted as far as the extent goes; not while it is being rebuilt.
    pub indexed: bool,
    /// The log was closed here, and nothing was written since.
    pub clean: bool,
}

impl Watermark {
    fn encode(&self, turn: u64) -> Vec<u8> {
        let Extent { size, bytes, sum } = self.extent;
        let mut slot = MAGIC.to_vec();
        let flags = u64::from(self.clean) | u64::from(self.indexed) << 1;
        let numbers = [turn, size, bytes, sum, self.flat, self.further, flags];
        numbers.iter().for_each(|number| slot.extend_from_slice(&number.to_be_bytes()));
        let checksum = crc32fast::hash(&slot);
        slot.extend_from_slice(&checksum.to_be_bytes());
        slot
    }

    fn decode(slot: &[u8]) -> Option<(u64, Self)> {
        let (numbers, _) = slot.strip_prefix(MAGIC)?.split_first_chunk::<56>()?;
        let number = |at: usize| numbers.as_chunks::<8>().0.get(at).map(|bytes| u64::from_be_bytes(*bytes));
        let mark = Self {
            extent: Extent { size: number(1)?, bytes: number(2)?, sum: number(3)? },
            flat: number(4)?,
            further: number(5)?,
            indexed: number(6)? & 2 != 0,
            clean: number(6)? & 1 != 0,
        };
        let turn = number(0)?;
        slot.starts_with(&mark.encode(turn)).then_some((turn, mark))
    }
}

/// Where the mark is kept: two slots that take turns, so that a torn write leaves the other. Written in place, so that
/// it can't run out of room.
pub struct WatermarkFile {
    file: File,
    turn: AtomicU64,
}

impl WatermarkFile {
    /// Opens or makes the file. The mark is as if nothing were known where none is whole.
    pub fn open(dir: &Path) -> Result<(Self, Watermark), StoreError> {
        let file = disk::open(&dir.join("mark"))?;
        disk::reserve(&file, disk::length(&file)?, 2 * SLOT, 1)?;
        let bytes = disk::read(&file, 0, 2 * SLOT as usize)?;
        let slots = bytes.chunks(SLOT as usize).filter_map(Watermark::decode);
        let (turn, mark) = slots.max_by_key(|(turn, _)| *turn).unwrap_or_default();
        Ok((Self { file, turn: AtomicU64::new(turn) }, mark))
    }

    /// The mark, and how many slots were written and are not whole, without changing anything.
    pub fn inspect(dir: &Path) -> Result<(Watermark, usize), StoreError> {
        let Ok(file) = File::open(dir.join("mark")) else { return Ok((Watermark::default(), 0)) };
        let bytes = disk::read(&file, 0, 2 * SLOT as usize)?;
        let written = bytes.chunks(SLOT as usize).filter(|slot| slot.iter().any(|byte| *byte != 0));
        let slots: Vec<_> = written.map(Watermark::decode).collect();
        let broken = slots.iter().filter(|slot| slot.is_none()).count();
        let newest = slots.into_iter().flatten().max_by_key(|(turn, _)| *turn);
        Ok((newest.unwrap_or_default().1, broken))
    }

    /// Replaces the mark, durably. One at a time: under the writer's lock.
    pub fn write(&self, mark: &Watermark) -> Result<(), StoreError> {
        let turn = self.turn.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        disk::write(&self.file, turn % 2 * SLOT, &mark.encode(turn))?;
        disk::sync(&self.file)
    }
}
