//! Coalesces the responses of concurrent calls into one write.
//!
//! The server flushes after each response. If each flush wrote, every response would cost one system call in
//! the server and another in the client. So a flush first yields once to the tasks that are ready, and the
//! responses that they produce go out in the same write. If no other task is ready, the response is written
//! at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Most bytes that are buffered until the flush. Bytes beyond that are written at once.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Smallest capacity of the buffer.
const BUFFER_BYTES_MIN: usize = 4 << 10;

/// Bytes of one connection that wait for the next flush.
#[derive(Default)]
pub struct WriteCoalescer {
    buffer: Vec<u8>,
    /// Bytes of the last flush. The new buffer gets this size. A buffer that grows in steps would copy its
    /// bytes, and the allocator would overwrite the freed copies: about twice as much work.
    last_bytes: usize,
    /// How many bytes of `buffer` are already written.
    written: usize,
    /// Whether other tasks had a turn since the last flush.
    has_yielded: bool,
}

impl WriteCoalescer {
    /// Buffers `from`, and first writes the buffer if there is no room for it.
    ///
    /// # Errors
    /// The stream's error.
    pub fn poll_write(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.buffer.len().saturating_add(from.len()) > BUFFER_BYTES_MAX {
            ready!(self.poll_drain(stream.as_mut(), context))?;
            if from.len() > BUFFER_BYTES_MAX {
                return stream.poll_write(context, from);
            }
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(self.last_bytes.max(BUFFER_BYTES_MIN));
        }
        self.buffer.extend_from_slice(from);
        Poll::Ready(Ok(from.len()))
    }

    /// Yields once, then writes the buffer and flushes the stream.
    ///
    /// # Errors
    /// The stream's error.
    pub fn poll_flush(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.buffer.is_empty() && !std::mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(stream.as_mut(), context))?;
        self.has_yielded = false;
        stream.poll_flush(context)
    }

    /// Writes the whole buffer.
    ///
    /// # Errors
    /// The stream's error.
    pub fn poll_drain(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.buffer.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(stream.as_mut().poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written = self.written.saturating_add(count),
            }
        }
        if !self.buffer.is_empty() {
            // Free the buffer rather than keep it: it contains responses about people.
            *self = Self { last_bytes: self.buffer.len(), has_yielded: self.has_yielded, ..Self::default() };
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    /// A stream that accepts the given number of bytes at each write. With 0, it is not ready.
    #[derive(Default)]
    struct Stream {
        accepts: VecDeque<usize>,
        received: Vec<u8>,
        writes: usize,
        flushes: usize,
    }

    impl AsyncWrite for Stream {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
            let count = self.accepts.pop_front().unwrap_or(usize::MAX).min(from.len());
            if count == 0 {
                return Poll::Pending;
            }
            self.writes += 1;
            self.received.extend_from_slice(from.split_at(count).0);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct WakeCounter(AtomicUsize);

    impl Wake for WakeCounter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn responses_of_one_turn_are_one_write() {
        let woken = Arc::new(WakeCounter::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let (mut coalescer, mut stream) = (WriteCoalescer::default(), Stream::default());
        let mut stream = Pin::new(&mut stream);
        for _ in 0..3 {
            assert!(coalescer.poll_write(stream.as_mut(), &mut context, b"response").is_ready());
        }
        // The first flush yields, and wakes the task again.
        assert!(coalescer.poll_flush(stream.as_mut(), &mut context).is_pending());
        assert_eq!((woken.0.load(Ordering::Relaxed), stream.writes), (1, 0));
        assert!(coalescer.poll_write(stream.as_mut(), &mut context, b"another").is_ready());
        assert!(coalescer.poll_flush(stream.as_mut(), &mut context).is_ready());
        assert_eq!((stream.writes, stream.flushes), (1, 1));
        assert_eq!(stream.received, b"responseresponseresponseanother");
        assert_eq!(coalescer.buffer.capacity(), 0, "the buffer is freed");
        // A flush with nothing to write does not yield.
        assert!(coalescer.poll_flush(stream.as_mut(), &mut context).is_ready());
    }

    proptest! {
        #[test]
        fn all_bytes_arrive_once_and_in_order(
            pieces in prop::collection::vec((0_usize..100_000, any::<bool>()), 1..20),
            accepts in prop::collection::vec(0_usize..50_000, 0..60),
        ) {
            let mut context = Context::from_waker(Waker::noop());
            let (mut coalescer, mut stream) = (WriteCoalescer::default(), Stream { accepts: accepts.into(), ..Stream::default() });
            let mut stream = Pin::new(&mut stream);
            let (mut sent, mut next) = (Vec::new(), 0_u8);
            for (length, flush) in pieces {
                let piece: Vec<u8> = (0..length).map(|_| { next = next.wrapping_add(7); next }).collect();
                let mut rest = piece.as_slice();
                while !rest.is_empty() {
                    if let Poll::Ready(count) = coalescer.poll_write(stream.as_mut(), &mut context, rest) {
                        rest = rest.split_at(count.unwrap()).1;
                    }
                    prop_assert!(coalescer.buffer.len() <= BUFFER_BYTES_MAX);
                }
                sent.extend_from_slice(&piece);
                while flush && coalescer.poll_flush(stream.as_mut(), &mut context).is_pending() {}
                prop_assert!(!flush || stream.received == sent);
            }
            while coalescer.poll_drain(stream.as_mut(), &mut context).is_pending() {}
            prop_assert_eq!(&stream.received, &sent);
        }
    }
}
