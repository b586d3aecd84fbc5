//! Answers that count until they have gone out. What goes on ends with its caller's credential.

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

/// Pieces of an answer that are larger than this count as bytes under way while they are being sent. Smaller
/// ones are bounded by how many calls there may be; refusing them would hide that a write was done.
const LARGE_BYTES: usize = 64 << 10;

/// Answers that are larger than this are handed over in pieces, of which the last is a byte: HTTP/2 takes a
/// piece as a whole as soon as the reader has room for one byte, and nobody here would know then when it has
/// gone out.
const WHOLE_BYTES: usize = 4 << 10;
const PIECE_BYTES: usize = 64 << 10;

/// An answer on its way: its call counts until it has gone out, and it ends at the caller's deadline, or with
/// the caller's credential if it is one of many messages.
pub struct ResponseBody {
    body: Body,
    /// None where nobody was let in.
    _admission: Option<Admission>,
    /// What is kept of the request, for an answer that goes on.
    _intake: Option<Arc<Intake>>,
    /// Bytes of the message that is being sent.
    counted: Option<Counted>,
    /// What of it was not handed over yet.
    rest: Bytes,
    watched: Option<Watched>,
    /// It waits for more, or has had more than one message: what a single answer never does.
    goes_on: bool,
    has_begun: bool,
    call: Option<tls::Call>,
    deadline: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl ResponseBody {
    /// Holds all of this until the answer has gone out.
    pub fn new(
        body: Body,
        admission: Option<Admission>,
        intake: Option<Arc<Intake>>,
        watched: Option<Watched>,
        call: Option<tls::Call>,
        deadline: Option<Pin<Box<Sleep>>>,
    ) -> Self {
        let (goes_on, has_begun, is_over) = (false, false, false);
        let counted = admission.as_ref().map(Admission::counted);
        let (_admission, _intake, rest) = (admission, intake, Bytes::new());
        Self {
            body,
            _admission,
            _intake,
            counted,
            rest,
            watched,
            goes_on,
            has_begun,
            call,
            deadline,
            is_over,
        }
    }

    /// The message before has gone out, and this one is to be sent.
    fn count(&mut self, bytes: usize) -> Result<(), Status> {
        let Some(counted) = &mut self.counted else { return Ok(()) };
        if counted.bytes() > 0 {
            counted.subtract(counted.bytes());
        }
        if bytes > LARGE_BYTES { counted.add_whole(bytes) } else { Ok(()) }
    }

    /// The next piece of a message that has more.
    fn piece(&mut self) -> Option<Bytes> {
        match self.rest.len() {
            0 => None,
            // A copy: a slice would keep the memory of the whole message.
            1 => Some(Bytes::copy_from_slice(&std::mem::take(&mut self.rest))),
            more => Some(self.rest.split_to((more - 1).min(PIECE_BYTES))),
        }
    }

    /// While nothing comes: the call's deadline has passed, or its credential counts no longer.
    fn ends_waiting(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        self.goes_on = true;
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready()) {
            return Err(Status::deadline_exceeded("the call's deadline has passed"));
        }
        self.watched.as_mut().map_or(Ok(()), |watched| watched.poll(context))
    }

    /// Once there is a message: whether it may still go out.
    fn may_go_out(&mut self, bytes: usize) -> Result<(), Status> {
        self.count(bytes)?;
        self.goes_on |= self.has_begun;
        self.has_begun = true;
        match &mut self.watched {
            Some(watched) if self.goes_on => watched.check(),
            _ => Ok(()),
        }
    }

    /// Nothing more comes after this.
    fn end(&mut self, why: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.is_over = true;
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(why.add_header(&mut trailers).is_ok().then(|| Ok(Frame::trailers(trailers))))
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
        let may_go_on = match &polled {
            Poll::Pending => self.ends_waiting(context),
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref().map(Bytes::len) {
                Some(bytes) => self.may_go_out(bytes),
                None => return polled,
            },
            Poll::Ready(_) => return polled,
        };
        if let Err(why) = may_go_on {
            return self.end(&why);
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
