//! The last checkpoint, kept outside the store: a store that is behind it is not the newest copy.
//!
//! The commit itself is durable already, so this is no second flush in its way: the file is written after each commit
//! and synced at least each second and at the end. Two slots take turns, so that a torn write leaves the other whole.

use super::error::LedgerError;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// Bytes of a slot: checksum, turn, length, note.
const SLOT: usize = 4096;
const SYNC_EVERY_MS: u64 = 1_000;

/// A kept checkpoint as it is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptCheckpoint {
    /// The newest note; none where none is kept, or none is whole.
    pub note: Option<String>,
    /// Slots that were written and are not whole.
    pub broken_slots: usize,
}

impl KeptCheckpoint {
    /// How many entries it was given out for; 0 where that can't be said. Who signed it is not looked at here.
    #[must_use]
    pub fn size(&self) -> u64 {
        let line = self.note.as_ref().and_then(|note| note.lines().nth(1));
        line.and_then(|line| line.parse().ok()).unwrap_or(0)
    }
}

/// The kept checkpoint.
pub(super) struct CheckpointFile {
    file: Option<File>,
    last: Option<String>,
    /// Which slot is written next.
    write_count: u64,
    synced_at_ms: u64,
    /// Written to since the last sync.
    dirty: bool,
    /// The slot that was written last, and at which turn.
    written: Option<(u64, Vec<u8>)>,
    /// The last sync failed: the system may have dropped what it could not write, and would call it clean.
    failed: bool,
}

impl CheckpointFile {
    /// Opens or makes the file; without a path, nothing is kept.
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
            // One torn slot leaves the other whole; only before the second was ever written there may be none.
            let length = file.metadata().map_err(LedgerError::CheckpointFile)?.len();
            if newest.is_none() && length > SLOT as u64 {
                let damaged = Error::new(ErrorKind::InvalidData, "damaged: neither of its slots is whole");
                return Err(LedgerError::CheckpointFile(damaged));
            }
            if let Some((turn, note)) = newest {
                (opened.write_count, opened.last) = (turn.saturating_add(1), Some(note));
            }
            opened.file = Some(file);
        }
        Ok(opened)
    }

    /// What is kept, without changing anything; nothing where there is no file.
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

    /// The newest note that was kept before this start.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Keeps a note. No sync: that comes after those who wait were answered.
    pub fn keep(&mut self, note: &str) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        let too_long = || Error::new(ErrorKind::InvalidInput, "the note is too long for its slot");
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

    /// How long what was kept may still wait for its sync; nothing where nothing waits.
    pub fn due_in(&self, now_ms: u64) -> Option<Duration> {
        // A clock that went back must not put it off for longer.
        let since = now_ms.abs_diff(self.synced_at_ms);
        (self.dirty && self.file.is_some())
            .then(|| Duration::from_millis(SYNC_EVERY_MS.saturating_sub(since)))
    }

    /// Makes what is kept durable.
    pub fn sync(&mut self, now_ms: u64) -> Result<(), Error> {
        // Before the attempt: one that fails is made again a second later, not at every turn.
        self.synced_at_ms = now_ms;
        if let Some(file) = self.file.as_ref().filter(|_| self.dirty) {
            if let (true, Some((turn, slot))) = (self.failed, &self.written) {
                file.write_all_at(slot, turn % 2 * SLOT as u64)?;
            }
            let synced = file.sync_data();
            self.failed = synced.is_err();
            synced?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// The file, its name durable.
fn open_file(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()?;
    Ok(file)
}

/// Whether anything stands in a slot.
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
    let (turn, tail) = rest.split_first_chunk::<8>()?;
    let (length, note) = tail.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let note = note.get(..length)?;
    let summed = rest.get(..12 + length)?;
    (crc32fast::hash(summed).to_be_bytes() == *checksum).then_some(())?;
    Some((u64::from_be_bytes(*turn), String::from_utf8(note.to_vec()).ok()?))
}
