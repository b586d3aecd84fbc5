//! The handlers of `OperatorService`.

use crate::api::access::layer;
use crate::api::{Api, convert, status};
use crate::domain::DAY_MS;
use crate::proto;
use crate::proto::operator_service_server::OperatorService;
use std::pin::Pin;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

/// How long checkpoints carry the signatures of both the old and the new key if the request does not say: 7
/// days.
const TRANSITION_MS: u64 = 7 * DAY_MS;

#[tonic::async_trait]
impl OperatorService for Api {
    type BackupStream = Pin<Box<dyn Stream<Item = Result<proto::BackupResponse, Status>> + Send>>;

    async fn backup(
        &self,
        _request: Request<proto::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let pieces = ReceiverStream::new(self.app.operations.backup()).map(|piece| {
            let piece = piece.map_err(status::of)?;
            let (entries_done, entries_total) = (piece.done, piece.total);
            Ok(proto::BackupResponse { chunk: piece.bytes, entries_done, entries_total })
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn rotate_log_key(
        &self,
        request: Request<proto::RotateLogKeyRequest>,
    ) -> Result<Response<proto::RotateLogKeyResponse>, Status> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let transition_ms = convert::times::duration_ms(request.transition.as_ref(), "transition")?;
        let transition_ms = transition_ms.unwrap_or(TRANSITION_MS);
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let rotated =
            self.app.operations.rotate_log_key(&caller, transition_ms, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::RotateLogKeyResponse {
            receipt: Some(convert::writes::receipt(rotated.receipt, &caller)),
            vkey: rotated.vkey,
            from_position: rotated.from_position,
            old_key_until: rotated.old_key_until_ms.map(convert::times::time),
        }))
    }

    async fn confirm_restore(
        &self,
        request: Request<proto::ConfirmRestoreRequest>,
    ) -> Result<Response<proto::ConfirmRestoreResponse>, Status> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let receipt = self.app.operations.confirm_restore(&caller, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::ConfirmRestoreResponse {
            receipt: Some(convert::writes::receipt(receipt, &caller)),
        }))
    }

    async fn accept_clock(
        &self,
        request: Request<proto::AcceptClockRequest>,
    ) -> Result<Response<proto::AcceptClockResponse>, Status> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let clock_ms = convert::times::maybe_millis(request.clock.as_ref(), "clock")?;
        let clock_ms = clock_ms.ok_or_else(|| status::invalid("clock", "must be the current time"))?;
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let (receipt, ledger_ms) =
            self.app.operations.accept_clock(&caller, clock_ms, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::AcceptClockResponse {
            receipt: Some(convert::writes::receipt(receipt, &caller)),
            ledger_time: Some(convert::times::time(ledger_ms)),
        }))
    }

    async fn get_stats(
        &self,
        _request: Request<proto::GetStatsRequest>,
    ) -> Result<Response<proto::GetStatsResponse>, Status> {
        let (ledger, clock) = (self.app.ledger(), self.app.clock_reading());
        let skew = clock.state.is_skewed().then(|| clock.state.to_string());
        Ok(Response::new(proto::GetStatsResponse {
            tree_size: ledger.checkpoint().size,
            subjects: self.app.reports.subject_count().map_err(status::of)?,
            entry_bytes: ledger.store().entry_bytes(),
            origin: ledger.origin().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            restore_unconfirmed: self.app.is_restore_unconfirmed(),
            clock_skew: skew.unwrap_or_default(),
            clock: Some(convert::times::time(clock.clock_ms)),
            ledger_time: Some(convert::times::time(clock.ledger_ms)),
        }))
    }
}
