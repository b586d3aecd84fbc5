//! Bodies that count while they live: a request's bytes, and an answer until it has gone out.

use super::calls::{Admission, Reading};
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
}

impl Counted {
    /// Counts what is read of `body`, up to what one message may have.
    pub fn new(body: Body, reading: Reading, message_bytes_max: usize) -> Self {
        Self { body, reading, message_bytes_max }
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
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

/// An answer on its way: its call counts until it has gone out, and it ends at the caller's deadline.
pub struct Held {
    body: Body,
    /// None where nobody needed to say who they are.
    _admission: Option<Admission>,
    call: Option<tls::Call>,
    deadline: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl Held {
    /// Holds all of this until the answer has gone out.
    pub fn new(
        body: Body,
        admission: Option<Admission>,
        call: Option<tls::Call>,
        deadline: Option<Pin<Box<Sleep>>>,
    ) -> Self {
        Self { body, _admission: admission, call, deadline, is_over: false }
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready())
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
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (true, Some(call)) = (frame.is_data(), &mut self.call) {
                    call.handed_over();
                }
                polled
            }
            Poll::Pending if self.is_late(context) => {
                self.is_over = true;
                let mut trailers = HeaderMap::new();
                let late = Status::deadline_exceeded("the call's deadline has passed");
                Poll::Ready(late.add_header(&mut trailers).is_ok().then(|| Ok(Frame::trailers(trailers))))
            }
            _ => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
