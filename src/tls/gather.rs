//! One write for the answers that come at the same time.
//!
//! Whoever serves a connection flushes after each answer, so each would be a system call of its own here, and another one
//! where it is read. Instead a flush lets everybody else who is ready have a turn first, once: what they answer meanwhile
//! goes out with it. Alone, an answer waits for nobody.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Bytes held back until the flush, at most; what is more is written at once.
const HELD_BYTES_MAX: usize = 64 << 10;
/// Room made for the first of them, at least.
const HELD_BYTES: usize = 4 << 10;

/// What waits for the next flush of one connection.
#[derive(Default)]
pub struct Gather {
    held: Vec<u8>,
    /// What the last flush took: growing to it step by step would copy, and overwrite, twice as much.
    took: usize,
    /// Of `held`, so many were written.
    written: usize,
    /// Others had their turn since the last flush.
    has_yielded: bool,
}

impl Gather {
    /// Takes `from`, or writes what it has no room for.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_write(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.held.len().saturating_add(from.len()) > HELD_BYTES_MAX {
            ready!(self.poll_drain(stream.as_mut(), context))?;
            if from.len() > HELD_BYTES_MAX {
                return stream.poll_write(context, from);
            }
        }
        if self.held.capacity() == 0 {
            self.held.reserve(self.took.max(HELD_BYTES));
        }
        self.held.extend_from_slice(from);
        Poll::Ready(Ok(from.len()))
    }

    /// Lets others have a turn, then writes all of it and flushes the stream.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_flush(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.held.is_empty() && !std::mem::replace(&mut self.has_yielded, true) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_drain(stream.as_mut(), context))?;
        self.has_yielded = false;
        stream.poll_flush(context)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_drain(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.held.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(stream.as_mut().poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written = self.written.saturating_add(count),
            }
        }
        if !self.held.is_empty() {
            // Freed and not kept: there are answers about people in it.
            *self = Self { took: self.held.len(), has_yielded: self.has_yielded, ..Self::default() };
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

    /// Takes as many bytes at a time as it is told to; none: it is not ready.
    #[derive(Default)]
    struct Stream {
        takes: VecDeque<usize>,
        got: Vec<u8>,
        writes: usize,
        flushed: usize,
    }

    impl AsyncWrite for Stream {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
            let count = self.takes.pop_front().unwrap_or(usize::MAX).min(from.len());
            if count == 0 {
                return Poll::Pending;
            }
            self.writes += 1;
            self.got.extend_from_slice(from.split_at(count).0);
            Poll::Ready(Ok(count))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushed += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn answers_of_one_turn_are_one_write() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let (mut gather, mut stream) = (Gather::default(), Stream::default());
        let mut stream = Pin::new(&mut stream);
        for _ in 0..3 {
            assert!(gather.poll_write(stream.as_mut(), &mut context, b"answer").is_ready());
        }
        // Others first, and woken for it.
        assert!(gather.poll_flush(stream.as_mut(), &mut context).is_pending());
        assert_eq!((woken.0.load(Ordering::Relaxed), stream.writes), (1, 0));
        assert!(gather.poll_write(stream.as_mut(), &mut context, b"another").is_ready());
        assert!(gather.poll_flush(stream.as_mut(), &mut context).is_ready());
        assert_eq!((stream.writes, stream.flushed), (1, 1));
        assert_eq!(stream.got, b"answeransweransweranother");
        assert_eq!(gather.held.capacity(), 0, "kept what was answered");
        // Where there is nothing to write, nobody is waited for.
        assert!(gather.poll_flush(stream.as_mut(), &mut context).is_ready());
    }

    proptest! {
        #[test]
        fn whatever_was_taken_arrives_once_and_in_order(
            pieces in prop::collection::vec((0_usize..100_000, any::<bool>()), 1..20),
            takes in prop::collection::vec(0_usize..50_000, 0..60),
        ) {
            let mut context = Context::from_waker(Waker::noop());
            let (mut gather, mut stream) = (Gather::default(), Stream { takes: takes.into(), ..Stream::default() });
            let mut stream = Pin::new(&mut stream);
            let (mut sent, mut next) = (Vec::new(), 0_u8);
            for (length, flushes) in pieces {
                let piece: Vec<u8> = (0..length).map(|_| { next = next.wrapping_add(7); next }).collect();
                let mut rest = piece.as_slice();
                while !rest.is_empty() {
                    if let Poll::Ready(count) = gather.poll_write(stream.as_mut(), &mut context, rest) {
                        rest = rest.split_at(count.unwrap()).1;
                    }
                    prop_assert!(gather.held.len() <= HELD_BYTES_MAX);
                }
                sent.extend_from_slice(&piece);
                while flushes && gather.poll_flush(stream.as_mut(), &mut context).is_pending() {}
                prop_assert!(!flushes || stream.got == sent);
            }
            while gather.poll_drain(stream.as_mut(), &mut context).is_pending() {}
            prop_assert_eq!(&stream.got, &sent);
        }
    }
}
