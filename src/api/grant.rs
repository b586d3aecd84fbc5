//! The handlers of `GrantService`.

use crate::api::access::layer;
use crate::api::convert::reasons::revocation;
use crate::api::{Api, convert, paging, status};
use crate::app::{
    CheckedGrant, CheckedId, CheckedIds, GrantRequest, Issued, Moment, NewArtifact, Revocation, Use, UseCase,
    UseQuery,
};
use crate::domain::event::{Reason, codec};
use crate::domain::ids::GrantId;
use crate::proto;
use crate::proto::grant_service_server::GrantService;
use std::time::Duration;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type WatchAnswer = Result<proto::WatchRevocationsResponse, Status>;

/// The largest number of revocations that wait for a slow watcher (a caller of `WatchRevocations`).
const WAITING_MAX: usize = 16;
/// How long a watcher may read nothing while a revocation waits for it.
const STALLED_MAX: Duration = Duration::from_secs(30);

fn grant_id(text: &str) -> Result<GrantId, Status> {
    text.parse().map_err(|bad: crate::domain::Violation| status::invalid(&bad.field, &bad.problem))
}

fn ttl_ms(ttl: Option<&prost_types::Duration>) -> Result<Option<u64>, Status> {
    let Some(ttl) = ttl else { return Ok(None) };
    let millis = u64::try_from(ttl.seconds).ok().zip(u64::try_from(ttl.nanos).ok());
    let millis =
        millis.map(|(seconds, nanos)| seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000));
    millis.map(Some).ok_or_else(|| status::invalid("ttl", "must be 1 second to 24 hours"))
}

fn reason(reason: Option<Reason>) -> i32 {
    revocation(reason.unwrap_or_default()).into()
}

fn revoked(revocation: Revocation) -> proto::WatchRevocationsResponse {
    proto::WatchRevocationsResponse {
        cursor: revocation.cursor,
        grant_ids: revocation.grant_ids,
        artifact_ids: revocation.artifact_ids,
        reason: convert::reasons::revocation(revocation.reason).into(),
        recorded_at: (revocation.recorded_at_ms > 0).then(|| convert::times::time(revocation.recorded_at_ms)),
        cause_event_id: revocation.cause,
        source_event_id: revocation.source,
        erased_scope: revocation.erased_scope.into(),
        reminder: revocation.reminder,
        named_by: revocation.named_by,
    }
}

/// Sends the next message to a watcher. Returns `false` if the watch has ended. A watcher that reads nothing
/// for too long is disconnected with an error. The error contains `sent`, the cursor of the last message, so
/// that the watcher can resume there.
async fn send<T>(
    sender: &mpsc::Sender<Result<T, Status>>,
    last_place: &mut Option<OwnedPermit<Result<T, Status>>>,
    next: Result<T, Status>,
    sent: u64,
    stalled_max: Duration,
) -> bool {
    match tokio::time::timeout(stalled_max, sender.send(next)).await {
        Ok(outcome) => outcome.is_ok(),
        Err(_) => {
            if let Some(place) = last_place.take() {
                place.send(Err(status::watcher_too_slow(sent)));
            }
            false
        }
    }
}

#[tonic::async_trait]
impl GrantService for Api {
    async fn request_grant(
        &self,
        request: Request<proto::RequestGrantRequest>,
    ) -> Answer<proto::RequestGrantResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let relevance = request.relevance.map(convert::grants::relevance);
        let asked = GrantRequest {
            ttl_ms: ttl_ms(request.ttl.as_ref())?,
            asked: UseCase {
                purpose: request.purpose,
                categories: request.categories,
                keys: request.keys,
                interaction: request.interaction,
                is_ranked: relevance.is_some(),
            },
            relevance,
        };
        let issued = self.app.grants.request_grant(&caller, &subject, asked, &options).await;
        Ok(Response::new(match issued.map_err(status::of)? {
            Issued::UnknownSubject => proto::RequestGrantResponse {
                gaps: vec![proto::Gap::UnknownSubject.into()],
                ..proto::RequestGrantResponse::default()
            },
            Issued::Grant(grant) => proto::RequestGrantResponse {
                grant_id: grant.id.to_string(),
                allowed: grant.allowed.iter().map(convert::grants::allowed).collect(),
                withheld: grant.withheld.iter().map(convert::grants::withheld).collect(),
                expires_at: Some(convert::times::time(grant.expires_at_ms)),
                profile_version: 0,
                receipt: Some(convert::writes::receipt(grant.receipt, &caller)),
                gaps: grant.has_ended.then_some(proto::Gap::GrantEnded.into()).into_iter().collect(),
                ranking: grant.ranking.as_ref().map(codec::message),
            },
        }))
    }

    async fn check_grant(
        &self,
        request: Request<proto::CheckGrantRequest>,
    ) -> Answer<proto::CheckGrantResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let grant = grant_id(&request.grant_id)?;
        let checked = self.app.grants.check_grant(&caller, &grant, &request.keys).await;
        let CheckedGrant { standing, erased_scope, erased_keys } = checked.map_err(status::of)?;
        let known = standing.expires_at_ms > 0;
        Ok(Response::new(proto::CheckGrantResponse {
            valid: standing.is_valid,
            expires_at: known.then(|| convert::times::time(standing.expires_at_ms)),
            reason: reason(standing.reason),
            erased_scope: erased_scope.into(),
            erased_keys,
        }))
    }

    async fn check_ids(&self, request: Request<proto::CheckIdsRequest>) -> Answer<proto::CheckIdsResponse> {
        let caller = layer::caller(&request)?;
        let ids = request.into_inner().ids;
        let parsed: Result<Vec<CheckedId>, _> = ids.iter().map(|id| CheckedId::parse(id)).collect();
        let checked = self.app.grants.check_ids(&caller, &parsed.map_err(status::of)?).await;
        let CheckedIds { states, cursor } = checked.map_err(status::of)?;
        let states = ids.into_iter().zip(states).map(|(id, state)| convert::grants::id_state(id, state));
        Ok(Response::new(proto::CheckIdsResponse { states: states.collect(), cursor }))
    }

    async fn report_use(
        &self,
        request: Request<proto::ReportUseRequest>,
    ) -> Answer<proto::ReportUseResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let grant = grant_id(&request.grant_id)?;
        let used = Use {
            reply: request.reply,
            shaped_by: request.shaped_by,
            count: request.count,
            ai_disclosure_shown: request.ai_disclosure_shown,
        };
        let receipt =
            self.app.grants.report_use(&caller, &grant, used, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::ReportUseResponse {
            receipt: Some(convert::writes::receipt(receipt, &caller)),
        }))
    }

    async fn acknowledge(
        &self,
        request: Request<proto::AcknowledgeRequest>,
    ) -> Answer<proto::AcknowledgeResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let receipt =
            self.app.grants.acknowledge(&caller, request.cursor, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::AcknowledgeResponse {
            receipt: Some(convert::writes::receipt(receipt, &caller)),
        }))
    }

    async fn report_erasure(
        &self,
        request: Request<proto::ReportErasureRequest>,
    ) -> Answer<proto::ReportErasureResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let report = convert::erasures::report(request)?;
        let receipt = self.app.erasure.report_erasure(&caller, report, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::ReportErasureResponse {
            receipt: Some(convert::writes::receipt(receipt, &caller)),
        }))
    }

    type WatchRevocationsStream = ReceiverStream<WatchAnswer>;

    async fn watch_revocations(
        &self,
        request: Request<proto::WatchRevocationsRequest>,
    ) -> Answer<Self::WatchRevocationsStream> {
        let caller = layer::caller(&request)?;
        let watch = self.app.grants.watch_revocations(&caller, request.into_inner().after_cursor);
        let mut watch = watch.map_err(status::of)?;
        // The channel has one more place, for the final error to a watcher that reads nothing.
        let (sender, receiver) = mpsc::channel(WAITING_MAX + 1);
        let (cursor, reason) = (watch.cursor(), reason(self.app.suspension_reason()));
        let first = proto::WatchRevocationsResponse { cursor, reason, ..Default::default() };
        tokio::spawn(async move {
            let Ok(mut last_place) = sender.clone().reserve_owned().await.map(Some) else { return };
            let (mut next, mut sent) = (Ok(first), watch.cursor());
            loop {
                let is_last = next.is_err();
                if !send(&sender, &mut last_place, next, sent, STALLED_MAX).await || is_last {
                    return;
                }
                sent = watch.cursor();
                next = tokio::select! {
                    revocation = watch.next() => revocation.map(revoked).map_err(status::of),
                    () = sender.closed() => return,
                };
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn explain_grant(
        &self,
        request: Request<proto::ExplainGrantRequest>,
    ) -> Answer<proto::ExplainGrantResponse> {
        let caller = layer::caller(&request)?;
        let grant = grant_id(&request.into_inner().grant_id)?;
        let explanation = self.app.grants.explain_grant(&caller, &grant).await.map_err(status::of)?;
        Ok(Response::new(convert::grants::explanation(explanation, &caller)))
    }

    async fn evaluate_use(
        &self,
        request: Request<proto::EvaluateUseRequest>,
    ) -> Answer<proto::EvaluateUseResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let moment = convert::times::moment(request.as_of.as_ref())?;
        let asked = UseCase {
            purpose: request.purpose,
            categories: request.categories,
            keys: request.keys,
            interaction: request.interaction,
            is_ranked: false,
        };
        let bounds_as_of = convert::times::maybe_millis(request.bounds_as_of.as_ref(), "bounds_as_of")?;
        let is_of_now = moment == Moment::Now && bounds_as_of.is_none() && request.as_of_grant.is_empty();
        crate::app::Grants::may_evaluate(&caller, &request.recipient, &asked, is_of_now)
            .map_err(status::of)?;
        self.app.record_view(&caller, &subject, "EvaluateUse").await.map_err(status::of)?;
        let found = if request.as_of_grant.is_empty() {
            let at = (moment, bounds_as_of);
            self.app.grants.evaluate_use(&caller, &subject, &request.recipient, &asked, at).await
        } else if request.as_of.is_some() {
            return Err(status::invalid("as_of_grant", "must not be set together with as_of"));
        } else {
            let grant = grant_id(&request.as_of_grant)?;
            self.app.grants.evaluate_grant(&caller, &subject, &grant, bounds_as_of).await
        };
        let found = found.map_err(status::of)?;
        Ok(Response::new(convert::grants::evaluation(&found, &caller)))
    }

    async fn register_artifact(
        &self,
        request: Request<proto::RegisterArtifactRequest>,
    ) -> Answer<proto::RegisterArtifactResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let (kind, grant) = (request.kind(), grant_id(&request.grant_id)?);
        let ttl_ms = convert::times::duration_ms(request.ttl.as_ref(), "ttl")?;
        let new = NewArtifact { grant, kind, name: request.name, sources: request.sources, ttl_ms };
        let registered =
            self.app.grants.register_artifact(&caller, new, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::RegisterArtifactResponse {
            artifact_id: registered.id.to_string(),
            receipt: Some(convert::writes::receipt(registered.receipt, &caller)),
            expires_at: Some(registered.expires_at_ms).filter(|end| *end > 0).map(convert::times::time),
        }))
    }

    async fn list_artifacts(
        &self,
        request: Request<proto::ListArtifactsRequest>,
    ) -> Answer<proto::ListArtifactsResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let (after, count) = (paging::start(&request.page_token)?, paging::size(request.page_size)?);
        self.app.record_view(&caller, &subject, "ListArtifacts").await.map_err(status::of)?;
        let found =
            self.app.grants.list_artifacts(&caller, &subject, after, count).await.map_err(status::of)?;
        let artifacts = found.artifacts.into_iter().map(convert::grants::artifact).collect();
        let next_page_token = paging::token(found.next);
        Ok(Response::new(proto::ListArtifactsResponse { artifacts, next_page_token }))
    }

    async fn list_uses(&self, request: Request<proto::ListUsesRequest>) -> Answer<proto::ListUsesResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let query = UseQuery {
            category: request.category,
            recipient: request.recipient,
            from_ms: convert::times::maybe_millis(request.from.as_ref(), "from")?,
            to_ms: convert::times::maybe_millis(request.to.as_ref(), "to")?,
        };
        let start = paging::start(&request.page_token)?.unwrap_or_default();
        let count = paging::size(request.page_size)?;
        self.app.record_view(&caller, &subject, "ListUses").await.map_err(status::of)?;
        let page = self.app.grants.list_uses(&subject, &query, start, count).await.map_err(status::of)?;
        let uses = page.uses.into_iter().map(convert::uses::listed).collect();
        let erased = page.erased.into_iter().map(convert::uses::erased).collect();
        let next_page_token = paging::token(page.next);
        Ok(Response::new(proto::ListUsesResponse { uses, next_page_token, erased }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_watcher_that_reads_nothing_is_disconnected_with_the_cursor_to_resume_after() {
        let (sender, mut receiver) = mpsc::channel(WAITING_MAX + 1);
        let mut last_place = Some(sender.clone().reserve_owned().await.unwrap());
        let mut sent = 0;
        for cursor in 1.. {
            if !send(&sender, &mut last_place, Ok(cursor), sent, Duration::from_millis(50)).await {
                break;
            }
            sent = cursor;
        }
        assert_eq!(sent, WAITING_MAX as u64, "no more revocations wait");
        drop(sender);
        for cursor in 1..=sent {
            assert_eq!(receiver.recv().await.unwrap().unwrap(), cursor, "what was sent is delivered");
        }
        let disconnected = receiver.recv().await.unwrap().unwrap_err();
        assert_eq!(disconnected.code(), tonic::Code::ResourceExhausted);
        let details = tonic_types::StatusExt::get_error_details(&disconnected);
        assert_eq!(details.error_info().unwrap().metadata.get("cursor"), Some(&sent.to_string()));
        assert!(details.retry_info().is_some());
        assert!(receiver.recv().await.is_none());
    }
}
