//! `OperatorService`.

use super::{Api, status};
use crate::proto;
use crate::proto::operator_service_server::OperatorService;
use std::pin::Pin;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl OperatorService for Api {
    type BackupStream = Pin<Box<dyn Stream<Item = Result<proto::BackupResponse, Status>> + Send>>;

    async fn backup(
        &self,
        _request: Request<proto::BackupRequest>,
    ) -> Result<Response<Self::BackupStream>, Status> {
        let pieces = ReceiverStream::new(self.app.backup()).map(|piece| {
            let piece = piece.map_err(status::of)?;
            let (entries_done, entries_total) = (piece.done, piece.total);
            Ok(proto::BackupResponse { chunk: piece.bytes, entries_done, entries_total })
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn get_stats(
        &self,
        _request: Request<proto::GetStatsRequest>,
    ) -> Result<Response<proto::GetStatsResponse>, Status> {
        let ledger = self.app.ledger();
        Ok(Response::new(proto::GetStatsResponse {
            tree_size: ledger.checkpoint().size,
            subjects: self.app.subject_count().map_err(status::of)?,
            entry_bytes: ledger.store().entry_bytes(),
            origin: ledger.origin().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}
