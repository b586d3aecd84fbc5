//! Serves each accepted connection: HTTP/2 for gRPC, HTTP/1 for gRPC-Web, distinguished by the first bytes of
//! the connection.
//!
//! Connections are served with hyper, not with tonic's server, because tonic's server can't set the size of
//! the header table (RFC 7541, section 2.3.2). For as long as the connection is open, an entry of that table
//! keeps in memory the whole buffer from which it was read, with everything else that the client sent in that
//! buffer.

use crate::tls::{ClearReads, Connection, HTTP2_PREFACE, Incoming};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::transport::server::Connected;
use tower::ServiceExt;

/// The number of streams that a peer may open and reset before its connection is closed (CVE-2023-44487).
const RESETS_MAX: usize = 64;
/// The largest size of a call's headers, in bytes.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// How often an idle connection is pinged, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));
/// After this time, plus up to a tenth, a client is asked to connect again. Calls in progress continue. The
/// buffer for answers is not cleared after each answer, so this is how long it can keep a part of one.
const AGE_MAX: Duration = Duration::from_secs(600);

/// Serves connections with `service` until `shutdown`, then completes the calls in progress. Each connection
/// has at most `streams_max` calls at once.
pub async fn serve_connections<S>(
    mut incoming: Incoming,
    shutdown: impl Future<Output = ()> + Send,
    service: S,
    streams_max: u32,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let (stop, stopped) = watch::channel(());
    let (mut shutdown, spread) = (pin!(shutdown), RandomState::new());
    for number in 0_u64.. {
        let connection = tokio::select! {
            () = &mut shutdown => break,
            next = incoming.next() => match next {
                Some(connection) => connection,
                None => break,
            },
        };
        let peer = connection.connect_info();
        let service = service.clone().map_request(move |request: Request<hyper::body::Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            request
        });
        let tenth_ms = u64::try_from(AGE_MAX.as_millis() / 10).unwrap_or(u64::MAX);
        let jitter = Duration::from_millis(spread.hash_one(number) % tenth_ms);
        let age_max = AGE_MAX.saturating_add(jitter);
        let served = serve_one(connection, service, streams_max, age_max, stopped.clone());
        tokio::spawn(served);
    }
    // From here on, no connection is accepted.
    drop(incoming);
    let _all_ended = stop.send(());
    drop(stopped);
    stop.closed().await;
}

/// Serves one connection until the client ends it, or until it is to be closed and its calls have been
/// answered.
async fn serve_one<S>(
    mut connection: Connection,
    service: S,
    streams_max: u32,
    age_max: Duration,
    mut stopped: watch::Receiver<()>,
) where
    S: Service<Request<hyper::body::Incoming>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let service = TowerToHyperService::new(service);
    let first = tokio::select! {
        first = first_bytes(&mut connection) => first,
        _ = stopped.changed() => return,
    };
    let Ok(first) = first else { return };
    let activity = Arc::clone(&connection.peer().activity);
    /// Drives the connection. Asks the client to connect again once the connection is too old, a data subject
    /// has used it and it is quiet, or the daemon stops.
    macro_rules! drive {
        ($served:expr) => {{
            let mut served = pin!($served);
            tokio::select! {
                _ended = &mut served => return,
                () = activity.quiet_after_data_subject() => {}
                () = tokio::time::sleep(age_max) => {}
                _ = stopped.changed() => {}
            }
            served.as_mut().graceful_shutdown();
            let _ended = served.await;
        }};
    }
    if first == HTTP2_PREFACE {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .header_table_size(0)
            .max_concurrent_streams(streams_max)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1);
        drive!(http2.serve_connection(TokioIo::new(ClearReads::http2(connection, first)), service));
    } else {
        // A buffer of HTTP/1 can't be cleared, so each request has a connection of its own.
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).keep_alive(false);
        drive!(http1.serve_connection(TokioIo::new(ClearReads::http1(connection, first)), service));
    }
}

/// The preface of HTTP/2, or the first bytes that differ from it.
async fn first_bytes(connection: &mut Connection) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HTTP2_PREFACE.len());
    while bytes.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&bytes) {
        let room = u64::try_from(HTTP2_PREFACE.len().saturating_sub(bytes.len())).unwrap_or_default();
        if (&mut *connection).take(room).read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes)
}
