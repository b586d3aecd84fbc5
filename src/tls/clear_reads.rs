//! Clears the buffer into which a connection is read, as soon as no more bytes are there to read.
//!
//! A reader that keeps its buffer over several reads keeps what requests said, possibly for as long as the
//! client stays connected. [`ClearReads`] sits between such a reader and the connection. When there is
//! nothing more to read, [`ClearReads`] overwrites the unused part of the buffer.
//!
//! The HTTP/2 reader (`h2`) appends to its buffer, and offers only the free part after the bytes that it has
//! already read. So [`ClearReads`] can't reach the bytes before. When no free part is left, `h2` offers the
//! whole buffer again, or a new one if a request is still using the old one. To bring this about,
//! [`ClearReads`] fills the free part after a complete frame with a frame of an unassigned type, which a
//! receiver discards (RFC 9113, section 5.5). The allocator overwrites memory when it is freed.

use super::frame_tracker::{FrameTracker, HEADER_BYTES};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A frame type that is neither assigned nor reserved for tests (RFC 9113, section 11.2).
const FILLER_TYPE: u8 = 0xfb;
/// The largest payload that a client may send, because the daemon announces no other size (RFC 9113, section
/// 6.5.2).
const PAYLOAD_BYTES_MAX: usize = 16 << 10;

/// A stream whose reader's buffer is cleared when nothing more can be read.
pub struct ClearReads<S> {
    stream: S,
    /// Bytes that were read from the stream before, in order to learn the protocol.
    replay: Vec<u8>,
    /// Where the client's frames end. `None` if the stream is not HTTP/2, or its reader shows its whole
    /// buffer.
    frames: Option<FrameTracker>,
    /// Whether the reader's buffer may contain bytes of the client.
    is_dirty: bool,
    /// The rest of the filler frame's header, if the buffer had no room for all of it.
    filler: Vec<u8>,
    /// Whether a filler frame has used up the room in the buffer, so the next read offers all of it.
    is_filled: bool,
}

impl<S> ClearReads<S> {
    /// Clears the part of the buffer that the reader shows. This is enough for readers that move what they
    /// keep to the start of the buffer, such as that of TLS.
    pub fn new(stream: S) -> Self {
        let (replay, filler) = (Vec::new(), Vec::new());
        Self { stream, replay, frames: None, is_dirty: false, filler, is_filled: false }
    }

    /// Clears the buffer of an HTTP/2 reader. `preface` was read from the stream already and is read again.
    pub fn http2(stream: S, preface: Vec<u8>) -> Self {
        Self { replay: preface, frames: Some(FrameTracker::default()), ..Self::new(stream) }
    }

    /// Clears the part of the buffer that an HTTP/1 reader shows. `first` was read from the stream already
    /// and is read again.
    pub fn http1(stream: S, first: Vec<u8>) -> Self {
        Self { replay: first, ..Self::new(stream) }
    }

    /// Hands over bytes that are not from the stream now: first the replayed bytes, then the rest of a filler
    /// frame.
    fn hand_over(&mut self, to: &mut ReadBuf<'_>) -> bool {
        let from = if self.replay.is_empty() { &mut self.filler } else { &mut self.replay };
        let count = from.len().min(to.remaining());
        to.put_slice(from.get(..count).unwrap_or_default());
        from.drain(..count);
        count > 0
    }

    /// Clears the unused part of the buffer. Returns whether a filler frame was put into it.
    fn clear(&mut self, to: &mut ReadBuf<'_>) -> bool {
        if !self.is_dirty {
            return false;
        }
        to.initialize_unfilled().fill(0);
        let is_whole = std::mem::take(&mut self.is_filled);
        match &self.frames {
            Some(frames) if !is_whole => {
                let may_fill = frames.is_between_frames() && to.remaining() > 0;
                if may_fill {
                    self.fill(to);
                }
                may_fill
            }
            _ => {
                self.is_dirty = false;
                false
            }
        }
    }

    /// Uses up the room in the buffer with a filler frame, or the largest one if there is more room.
    fn fill(&mut self, to: &mut ReadBuf<'_>) {
        let room = to.remaining();
        let payload = room.saturating_sub(HEADER_BYTES).min(PAYLOAD_BYTES_MAX);
        let [.., high, middle, low] = payload.to_be_bytes();
        let header = [high, middle, low, FILLER_TYPE, 0, 0, 0, 0, 0];
        let (now, later) = header.split_at(room.min(HEADER_BYTES));
        to.put_slice(now);
        self.filler.extend_from_slice(later);
        // The rest of the buffer was cleared before, and is the payload.
        to.advance(payload);
        self.is_filled = to.remaining() == 0;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClearReads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.hand_over(to) {
            return Poll::Ready(Ok(()));
        }
        let before = to.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, to) {
            Poll::Ready(Ok(())) => {
                let bytes = to.filled().get(before..).unwrap_or_default();
                if let Some(frames) = &mut this.frames {
                    frames.advance(bytes);
                }
                this.is_dirty |= !bytes.is_empty();
                this.is_filled = false;
                Poll::Ready(Ok(()))
            }
            Poll::Pending if this.clear(to) => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClearReads<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
