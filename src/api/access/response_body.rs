//! Response bodies. An answer counts against its caller's quotas until it is sent. A stream of answers ends
//! when its caller's credential is no longer valid.

use crate::api::access::byte_budget::Counted;
use crate::api::access::lifetime::Watched;
use crate::api::access::quota::Admission;
use crate::api::access::request_body::Intake;
use crate::tls;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, http::HeaderMap};

/// Messages larger than this count as bytes in progress while they are sent. Smaller ones are not counted:
/// the limit on the number of calls is enough for them. If they could be refused, a caller might not learn
/// that its write was done.
const LARGE_BYTES: usize = 64 << 10;

/// Messages larger than this are passed to HTTP/2 in pieces, the last of which is one byte. HTTP/2 accepts a
/// whole piece as soon as the reader has room for one byte of it. So only the last byte shows when a message
/// was sent.
const WHOLE_BYTES: usize = 4 << 10;
const PIECE_BYTES: usize = 64 << 10;

/// An answer that is being sent. The call counts against its caller's quotas until the answer is sent. The
/// answer ends at the caller's deadline. A stream also ends when the caller's credential is no longer valid.
pub struct ResponseBody {
    body: Body,
    /// `None` if the call was refused.
    _admission: Option<Admission>,
    /// The bytes of the request, which a streaming handler may still need.
    _intake: Option<Arc<Intake>>,
    /// The count of the message that is being sent.
    counted: Option<Counted>,
    /// The part of that message that was not passed to HTTP/2 yet.
    rest: Bytes,
    watched: Option<Watched>,
    /// Whether the response is known to be a stream, because it has waited for a message or has had more than
    /// one.
    is_stream: bool,
    has_begun: bool,
    call: Option<tls::Call>,
    deadline: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl ResponseBody {
    /// Keeps all arguments until the answer is sent.
    pub fn new(
        body: Body,
        admission: Option<Admission>,
        intake: Option<Arc<Intake>>,
        watched: Option<Watched>,
        call: Option<tls::Call>,
        deadline: Option<Pin<Box<Sleep>>>,
    ) -> Self {
        let (is_stream, has_begun, is_over) = (false, false, false);
        let counted = admission.as_ref().map(Admission::counted);
        let (_admission, _intake, rest) = (admission, intake, Bytes::new());
        Self {
            body,
            _admission,
            _intake,
            counted,
            rest,
            watched,
            is_stream,
            has_begun,
            call,
            deadline,
            is_over,
        }
    }

    /// Counts the next message in place of the previous one, which has been sent.
    fn count(&mut self, bytes: usize) -> Result<(), Status> {
        let Some(counted) = &mut self.counted else { return Ok(()) };
        if counted.bytes() > 0 {
            counted.subtract(counted.bytes());
        }
        if bytes > LARGE_BYTES { counted.add_whole(bytes) } else { Ok(()) }
    }

    /// The next piece of the current message.
    fn piece(&mut self) -> Option<Bytes> {
        match self.rest.len() {
            0 => None,
            // The last byte is copied, because a slice would keep the memory of the whole message.
            1 => Some(Bytes::copy_from_slice(&std::mem::take(&mut self.rest))),
            more => Some(self.rest.split_to((more - 1).min(PIECE_BYTES))),
        }
    }

    /// Checks the deadline and the credential while the stream waits for a message.
    fn check_waiting(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        self.is_stream = true;
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready()) {
            return Err(Status::deadline_exceeded("the call's deadline has passed"));
        }
        self.watched.as_mut().map_or(Ok(()), |watched| watched.poll(context))
    }

    /// Counts a message and checks that it may still be sent.
    fn check_message(&mut self, bytes: usize) -> Result<(), Status> {
        self.count(bytes)?;
        self.is_stream |= self.has_begun;
        self.has_begun = true;
        match &mut self.watched {
            Some(watched) if self.is_stream => watched.check(),
            _ => Ok(()),
        }
    }

    /// Ends the answer with an error.
    fn end(&mut self, error: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.is_over = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(error.add_header(&mut trailers).is_ok().then(|| Ok(Frame::trailers(trailers))))
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(call) = &mut self.call {
            call.piece_sent();
        }
        if let Some(piece) = self.piece() {
            if let Some(call) = &mut self.call {
                call.piece_handed_over();
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let checked = match &polled {
            Poll::Pending => self.check_waiting(context),
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref().map(Bytes::len) {
                Some(bytes) => self.check_message(bytes),
                None => return polled,
            },
            Poll::Ready(_) => return polled,
        };
        if let Err(error) = checked {
            return self.end(&error);
        }
        if let (true, Some(call)) = (polled.is_ready(), &mut self.call) {
            call.piece_handed_over();
        }
        match polled {
            Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(|data| data.len() > WHOLE_BYTES) => {
                self.rest = frame.into_data().unwrap_or_default();
                Poll::Ready(self.piece().map(|piece| Ok(Frame::data(piece))))
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || (self.rest.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
