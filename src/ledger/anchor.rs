//! The last checkpoint, kept outside the store: a store that is behind it is not the newest copy.
//!
//! The commit itself is durable already, so this is no second flush in its way: the file is written after each commit
//! and synced at least each second and at the end. Two slots take turns, so that a torn write leaves the other whole.

use super::LedgerError;
use std::fs::{File, OpenOptions};
use std::io::Error;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a slot: checksum, length, note.
const SLOT: usize = 4096;
const SYNC_EVERY_MS: u64 = 1_000;

/// The kept checkpoint.
pub(super) struct Anchor {
    file: Option<File>,
    last: Option<String>,
    /// Which slot is written next.
    turn: u64,
    synced_at_ms: u64,
}

impl Anchor {
    /// Opens or makes the file; without a path, nothing is kept.
    pub fn open(path: Option<&Path>) -> Result<Self, LedgerError> {
        let Some(path) = path else { return Ok(Self { file: None, last: None, turn: 0, synced_at_ms: 0 }) };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(LedgerError::Anchor)?;
        let newest = [0, 1].map(|slot| read_slot(&file, slot)).into_iter().flatten().max();
        let (turn, last) = newest.map_or((0, None), |(turn, note)| (turn + 1, Some(note)));
        Ok(Self { file: Some(file), last, turn, synced_at_ms: 0 })
    }

    /// The newest note that was kept.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Keeps a note.
    pub fn keep(&mut self, note: &str, now_ms: u64) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut slot = self.turn.to_be_bytes().to_vec();
        slot.extend_from_slice(&u32::try_from(note.len()).unwrap_or(u32::MAX).to_be_bytes());
        slot.extend_from_slice(note.as_bytes());
        let checksum = crc32fast::hash(&slot);
        slot.splice(0..0, checksum.to_be_bytes());
        file.write_all_at(&slot, self.turn % 2 * SLOT as u64)?;
        self.turn += 1;
        if now_ms >= self.synced_at_ms.saturating_add(SYNC_EVERY_MS) {
            self.synced_at_ms = now_ms;
            file.sync_data()?;
        }
        Ok(())
    }

    /// Makes what is kept durable.
    pub fn sync(&self) -> Result<(), Error> {
        self.file.as_ref().map_or(Ok(()), File::sync_all)
    }
}

fn read_slot(file: &File, slot: u64) -> Option<(u64, String)> {
    let mut bytes = vec![0; SLOT];
    let count = file.read_at(&mut bytes, slot * SLOT as u64).ok()?;
    bytes.truncate(count);
    let (checksum, rest) = bytes.split_first_chunk::<4>()?;
    let (turn, tail) = rest.split_first_chunk::<8>()?;
    let (length, note) = tail.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let note = note.get(..length)?;
    let summed = rest.get(..12 + length)?;
    (crc32fast::hash(summed).to_be_bytes() == *checksum).then_some(())?;
    Some((u64::from_be_bytes(*turn), String::from_utf8(note.to_vec()).ok()?))
}
