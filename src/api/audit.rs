//! The handlers of `AuditService`.

use crate::api::access::layer;
use crate::api::{Api, report, status};
use crate::proto;
use crate::proto::audit_service_server::AuditService;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type ReportAnswer = Result<proto::GetTransparencyReportResponse, Status>;
type ExportAnswer = Result<proto::ExportAuditResponse, Status>;

fn hashes(hashes: &[[u8; 32]]) -> Vec<Vec<u8>> {
    hashes.iter().map(|hash| hash.to_vec()).collect()
}

#[tonic::async_trait]
impl AuditService for Api {
    async fn get_checkpoint(
        &self,
        _request: Request<proto::GetCheckpointRequest>,
    ) -> Answer<proto::GetCheckpointResponse> {
        let checkpoint = self.app.ledger().checkpoint();
        let (note, tree_size) = (checkpoint.note.clone(), checkpoint.size);
        let cosigned = self.app.ledger().cosigning().newest();
        let (cosigned, cosigned_size, witnesses) = cosigned.map_or_else(Default::default, |of| {
            (of.checkpoint.note.clone(), of.checkpoint.size, of.witnesses.clone())
        });
        Ok(Response::new(proto::GetCheckpointResponse {
            checkpoint: note,
            tree_size,
            cosigned,
            cosigned_size,
            witnesses,
        }))
    }

    async fn get_log_keys(
        &self,
        _request: Request<proto::GetLogKeysRequest>,
    ) -> Answer<proto::GetLogKeysResponse> {
        let keys = self.app.ledger().key_chain();
        let (vkey, keys) = (keys.newest().to_string(), keys.to_jsonl());
        Ok(Response::new(proto::GetLogKeysResponse { keys, vkey }))
    }

    async fn get_entry(&self, request: Request<proto::GetEntryRequest>) -> Answer<proto::GetEntryResponse> {
        let found = self.app.reports.raw_entry(request.into_inner().position).map_err(status::of)?;
        Ok(Response::new(proto::GetEntryResponse {
            erased: found.bytes.is_none(),
            entry: found.bytes.unwrap_or_default(),
            leaf_hash: found.leaf_hash.to_vec(),
        }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<proto::GetInclusionProofRequest>,
    ) -> Answer<proto::GetInclusionProofResponse> {
        let request = request.into_inner();
        let found = self.app.reports.inclusion(request.position, request.tree_size).map_err(status::of)?;
        Ok(Response::new(proto::GetInclusionProofResponse {
            leaf_hash: found.leaf_hash.to_vec(),
            hashes: hashes(&found.hashes),
            tree_size: found.size,
            proof: found.text.unwrap_or_default(),
        }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<proto::GetConsistencyProofRequest>,
    ) -> Answer<proto::GetConsistencyProofResponse> {
        let request = request.into_inner();
        let found = self.app.reports.consistency(request.from_size, request.to_size).map_err(status::of)?;
        Ok(Response::new(proto::GetConsistencyProofResponse {
            hashes: hashes(&found.hashes),
            to_size: found.size,
            checkpoint: found.checkpoint,
        }))
    }

    async fn prove_subject(
        &self,
        request: Request<proto::ProveSubjectRequest>,
    ) -> Answer<proto::ProveSubjectResponse> {
        let caller = layer::caller(&request)?;
        let subject = caller.subject_of(&request.into_inner().subject).map_err(status::of)?;
        self.app.record_view(&caller, &subject, "ProveSubject").await.map_err(status::of)?;
        let proof = self.app.reports.prove_subject(&subject).await.map_err(status::of)?;
        Ok(Response::new(proto::ProveSubjectResponse { proof }))
    }

    type ExportAuditStream = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = ExportAnswer> + Send>>;

    async fn export_audit(
        &self,
        request: Request<proto::ExportAuditRequest>,
    ) -> Answer<Self::ExportAuditStream> {
        let caller = layer::caller(&request)?;
        let sealed = request.into_inner().sealed;
        let chunks = self.app.reports.export_audit(&caller, sealed).await.map_err(status::of)?;
        let answers = ReceiverStream::new(chunks).map(|chunk| {
            let chunk = chunk.map_err(status::of)?;
            Ok(proto::ExportAuditResponse {
                chunk: chunk.bytes,
                entries_done: chunk.done,
                entries_total: chunk.total,
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    type GetTransparencyReportStream =
        std::pin::Pin<Box<dyn tokio_stream::Stream<Item = ReportAnswer> + Send>>;

    async fn get_transparency_report(
        &self,
        request: Request<proto::GetTransparencyReportRequest>,
    ) -> Answer<Self::GetTransparencyReportStream> {
        let caller = layer::caller(&request)?;
        let request = report::request(request.into_inner())?;
        let frames = self.app.reports.transparency_report(&caller, request).await.map_err(status::of)?;
        let answers = ReceiverStream::new(frames).map(|frame| frame.map(report::frame).map_err(status::of));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn get_record_of_processing(
        &self,
        request: Request<proto::GetRecordOfProcessingRequest>,
    ) -> Answer<proto::GetRecordOfProcessingResponse> {
        let html = request.into_inner().html;
        let (record, html) = self.app.reports.record_of_processing(html).await.map_err(status::of)?;
        Ok(Response::new(proto::GetRecordOfProcessingResponse { record: Some(report::record(record)), html }))
    }
}
