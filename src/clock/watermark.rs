//! A file with an upper bound of all times that the ledger's clock has returned. After a restart, the
//! ledger's time continues from there, even if the machine's clock is behind it.
//!
//! Two slots are written in turn, so that a torn write leaves the other slot valid. A file without a valid
//! slot counts as empty; the time then continues from the newest entry of the log.

use std::fs::{File, OpenOptions};
use std::io::Error;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Size of a slot in bytes: time, sequence number, checksum.
const SLOT_BYTES: usize = 20;
/// Offset of the second slot, in a separate sector.
const SECOND_SLOT_AT: u64 = 4_096;

/// The file of a saved time.
pub(super) struct Watermark {
    file: File,
    /// The sequence number of the next write. Its parity selects the slot.
    sequence: u64,
}

impl Watermark {
    /// Opens or creates the file. Also returns the saved time, in milliseconds since the Unix epoch, if there
    /// is one.
    ///
    /// # Errors
    /// The file cannot be opened, created or read.
    pub fn open(path: &Path) -> Result<(Self, Option<u64>), Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()?;
        let slots = [read_slot(&file, 0)?, read_slot(&file, SECOND_SLOT_AT)?];
        let next = |(_, sequence): &(u64, u64)| sequence.saturating_add(1);
        let sequence = slots.iter().flatten().map(next).max().unwrap_or_default();
        let newest = slots.into_iter().flatten().map(|(time_ms, _)| time_ms).max();
        if newest.is_none() && file.metadata()?.len() > 0 {
            tracing::warn!(
                path = %path.display(),
                "the saved time is damaged; the ledger's time continues from the log's newest entry"
            );
        }
        Ok((Self { file, sequence }, newest))
    }

    /// The same file, opened so that writes fail.
    #[cfg(test)]
    #[expect(clippy::unwrap_used, reason = "for tests")]
    pub fn failing(self) -> Self {
        Self { file: File::open("/dev/null").unwrap(), ..self }
    }

    /// Saves a time, in milliseconds since the Unix epoch. It is durable on return.
    ///
    /// # Errors
    /// The time cannot be written. The previous one is still saved.
    pub fn save(&mut self, time_ms: u64) -> Result<(), Error> {
        let mut slot = [time_ms.to_be_bytes(), self.sequence.to_be_bytes()].concat();
        slot.extend_from_slice(&crc32fast::hash(&slot).to_be_bytes());
        self.file.write_all_at(&slot, self.sequence % 2 * SECOND_SLOT_AT)?;
        self.file.sync_data()?;
        self.sequence = self.sequence.saturating_add(1);
        Ok(())
    }
}

/// The time and the sequence number of a slot. `None` if the slot is not valid.
fn read_slot(file: &File, at: u64) -> Result<Option<(u64, u64)>, Error> {
    let mut slot = [0; SLOT_BYTES];
    if file.read_at(&mut slot, at)? != SLOT_BYTES {
        return Ok(None);
    }
    let (content, checksum) = slot.split_at(SLOT_BYTES - 4);
    if crc32fast::hash(content).to_be_bytes() != checksum {
        return Ok(None);
    }
    let (time_ms, sequence) = content.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).ok();
    Ok(number(time_ms).zip(number(sequence)))
}
