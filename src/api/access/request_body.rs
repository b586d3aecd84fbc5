//! Request bodies. A body passes a message on only if it is complete, decompressed, counted against the byte
//! budgets, and within the limits of its method. With any other message the call ends here, before anything
//! is decoded or a handler sees a byte. There is one exception: in a stream of requests, a message may be
//! small enough as a whole although one of its fields exceeds a limit. Then the handler gets only the numeric
//! fields of that message and answers with an error, and the stream continues.

use crate::api::access::byte_budget::Counted;
use crate::api::access::decompress::Encoding;
use crate::api::access::lifetime::Watched;
use crate::api::access::message_limits;
use crate::api::access::message_limits::Shape;
use crate::api::status;
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes};

/// The prefix of a message: whether it is compressed, and its length (gRPC over HTTP2,
/// Length-Prefixed-Message).
const HEADER_BYTES: usize = 5;

/// The size of the buffers that collect a message, in bytes.
const PIECE_BYTES: usize = 16 << 10;
/// How often a stream that waits for room checks again.
const CHECK_AGAIN: Duration = Duration::from_millis(20);

/// The count of a request's bytes that are in memory. They count against the byte budgets of the caller and
/// of the daemon until this value is dropped. The body and the handler share this value.
#[derive(Debug)]
pub struct Intake {
    counted: Mutex<Counted>,
    /// For a stream: for each message, in order, what the handler needs to know about its bytes and its
    /// check.
    messages: Mutex<VecDeque<Taken>>,
}

/// The count and the check of one message of a stream. Its bytes count until this value is dropped.
#[derive(Debug)]
pub struct Taken {
    /// The count of its bytes.
    pub counted: Counted,
    /// Why the message was refused. The handler then got only its numeric fields.
    pub refused: Option<Status>,
}

impl Intake {
    /// The intake of a request whose first byte has not arrived yet.
    #[must_use]
    pub fn new(counted: Counted) -> Arc<Self> {
        Arc::new(Self { counted: Mutex::new(counted), messages: Mutex::default() })
    }

    /// The count and the check of the next message of a stream.
    pub fn take(&self) -> Option<Taken> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rules that a request is checked against.
pub struct Terms {
    /// The limits of its messages.
    pub shape: &'static Shape,
    /// The largest size of a decompressed message, in bytes.
    pub message_bytes_max: usize,
    /// The compression of its messages, if there is one.
    pub encoding: Option<Encoding>,
    /// Whether the request is a stream. In a stream, a message that exceeds a limit is answered with an
    /// error, and the stream continues.
    pub is_stream: bool,
    /// How long one message of a stream may take to arrive.
    pub whole_within: Duration,
    /// For a stream: watches the caller's credential. The stream ends when the credential is no longer valid.
    pub watched: Option<Watched>,
    /// For a stream: when it ends.
    pub ends: Option<Pin<Box<Sleep>>>,
}

/// A request's body.
pub struct RequestBody {
    body: Body,
    intake: Arc<Intake>,
    terms: Terms,
    /// The beginning of an incomplete message, and the time by which it must be complete.
    partial: Pieces,
    due: Option<Pin<Box<Sleep>>>,
    /// The received bytes that follow `partial`.
    chunk: Bytes,
    /// Bytes that do not fit into the budget yet, and when to check again. Nothing else is read meanwhile.
    waiting: Option<(Bytes, Pin<Box<Sleep>>)>,
    has_begun: bool,
    is_over: bool,
}

impl RequestBody {
    /// Reads `body` and counts it with `intake`.
    #[must_use]
    pub fn new(body: Body, intake: Arc<Intake>, terms: Terms) -> Self {
        let (partial, chunk, waiting, due) = (Pieces::default(), Bytes::new(), None, None);
        Self { body, intake, terms, partial, due, chunk, waiting, has_begun: false, is_over: false }
    }

    /// Checks that the stream may continue.
    fn check_time(&mut self, context: &mut Context<'_>) -> Result<(), Status> {
        if let Some(watched) = &mut self.terms.watched {
            watched.poll(context)?;
        }
        let timers = [&mut self.terms.ends, &mut self.due];
        let mut timers = timers.into_iter().flatten();
        if timers.any(|timer| timer.as_mut().poll(context).is_ready()) {
            return Err(Status::deadline_exceeded("the call's deadline has passed"));
        }
        Ok(())
    }

    /// The next message with its prefix, as the service gets it. `None` if it is incomplete.
    fn message(&mut self) -> Result<Option<Bytes>, Status> {
        self.extend_partial(HEADER_BYTES);
        let first = if self.partial.is_empty() { &self.chunk[..] } else { self.partial.first() };
        let Some((header, _)) = first.split_first_chunk::<HEADER_BYTES>() else {
            self.begin_partial(HEADER_BYTES);
            return Ok(None);
        };
        let [flag, length @ ..] = *header;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if self.has_begun && !self.terms.is_stream {
            return Err(status::invalid("request", "must be one message"));
        }
        let most = self.bytes_max();
        // Checked before any part of the message is stored.
        if length > most {
            return Err(status::invalid("request", &format!("must have at most {most} bytes")));
        }
        let whole = HEADER_BYTES.saturating_add(length);
        self.extend_partial(whole);
        let framed = if self.partial.is_empty() {
            if self.chunk.len() < whole {
                self.begin_partial(whole);
                return Ok(None);
            }
            self.chunk.split_to(whole)
        } else if self.partial.bytes < whole {
            return Ok(None);
        } else {
            self.due = None;
            std::mem::take(&mut self.partial).join()
        };
        self.has_begun = true;
        let framed = match flag {
            0 => framed,
            1 => self.decompress(&framed)?,
            _ => return Err(Status::internal("the first byte of a message must be 0 or 1")),
        };
        self.checked(framed).map(Some)
    }

    /// Adds bytes to an incomplete message, up to `whole` bytes.
    fn extend_partial(&mut self, whole: usize) {
        if !self.partial.is_empty() {
            self.partial.take(&mut self.chunk, whole);
        }
    }

    /// Keeps the beginning of an incomplete message.
    fn begin_partial(&mut self, whole: usize) {
        self.partial.take(&mut self.chunk, whole);
        if self.terms.is_stream && self.due.is_none() && !self.partial.is_empty() {
            self.due = Some(Box::pin(tokio::time::sleep(self.terms.whole_within)));
        }
    }

    /// Counts the bytes that arrived, or fails if they do not fit into the budget. Only a stream that is
    /// between two messages waits instead, until earlier messages release their bytes. Inside a message, a
    /// stream does not wait: several calls with half a message each could wait for each other forever.
    fn take(&mut self, data: Bytes) -> Result<(), Status> {
        match self.intake.counted().add(data.len()) {
            Ok(()) => self.chunk = data,
            Err(_) if self.terms.is_stream && self.partial.is_empty() => {
                self.waiting = Some((data, Box::pin(tokio::time::sleep(CHECK_AGAIN))));
            }
            Err(refused) => return Err(refused),
        }
        Ok(())
    }

    fn bytes_max(&self) -> usize {
        let of_method = usize::try_from(self.terms.shape.bytes_max).unwrap_or(usize::MAX);
        of_method.min(self.terms.message_bytes_max)
    }

    /// Decompresses a message twice: first to count its bytes, and then into a buffer of exactly that size. A
    /// buffer that grows would take up to three times the memory that is counted.
    fn decompress(&mut self, framed: &Bytes) -> Result<Bytes, Status> {
        let Some(encoding) = self.terms.encoding else {
            return Err(Status::internal("a compressed message needs the header `grpc-encoding`"));
        };
        let most = self.bytes_max();
        let packed = framed.get(HEADER_BYTES..).unwrap_or_default();
        let mut bytes = 0_usize;
        encoding.decompress(packed, |piece| {
            bytes = bytes.saturating_add(piece.len());
            if bytes > most {
                let problem = format!("must have at most {most} bytes when decompressed");
                return Err(status::invalid("request", &problem));
            }
            self.intake.counted().add(piece.len())
        })?;
        let mut plain = Vec::with_capacity(HEADER_BYTES.saturating_add(bytes));
        plain.push(0);
        plain.extend_from_slice(&u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes());
        encoding.decompress(packed, |piece| {
            plain.extend_from_slice(piece);
            Ok(())
        })?;
        self.intake.counted().subtract(packed.len());
        Ok(plain.into())
    }

    /// Checks a message against its limits. If a message of a stream exceeds them, only its numeric fields
    /// are passed on, and the handler gets the error.
    fn checked(&self, framed: Bytes) -> Result<Bytes, Status> {
        let message = framed.get(HEADER_BYTES..).unwrap_or_default();
        let checked = self.terms.shape.check(message);
        if !self.terms.is_stream {
            return checked.map(|()| framed);
        }
        let mut counted = self.intake.counted().split(framed.len());
        let passed_on = match &checked {
            Ok(()) => framed,
            Err(_) => {
                let numbers = message_limits::numbers_of(message);
                counted.subtract(counted.bytes());
                let length = u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_be_bytes();
                [&[0], &length[..], &numbers].concat().into()
            }
        };
        let taken = Taken { counted, refused: checked.err() };
        self.intake.messages.lock().unwrap_or_else(PoisonError::into_inner).push_back(taken);
        Ok(passed_on)
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Err(lapsed) = self.check_time(context) {
            return Poll::Ready(Some(Err(lapsed)));
        }
        loop {
            match self.message() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(Frame::data(message)))),
                Ok(None) => {}
                Err(refused) => return Poll::Ready(Some(Err(refused))),
            }
            let data = match ready!(self.data(context)) {
                Some(Ok(data)) => data,
                None if !self.partial.is_empty() => {
                    let torn = Status::internal("the request ended inside a message");
                    return Poll::Ready(Some(Err(torn)));
                }
                ended => return Poll::Ready(ended.map(|failed| failed.map(Frame::data))),
            };
            if let Err(refused) = self.take(data) {
                return Poll::Ready(Some(Err(refused)));
            }
        }
    }

    /// The next bytes: those that wait for room, or newly arrived ones. Trailers are ignored.
    fn data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        if let Some((_, timer)) = &mut self.waiting {
            ready!(timer.as_mut().poll(context));
        }
        if let Some((data, _)) = self.waiting.take() {
            return Poll::Ready(Some(Ok(data)));
        }
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(failed)) => return Poll::Ready(Some(Err(failed))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// A message that grows, in buffers that are copied only once it is complete. A single buffer would be copied
/// each time that it grows. The pieces need little more memory than the bytes that they have.
#[derive(Default)]
struct Pieces {
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl Pieces {
    fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The first buffer, which has the prefix.
    fn first(&self) -> &[u8] {
        self.pieces.first().map_or(&[], Vec::as_slice)
    }

    /// Moves bytes from `chunk` until there are `whole` bytes.
    fn take(&mut self, chunk: &mut Bytes, whole: usize) {
        while self.bytes < whole && !chunk.is_empty() {
            let missing = whole - self.bytes;
            let bytes = self.fill(chunk.get(..missing).unwrap_or(chunk), missing);
            drop(chunk.split_to(bytes));
        }
    }

    /// Copies bytes into the last buffer, and returns how many fit. If it is full, they go into a new buffer,
    /// which has room for `expected` bytes or for a whole piece.
    fn fill(&mut self, from: &[u8], expected: usize) -> usize {
        let room = |piece: &Vec<u8>| piece.capacity() - piece.len();
        if self.pieces.last().is_none_or(|last| room(last) == 0) {
            // The prefix may arrive in parts, but must be in the first buffer.
            self.pieces.push(Vec::with_capacity(expected.clamp(HEADER_BYTES, PIECE_BYTES)));
        }
        let Some(last) = self.pieces.last_mut() else { return from.len() };
        let bytes = from.len().min(room(last));
        last.extend_from_slice(from.get(..bytes).unwrap_or_default());
        self.bytes += bytes;
        bytes
    }

    fn join(self) -> Bytes {
        let mut whole = Vec::with_capacity(self.bytes);
        self.pieces.into_iter().for_each(|piece| whole.extend_from_slice(&piece));
        whole.into()
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = self.next(context);
        if let Poll::Ready(None | Some(Err(_))) = &next {
            // Release the memory now, even if the body is kept.
            self.is_over = true;
            (self.partial, self.chunk, self.body) = (Pieces::default(), Bytes::new(), Body::empty());
            self.waiting = None;
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        let is_empty = self.partial.is_empty() && self.chunk.is_empty() && self.waiting.is_none();
        self.is_over || (is_empty && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // The size after decompression is unknown.
        SizeHint::default()
    }
}
