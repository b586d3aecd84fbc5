//! Bodies that count while they live: a request's bytes, and an answer until it has gone out. What goes on ends with its
//! caller's credential.

use super::calls::{Admission, Reading};
use super::validity::Watched;
use crate::tls;
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, http::HeaderMap};

/// A request whose bytes are counted.
pub struct Counted {
    body: Body,
    reading: Reading,
    message_bytes_max: usize,
    watched: Option<Watched>,
}

impl Counted {
    /// Counts what is read of `body`, up to what one message may have. Of a stream: as long as the caller's credential
    /// counts.
    pub fn new(body: Body, reading: Reading, message_bytes_max: usize, watched: Option<Watched>) -> Self {
        Self { body, reading, message_bytes_max, watched }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(Err(lapsed)) = self.watched.as_mut().map(|watched| watched.poll(context)) {
            return Poll::Ready(Some(Err(lapsed)));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Poll::Ready(Some(Ok(frame))) = &polled else { return polled };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        let one_max = self.message_bytes_max;
        match self.reading.more(bytes, one_max) {
            Ok(()) => polled,
            Err(refused) => Poll::Ready(Some(Err(refused))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer on its way: its call counts until it has gone out, and it ends at the caller's deadline, or with the caller's
/// credential if it is one of many messages.
pub struct Held {
    body: Body,
    /// None where nobody needed to say who they are.
    _admission: Option<Admission>,
    watched: Option<Watched>,
    /// It waits for more, or has had more than one message: what a single answer never does.
    goes_on: bool,
    has_begun: bool,
    call: Option<tls::Call>,
    deadline: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl Held {
    /// Holds all of this until the answer has gone out.
    pub fn new(
        body: Body,
        admission: Option<Admission>,
        watched: Option<Watched>,
        call: Option<tls::Call>,
        deadline: Option<Pin<Box<Sleep>>>,
    ) -> Self {
        let (goes_on, has_begun, is_over) = (false, false, false);
        Self { body, _admission: admission, watched, goes_on, has_begun, call, deadline, is_over }
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
    fn may_go_out(&mut self) -> Result<(), Status> {
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

impl HttpBody for Held {
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
            call.went_out();
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let may_go_on = match &polled {
            Poll::Pending => self.ends_waiting(context),
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => self.may_go_out(),
            Poll::Ready(_) => return polled,
        };
        if let Err(why) = may_go_on {
            return self.end(&why);
        }
        if let (true, Some(call)) = (polled.is_ready(), &mut self.call) {
            call.handed_over();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
