//! `ProfileService`.

use crate::api::access::byte_budget::Counted;
use crate::api::access::layer;
use crate::api::access::request_body::{Intake, Taken};
use crate::api::{Api, convert, status};
use crate::app::{App, AppError, Caller, Change, Receipt};
use crate::proto::profile_service_server::ProfileService;
use crate::proto::{self, record_stream_response::Outcome};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_types::StatusExt;

/// Messages of one stream that may be under way; beyond it the stream is not read on.
const STREAM_MAX: usize = 256;
/// Bytes of such messages, as far as more than one is under way.
const STREAM_BYTES_MAX: u32 = 4 << 20;

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
        let options = convert::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let new = convert::new_attributes(subject, request.attributes, self.app.now_ms())?;
        let recorded =
            self.app.profile.record_attributes(&caller, new, &options).await.map_err(status::of)?;
        Ok(Response::new(proto::RecordAttributesResponse {
            receipt: Some(convert::receipt(recorded.receipt, &caller)),
            not_held: recorded.not_held,
        }))
    }

    type RecordStreamStream = ReceiverStream<StreamAnswer>;

    async fn record_stream(
        &self,
        request: Request<Streaming<proto::RecordStreamRequest>>,
    ) -> Answer<Self::RecordStreamStream> {
        let caller = layer::caller(&request)?;
        let (under_way, answers) = mpsc::channel(STREAM_MAX);
        let (sender, receiver) = mpsc::channel(STREAM_MAX);
        let intake = request.extensions().get::<Arc<Intake>>().cloned().ok_or_else(status::forbidden)?;
        let reader = Reader { app: Arc::clone(&self.app), caller, intake };
        tokio::spawn(reader.read(request.into_inner(), under_way));
        tokio::spawn(answer_in_order(answers, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn remove_attributes(
        &self,
        request: Request<proto::RemoveAttributesRequest>,
    ) -> Answer<proto::RemoveAttributesResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::options(request.options.as_ref(), &request)?;
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
        let options = convert::options(request.options.as_ref(), &request)?;
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
        let options = convert::options(request.options.as_ref(), &request)?;
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
        let moment = convert::moment(request.as_of.as_ref())?;
        self.app.record_view(&caller, &subject, "GetProfile").await.map_err(status::of)?;
        let (rebuild, token) = (request.rebuild, request.page_token.as_str());
        let page =
            self.app.profile.profile_page(&subject, moment, rebuild, token).await.map_err(status::of)?;
        let signals = page.signals.into_iter().map(|signal| proto::Signal {
            kind: signal.kind.into(),
            purposes: signal.purposes,
            recorded_at: Some(convert::time(signal.recorded_at_ms)),
            interaction: signal.interaction,
        });
        let known = page.description;
        let description = (known.recorded_at_ms > 0).then(|| proto::Description {
            age_band: known.age_band.into(),
            age_years: known.age_years,
            jurisdiction: known.jurisdiction,
            recorded_at: Some(convert::time(known.recorded_at_ms)),
        });
        Ok(Response::new(proto::GetProfileResponse {
            attributes: page.attributes.iter().map(|held| convert::profile_attribute(held)).collect(),
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
        let start = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| status::page_token())?,
        };
        let count = usize::try_from(request.page_size).unwrap_or(usize::MAX);
        self.app.record_view(&caller, &subject, "ListEvents").await.map_err(status::of)?;
        let page = self.app.profile.list_events(&subject, start, count).await.map_err(status::of)?;
        let events = page.events.into_iter().map(|event| proto::RecordedEvent {
            event_id: event.event_id.to_string(),
            position: event.position,
            subject_version: event.version,
            recorded_at: Some(convert::time(event.recorded_at_ms)),
            body: Some(convert::body(&event)),
        });
        let next_page_token = page.next.map(|next| next.to_string()).unwrap_or_default();
        Ok(Response::new(proto::ListEventsResponse { events: events.collect(), next_page_token }))
    }

    async fn describe_subject(
        &self,
        request: Request<proto::DescribeSubjectRequest>,
    ) -> Answer<proto::DescribeSubjectResponse> {
        let caller = layer::caller(&request)?;
        let request = request.into_inner();
        let options = convert::options(request.options.as_ref(), &request)?;
        let subject = caller.subject_of(&request.subject).map_err(status::of)?;
        let said = proto::SubjectDescribed {
            age_band: request.age_band,
            age_years: request.age_years,
            jurisdiction: request.jurisdiction,
        };
        let changed = self.app.profile.describe_subject(&caller, &subject, said, &options).await;
        let changed = changed.map_err(status::of)?;
        let receipt = Some(convert::receipt(changed.receipt, &caller));
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
        changed.map(|receipt| convert::receipt(receipt, caller)).map_err(status::of)
    }
}

/// A message that was taken, or why no more are.
type Waiting = Result<(u64, JoinHandle<Result<proto::Receipt, Status>>), Status>;

/// What is kept of a message until it is written: its bytes, and its part of what the stream may have under
/// way.
type Kept = (Option<Counted>, Option<OwnedSemaphorePermit>);

/// Reads a stream of messages.
struct Reader {
    app: Arc<App>,
    caller: Arc<Caller>,
    intake: Arc<Intake>,
}

impl Reader {
    /// Takes messages in order, each up to its subject's turn; what follows goes on side by side.
    async fn read(
        self,
        mut messages: Streaming<proto::RecordStreamRequest>,
        under_way: mpsc::Sender<Waiting>,
    ) {
        let room = Arc::new(Semaphore::new(usize::try_from(STREAM_BYTES_MAX).unwrap_or(usize::MAX)));
        // What can't be read, or may be no longer, ends the stream; what was taken before is still answered.
        while let Some(read) = messages.message().await.transpose() {
            let waiting = match read {
                Ok(message) => Ok((message.sequence, self.begin(message, &room).await)),
                Err(status) => Err(status),
            };
            let is_last = waiting.is_err();
            if under_way.send(waiting).await.is_err() || is_last {
                return;
            }
        }
    }

    async fn begin(
        &self,
        message: proto::RecordStreamRequest,
        room: &Arc<Semaphore>,
    ) -> JoinHandle<Result<proto::Receipt, Status>> {
        let (counted, refused) = match self.intake.take() {
            Some(Taken { counted, refused }) => (Some(counted), refused),
            None => (None, None),
        };
        // Those before are written and make room, whatever their caller does.
        let bytes = counted.as_ref().map_or(0, Counted::bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(STREAM_BYTES_MAX);
        let kept: Kept = (counted, Arc::clone(room).acquire_many_owned(bytes).await.ok());
        let begun = match refused {
            Some(refused) => Err(refused),
            None => self.record(message.record.unwrap_or_default()).await,
        };
        let caller = Arc::clone(&self.caller);
        tokio::spawn(async move {
            let _until_it_is_written = kept;
            let written = begun?.await.map_err(|_| Status::internal("internal error"))?;
            written.map(|receipt| convert::receipt(receipt, &caller)).map_err(status::of)
        })
    }

    async fn record(
        &self,
        record: proto::RecordAttributesRequest,
    ) -> Result<JoinHandle<Result<Receipt, AppError>>, Status> {
        let options = convert::options(record.options.as_ref(), &record)?;
        let subject = self.caller.subject_of(&record.subject).map_err(status::of)?;
        let new = convert::new_attributes(subject, record.attributes, self.app.now_ms())?;
        self.app.profile.record_in_order(&self.caller, new, &options).await.map_err(status::of)
    }
}

async fn answer_in_order(mut waiting: mpsc::Receiver<Waiting>, sender: mpsc::Sender<StreamAnswer>) {
    while let Some(taken) = waiting.recv().await {
        let (sequence, task) = match taken {
            Ok(taken) => taken,
            Err(status) => {
                let _gone = sender.send(Err(status)).await;
                return;
            }
        };
        let outcome = match task.await {
            Ok(Ok(receipt)) => Outcome::Receipt(receipt),
            Ok(Err(status)) => Outcome::Error(stream_error(&status)),
            Err(_) => Outcome::Error(stream_error(&Status::internal("internal error"))),
        };
        let answer = proto::RecordStreamResponse { sequence, outcome: Some(outcome) };
        // Whoever asked may have gone; what was taken is written all the same.
        let _gone = sender.send(Ok(answer)).await;
    }
}

fn stream_error(status: &Status) -> proto::StreamError {
    let info = status.get_details_error_info();
    proto::StreamError {
        code: status.code().into(),
        reason: info.map(|info| info.reason).unwrap_or_default(),
        message: status.message().to_owned(),
    }
}
