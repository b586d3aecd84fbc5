//! A file that keeps the last checkpoint outside the store, so that the ledger recognizes an older copy of
//! the store.
//!
//! The file is written after each commit is durable, and synced within a second and at shutdown. A sync with
//! each commit is not needed: after a system crash, the file may have an older checkpoint, but the store
//! still continues that checkpoint.

use super::error::LedgerError;
use crate::two_slots::{Slot, TwoSlots};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

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

/// The note of a checkpoint.
struct Note(String);

impl Slot for Note {
    const BYTES_MAX: usize = 4_096;

    const MAY_BE_UNREADABLE: bool = true;

    /// Checksum, number of the write, length, note.
    fn encode(&self, number: u64) -> Vec<u8> {
        let Self(note) = self;
        // A longer note does not fit into a slot.
        let length = u32::try_from(note.len()).unwrap_or(u32::MAX);
        let content = [&number.to_be_bytes(), length.to_be_bytes().as_slice(), note.as_bytes()].concat();
        [crc32fast::hash(&content).to_be_bytes().as_slice(), &content].concat()
    }

    fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let (checksum, rest) = bytes.split_first_chunk::<4>()?;
        let (number, tail) = rest.split_first_chunk::<8>()?;
        let (length, note) = tail.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let note = note.get(..length)?;
        let summed = rest.get(..12 + length)?;
        (crc32fast::hash(summed).to_be_bytes() == *checksum).then_some(())?;
        Some((u64::from_be_bytes(*number), Self(String::from_utf8(note.to_vec()).ok()?)))
    }
}

/// The checkpoint file, opened for writing. Only the sequencer writes it.
pub(super) struct CheckpointFile {
    slots: Option<TwoSlots<Note>>,
    /// The newest note when the file was opened.
    last: Option<String>,
    synced_at_ms: u64,
}

impl CheckpointFile {
    /// Opens or makes the file. Without a path, nothing is kept.
    pub fn open(path: Option<&Path>) -> Result<Self, LedgerError> {
        let Some(path) = path else { return Ok(Self { slots: None, last: None, synced_at_ms: 0 }) };
        let file = open_file(path).map_err(LedgerError::CheckpointFile)?;
        let length = file.metadata().map_err(LedgerError::CheckpointFile)?.len();
        let (slots, found) = TwoSlots::open(file).map_err(LedgerError::CheckpointFile)?;
        // A torn write leaves the other slot intact. Only before the second write may both slots be broken.
        if found.value.is_none() && length > Note::BYTES_MAX as u64 {
            let damaged =
                Error::new(ErrorKind::InvalidData, "it is damaged: neither of its two slots is intact");
            return Err(LedgerError::CheckpointFile(damaged));
        }
        Ok(Self { slots: Some(slots), last: found.value.map(|Note(note)| note), synced_at_ms: 0 })
    }

    /// Reads the file without changing it; the result is empty if there is no file.
    pub fn inspect(path: &Path) -> Result<KeptCheckpoint, LedgerError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(KeptCheckpoint::default()),
            Err(error) => return Err(LedgerError::CheckpointFile(error)),
        };
        let found = TwoSlots::inspect(&file).map_err(LedgerError::CheckpointFile)?;
        Ok(KeptCheckpoint { note: found.value.map(|Note(note)| note), broken_slots: found.broken_slots })
    }

    /// The newest note when the file was opened.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Writes a note without a sync; the sequencer syncs after it has answered the writers.
    pub fn keep(&mut self, note: &str) -> Result<(), Error> {
        match &mut self.slots {
            Some(slots) => slots.write(&Note(note.to_owned())),
            None => Ok(()),
        }
    }

    /// Time left until the next sync is due; `None` if there is nothing to sync.
    pub fn due_in(&self, now_ms: u64) -> Option<Duration> {
        // If the clock went back, the sync must not be delayed.
        let since = now_ms.abs_diff(self.synced_at_ms);
        let is_unsynced = self.slots.as_ref().is_some_and(TwoSlots::is_unsynced);
        is_unsynced.then(|| Duration::from_millis(SYNC_EVERY_MS.saturating_sub(since)))
    }

    /// Makes the last written note durable.
    pub fn sync(&mut self, now_ms: u64) -> Result<(), Error> {
        // The time is set before the attempt, so that a failed sync is tried again after a second and not at
        // every batch.
        self.synced_at_ms = now_ms;
        self.slots.as_mut().map_or(Ok(()), TwoSlots::sync)
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
