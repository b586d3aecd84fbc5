//! Writes a backup while the daemon runs. One file holds the log, its timestamps, and the sealed key tree
//! (people's keys, encrypted under the root key). The three are consistent with each other.
//!
//! The key tree in a backup opens only with the root key that was in force at the time of the backup.
//! Together, the key tree and this root key open everything that had been recorded by then. Every erasure
//! replaces the root key and destroys the old one, so after the next erasure the key tree in the backup can't
//! be opened. A restore then needs the key tree that the data folder still has, and brings back every data
//! subject except the erased ones.

use crate::app::error::{AppError, Cause};
use crate::app::operations::Operations;
use crate::app::reports::export_audit::ExportChunk;
use crate::audit;
use crate::store::backup::BackupWriter;
use std::io::{Error, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Chunks that wait for a slow receiver.
const CHUNKS_MAX: usize = 8;
/// Entries in one read.
const READ_COUNT: usize = 256;

impl Operations {
    /// Writes a backup into the returned channel. Erasures wait while the last part of the backup is read,
    /// because the log and the key tree must be consistent there. During an erasure they are not, from the
    /// destruction of the keys until the event that records it.
    ///
    /// # Errors
    /// An error comes through the channel, as its last message. Then the bytes before it are not a complete
    /// backup.
    pub fn backup(self: &Arc<Self>) -> mpsc::Receiver<Result<ExportChunk, AppError>> {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let operations = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = operations.write_backup(&sender) {
                let _receiver_gone = sender.blocking_send(Err(error));
            }
        });
        receiver
    }

    fn write_backup(&self, sender: &mpsc::Sender<Result<ExportChunk, AppError>>) -> Result<(), AppError> {
        let (done, total) = (AtomicU64::new(0), self.core.ledger.checkpoint().size);
        let pipe = audit::Pipe::new(|bytes| {
            let chunk = ExportChunk { bytes, done: done.load(Ordering::Relaxed), total };
            sender.blocking_send(Ok(chunk)).is_ok()
        });
        let mut backup = BackupWriter::begin(pipe).map_err(failed)?;
        self.copy_entries(&mut backup, 0, total, &done)?;
        // An erasure may still discard entries that were copied already. The restore discards them again.
        let (checkpoint, tail, pages) = {
            let _no_erasures = self.core.keep_erasures_out_blocking();
            let checkpoint = self.core.ledger.checkpoint();
            let mut tail = Vec::new();
            let mut next = total;
            while next < checkpoint.size {
                let left = usize::try_from(checkpoint.size.saturating_sub(next)).unwrap_or(READ_COUNT);
                let entries = self.core.store().read_entries(next, left.min(READ_COUNT))?;
                next = next.saturating_add(entries.len() as u64);
                tail.extend(entries);
            }
            let pages = tokio::runtime::Handle::current().block_on(self.core.vault.pages())?;
            (checkpoint, tail, pages)
        };
        tail.iter().try_for_each(|entry| backup.entry(entry)).map_err(failed)?;
        backup.checkpoint(&checkpoint.note).map_err(failed)?;
        let ledger = &self.core.ledger;
        for size in ledger.timestamp_sizes(checkpoint.size) {
            let token = ledger.timestamp(size);
            token.map_or(Ok(()), |token| backup.timestamp(size, &token)).map_err(failed)?;
        }
        pages.iter().try_for_each(|page| backup.key_page(page)).map_err(failed)?;
        backup.finish().map_err(failed)
    }

    fn copy_entries<W: Write>(
        &self,
        backup: &mut BackupWriter<W>,
        mut next: u64,
        end: u64,
        done: &AtomicU64,
    ) -> Result<(), AppError> {
        while next < end {
            let left = usize::try_from(end.saturating_sub(next)).unwrap_or(READ_COUNT);
            for entry in self.core.store().read_entries(next, left.min(READ_COUNT))? {
                backup.entry(&entry).map_err(failed)?;
                next = entry.position.saturating_add(1);
            }
            done.store(next, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn failed(error: Error) -> AppError {
    match error.kind() {
        ErrorKind::BrokenPipe => {
            AppError::Precondition("the backup was aborted, because the receiver is gone")
        }
        _ => AppError::Internal(Cause::Export(error)),
    }
}
