//! `BoundsService`.

use super::{Api, auth, convert, status};
use crate::app::{AppError, Notice};
use crate::proto;
use crate::proto::bounds_service_server::BoundsService;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl BoundsService for Api {
    async fn get_bounds(
        &self,
        _request: Request<proto::GetBoundsRequest>,
    ) -> Answer<proto::GetBoundsResponse> {
        let rules = self.app.rules_in_force();
        let version = |(position, pack): &(u64, proto::BoundsPublished)| proto::BoundsVersion {
            tier: pack.tier,
            pack: pack.pack.clone(),
            version: pack.version.clone(),
            policies: pack.policies.clone(),
            position: *position,
        };
        let bounds = rules.packs().iter().map(version).collect();
        let schema = self.app.bounds_schema().to_owned();
        Ok(Response::new(proto::GetBoundsResponse { bounds, schema }))
    }

    async fn define_purpose(
        &self,
        request: Request<proto::DefinePurposeRequest>,
    ) -> Answer<proto::DefinePurposeResponse> {
        let caller = auth::caller(&request)?;
        let request = request.into_inner();
        let options = convert::options(request.options.as_ref(), &request)?;
        let purpose = request.purpose.unwrap_or_default();
        let receipt = self.app.define_purpose(&caller, purpose, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::DefinePurposeResponse { receipt: Some(convert::receipt(receipt)) }))
    }

    async fn list_purposes(
        &self,
        _request: Request<proto::ListPurposesRequest>,
    ) -> Answer<proto::ListPurposesResponse> {
        let rules = self.app.rules_in_force();
        Ok(Response::new(proto::ListPurposesResponse {
            purposes: rules.vocabulary.purposes().cloned().collect(),
            categories: rules.vocabulary.categories().cloned().collect(),
        }))
    }

    async fn publish_notice(
        &self,
        request: Request<proto::PublishNoticeRequest>,
    ) -> Answer<proto::PublishNoticeResponse> {
        let caller = auth::caller(&request)?;
        let request = request.into_inner();
        let options = convert::options(request.options.as_ref(), &request)?;
        let notice = Notice {
            id: request.id,
            version: request.version,
            language: request.language,
            text: request.text,
        };
        let published = self.app.publish_notice(&caller, notice, &options).await;
        let (receipt, notice) = published.map_err(status::of)?;
        let receipt = Some(convert::receipt(receipt));
        Ok(Response::new(proto::PublishNoticeResponse { receipt, notice: Some(notice) }))
    }

    async fn get_notice(
        &self,
        request: Request<proto::GetNoticeRequest>,
    ) -> Answer<proto::GetNoticeResponse> {
        let request = request.into_inner();
        let rules = self.app.rules_in_force();
        let found = rules.notice(&request.id, &request.version);
        let (published_ms, notice) = found.ok_or_else(|| status::of(AppError::NotFound("notice")))?;
        Ok(Response::new(proto::GetNoticeResponse {
            notice: notice.notice.clone(),
            text: notice.text.clone(),
            published_at: Some(convert::time(*published_ms)),
        }))
    }

    async fn define_category(
        &self,
        request: Request<proto::DefineCategoryRequest>,
    ) -> Answer<proto::DefineCategoryResponse> {
        let caller = auth::caller(&request)?;
        let request = request.into_inner();
        let options = convert::options(request.options.as_ref(), &request)?;
        let category = request.category.unwrap_or_default();
        let receipt = self.app.define_category(&caller, category, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::DefineCategoryResponse { receipt: Some(convert::receipt(receipt)) }))
    }
}
