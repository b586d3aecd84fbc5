//! The watermark says up to which position the flat files (arrays of fixed-size items) and the index are
//! known to be durable. Recovery starts there.
//!
//! More may be durable than the watermark says, but never less. Without a watermark, everything is rebuilt
//! from the first segment on.

use super::disk;
use crate::store::StoreError;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"SAYSOMK1";
/// Bytes of a slot: one disk sector, so that a torn write of one slot leaves the other intact.
const SLOT_BYTES: u64 = 512;

/// Totals over the first `size` entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Number of entries.
    pub size: u64,
    /// Bytes of the entries that were not discarded.
    pub bytes: u64,
    /// Wrapping sum of their index records (`records::sum`).
    pub sum: u64,
}

impl Extent {
    /// Subtracts a discarded entry, or a change of its index records, if `position` is one of these entries.
    pub fn subtract(&mut self, position: u64, bytes: u64, sum: u64) {
        if position < self.size {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.sum = self.sum.wrapping_sub(sum);
        }
    }
}

/// What is known to be durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    /// These entries were durable, and the index had all of their records.
    pub extent: Extent,
    /// The flat files are complete up to this position.
    pub flat: u64,
    /// Custom index records are complete up to this position.
    pub custom: u64,
    /// Whether the index can be trusted for these entries; false while it is being rebuilt.
    pub indexed: bool,
    /// Whether the log was closed here; nothing was written afterwards.
    pub clean: bool,
}

impl Watermark {
    fn encode(&self, turn: u64) -> Vec<u8> {
        let Extent { size, bytes, sum } = self.extent;
        let mut slot = MAGIC.to_vec();
        let flags = u64::from(self.clean) | u64::from(self.indexed) << 1;
        let numbers = [turn, size, bytes, sum, self.flat, self.custom, flags];
        numbers.iter().for_each(|number| slot.extend_from_slice(&number.to_be_bytes()));
        let checksum = crc32fast::hash(&slot);
        slot.extend_from_slice(&checksum.to_be_bytes());
        slot
    }

    fn decode(slot: &[u8]) -> Option<(u64, Self)> {
        let (numbers, _) = slot.strip_prefix(MAGIC)?.split_first_chunk::<56>()?;
        let number = |at: usize| numbers.as_chunks::<8>().0.get(at).map(|bytes| u64::from_be_bytes(*bytes));
        let watermark = Self {
            extent: Extent { size: number(1)?, bytes: number(2)?, sum: number(3)? },
            flat: number(4)?,
            custom: number(5)?,
            indexed: number(6)? & 2 != 0,
            clean: number(6)? & 1 != 0,
        };
        let turn = number(0)?;
        slot.starts_with(&watermark.encode(turn)).then_some((turn, watermark))
    }
}

/// The file of the watermark: two slots that are written alternately, so that a torn write leaves the other
/// intact.
///
/// The slots are overwritten in place, so a write can't run out of space.
pub struct WatermarkFile {
    file: File,
    turn: AtomicU64,
}

impl WatermarkFile {
    /// Opens or creates the file. If no slot is intact, returns the default watermark, which covers no
    /// entries.
    pub fn open(dir: &Path) -> Result<(Self, Watermark), StoreError> {
        let file = disk::open(&dir.join("mark"))?;
        disk::reserve(&file, disk::length(&file)?, 2 * SLOT_BYTES, 1)?;
        let bytes = disk::read(&file, 0, 2 * SLOT_BYTES as usize)?;
        let slots = bytes.chunks(SLOT_BYTES as usize).filter_map(Watermark::decode);
        let (turn, watermark) = slots.max_by_key(|(turn, _)| *turn).unwrap_or_default();
        Ok((Self { file, turn: AtomicU64::new(turn) }, watermark))
    }

    /// Reads the watermark and the number of damaged slots, without changing anything.
    pub fn inspect(dir: &Path) -> Result<(Watermark, usize), StoreError> {
        let Ok(file) = File::open(dir.join("mark")) else { return Ok((Watermark::default(), 0)) };
        let bytes = disk::read(&file, 0, 2 * SLOT_BYTES as usize)?;
        let written = bytes.chunks(SLOT_BYTES as usize).filter(|slot| slot.iter().any(|byte| *byte != 0));
        let slots: Vec<_> = written.map(Watermark::decode).collect();
        let damaged = slots.iter().filter(|slot| slot.is_none()).count();
        let newest = slots.into_iter().flatten().max_by_key(|(turn, _)| *turn);
        Ok((newest.unwrap_or_default().1, damaged))
    }

    /// Replaces the watermark, durably. The caller holds the writer's lock.
    pub fn write(&self, watermark: &Watermark) -> Result<(), StoreError> {
        let turn = self.turn.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        disk::write(&self.file, turn % 2 * SLOT_BYTES, &watermark.encode(turn))?;
        disk::sync(&self.file)
    }
}
