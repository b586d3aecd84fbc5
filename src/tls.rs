//! Connections: TLS 1.3; who showed which certificate; how many there may be.

mod certificates;
mod gather;
mod handshake_time;
mod line;
mod seats;
mod shown;

pub use certificates::{Certificates, TlsError, TlsFiles};
pub use line::{Call, Line};
pub use shown::Shown;

use crate::telemetry::metrics;
use gather::Gather;
use seats::{Seat, Seats, Taken, whose};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// How often a connection looks at what goes on over it, at least and at most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// After a failed `accept` (no file handles left, say).
const PAUSE: Duration = Duration::from_millis(50);
/// Connections that wait for whoever serves them.
const WAITING_MAX: usize = 64;

/// Who is at the other end.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The certificate that was shown and verified, if one was.
    pub shown: Option<Arc<Shown>>,
    /// From where; of IPv6 the first 64 bits.
    pub from: Option<IpAddr>,
    /// For whoever serves the connection, to tell what goes on.
    pub line: Arc<Line>,
}

/// What connections may be and do.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// At once. Further ones take the places of those that have shown no good credential; where all have, they wait outside.
    pub connections_max: usize,
    /// So many of these are kept for addresses that have shown a good credential within a day, and for connections that have
    /// shown one.
    pub reserved: usize,
    /// At once from one address; further ones are closed.
    pub per_address_max: usize,
    /// How long a handshake may take.
    pub handshake_max: Duration,
    /// How long one may stay without a call under way.
    pub idle_max: Duration,
    /// How long the reader of an answer may take for one piece of it.
    pub stall_max: Duration,
}

/// One connection, plain or TLS.
pub struct Connection {
    /// First, so that it is free before the peer sees the end.
    _seat: Seat,
    /// Says that the place has to be given up; none once it is not asked back any more.
    ending: Option<oneshot::Receiver<()>>,
    stream: Wire,
    gather: Gather,
    peer: Peer,
    looks: Interval,
    bounds: ConnectionBounds,
}

impl Connection {
    fn new(
        stream: Wire,
        peer: Peer,
        bounds: ConnectionBounds,
        seat: Seat,
        ending: oneshot::Receiver<()>,
    ) -> Self {
        let every = (bounds.idle_max.min(bounds.stall_max) / 4).clamp(LOOKS.0, LOOKS.1);
        let mut looks = tokio::time::interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { _seat: seat, ending: Some(ending), stream, gather: Gather::default(), peer, looks, bounds }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Ends the connection where nothing goes on over it any more, its reader holds up an answer, or its place is needed for
    /// another.
    fn look(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(ending) = &mut self.ending
            && let Poll::Ready(ended) = Pin::new(ending).poll(context)
        {
            self.ending = None;
            if ended.is_ok() {
                metrics().cut_off();
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        while self.looks.poll_tick(context).is_ready() {
            if self.peer.line.is_over(self.bounds.idle_max, self.bounds.stall_max) {
                metrics().cut_off();
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

/// Connections as they come.
pub struct Incoming {
    connections: mpsc::Receiver<Connection>,
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Incoming {
    /// Accepts connections within bounds. Must be called in a runtime.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn new(
        listener: TcpListener,
        certificates: Option<Arc<Certificates>>,
        bounds: ConnectionBounds,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, connections) = mpsc::channel(WAITING_MAX);
        let task = tokio::spawn(accept(listener, certificates, bounds, sender));
        Ok(Self { connections, address, accepting: task.abort_handle() })
    }

    /// The next connection; none once nobody accepts any more.
    pub async fn next(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl tokio_stream::Stream for Incoming {
    type Item = io::Result<Connection>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

async fn accept(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    bounds: ConnectionBounds,
    sender: mpsc::Sender<Connection>,
) {
    let seats = Arc::new(Seats::new(bounds.connections_max, bounds.reserved, bounds.per_address_max));
    loop {
        let Ok((tcp, from)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some((seat, ending)) = place(&seats, from.ip()).await else {
            metrics().cut_off();
            continue;
        };
        // Without it small answers wait for the peer's delayed acknowledgement: 40 ms each.
        let _only_slower = tcp.set_nodelay(true);
        let line = Arc::new(Line::of(seat.place()));
        let peer = Peer { shown: None, from: Some(whose(from.ip())), line };
        let Some(certificates) = &certificates else {
            let plain = Connection::new(Wire::Plain(tcp), peer, bounds, seat, ending);
            if sender.send(plain).await.is_err() {
                return;
            }
            continue;
        };
        let (certificates, sender) = (Arc::clone(certificates), sender.clone());
        // Beside each other: one peer that says nothing must not keep the others waiting.
        tokio::spawn(async move {
            if let Some(connection) = shake_hands(tcp, certificates, peer, bounds, seat, ending).await {
                let _gone = sender.send(connection).await;
            }
        });
    }
}

/// A place for a connection from an address; none where it has all that it may have.
async fn place(seats: &Arc<Seats>, from: IpAddr) -> Option<(Seat, oneshot::Receiver<()>)> {
    loop {
        match seats.take(from) {
            Taken::Seat(seat, ending) => return Some((seat, ending)),
            Taken::Refused => return None,
            Taken::Full => seats.freed().await,
        }
    }
}

/// The connection once its handshake is through; none where it fails, takes too long, or its place is needed for another.
async fn shake_hands(
    tcp: TcpStream,
    certificates: Arc<Certificates>,
    mut peer: Peer,
    bounds: ConnectionBounds,
    seat: Seat,
    mut ending: oneshot::Receiver<()>,
) -> Option<Connection> {
    let handshake = tokio::time::timeout(bounds.handshake_max, certificates.acceptor().accept(tcp));
    let done = tokio::select! {
        done = handshake => done,
        // Before there is a credential nothing else is said here.
        _ = &mut ending => {
            metrics().cut_off();
            return None;
        }
    };
    let tls = match done {
        Ok(Ok(tls)) => tls,
        _failed => {
            metrics().handshake_failed();
            return None;
        }
    };
    let chain = tls.get_ref().1.peer_certificates();
    peer.shown = chain.and_then(|chain| Shown::new(chain, certificates)).map(Arc::new);
    if peer.shown.is_some() {
        peer.line.keep_place();
    }
    Some(Connection::new(Wire::Tls(Box::new(tls)), peer, bounds, seat, ending))
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
        self.look(context)?;
        on_wire!(self.stream, stream => Pin::new(stream).poll_read(context, to))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look(context)?;
        let Self { stream, gather, .. } = &mut *self;
        on_wire!(*stream, stream => gather.poll_write(Pin::new(stream), context, from))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look(context)?;
        let Self { stream, gather, .. } = &mut *self;
        on_wire!(*stream, stream => gather.poll_flush(Pin::new(stream), context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look(context)?;
        let Self { stream, gather, .. } = &mut *self;
        on_wire!(*stream, stream => {
            ready!(gather.poll_drain(Pin::new(&mut *stream), context))?;
            Pin::new(stream).poll_shutdown(context)
        })
    }
}
