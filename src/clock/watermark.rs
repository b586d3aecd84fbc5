//! A file with an upper bound of all times that the ledger's clock has returned. After a restart, the
//! ledger's time continues from there, even if the machine's clock is behind it.
//!
//! The later time of the two slots counts. A file without an intact slot counts as empty; the time then
//! continues from the newest entry of the log.

use crate::two_slots::{Slot, TwoSlots};
use std::fs::{File, OpenOptions};
use std::io::Error;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A saved time, milliseconds since the Unix epoch.
struct SavedTime(u64);

impl Slot for SavedTime {
    const BYTES_MAX: usize = 4_096;

    /// Time, number of the write, checksum.
    fn encode(&self, number: u64) -> Vec<u8> {
        let mut bytes = [self.0.to_be_bytes(), number.to_be_bytes()].concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<(u64, Self)> {
        let (time_ms, rest) = bytes.split_first_chunk::<8>()?;
        let (number, _) = rest.split_first_chunk::<8>()?;
        let (time, number) = (Self(u64::from_be_bytes(*time_ms)), u64::from_be_bytes(*number));
        bytes.starts_with(&time.encode(number)).then_some((number, time))
    }
}

/// The file of a saved time.
pub(super) struct Watermark(TwoSlots<SavedTime>);

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
        let is_empty = file.metadata()?.len() == 0;
        let (slots, found) = TwoSlots::open(file)?;
        if found.value.is_none() && !is_empty {
            tracing::warn!(
                path = %path.display(),
                "the saved time is damaged; the ledger's time continues from the log's newest entry"
            );
        }
        let times_ms = found.value.into_iter().chain(found.before).map(|SavedTime(time_ms)| time_ms);
        Ok((Self(slots), times_ms.max()))
    }

    /// The same file, opened so that writes fail.
    #[cfg(test)]
    #[expect(clippy::unwrap_used, reason = "for tests")]
    pub fn failing(self) -> Self {
        Self(self.0.failing(File::open("/dev/null").unwrap()))
    }

    /// Saves a time, in milliseconds since the Unix epoch. It is durable on return.
    ///
    /// # Errors
    /// The time cannot be written. The previous one is still saved.
    pub fn save(&mut self, time_ms: u64) -> Result<(), Error> {
        self.0.replace(&SavedTime(time_ms))
    }
}
