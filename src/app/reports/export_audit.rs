//! Exports the whole log as one bundle that can be verified offline. The memory that an export takes does not
//! grow with the log.

use crate::app::caller::Caller;
use crate::app::error::{AppError, Cause};
use crate::app::log::receipt::{Receipt, RequestStamp};
use crate::app::log::system_stream::SystemEvent;
use crate::app::reports::Reports;
use crate::audit;
use crate::domain::event::{AuditExported, Event};
use crate::domain::ids::Handle;
use crate::vault::VaultError;
use sayso_proof::entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// Chunks that wait for a slow receiver.
const CHUNKS_MAX: usize = 8;
/// How long an export waits for cosignatures.
const COSIGNATURES_WAIT_MAX: Duration = Duration::from_secs(10);
/// Entries in one read.
const READ_COUNT: usize = 256;

/// A chunk of an export or backup.
#[derive(Clone, Debug)]
pub struct ExportChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Entries written so far.
    pub done: u64,
    /// Entries in all.
    pub total: u64,
}

impl Reports {
    /// Exports the log as it is now. The export is recorded as an event, which the bundle has too. If
    /// witnesses are configured, the export waits for their cosignatures, and the bundle also has the entries
    /// written until then. With `sealed`, bodies stay sealed.
    ///
    /// # Errors
    /// The event can't be written. A later error comes through the channel, as its last message. Then the
    /// bytes before it do not verify.
    pub async fn export_audit(
        self: &Arc<Self>,
        caller: &Caller,
        sealed: bool,
    ) -> Result<mpsc::Receiver<Result<ExportChunk, AppError>>, AppError> {
        let size = self.core.ledger.checkpoint().size;
        let event = Event::AuditExported(AuditExported {
            auditor: caller.name.clone(),
            tree_size: size,
            opened: if sealed { 0 } else { size },
        });
        let events = vec![SystemEvent::new(event)];
        let now_ms = self.core.now_ms();
        // This lock keeps erasures out while the export takes its checkpoint. Otherwise an erasure could
        // destroy keys before the checkpoint and record its completion only after the checkpoint.
        self.core.prepare_subject_map().await?;
        let no_erasures = self.core.keep_erasures_out().await;
        let epoch = (self.core.vault.key_epoch(), self.core.projections.subject_map.links());
        let (no_erasures, _) = self.core.commit_subject_map(no_erasures).await?;
        let (receipt, _) =
            self.core.publish_as(caller.actor(), now_ms, events, RequestStamp::default()).await?;
        drop(no_erasures);
        let checkpoint = self.cosigned_checkpoint(&receipt).await;
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let reports = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = reports.write_bundle(&checkpoint, epoch, sealed, &sender) {
                let _receiver_gone = sender.blocking_send(Err(error));
            }
        });
        Ok(receiver)
    }

    /// A checkpoint that covers the events of a receipt, cosigned if enough witnesses answer in time.
    async fn cosigned_checkpoint(&self, receipt: &Receipt) -> String {
        let position = receipt.events.last().map_or(0, |event| event.position);
        if self.core.is_witnessed().is_some() {
            let cosigned = self.core.ledger.cosigning().wait_for(position.saturating_add(1));
            match tokio::time::timeout(COSIGNATURES_WAIT_MAX, cosigned).await {
                Ok(cosigned) => return cosigned.checkpoint.note.clone(),
                Err(_) => {
                    tracing::warn!("exporting without cosignatures: too few witnesses answered in time")
                }
            }
        }
        receipt.checkpoint.clone()
    }

    fn write_bundle(
        &self,
        checkpoint: &str,
        epoch: (u64, u64),
        sealed: bool,
        sender: &mpsc::Sender<Result<ExportChunk, AppError>>,
    ) -> Result<(), AppError> {
        let done = AtomicU64::new(0);
        let total = self.core.ledger.checkpoint().size;
        let pipe = audit::Pipe::new(|bytes| {
            let chunk = ExportChunk { bytes, done: done.load(Ordering::Relaxed), total };
            sender.blocking_send(Ok(chunk)).is_ok()
        });
        let mut bundle = audit::Bundle::begin(pipe, checkpoint, &self.core.ledger)?;
        self.write_subject_map(&mut bundle)?;
        while bundle.next() < bundle.size() {
            for stored in self.core.store().read_entries(bundle.next(), READ_COUNT)? {
                if stored.position >= bundle.size() {
                    break;
                }
                let key = match &stored.bytes {
                    Some(bytes) if !sealed => self.key_of(bytes)?,
                    _ => None,
                };
                bundle.entry(stored.bytes.as_deref(), key.as_ref())?;
                done.store(bundle.next(), Ordering::Relaxed);
            }
        }
        // If entries were erased in the meantime, the bundle would lack them and also the event that explains
        // why. If somebody was linked to their id, the bundle may have another label than the commitment.
        if (self.core.vault.key_epoch(), self.core.projections.subject_map.links()) != epoch {
            return Err(AppError::Overtaken);
        }
        Ok(bundle.finish()?)
    }

    /// Writes how each stream is in the subject map of the newest commitment in the bundle.
    fn write_subject_map<W: std::io::Write>(&self, bundle: &mut audit::Bundle<W>) -> Result<(), AppError> {
        let newest =
            self.core.projections.subject_map.newest_before(bundle.size()).ok_or(AppError::Overtaken)?;
        let mut failed = None;
        let records = self.core.map_records(newest.committed.tree_size).map(|record| {
            record.map_err(|error| {
                failed = Some(error);
                std::io::Error::other("a record of the subject map can't be read")
            })
        });
        let written = bundle.subject_map(newest.committed.subjects, records);
        failed.map_or_else(|| Ok(written?), Err)
    }

    /// The key of an entry; none for an entry of the system stream.
    fn key_of(&self, bytes: &[u8]) -> Result<Option<entry::EventKey>, AppError> {
        let header = entry::parse_header(bytes)?;
        if header.handle == Handle::SYSTEM {
            return Ok(None);
        }
        let keys = self.core.vault.by_handle(header.handle)?.ok_or(AppError::Overtaken)?;
        match keys.event_key(header.version, &header.event_id) {
            Ok(key) => Ok(Some(key)),
            Err(VaultError::Destroyed) => Err(AppError::Overtaken),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<audit::ExportError> for AppError {
    fn from(error: audit::ExportError) -> Self {
        match error {
            // The caller disconnected.
            audit::ExportError::Gone => {
                Self::Precondition("the export was aborted, because the receiver is gone")
            }
            audit::ExportError::Bundle(error) => Self::Internal(Cause::Export(std::io::Error::other(error))),
            audit::ExportError::Entry(error) => error.into(),
        }
    }
}
