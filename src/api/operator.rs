//! `OperatorService`.

use super::{Api, status};
use crate::proto;
use crate::proto::operator_service_server::OperatorService;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl OperatorService for Api {
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
