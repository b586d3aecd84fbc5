//! `GrantService`.

use crate::api::access::layer;
use crate::api::{Api, convert, status};
use crate::app::{GrantRequest, Issued, Moment, NewArtifact, Revocation, Use, UseCase};
use crate::domain::event::Reason;
use crate::domain::ids::GrantId;
use crate::proto;
use crate::proto::grant_service_server::GrantService;
use std::time::Duration;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type WatchAnswer = Result<proto::WatchRevocationsResponse, Status>;

/// Revocations that wait for a slow watcher.
const WAITING_MAX: usize = 16;
/// How long a watch may take nothing while something waits for it.
const BEHIND_MAX: Duration = Duration::from_secs(30);

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
    reason.unwrap_or_default().into()
}

fn fallen(revocation: Revocation) -> proto::WatchRevocationsResponse {
    proto::WatchRevocationsResponse {
        cursor: revocation.cursor,
        grant_ids: revocation.grant_ids,
        artifact_ids: revocation.artifact_ids,
        reason: revocation.reason.into(),
        recorded_at: (revocation.recorded_at_ms > 0).then(|| convert::time(revocation.recorded_at_ms)),
        cause_event_id: revocation.cause,
        source_event_id: revocation.source,
    }
}

/// Tells a watch the next thing. One that has taken nothing for too long is cut off with where it can resume:
/// `told`, the cursor of what it was told last. False where there is nobody to be told more.
async fn tell<T>(
    sender: &mpsc::Sender<Result<T, Status>>,
    last_word: &mut Option<OwnedPermit<Result<T, Status>>>,
    next: Result<T, Status>,
    told: u64,
    behind_max: Duration,
) -> bool {
    match tokio::time::timeout(behind_max, sender.send(next)).await {
        Ok(sent) => sent.is_ok(),
        Err(_) => {
            if let Some(place) = last_word.take() {
                place.send(Err(status::fell_behind(told)));
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
        let options = convert::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let asked = GrantRequest {
            ttl_ms: ttl_ms(request.ttl.as_ref())?,
            asked: UseCase {
                purpose: request.purpose,
                categories: request.categories,
                keys: request.keys,
                interaction: request.interaction,
            },
        };
        let issued = self.app.grants.request_grant(&caller, &subject, asked, &options).await;
        Ok(Response::new(match issued.map_err(status::of)? {
            Issued::UnknownSubject => proto::RequestGrantResponse {
                gaps: vec![proto::Gap::UnknownSubject.into()],
                ..proto::RequestGrantResponse::default()
            },
            Issued::Grant(grant) => proto::RequestGrantResponse {
                grant_id: grant.id.to_string(),
                allowed: grant.allowed.iter().map(convert::allowed).collect(),
                withheld: grant.withheld.iter().map(convert::withheld).collect(),
                expires_at: Some(convert::time(grant.expires_at_ms)),
                profile_version: 0,
                receipt: Some(convert::receipt(grant.receipt, &caller)),
                gaps: grant.has_ended.then_some(proto::Gap::GrantEnded.into()).into_iter().collect(),
            },
        }))
    }

    async fn check_grant(
        &self,
        request: Request<proto::CheckGrantRequest>,
    ) -> Answer<proto::CheckGrantResponse> {
        let caller = layer::caller(&request)?;
        let grant = grant_id(&request.into_inner().grant_id)?;
        let standing = self.app.grants.check_grant(&caller, &grant).await.map_err(status::of)?;
        let known = standing.expires_at_ms > 0;
        Ok(Response::new(proto::CheckGrantResponse {
            stands: standing.stands,
            expires_at: known.then(|| convert::time(standing.expires_at_ms)),
            reason: reason(standing.reason),
        }))
    }

    async fn report_use(
        &self,
        request: Request<proto::ReportUseRequest>,
    ) -> Answer<proto::ReportUseResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::options(request.options.as_ref(), &request)?;
        let grant = grant_id(&request.grant_id)?;
        let used = Use {
            reply: request.reply,
            shaped_by: request.shaped_by,
            count: request.count,
            ai_disclosure_shown: request.ai_disclosure_shown,
        };
        let receipt =
            self.app.grants.report_use(&caller, &grant, used, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::ReportUseResponse { receipt: Some(convert::receipt(receipt, &caller)) }))
    }

    async fn acknowledge(
        &self,
        request: Request<proto::AcknowledgeRequest>,
    ) -> Answer<proto::AcknowledgeResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::options(request.options.as_ref(), &request)?;
        let receipt =
            self.app.grants.acknowledge(&caller, request.cursor, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::AcknowledgeResponse { receipt: Some(convert::receipt(receipt, &caller)) }))
    }

    type WatchRevocationsStream = ReceiverStream<WatchAnswer>;

    async fn watch_revocations(
        &self,
        request: Request<proto::WatchRevocationsRequest>,
    ) -> Answer<Self::WatchRevocationsStream> {
        let caller = layer::caller(&request)?;
        let mut watch = self.app.grants.watch_revocations(&caller, request.into_inner().after_cursor);
        // One place more, for the last word to a watch that takes no other.
        let (sender, receiver) = mpsc::channel(WAITING_MAX + 1);
        let reason = self.app.suspension_reason().unwrap_or_default();
        let (cursor, reason) = (watch.cursor(), reason.into());
        let standing = proto::WatchRevocationsResponse { cursor, reason, ..Default::default() };
        tokio::spawn(async move {
            let Ok(mut last_word) = sender.clone().reserve_owned().await.map(Some) else { return };
            let (mut next, mut told) = (Ok(standing), watch.cursor());
            loop {
                let is_last = next.is_err();
                if !tell(&sender, &mut last_word, next, told, BEHIND_MAX).await || is_last {
                    return;
                }
                told = watch.cursor();
                next = tokio::select! {
                    fell = watch.next() => fell.map(fallen).map_err(status::of),
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
        Ok(Response::new(convert::explanation(explanation, &caller)))
    }

    async fn evaluate_use(
        &self,
        request: Request<proto::EvaluateUseRequest>,
    ) -> Answer<proto::EvaluateUseResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let moment = convert::moment(request.as_of.as_ref())?;
        let asked = UseCase {
            purpose: request.purpose,
            categories: request.categories,
            keys: request.keys,
            interaction: request.interaction,
        };
        let bounds_as_of = convert::maybe_millis(request.bounds_as_of.as_ref(), "bounds_as_of")?;
        let is_of_now = moment == Moment::Now && bounds_as_of.is_none() && request.as_of_grant.is_empty();
        crate::app::Grants::may_evaluate(&caller, &request.recipient, &asked, is_of_now)
            .map_err(status::of)?;
        self.app.record_view(&caller, &subject, "EvaluateUse").await.map_err(status::of)?;
        let found = if request.as_of_grant.is_empty() {
            let at = (moment, bounds_as_of);
            self.app.grants.evaluate_use(&caller, &subject, &request.recipient, &asked, at).await
        } else if request.as_of.is_some() {
            return Err(status::invalid("as_of_grant", "excludes as_of"));
        } else {
            let grant = grant_id(&request.as_of_grant)?;
            self.app.grants.evaluate_grant(&caller, &subject, &grant, bounds_as_of).await
        };
        let found = found.map_err(status::of)?;
        Ok(Response::new(convert::evaluation(&found, &caller)))
    }

    async fn register_artifact(
        &self,
        request: Request<proto::RegisterArtifactRequest>,
    ) -> Answer<proto::RegisterArtifactResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::options(request.options.as_ref(), &request)?;
        let (kind, grant) = (request.kind(), grant_id(&request.grant_id)?);
        let ttl_ms = convert::duration_ms(request.ttl.as_ref(), "ttl")?;
        let new = NewArtifact { grant, kind, name: request.name, sources: request.sources, ttl_ms };
        let registered =
            self.app.grants.register_artifact(&caller, new, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::RegisterArtifactResponse {
            artifact_id: registered.id.to_string(),
            receipt: Some(convert::receipt(registered.receipt, &caller)),
            expires_at: Some(registered.expires_at_ms).filter(|end| *end > 0).map(convert::time),
        }))
    }

    async fn list_artifacts(
        &self,
        request: Request<proto::ListArtifactsRequest>,
    ) -> Answer<proto::ListArtifactsResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(token.parse().map_err(|_| status::page_token())?),
        };
        self.app.record_view(&caller, &subject, "ListArtifacts").await.map_err(status::of)?;
        let found = self.app.grants.list_artifacts(&caller, &subject, after).await.map_err(status::of)?;
        let artifacts = found.artifacts.into_iter().map(convert::artifact).collect();
        let next_page_token = found.next.map(|last| last.to_string()).unwrap_or_default();
        Ok(Response::new(proto::ListArtifactsResponse { artifacts, next_page_token }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_watch_that_takes_nothing_is_cut_off_and_told_where_to_resume() {
        let (sender, mut receiver) = mpsc::channel(WAITING_MAX + 1);
        let mut last_word = Some(sender.clone().reserve_owned().await.unwrap());
        let mut told = 0;
        for cursor in 1.. {
            if !tell(&sender, &mut last_word, Ok(cursor), told, Duration::from_millis(50)).await {
                break;
            }
            told = cursor;
        }
        assert_eq!(told, WAITING_MAX as u64, "so many wait, and not one more");
        drop(sender);
        for cursor in 1..=told {
            assert_eq!(receiver.recv().await.unwrap().unwrap(), cursor, "what was told is delivered");
        }
        let cut_off = receiver.recv().await.unwrap().unwrap_err();
        assert_eq!(cut_off.code(), tonic::Code::ResourceExhausted);
        let details = tonic_types::StatusExt::get_error_details(&cut_off);
        assert_eq!(details.error_info().unwrap().metadata.get("cursor"), Some(&told.to_string()));
        assert!(details.retry_info().is_some());
        assert!(receiver.recv().await.is_none());
    }
}
