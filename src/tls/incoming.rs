//! Accepts connections within limits and does their TLS handshakes.

use super::activity::Activity;
use super::certificates::Certificates;
use super::clear_reads::ClearReads;
use super::client_certificate::ClientCertificate;
use super::connection::{Connection, ConnectionLimits, Peer, Wire};
use super::per_address::{Admission, ConnectionSlots, Slot, limited_address};
use crate::clock::{Clock, SystemClock};
use crate::telemetry::metrics;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

/// Pause after `accept` fails, for example because no file descriptors are left.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Accepted connections that wait for the server to take them.
const ACCEPTED_MAX: usize = 64;

/// Accepted connections, in the order in which their handshakes end. Dropping this value stops accepting.
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
    /// Accepts connections within `limits`. Without `certificates` they are not encrypted. Call this within a
    /// Tokio runtime.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn new(
        listener: TcpListener,
        certificates: Option<Arc<Certificates>>,
        limits: ConnectionLimits,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, connections) = mpsc::channel(ACCEPTED_MAX);
        let task = tokio::spawn(accept(listener, certificates, limits, sender));
        Ok(Self { connections, address, accepting: task.abort_handle() })
    }

    /// The next connection; `None` once no more are accepted.
    pub async fn next(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }

    /// The address that the listener is bound to.
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
    limits: ConnectionLimits,
    sender: mpsc::Sender<Connection>,
) {
    let slots =
        Arc::new(ConnectionSlots::new(limits.connections_max, limits.reserved, limits.per_address_max));
    loop {
        let Ok((tcp, from)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_RETRY).await;
            continue;
        };
        let Some((slot, evicted)) = wait_for_slot(&slots, from.ip()).await else {
            metrics().connection_cut();
            continue;
        };
        // Without this option, small responses wait up to 40 ms for the peer's delayed acknowledgment.
        let _only_slower = tcp.set_nodelay(true);
        let activity = Arc::new(Activity::in_slot(slot.handle()));
        let peer = Peer { certificate: None, address: Some(limited_address(from.ip())), activity };
        let Some(certificates) = &certificates else {
            let plain = Connection::new(Wire::Plain(tcp), peer, limits, slot, evicted);
            if sender.send(plain).await.is_err() {
                return;
            }
            continue;
        };
        let (certificates, sender) = (Arc::clone(certificates), sender.clone());
        // Each handshake has its own task, so that a silent peer does not delay the others.
        tokio::spawn(async move {
            if let Some(connection) = shake_hands(tcp, certificates, peer, limits, slot, evicted).await {
                let _gone = sender.send(connection).await;
            }
        });
    }
}

/// Waits for a slot for a connection from `from`. `None` if that address already has as many connections as
/// it may have.
async fn wait_for_slot(slots: &Arc<ConnectionSlots>, from: IpAddr) -> Option<(Slot, oneshot::Receiver<()>)> {
    loop {
        match slots.admit(from) {
            Admission::Admitted(slot, evicted) => return Some((slot, evicted)),
            Admission::Refused => return None,
            Admission::Full => slots.freed().await,
        }
    }
}

/// Does the handshake. `None` if it fails, takes too long, or the connection is evicted meanwhile.
async fn shake_hands(
    tcp: TcpStream,
    certificates: Arc<Certificates>,
    mut peer: Peer,
    limits: ConnectionLimits,
    slot: Slot,
    mut evicted: oneshot::Receiver<()>,
) -> Option<Connection> {
    let handshake =
        tokio::time::timeout(limits.handshake_max, certificates.acceptor().accept(ClearReads::new(tcp)));
    let done = tokio::select! {
        done = handshake => done,
        // During the handshake this can only be an eviction: otherwise the channel closes only after a
        // credential is verified.
        _ = &mut evicted => {
            metrics().connection_cut();
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
    peer.certificate = chain.and_then(|chain| ClientCertificate::new(chain, certificates)).map(Arc::new);
    // The handshake accepts a certificate regardless of its dates. A certificate that is not valid now does
    // not protect the connection from eviction.
    let now_ms = SystemClock.now_ms();
    if peer.certificate.as_ref().is_some_and(|certificate| certificate.is_valid(now_ms)) {
        peer.activity.protect_slot();
    }
    Some(Connection::new(Wire::Tls(Box::new(tls)), peer, limits, slot, evicted))
}
