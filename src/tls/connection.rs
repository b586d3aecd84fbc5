//! One accepted connection: its limits, its peer, and the check that closes it when it is idle, stalled or
//! evicted.

use super::activity::Activity;
use super::clear_reads::ClearReads;
use super::client_certificate::ClientCertificate;
use super::coalesce_writes::WriteCoalescer;
use super::per_address::Slot;
use crate::telemetry::metrics;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// Shortest and longest time between two checks of a connection's activity.
const CHECK_INTERVAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The client at the other end of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The certificate that the client presented and the handshake verified, if it presented one.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The client's address; for IPv6 the first 64 bits.
    pub address: Option<IpAddr>,
    /// The server reports the connection's calls here.
    pub activity: Arc<Activity>,
}

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at once. Beyond this, a new connection evicts one that has not authenticated. If all have
    /// authenticated, the new connection waits to be accepted.
    pub connections_max: usize,
    /// How many of these connections are reserved for clients that have authenticated, and for addresses from
    /// which a client has authenticated within a day.
    pub reserved: usize,
    /// Connections at once from one address; further ones are closed.
    pub per_address_max: usize,
    /// How long a handshake may take.
    pub handshake_max: Duration,
    /// How long a connection may stay open without a call in progress.
    pub idle_max: Duration,
    /// How long the client may take to read one piece of a response.
    pub stall_max: Duration,
}

/// One connection, plain or TLS.
pub struct Connection {
    /// This field is declared first, so it is dropped first: the slot is free before the peer sees the
    /// connection close.
    _slot: Slot,
    /// Resolves to `Ok` when the connection is evicted. `None` once it can no longer be evicted.
    evicted: Option<oneshot::Receiver<()>>,
    stream: Wire,
    coalescer: WriteCoalescer,
    peer: Peer,
    check_timer: Interval,
    limits: ConnectionLimits,
}

impl Connection {
    pub(super) fn new(
        stream: Wire,
        peer: Peer,
        limits: ConnectionLimits,
        slot: Slot,
        evicted: oneshot::Receiver<()>,
    ) -> Self {
        let (shortest, longest) = CHECK_INTERVAL;
        let interval = (limits.idle_max.min(limits.stall_max) / 4).clamp(shortest, longest);
        let mut check_timer = tokio::time::interval(interval);
        check_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (evicted, coalescer) = (Some(evicted), WriteCoalescer::default());
        Self { _slot: slot, evicted, stream, coalescer, peer, check_timer, limits }
    }

    /// The client at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Fails if the connection was evicted, is idle for too long, or its client stalls a response. The
    /// failure closes the connection.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(evicted) = &mut self.evicted
            && let Poll::Ready(outcome) = Pin::new(evicted).poll(context)
        {
            self.evicted = None;
            if outcome.is_ok() {
                metrics().connection_cut();
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        while self.check_timer.poll_tick(context).is_ready() {
            if self.peer.activity.should_close(self.limits.idle_max, self.limits.stall_max) {
                metrics().connection_cut();
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// The byte stream of a connection.
pub(super) enum Wire {
    Plain(TcpStream),
    /// The reader of TLS decrypts in its buffer, so that is cleared too.
    Tls(Box<TlsStream<ClearReads<TcpStream>>>),
}

macro_rules! on_wire {
    ($wire:expr, $stream:ident => $then:expr) => {
        match &mut $wire {
            Wire::Plain($stream) => $then,
            Wire::Tls(boxed) => {
                let $stream = boxed.as_mut();
                $then
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        on_wire!(self.stream, stream => Pin::new(stream).poll_read(context, to))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        let Self { stream, coalescer, .. } = &mut *self;
        on_wire!(*stream, stream => coalescer.poll_write(Pin::new(stream), context, from))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        let Self { stream, coalescer, .. } = &mut *self;
        on_wire!(*stream, stream => coalescer.poll_flush(Pin::new(stream), context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        let Self { stream, coalescer, .. } = &mut *self;
        on_wire!(*stream, stream => {
            ready!(coalescer.poll_drain(Pin::new(&mut *stream), context))?;
            Pin::new(stream).poll_shutdown(context)
        })
    }
}
