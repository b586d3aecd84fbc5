//! A file that keeps the last checkpoint outside the store, so that the ledger recognizes an older copy of
//! the store.
//!
//! The file is written after each commit is durable, and synced within a second and at shutdown. A sync with
//! each commit is not needed: after a system crash, the file may have an older checkpoint, but the store
//! still continues that checkpoint. Two slots are written in turn, so that a torn write leaves the other slot
//! intact.

use super::error::LedgerError;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// Bytes of a slot: checksum, number of the write, length, note.
const SLOT: usize = 4096;
const SYNC_EVERY_MS: u64 = 1_000;

/// What a checkpoint file contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptCheckpoint {
    /// The newest note. `None` if no slot is intact.
    pub note: Option<String>,
    /// Number of slots that were written but are not intact.
    pub broken_slots: usize,
}

impl KeptCheckpoint {
    /// Number of entries of the checkpoint; 0 if there is none. The signature is not verified.
    #[must_use]
    pub fn size(&self) -> u64 {
        let line = self.note.as_ref().and_then(|note| note.lines().nth(1));
        line.and_then(|line| line.parse().ok()).unwrap_or(0)
    }
}

/// The checkpoint file, opened for writing. Only the sequencer writes it.
pub(super) struct CheckpointFile {
    file: Option<File>,
    /// The newest note when the file was opened.
    last: Option<String>,
    /// Number of the next write; even numbers go to the first slot.
    write_count: u64,
    synced_at_ms: u64,
    /// Whether the file was written since the last sync.
    dirty: bool,
    /// Number and bytes of the last write.
    written: Option<(u64, Vec<u8>)>,
    /// Whether the last sync failed. If so, the system may have dropped unwritten pages and marked them
    /// clean.
    failed: bool,
}

impl CheckpointFile {
    /// Opens or makes the file. Without a path, nothing is kept.
    pub fn open(path: Option<&Path>) -> Result<Self, LedgerError> {
        let mut opened = Self {
            file: None,
            last: None,
            write_count: 0,
            synced_at_ms: 0,
            dirty: false,
            written: None,
            failed: false,
        };
        if let Some(path) = path {
            let file = open_file(path).map_err(LedgerError::CheckpointFile)?;
            let newest = [0, 1].map(|slot| read_slot(&file, slot)).into_iter().flatten().max();
            // A torn write leaves the other slot intact. Only before the second write may both slots be
            // broken.
            let length = file.metadata().map_err(LedgerError::CheckpointFile)?.len();
            if newest.is_none() && length > SLOT as u64 {
                let damaged =
                    Error::new(ErrorKind::InvalidData, "it is damaged: neither of its two slots is intact");
                return Err(LedgerError::CheckpointFile(damaged));
            }
            if let Some((number, note)) = newest {
                (opened.write_count, opened.last) = (number.saturating_add(1), Some(note));
            }
            opened.file = Some(file);
        }
        Ok(opened)
    }

    /// Reads the file without changing it; the result is empty if there is no file.
    pub fn inspect(path: &Path) -> Result<KeptCheckpoint, LedgerError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(KeptCheckpoint::default()),
            Err(error) => return Err(LedgerError::CheckpointFile(error)),
        };
        let (mut newest, mut broken_slots) = (None, 0);
        for slot in [0, 1] {
            match read_slot(&file, slot) {
                Some(whole) => newest = newest.max(Some(whole)),
                None if is_written(&file, slot).map_err(LedgerError::CheckpointFile)? => broken_slots += 1,
                None => {}
            }
        }
        Ok(KeptCheckpoint { note: newest.map(|(_, note)| note), broken_slots })
    }

    /// The newest note when the file was opened.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Writes a note without a sync; the sequencer syncs after it has answered the writers.
    pub fn keep(&mut self, note: &str) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let too_long = || Error::new(ErrorKind::InvalidInput, "the checkpoint is too long for its slot");
        let mut slot = self.write_count.to_be_bytes().to_vec();
        slot.extend_from_slice(&u32::try_from(note.len()).map_err(|_| too_long())?.to_be_bytes());
        slot.extend_from_slice(note.as_bytes());
        let checksum = crc32fast::hash(&slot);
        slot.splice(0..0, checksum.to_be_bytes());
        if slot.len() > SLOT {
            return Err(too_long());
        }
        file.write_all_at(&slot, self.write_count % 2 * SLOT as u64)?;
        self.written = Some((self.write_count, slot));
        self.write_count = self.write_count.saturating_add(1);
        self.dirty = true;
        Ok(())
    }

    /// Time left until the next sync is due; `None` if there is nothing to sync.
    pub fn due_in(&self, now_ms: u64) -> Option<Duration> {
        // If the clock went back, the sync must not be delayed.
        let since = now_ms.abs_diff(self.synced_at_ms);
        (self.dirty && self.file.is_some())
            .then(|| Duration::from_millis(SYNC_EVERY_MS.saturating_sub(since)))
    }

    /// Makes the last written note durable.
    pub fn sync(&mut self, now_ms: u64) -> Result<(), Error> {
        // The time is set before the attempt, so that a failed sync is tried again after a second and not at
        // every batch.
        self.synced_at_ms = now_ms;
        if let Some(file) = self.file.as_ref().filter(|_| self.dirty) {
            if let (true, Some((number, slot))) = (self.failed, &self.written) {
                file.write_all_at(slot, number % 2 * SLOT as u64)?;
            }
            let synced = file.sync_data();
            self.failed = synced.is_err();
            synced?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// Opens or makes the file, and makes its name durable.
fn open_file(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()?;
    Ok(file)
}

/// Whether a slot was ever written.
fn is_written(file: &File, slot: u64) -> Result<bool, Error> {
    let mut bytes = vec![0; SLOT];
    let count = file.read_at(&mut bytes, slot * SLOT as u64)?;
    Ok(bytes.iter().take(count).any(|byte| *byte != 0))
}

fn read_slot(file: &File, slot: u64) -> Option<(u64, String)> {
    let mut bytes = vec![0; SLOT];
    let count = file.read_at(&mut bytes, slot * SLOT as u64).ok()?;
    bytes.truncate(count);
    let (checksum, rest) = bytes.split_first_chunk::<4>()?;
    let (number, tail) = rest.split_first_chunk::<8>()?;
    let (length, note) = tail.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let note = note.get(..length)?;
    let summed = rest.get(..12 + length)?;
    (crc32fast::hash(summed).to_be_bytes() == *checksum).then_some(())?;
    Some((u64::from_be_bytes(*number), String::from_utf8(note.to_vec()).ok()?))
}
