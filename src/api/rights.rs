//! The handlers of `RightsService`.

use crate::api::access::layer;
use crate::api::{Api, convert, paging, status};
use crate::app::{HoldToLift, NewHold, NewRequest, PlacedHold, Room, Verdict};
use crate::domain::attribute::Secret;
use crate::domain::erasure::Scope;
use crate::domain::event::{ErasureScope, Jurisdiction, RequestKind, RetentionDefined};
use crate::domain::ids::EventId;
use crate::package::Kind;
use crate::proto;
use crate::proto::decide_request_request::Decision;
use crate::proto::rights_service_server::RightsService;
use prost::Message;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type ExportAnswer = Result<proto::ExportSubjectResponse, Status>;

fn uuid(text: &str, field: &str) -> Result<EventId, Status> {
    text.parse().map_err(|_| status::invalid(field, "must be a UUID"))
}

/// A part that is named by exactly one field.
struct NamedPart<'a> {
    scope: ErasureScope,
    keys: &'a [String],
    category: &'a str,
    content: &'a str,
}

impl NamedPart<'_> {
    /// The scope of an erasure. A missing scope must never mean everything.
    fn scope(&self, keys_field: &str) -> Result<Scope, Status> {
        let only = |is_set: bool, field: &str, scope: ErasureScope, name: &str| match is_set {
            true if self.scope != scope => {
                Err(status::invalid(field, &format!("must be set only for the scope {name}")))
            }
            _ => Ok(()),
        };
        only(!self.keys.is_empty(), keys_field, ErasureScope::Key, "key")?;
        only(!self.category.is_empty(), "category", ErasureScope::Category, "category")?;
        only(!self.content.is_empty(), "content", ErasureScope::Content, "content")?;
        match (self.scope, self.keys) {
            (ErasureScope::Key, [key]) => Ok(Scope::Key(key.clone())),
            (ErasureScope::Key, _) => Err(status::invalid(keys_field, "must have exactly one key")),
            (ErasureScope::Category, _) => Ok(Scope::Category(self.category.to_owned())),
            (ErasureScope::Content, _) => Ok(Scope::Content(Secret::new(self.content.to_owned()))),
            (ErasureScope::All, _) => Ok(Scope::All),
            (ErasureScope::Profile, _) => Ok(Scope::Profile),
            (ErasureScope::Unspecified | ErasureScope::Retention, _) => {
                Err(status::invalid("scope", "must be all, profile, key, category or content"))
            }
        }
    }
}

/// The scope of a request; none if it is not for an erasure.
fn scope(request: &proto::SubmitRequestRequest) -> Result<Option<Scope>, Status> {
    if request.kind() != RequestKind::Erasure {
        return match request.scope() {
            ErasureScope::Unspecified => Ok(None),
            _ => Err(status::invalid("scope", "must be set only for an erasure")),
        };
    }
    let (category, content) = (&request.category, &request.content);
    let part = NamedPart { scope: request.scope(), keys: &request.keys, category, content };
    part.scope("keys").map(Some)
}

fn verdict(decision: Option<Decision>) -> Result<Verdict, Status> {
    match decision {
        Some(Decision::Accept(accept)) => Ok(Verdict::Accept { reason: accept.reason }),
        Some(Decision::Complete(complete)) => {
            Ok(Verdict::Complete { reason: complete.reason, keys: complete.keys })
        }
        Some(Decision::Refuse(refuse)) => {
            let (ground, reason, purposes) = (refuse.ground(), refuse.reason, refuse.purposes);
            Ok(Verdict::Refuse { ground, reason, purposes })
        }
        Some(Decision::Extend(extend)) => Ok(Verdict::Extend { reason: extend.reason }),
        None => Err(status::invalid("decision", "must accept, complete, refuse or extend")),
    }
}

#[tonic::async_trait]
impl RightsService for Api {
    async fn submit_request(
        &self,
        request: Request<proto::SubmitRequestRequest>,
    ) -> Answer<proto::SubmitRequestResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let scope = scope(&request)?;
        let jurisdiction = Some(request.jurisdiction()).filter(|of| *of != Jurisdiction::Unspecified);
        let new = NewRequest {
            kind: request.kind(),
            keys: if scope.is_some() { Vec::new() } else { request.keys },
            scope,
            purposes: request.purposes,
            details: request.details,
            jurisdiction,
        };
        let made =
            self.app.rights.submit_request(&caller, &subject, new, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::SubmitRequestResponse {
            request_id: made.request.id.to_string(),
            certificate: made.certificate.map(convert::rights::certificate),
            request: Some(convert::rights::subject_request(made.request, made.changes)),
            revoked_grants: made.revoked_grants,
            copies: convert::rights::copies(made.copies),
            remaining_uses: made.remaining_uses.into_iter().map(convert::consent::remaining_use).collect(),
            unmatched: convert::consent::unmatched(made.unmatched),
        }))
    }

    async fn get_erasure_certificate(
        &self,
        request: Request<proto::GetErasureCertificateRequest>,
    ) -> Answer<proto::GetErasureCertificateResponse> {
        let caller = layer::caller(&request)?;
        let id = uuid(&request.into_inner().request_id, "request_id")?;
        let certificate = self.app.erasure.get_certificate(&caller, &id).await.map_err(status::of)?;
        let certificate = Some(convert::rights::certificate(certificate));
        Ok(Response::new(proto::GetErasureCertificateResponse { certificate }))
    }

    type ExportSubjectStream = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = ExportAnswer> + Send>>;

    async fn list_outstanding_erasures(
        &self,
        request: Request<proto::ListOutstandingErasuresRequest>,
    ) -> Answer<proto::ListOutstandingErasuresResponse> {
        let request = request.into_inner();
        let (after, count) =
            (convert::erasures::start(&request.page_token)?, paging::size(request.page_size)?);
        let found = self.app.erasure.list_outstanding(after, count, request.overdue_only);
        let page = found.map_err(status::of)?;
        Ok(Response::new(proto::ListOutstandingErasuresResponse {
            outstanding: page.recipients.into_iter().map(convert::erasures::outstanding).collect(),
            next_page_token: page.next.map(convert::erasures::token).unwrap_or_default(),
            left_out: page.left_out,
        }))
    }

    async fn export_subject(
        &self,
        request: Request<proto::ExportSubjectRequest>,
    ) -> Answer<Self::ExportSubjectStream> {
        let caller = layer::caller(&request)?;
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
        let chunks =
            self.app.rights.export_subject(&caller, &subject, kind, answers).await.map_err(status::of)?;
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

    async fn get_request(
        &self,
        request: Request<proto::GetRequestRequest>,
    ) -> Answer<proto::GetRequestResponse> {
        let caller = layer::caller(&request)?;
        let id = uuid(&request.into_inner().request_id, "request_id")?;
        let (found, changes) = self.app.rights.get_request(&caller, &id).await.map_err(status::of)?;
        let request = Some(convert::rights::subject_request(found, changes));
        Ok(Response::new(proto::GetRequestResponse { request }))
    }

    async fn list_requests(
        &self,
        request: Request<proto::ListRequestsRequest>,
    ) -> Answer<proto::ListRequestsResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let everybody = caller.subject.is_none() && request.subject.is_empty();
        let subject =
            if everybody { None } else { Some(caller.subject_of(&request.subject).map_err(status::of)?) };
        let due_by = convert::times::maybe_millis(request.due_by.as_ref(), "due_by")?;
        let count = paging::size(request.page_size)?;
        let page = self
            .app
            .rights
            .list_requests(&caller, subject.as_ref(), due_by, &request.page_token, count)
            .await;
        let page = page.map_err(status::of)?;
        Ok(Response::new(proto::ListRequestsResponse {
            requests: page
                .requests
                .into_iter()
                .map(|request| convert::rights::subject_request(request, Vec::new()))
                .collect(),
            next_page_token: paging::token(page.next),
        }))
    }

    async fn decide_request(
        &self,
        request: Request<proto::DecideRequestRequest>,
    ) -> Answer<proto::DecideRequestResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let id = uuid(&request.request_id, "request_id")?;
        let verdict = verdict(request.decision)?;
        let made =
            self.app.rights.decide_request(&caller, &id, verdict, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::DecideRequestResponse {
            request: Some(convert::rights::subject_request(made.request, made.changes)),
            certificate: made.certificate.map(convert::rights::certificate),
            copies: convert::rights::copies(made.copies),
        }))
    }

    async fn withdraw_request(
        &self,
        request: Request<proto::WithdrawRequestRequest>,
    ) -> Answer<proto::WithdrawRequestResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let id = uuid(&request.request_id, "request_id")?;
        let made = self.app.rights.withdraw_request(&caller, &id, &options).await.map_err(status::of)?;
        let request = Some(convert::rights::subject_request(made.request, made.changes));
        Ok(Response::new(proto::WithdrawRequestResponse { request }))
    }

    async fn place_hold(
        &self,
        request: Request<proto::PlaceHoldRequest>,
    ) -> Answer<proto::PlaceHoldResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let ground = request.ground();
        let proto::PlaceHoldRequest { code, text, categories, purposes, .. } = request;
        let hold = NewHold { ground, code, text, categories, purposes };
        let placed = self.app.rights.place_hold(&caller, &subject, hold, &options).await;
        let PlacedHold { id, receipt } = placed.map_err(status::of)?;
        let receipt = Some(convert::writes::receipt(receipt, &caller));
        Ok(Response::new(proto::PlaceHoldResponse { hold_id: id.to_string(), receipt }))
    }

    async fn lift_hold(&self, request: Request<proto::LiftHoldRequest>) -> Answer<proto::LiftHoldResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let hold = HoldToLift { id: uuid(&request.hold_id, "hold_id")?, reason: request.reason };
        let lifted = self.app.rights.lift_hold(&caller, &subject, &hold, &options).await;
        let receipt = Some(convert::writes::receipt(lifted.map_err(status::of)?, &caller));
        Ok(Response::new(proto::LiftHoldResponse { receipt }))
    }

    async fn preview_erasure(
        &self,
        request: Request<proto::PreviewErasureRequest>,
    ) -> Answer<proto::PreviewErasureResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        self.app.record_view(&caller, &subject, "PreviewErasure").await.map_err(status::of)?;
        let key = [request.key.clone()];
        let part = NamedPart {
            scope: request.scope(),
            keys: if request.key.is_empty() { &[] } else { &key },
            category: &request.category,
            content: &request.content,
        };
        let scope = part.scope("key")?;
        let preview = self.app.rights.preview_erasure(&subject, scope).await.map_err(status::of)?;
        let (mut answer, entries) = convert::rights::preview(preview);
        let place = |entry: &(u64, proto::PreviewedEntry)| format!("{:020}", entry.0);
        let after = &request.page_token;
        let entries: Vec<_> =
            entries.into_iter().filter(|entry| place(entry).as_str() > after.as_str()).collect();
        let mut room = Room::new(paging::size(request.page_size)?);
        let count = entries.iter().take_while(|(_, entry)| room.take(entry.encoded_len())).count();
        let last = count.checked_sub(1).filter(|_| count < entries.len()).and_then(|at| entries.get(at));
        answer.next_page_token = last.map(place).unwrap_or_default();
        answer.entries = entries.into_iter().take(count).map(|(_, entry)| entry).collect();
        Ok(Response::new(answer))
    }

    async fn list_holds(
        &self,
        request: Request<proto::ListHoldsRequest>,
    ) -> Answer<proto::ListHoldsResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        self.app.record_view(&caller, &subject, "ListHolds").await.map_err(status::of)?;
        let holds = self.app.rights.list_holds(&subject).await.map_err(status::of)?;
        let age = |hold: &proto::Hold| {
            let placed_at = hold.placed_at.as_ref();
            let (seconds, nanos) = placed_at.map_or((0, 0), |at| (at.seconds, at.nanos));
            format!("{seconds:012}.{nanos:09}-{}", hold.hold_id)
        };
        let holds = holds.into_iter().map(convert::rights::hold).collect();
        let (holds, next_page_token) = paging::page(holds, request.page_size, &request.page_token, age)?;
        Ok(Response::new(proto::ListHoldsResponse { holds, next_page_token }))
    }

    async fn set_retention(
        &self,
        request: Request<proto::SetRetentionRequest>,
    ) -> Answer<proto::SetRetentionResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let class = request.class();
        let keep_ms = convert::times::duration_ms(request.keep.as_ref(), "keep")?.unwrap_or(0);
        let rule = RetentionDefined { class, category: request.category, purpose: request.purpose, keep_ms };
        let receipt = self.app.rights.set_retention(&caller, rule, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::SetRetentionResponse {
            receipt: Some(convert::writes::receipt(receipt, &caller)),
        }))
    }

    async fn list_retention(
        &self,
        request: Request<proto::ListRetentionRequest>,
    ) -> Answer<proto::ListRetentionResponse> {
        let rules = self.app.rights.list_retention().into_iter();
        let retention = rules.map(|(rule, at_ms)| proto::Retention {
            class: rule.class.into(),
            category: rule.category,
            purpose: rule.purpose,
            keep: Some(convert::times::duration(rule.keep_ms)),
            defined_at: Some(convert::times::time(at_ms)),
        });
        let name = |rule: &proto::Retention| format!("{}:{}:{}", rule.class, rule.category, rule.purpose);
        let (request, retention) = (request.into_inner(), retention.collect());
        let (retention, next_page_token) =
            paging::page(retention, request.page_size, &request.page_token, name)?;
        Ok(Response::new(proto::ListRetentionResponse { retention, next_page_token }))
    }
}
