//! The whole log as one bundle that verifies offline, in memory that does not grow with it.

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

/// Pieces that wait for a slow reader.
const WAITING_MAX: usize = 8;
/// How long an export waits for witnesses to cosign what it holds.
const WITNESSES_WAIT_MAX: Duration = Duration::from_secs(10);
/// Entries read at once.
const READ_COUNT: usize = 256;

/// The next piece of an export.
#[derive(Clone, Debug)]
pub struct ExportChunk {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Entries done.
    pub done: u64,
    /// Entries there are.
    pub total: u64,
}

impl Reports {
    /// Exports the log as it is now. The export itself is an event in the bundle, which where witnesses are
    /// asked waits for them and holds what was written meanwhile. `sealed` leaves
    /// bodies closed.
    ///
    /// # Errors
    /// The event can't be written. Later errors come through the channel, after which nothing follows: what came
    /// before does not verify.
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
        let plain = vec![SystemEvent::new(event)];
        let now_ms = self.core.now_ms();
        // No erasure may stand between its keys and its word when the export's checkpoint is taken.
        let quiet = self.core.erasing.write().await;
        let epoch = self.core.vault.key_epoch();
        let (receipt, _) =
            self.core.publish_as(caller.actor(), now_ms, plain, RequestStamp::default()).await?;
        drop(quiet);
        let checkpoint = self.cosigned_from(&receipt).await;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let reports = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = reports.write_bundle(&checkpoint, epoch, sealed, &sender) {
                let _gone = sender.blocking_send(Err(error));
            }
        });
        Ok(receiver)
    }

    /// A checkpoint that holds what a receipt is for, cosigned where witnesses answer in time.
    async fn cosigned_from(&self, receipt: &Receipt) -> String {
        let position = receipt.events.last().map_or(0, |event| event.position);
        if self.core.is_witnessed().is_some() {
            let cosigned = self.core.ledger.cosigning().wait_for(position.saturating_add(1));
            match tokio::time::timeout(WITNESSES_WAIT_MAX, cosigned).await {
                Ok(cosigned) => return cosigned.checkpoint.note.clone(),
                Err(_) => tracing::warn!("an export goes without cosignatures: too few witnesses answer"),
            }
        }
        receipt.checkpoint.clone()
    }

    fn write_bundle(
        &self,
        checkpoint: &str,
        epoch: u64,
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
        while bundle.next() < bundle.size() {
            for stored in self.core.store().read_entries(bundle.next(), READ_COUNT)? {
                if stored.position >= bundle.size() {
                    break;
                }
                let key = match &stored.bytes {
                    Some(bytes) if !sealed => self.key_of(bytes)?,
                    _ => None,
                };
                bundle.entry(stored.recorded_at_ms, stored.bytes.as_deref(), key.as_ref())?;
                done.store(bundle.next(), Ordering::Relaxed);
            }
        }
        // What was erased while this was written is missing from it without the event that says so.
        if self.core.vault.key_epoch() != epoch {
            return Err(AppError::Overtaken);
        }
        Ok(bundle.finish(&self.core.ledger)?)
    }

    /// The key of an entry; none for one about nobody.
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
            // Whoever asked has gone.
            audit::ExportError::Gone => Self::Precondition("the export was not taken"),
            audit::ExportError::Bundle(error) => Self::Internal(Cause::Export(std::io::Error::other(error))),
        }
    }
}
