//! The watermark says up to which position the flat files (arrays of fixed-size items) and the index are
//! known to be durable. Recovery starts there.
//!
//! More may be durable than the watermark says, but never less. Without a watermark, everything is rebuilt
//! from the first segment on.

use super::disk;
use crate::store::StoreError;
use crate::two_slots::{Slot, TwoSlots};
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const MAGIC: &[u8; 8] = b"SAYSOMK1";

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

impl Slot for Watermark {
    const BYTES_MAX: usize = 512;

    const FIRST_NUMBER: u64 = 1;

    fn encode(&self, number: u64) -> Vec<u8> {
        let Extent { size, bytes, sum } = self.extent;
        let mut slot = MAGIC.to_vec();
        let flags = u64::from(self.clean) | u64::from(self.indexed) << 1;
        let numbers = [number, size, bytes, sum, self.flat, self.custom, flags];
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
        let number = number(0)?;
        slot.starts_with(&watermark.encode(number)).then_some((number, watermark))
    }
}

/// The file of the watermark. A write can't run out of space, because the slots are reserved.
pub struct WatermarkFile(Mutex<TwoSlots<Watermark>>);

impl WatermarkFile {
    /// Opens or creates the file. If no slot is intact, returns the default watermark, which covers no
    /// entries.
    pub fn open(dir: &Path) -> Result<(Self, Watermark), StoreError> {
        let file = disk::open(&dir.join("mark"))?;
        disk::reserve(&file, disk::length(&file)?, 2 * Watermark::BYTES_MAX as u64, 1)?;
        let (slots, found) = TwoSlots::open(file).map_err(disk::io("reading a file of the store"))?;
        Ok((Self(Mutex::new(slots)), found.value.unwrap_or_default()))
    }

    /// Reads the watermark and the number of damaged slots, without changing anything.
    pub fn inspect(dir: &Path) -> Result<(Watermark, usize), StoreError> {
        let Ok(file) = File::open(dir.join("mark")) else { return Ok((Watermark::default(), 0)) };
        let found = TwoSlots::<Watermark>::inspect(&file).map_err(disk::io("reading a file of the store"))?;
        Ok((found.value.unwrap_or_default(), found.broken_slots))
    }

    /// Replaces the watermark, durably.
    pub fn write(&self, watermark: &Watermark) -> Result<(), StoreError> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.replace(watermark).map_err(disk::io("writing or syncing a file of the store"))
    }
}
