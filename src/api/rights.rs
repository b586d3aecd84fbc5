//! `RightsService`.

use super::{Api, auth, convert, status};
use crate::package::Kind;
use crate::proto;
use crate::proto::rights_service_server::RightsService;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type ExportAnswer = Result<proto::ExportSubjectResponse, Status>;

#[tonic::async_trait]
impl RightsService for Api {
    async fn submit_request(
        &self,
        request: Request<proto::SubmitRequestRequest>,
    ) -> Answer<proto::SubmitRequestResponse> {
        let caller = auth::caller(&request)?;
        let request = request.into_inner();
        let options = convert::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        if request.kind() != proto::RequestKind::Erasure {
            return Err(status::invalid("kind", "must be erasure"));
        }
        // An erasure whose scope is missing must not become one of everything.
        if request.scope() != proto::ErasureScope::All {
            return Err(status::invalid("scope", "must be all"));
        }
        let certificate = self.app.erase_subject(&caller, &subject, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::SubmitRequestResponse {
            request_id: certificate.request.to_string(),
            certificate: Some(convert::certificate(certificate)),
        }))
    }

    async fn get_erasure_certificate(
        &self,
        request: Request<proto::GetErasureCertificateRequest>,
    ) -> Answer<proto::GetErasureCertificateResponse> {
        let id = request.into_inner().request_id;
        let id = id.parse().map_err(|_| status::invalid("request_id", "must be a UUID"))?;
        let certificate = Some(convert::certificate(self.app.certificate(&id).map_err(status::of)?));
        Ok(Response::new(proto::GetErasureCertificateResponse { certificate }))
    }

    type ExportSubjectStream = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = ExportAnswer> + Send>>;

    async fn export_subject(
        &self,
        request: Request<proto::ExportSubjectRequest>,
    ) -> Answer<Self::ExportSubjectStream> {
        let caller = auth::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let kind = match request.kind() {
            proto::PackageKind::Unspecified | proto::PackageKind::Access => Kind::Access,
            proto::PackageKind::Portability => Kind::Portability,
        };
        let answers = match request.request_id.as_str() {
            "" => None,
            id => Some(id.parse().map_err(|_| status::invalid("request_id", "must be a UUID"))?),
        };
        let chunks = self.app.export_subject(&caller, &subject, kind, answers).await.map_err(status::of)?;
        let answers = ReceiverStream::new(chunks).map(|chunk| {
            let chunk = chunk.map_err(status::of)?;
            Ok(proto::ExportSubjectResponse {
                chunk: chunk.bytes,
                events_done: chunk.done,
                events_total: chunk.total,
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}
