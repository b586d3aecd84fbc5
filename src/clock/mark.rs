//! A time that is kept in a file: after a restart the ledger's time goes on from there, whatever the machine's clock says.
//!
//! Two slots take turns, so that a torn write leaves the other whole. A file without a whole slot counts as none: the time
//! then goes on from the newest entry of the log.

use std::fs::{File, OpenOptions};
use std::io::Error;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a slot: time, turn, checksum.
const SLOT: usize = 20;
/// Where the second slot begins: a sector of its own.
const SECOND: u64 = 4_096;

/// The file of a kept time.
pub(super) struct Mark {
    file: File,
    /// Which slot is written next.
    turn: u64,
}

impl Mark {
    /// Opens or makes the file; gives the time that it holds, milliseconds since the Unix epoch, if it holds one.
    ///
    /// # Errors
    /// The file can't be opened, made or read.
    pub fn open(path: &Path) -> Result<(Self, Option<u64>), Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()?;
        let slots = [read(&file, 0)?, read(&file, SECOND)?];
        let turn = slots.iter().flatten().map(|(_, turn)| turn.saturating_add(1)).max().unwrap_or_default();
        let newest = slots.into_iter().flatten().map(|(time_ms, _)| time_ms).max();
        if newest.is_none() && file.metadata()?.len() > 0 {
            tracing::warn!(path = %path.display(), "the kept time is damaged; time goes on from the log's newest entry");
        }
        Ok((Self { file, turn }, newest))
    }

    /// As if its disk took nothing any more.
    #[cfg(test)]
    #[expect(clippy::unwrap_used, reason = "for tests")]
    pub fn that_fails(self) -> Self {
        Self { file: File::open("/dev/null").unwrap(), ..self }
    }

    /// Keeps a time; durable when it returns.
    ///
    /// # Errors
    /// It can't be written; the time before is still kept.
    pub fn keep(&mut self, time_ms: u64) -> Result<(), Error> {
        let mut slot = [time_ms.to_be_bytes(), self.turn.to_be_bytes()].concat();
        slot.extend_from_slice(&crc32fast::hash(&slot).to_be_bytes());
        self.file.write_all_at(&slot, self.turn % 2 * SECOND)?;
        self.file.sync_data()?;
        self.turn = self.turn.saturating_add(1);
        Ok(())
    }
}

/// Time and turn of a slot; nothing where it is not whole.
fn read(file: &File, at: u64) -> Result<Option<(u64, u64)>, Error> {
    let mut slot = [0; SLOT];
    if file.read_at(&mut slot, at)? != SLOT {
        return Ok(None);
    }
    let (summed, checksum) = slot.split_at(SLOT - 4);
    if crc32fast::hash(summed).to_be_bytes() != checksum {
        return Ok(None);
    }
    let (time_ms, turn) = summed.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).ok();
    Ok(number(time_ms).zip(number(turn)))
}
