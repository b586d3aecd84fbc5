//! Writes an audit bundle from the ledger.

use crate::ledger::{Ledger, Signing};
use sayso_proof::bundle::{BundleError, BundleWriter, EntryLine, LineError, MapRecord};
use sayso_proof::entry::{EntryError, EventKey, parse_header};
use sayso_proof::merkle::{Hash, Nodes};
use std::io::Write;
use std::sync::Arc;

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The receiver is gone.
    #[error("the receiver of the export is gone")]
    Gone,
    /// The bundle can't be written.
    #[error(transparent)]
    Bundle(BundleError),
    /// The bytes of an entry are not an entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

impl From<BundleError> for ExportError {
    fn from(error: BundleError) -> Self {
        match error {
            BundleError::Io(io) if io.kind() == std::io::ErrorKind::BrokenPipe => Self::Gone,
            other => Self::Bundle(other),
        }
    }
}

impl From<LineError> for ExportError {
    fn from(error: LineError) -> Self {
        Self::Bundle(error.into())
    }
}

struct LeafHashes<'a>(&'a Ledger);

impl Nodes for LeafHashes<'_> {
    type Error = crate::store::StoreError;
    fn nodes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, Self::Error> {
        self.0.store().read_hashes(level, start, count)
    }
}

/// A bundle that is being written.
pub struct Bundle<W: Write> {
    writer: BundleWriter<W>,
    /// The key that signed the checkpoint signs the bundle too, even if the log key changes meanwhile.
    signing: Arc<Signing>,
    next: u64,
    /// The largest `sealed_at_ms` of the entries so far that still exist.
    recorded_at_ms: u64,
}

impl<W: Write> Bundle<W> {
    /// Begins a bundle of the entries that a checkpoint covers.
    ///
    /// # Errors
    /// The checkpoint does not belong to the ledger, or writing fails.
    pub fn begin(out: W, checkpoint: &str, ledger: &Ledger) -> Result<Self, ExportError> {
        let signing = ledger.signing();
        let mut writer = BundleWriter::new(out, checkpoint, &signing.chain)?;
        for (size, token) in ledger.timestamps(writer.tree_size()) {
            writer.timestamp(size, &token)?;
        }
        writer.leaf_hashes(&LeafHashes(ledger))?;
        Ok(Self { writer, signing, next: 0, recorded_at_ms: 0 })
    }

    /// Writes the records of the subject map, before the first entry.
    ///
    /// # Errors
    /// There are other than `subjects` records, they can't be read, or writing fails.
    pub fn subject_map(
        &mut self,
        subjects: u64,
        records: impl Iterator<Item = std::io::Result<MapRecord>>,
    ) -> Result<(), ExportError> {
        Ok(self.writer.subject_map(subjects, records)?)
    }

    /// Number of entries that the bundle will have.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.writer.tree_size()
    }

    /// Position of the next entry.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Adds the next entry. It is opened if its key is given, and sealed if not. Without bytes, it is an
    /// erased entry. The recorded time of each entry follows from the entries that exist, so that nothing
    /// shows when an erased entry was recorded.
    ///
    /// # Errors
    /// The bytes are not an entry, the key does not open it, or writing fails.
    pub fn entry(&mut self, bytes: Option<&[u8]>, key: Option<&EventKey>) -> Result<(), ExportError> {
        let line = match bytes {
            Some(bytes) => {
                self.recorded_at_ms = self.recorded_at_ms.max(parse_header(bytes)?.sealed_at_ms);
                EntryLine::new(self.next, self.recorded_at_ms, bytes, key)?
            }
            None => EntryLine::erased(self.next, self.recorded_at_ms),
        };
        self.writer.entry(&line)?;
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// Ends the bundle with its manifest, signatures and trailer.
    ///
    /// # Errors
    /// Entries are missing, or writing fails.
    pub fn finish(self) -> Result<(), ExportError> {
        self.writer.finish(self.signing.key.signing())?;
        Ok(())
    }
}
