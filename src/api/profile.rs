//! The handlers of `ProfileService`.

use crate::api::access::byte_budget::Counted;
use crate::api::access::layer;
use crate::api::access::request_body::{Intake, Taken};
use crate::api::status::{self, CallRoles};
use crate::api::{Api, convert, paging};
use crate::app::{App, AppError, Caller, Change, Recording, SimilarKey};
use crate::domain::event::{AgeBand, SubjectDescribed};
use crate::proto::profile_service_server::ProfileService;
use crate::proto::{self, record_stream_response::Outcome};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

/// The largest number of messages of one stream that are being written. At the limit, no more messages are
/// read.
const MESSAGES_MAX: usize = 256;
/// The largest size of all messages of one stream that are being written, in bytes. A single message may
/// exceed it.
const MESSAGES_BYTES_MAX: u32 = 4 << 20;

type Answer<T> = Result<Response<T>, Status>;
type StreamAnswer = Result<proto::RecordStreamResponse, Status>;

#[tonic::async_trait]
impl ProfileService for Api {
    async fn record_attributes(
        &self,
        request: Request<proto::RecordAttributesRequest>,
    ) -> Answer<proto::RecordAttributesResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let new = convert::profile::new_attributes(subject, request.attributes, self.app.now_ms())?;
        let recorded =
            self.app.profile.record_attributes(&caller, new, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::RecordAttributesResponse {
            receipt: Some(convert::writes::receipt(recorded.receipt, &caller)),
            superseded: recorded.superseded,
            revoked_grants: recorded.revoked_grants,
            similar_keys: recorded.similar_keys.into_iter().map(similar_key).collect(),
        }))
    }

    type RecordStreamStream = ReceiverStream<StreamAnswer>;

    async fn record_stream(
        &self,
        request: Request<Streaming<proto::RecordStreamRequest>>,
    ) -> Answer<Self::RecordStreamStream> {
        let caller = layer::caller(&request)?;
        let (in_progress, answers) = mpsc::channel(MESSAGES_MAX);
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        let intake = request.extensions().get::<Arc<Intake>>().cloned().ok_or_else(status::not_allowed)?;
        let roles = request.extensions().get::<CallRoles>().copied().ok_or_else(status::not_allowed)?;
        let reader = Reader { app: Arc::clone(&self.app), caller, intake };
        tokio::spawn(reader.read(request.into_inner(), in_progress));
        tokio::spawn(answer_in_order(answers, sender, roles));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn remove_attributes(
        &self,
        request: Request<proto::RemoveAttributesRequest>,
    ) -> Answer<proto::RemoveAttributesResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let change = (Change::Remove, request.reason.as_str());
        let receipt = self.change(&caller, &request.subject, &request.keys, change, &options).await?;
        Ok(Response::new(proto::RemoveAttributesResponse { receipt: Some(receipt) }))
    }

    async fn contest_attribute(
        &self,
        request: Request<proto::ContestAttributeRequest>,
    ) -> Answer<proto::ContestAttributeResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let change = (Change::Contest, request.reason.as_str());
        let keys = [request.key.clone()];
        let receipt = self.change(&caller, &request.subject, &keys, change, &options).await?;
        Ok(Response::new(proto::ContestAttributeResponse { receipt: Some(receipt) }))
    }

    async fn confirm_attribute(
        &self,
        request: Request<proto::ConfirmAttributeRequest>,
    ) -> Answer<proto::ConfirmAttributeResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let keys = [request.key.clone()];
        let receipt = self.change(&caller, &request.subject, &keys, (Change::Confirm, ""), &options).await?;
        Ok(Response::new(proto::ConfirmAttributeResponse { receipt: Some(receipt) }))
    }

    async fn get_profile(
        &self,
        request: Request<proto::GetProfileRequest>,
    ) -> Answer<proto::GetProfileResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let moment = convert::times::moment(request.as_of.as_ref())?;
        let count = paging::size(request.page_size)?;
        self.app.record_view(&caller, &subject, "GetProfile").await.map_err(status::of)?;
        let (rebuild, token) = (request.rebuild, request.page_token.as_str());
        let page = self.app.profile.profile_page(&subject, moment, rebuild, token, count).await;
        let page = page.map_err(status::of)?;
        let signals = page.signals.into_iter().map(|signal| proto::Signal {
            kind: signal.kind.into(),
            purposes: signal.purposes,
            recorded_at: Some(convert::times::time(signal.recorded_at_ms)),
            interaction: signal.interaction,
        });
        let described = page.description;
        let description = (described.recorded_at_ms > 0).then(|| proto::Description {
            age_band: described.age.band.into(),
            age_years: described.age.years,
            born: described.age.born.map(|born| born.to_string()).unwrap_or_default(),
            jurisdiction: described.jurisdiction,
            recorded_at: Some(convert::times::time(described.recorded_at_ms)),
        });
        Ok(Response::new(proto::GetProfileResponse {
            attributes: page
                .attributes
                .iter()
                .map(|current| convert::profile::profile_attribute(current))
                .collect(),
            signals: signals.collect(),
            version: page.version,
            description,
            next_page_token: page.next,
        }))
    }

    async fn list_events(
        &self,
        request: Request<proto::ListEventsRequest>,
    ) -> Answer<proto::ListEventsResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let start = paging::start(&request.page_token)?.unwrap_or_default();
        let count = paging::size(request.page_size)?;
        self.app.record_view(&caller, &subject, "ListEvents").await.map_err(status::of)?;
        let page = self.app.profile.list_events(&subject, start, count).await.map_err(status::of)?;
        let events = page.events.into_iter().map(|event| proto::RecordedEvent {
            event_id: event.event_id.to_string(),
            position: event.position,
            subject_version: event.version,
            recorded_at: Some(convert::times::time(event.recorded_at_ms)),
            body: Some(convert::profile::body(&event)),
        });
        let next_page_token = paging::token(page.next);
        Ok(Response::new(proto::ListEventsResponse { events: events.collect(), next_page_token }))
    }

    async fn describe_subject(
        &self,
        request: Request<proto::DescribeSubjectRequest>,
    ) -> Answer<proto::DescribeSubjectResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::writes::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let band = AgeBand::try_from(request.age_band)
            .map_err(|_| status::invalid("age_band", "must be child, teen, adult or unknown"))?;
        let description = SubjectDescribed {
            age_band: band,
            age_years: request.age_years,
            jurisdiction: request.jurisdiction,
            born: request.born,
        };
        let changed = self.app.profile.describe_subject(&caller, &subject, description, &options).await;
        let changed = changed.map_err(status::of)?;
        let receipt = Some(convert::writes::receipt(changed.receipt, &caller));
        Ok(Response::new(proto::DescribeSubjectResponse { receipt, revoked_grants: changed.revoked_grants }))
    }
}

impl Api {
    async fn change(
        &self,
        caller: &Caller,
        subject: &str,
        keys: &[String],
        change: (Change, &str),
        options: &crate::app::WriteOptions,
    ) -> Result<proto::Receipt, Status> {
        let subject = caller.subject_of(subject).map_err(status::of)?;
        let changed = self.app.profile.change_attributes(caller, &subject, keys, change, options).await;
        changed.map(|receipt| convert::writes::receipt(receipt, caller)).map_err(status::of)
    }
}

/// A message that is being written, or why the stream ends.
type InProgress = Result<(u64, JoinHandle<Result<Written, Status>>), Status>;

/// What a message of a stream did.
type Written = (proto::Receipt, Vec<proto::SimilarKey>);

/// What a message occupies until it is written: its counted bytes, and its share of the stream's limit.
type Occupied = (Option<Counted>, Option<OwnedSemaphorePermit>);

/// Reads a stream of messages and begins to write them.
struct Reader {
    app: Arc<App>,
    caller: Arc<Caller>,
    intake: Arc<Intake>,
}

impl Reader {
    /// Reads messages in order. Each message is queued in the event stream of its data subject before the
    /// next message is read. Queued messages are then written concurrently.
    async fn read(
        self,
        mut messages: Streaming<proto::RecordStreamRequest>,
        in_progress: mpsc::Sender<InProgress>,
    ) {
        let room = Arc::new(Semaphore::new(usize::try_from(MESSAGES_BYTES_MAX).unwrap_or(usize::MAX)));
        // An error ends the stream. Messages that were read before are still answered.
        while let Some(read) = messages.message().await.transpose() {
            let waiting = match read {
                Ok(message) => Ok((message.sequence, self.begin(message, &room).await)),
                Err(status) => Err(status),
            };
            let is_last = waiting.is_err();
            if in_progress.send(waiting).await.is_err() || is_last {
                return;
            }
        }
    }

    async fn begin(
        &self,
        message: proto::RecordStreamRequest,
        room: &Arc<Semaphore>,
    ) -> JoinHandle<Result<Written, Status>> {
        let (counted, refused) = match self.intake.take() {
            Some(Taken { counted, refused }) => (Some(counted), refused),
            None => (None, None),
        };
        // Waiting here is safe: earlier messages are written and release their share even if the caller does
        // nothing.
        let bytes = counted.as_ref().map_or(0, Counted::bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(MESSAGES_BYTES_MAX);
        let occupied: Occupied = (counted, Arc::clone(room).acquire_many_owned(bytes).await.ok());
        let begun = match refused {
            Some(refused) => Err(refused),
            None => self.record(message.record.unwrap_or_default()).await,
        };
        let caller = Arc::clone(&self.caller);
        tokio::spawn(async move {
            let _released_when_written = occupied;
            let written = begun?.await.map_err(|_| Status::internal("internal error"))?;
            let written = written.map_err(status::of)?;
            let similar_keys = written.similar_keys.into_iter().map(similar_key).collect();
            Ok((convert::writes::receipt(written.receipt, &caller), similar_keys))
        })
    }

    async fn record(
        &self,
        record: proto::RecordAttributesRequest,
    ) -> Result<JoinHandle<Result<Recording, AppError>>, Status> {
        let options = convert::writes::options(record.options.as_ref(), &record)?;
        let subject = self.caller.subject_of(&record.subject).map_err(status::of)?;
        let new = convert::profile::new_attributes(subject, record.attributes, self.app.now_ms())?;
        self.app.profile.record_in_order(&self.caller, new, &options).await.map_err(status::of)
    }
}

async fn answer_in_order(
    mut waiting: mpsc::Receiver<InProgress>,
    sender: mpsc::Sender<StreamAnswer>,
    roles: CallRoles,
) {
    while let Some(taken) = waiting.recv().await {
        let (sequence, task) = match taken {
            Ok(taken) => taken,
            Err(status) => {
                let _gone = sender.send(Err(status)).await;
                return;
            }
        };
        let (outcome, similar_keys) = match task.await {
            Ok(Ok((receipt, similar_keys))) => (Outcome::Receipt(receipt), similar_keys),
            Ok(Err(status)) => (Outcome::Error(stream_error(&roles.name_in(status))), Vec::new()),
            Err(_) => (Outcome::Error(stream_error(&Status::internal("internal error"))), Vec::new()),
        };
        let answer = proto::RecordStreamResponse { sequence, outcome: Some(outcome), similar_keys };
        // The caller may have disconnected. Messages that were read are written nevertheless.
        let _gone = sender.send(Ok(answer)).await;
    }
}

fn similar_key(similar: SimilarKey) -> proto::SimilarKey {
    proto::SimilarKey { attribute: similar.attribute, key: similar.key }
}

fn stream_error(status: &Status) -> proto::StreamError {
    let info = status.get_details_error_info();
    proto::StreamError {
        code: status.code().into(),
        reason: info.map(|info| info.reason).unwrap_or_default(),
        message: status.message().to_owned(),
    }
}
