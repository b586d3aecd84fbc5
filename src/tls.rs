//! Connections: TLS 1.3 with certificates read from files, again whenever they change; who showed which certificate; how
//! many there may be.

mod line;
mod seats;

pub use line::{Call, Line};

use crate::telemetry::metrics;
use seats::{Seat, Seats};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// How often a connection looks at what goes on over it, at least and at most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// After a failed `accept` (no file handles left, say).
const PAUSE: Duration = Duration::from_millis(50);
/// Connections that wait for whoever serves them.
const WAITING_MAX: usize = 64;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("`{path}`: {problem}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it; nothing of its contents.
        problem: String,
    },
    /// The files don't fit together.
    #[error("tls: {0}")]
    Config(String),
}

/// Where certificates lie, PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The daemon's certificate, then those above it.
    pub certificate: PathBuf,
    /// Its private key; nobody else may read the file.
    pub key: PathBuf,
    /// Who signs clients' certificates; none: nobody is asked for one.
    pub client_ca: Option<PathBuf>,
}

/// Does handshakes with the newest certificates that could be used.
pub struct Certificates {
    files: TlsFiles,
    /// Owned by [`Certificates::reload`].
    current: RwLock<(Vec<Vec<u8>>, Arc<ServerConfig>)>,
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// One can't be read, the key may be read by others, or they don't fit together.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let bytes = read(&files)?;
        let config = configure(&files, &bytes)?;
        Ok(Self { files, current: RwLock::new((bytes, config)) })
    }

    /// Reads them again; true where they had changed. New connections get the new certificate, old ones live on.
    ///
    /// # Errors
    /// As [`Certificates::open`]; the old ones stay in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let bytes = read(&self.files)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).0 == bytes {
            return Ok(false);
        }
        let config = configure(&self.files, &bytes)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (bytes, config);
        Ok(true)
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).1))
    }
}

fn bad(path: &Path) -> impl Fn(String) -> TlsError {
    move |problem| TlsError::File { path: path.to_owned(), problem }
}

fn read(files: &TlsFiles) -> Result<Vec<Vec<u8>>, TlsError> {
    use std::os::unix::fs::PermissionsExt;
    let mode =
        std::fs::metadata(&files.key).map_err(|error| bad(&files.key)(error.to_string()))?.permissions();
    if mode.mode() & 0o077 != 0 {
        return Err(bad(&files.key)("others may read it; set its mode to 0600".into()));
    }
    let all = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| bad(path)(error.to_string()));
    all.into_iter().flatten().map(read).collect()
}

fn configure(files: &TlsFiles, bytes: &[Vec<u8>]) -> Result<Arc<ServerConfig>, TlsError> {
    let [certificate, key, rest @ ..] = bytes else { return Err(TlsError::Config("no certificate".into())) };
    let chain =
        certificates(certificate).ok_or_else(|| bad(&files.certificate)("holds no certificates".into()))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| bad(&files.key)("holds no private key".into()))?;
    let wrong = |error: &dyn std::fmt::Display| TlsError::Config(error.to_string());
    let builder = ServerConfig::builder_with_protocol_versions(&[&version::TLS13]);
    let builder = match (rest.first(), &files.client_ca) {
        (Some(authority), Some(path)) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(authority).ok_or_else(|| bad(path)("holds no certificates".into()))? {
                roots.add(root).map_err(|error| wrong(&error))?;
            }
            // Whoever shows none must bring a token instead; the door sees to that.
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(&error))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| wrong(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
    Some(found).filter(|found| !found.is_empty())
}

/// Who is at the other end.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// URI names of the certificate that was shown and verified.
    pub names: Arc<[String]>,
    /// For whoever serves the connection, to tell what goes on.
    pub line: Arc<Line>,
}

/// What connections may be and do.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// At once; further ones wait outside.
    pub connections_max: usize,
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
    _place: Place,
    stream: Wire,
    peer: Peer,
    looks: Interval,
    bounds: ConnectionBounds,
}

/// What a connection takes from others.
type Place = (OwnedSemaphorePermit, Seat);

impl Connection {
    fn new(stream: Wire, peer: Peer, bounds: ConnectionBounds, place: Place) -> Self {
        let every = (bounds.idle_max.min(bounds.stall_max) / 4).clamp(LOOKS.0, LOOKS.1);
        let mut looks = tokio::time::interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { _place: place, stream, peer, looks, bounds }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Ends the connection where nothing goes on over it any more, or its reader holds up an answer.
    fn look(&mut self, context: &mut Context<'_>) -> io::Result<()> {
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
    let slots = Arc::new(Semaphore::new(bounds.connections_max));
    let seats = Arc::new(Seats::new(bounds.per_address_max));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let Ok((tcp, from)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Some(seat) = seats.take(from.ip()) else {
            metrics().cut_off();
            continue;
        };
        let place = (slot, seat);
        // Without it small answers wait for the peer's delayed acknowledgement: 40 ms each.
        let _only_slower = tcp.set_nodelay(true);
        let Some(certificates) = &certificates else {
            let plain = Connection::new(Wire::Plain(tcp), Peer::default(), bounds, place);
            if sender.send(plain).await.is_err() {
                return;
            }
            continue;
        };
        let (acceptor, sender) = (certificates.acceptor(), sender.clone());
        // Beside each other: one peer that says nothing must not keep the others waiting.
        tokio::spawn(async move {
            let Ok(Ok(tls)) = tokio::time::timeout(bounds.handshake_max, acceptor.accept(tcp)).await else {
                metrics().handshake_failed();
                return;
            };
            let names = tls.get_ref().1.peer_certificates().map(names).unwrap_or_default();
            let peer = Peer { names, line: Arc::default() };
            let connection = Connection::new(Wire::Tls(Box::new(tls)), peer, bounds, place);
            let _gone = sender.send(connection).await;
        });
    }
}

fn names(chain: &[CertificateDer<'_>]) -> Arc<[String]> {
    let own = chain.first().and_then(|own| webpki::EndEntityCert::try_from(own).ok());
    own.iter().flat_map(|own| own.valid_uri_names().map(str::to_owned)).collect()
}

macro_rules! on_wire {
    ($self:ident, $stream:ident => $then:expr) => {
        match &mut $self.get_mut().stream {
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
        on_wire!(self, stream => Pin::new(stream).poll_read(context, to))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look(context)?;
        on_wire!(self, stream => Pin::new(stream).poll_write(context, from))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.look(context)?;
        on_wire!(self, stream => Pin::new(stream).poll_write_vectored(context, from))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
