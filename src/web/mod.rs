//! HTTP: the public log in the C2SP tlog-tiles layout, health, metrics. The only room that knows axum.

mod log;
mod witness;

pub use witness::serve_witness;

use crate::app::App;
use crate::roles::RoleTable;
use crate::telemetry::{LogStatus, metrics};
use crate::tls::{Connection, Incoming, Peer};
use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::serve::IncomingStream;
use sayso_proof::event::Role;
use std::future::Future;
use std::sync::Arc;

/// Every route, by its name in the role table.
pub const ROUTES: [&str; 9] = [
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /checkpoint",
    "GET /keys",
    "GET /tile/{*path}",
    "GET /{controller}/checkpoint",
    "GET /{controller}/keys",
    "GET /{controller}/tile/{*path}",
];

/// The controllers by name, the first one first.
pub type Logs = Arc<[(String, Arc<App>)]>;

/// Whether a controller of this name could not be told from a route.
#[must_use]
pub fn is_reserved(controller: &str) -> bool {
    ROUTES.iter().any(|route| route.split('/').nth(1) == Some(controller))
}

/// Reads a tile's path, for the fuzzers.
#[doc(hidden)]
pub fn decode_tile_path(path: &str) {
    let _read = log::parse(path);
}

impl axum::serve::Listener for Incoming {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        match self.next().await {
            Some(connection) => {
                let peer = connection.peer().clone();
                (connection, peer)
            }
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Peer> {
        Ok(Peer::default())
    }
}

impl Connected<IncomingStream<'_, Incoming>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        stream.remote_addr().clone()
    }
}

/// Tells the connection that a request is under way. Who is at the other end is nobody's business here.
async fn tell(ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    let _call = peer.activity.begin_call();
    next.run(request).await
}

/// Serves HTTP on `incoming` until `shutdown`.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    incoming: Incoming,
    shutdown: impl Future<Output = ()> + Send + 'static,
    logs: Logs,
    table: &RoleTable,
) -> std::io::Result<()> {
    let routes = router(logs, table).layer(middleware::from_fn(tell));
    let service = routes.into_make_service_with_connect_info::<Peer>();
    axum::serve(incoming, service).with_graceful_shutdown(shutdown).await
}

/// A route that the table does not open to anyone is not there at all: HTTP takes no credentials.
fn router(logs: Logs, table: &RoleTable) -> Router {
    let handler = |route: &str| -> Option<MethodRouter<Logs>> {
        Some(match route {
            "GET /healthz" => get(|| async { "ok\n" }),
            "GET /readyz" => get(ready),
            "GET /metrics" => get(numbers),
            "GET /checkpoint" | "GET /{controller}/checkpoint" => get(log::checkpoint),
            "GET /keys" | "GET /{controller}/keys" => get(log::keys),
            "GET /tile/{*path}" | "GET /{controller}/tile/{*path}" => get(log::tile),
            _ => return None,
        })
    };
    let open = ROUTES.iter().filter(|route| table.may(Role::Unspecified, route));
    let open = open.filter_map(|route| Some((route.strip_prefix("GET ")?, handler(route)?)));
    open.fold(Router::new(), |router, (path, handler)| router.route(path, handler)).with_state(logs)
}

/// Falls while a log takes no writes, or denies use since the machine's clock is not believed.
async fn ready(State(logs): State<Logs>) -> (StatusCode, String) {
    if logs.iter().all(|(_, app)| app.is_ready()) {
        return (StatusCode::OK, "ready\n".into());
    }
    let doubt = logs.iter().map(|(_, app)| app.clock_state()).find(|state| state.is_skewed());
    let reason = doubt.map_or_else(String::new, |state| format!(": {state}"));
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready{reason}\n"))
}

/// For Prometheus: OpenMetrics for those that ask for it, else the older text format.
async fn numbers(State(logs): State<Logs>, headers: HeaderMap) -> Response {
    let now = |(name, app): &(String, Arc<App>)| {
        let standing = LogStatus {
            entries: app.ledger().checkpoint().size,
            entry_bytes: app.ledger().store().entry_bytes(),
            subjects: app.reports.subject_count().unwrap_or_default(),
            ready: app.is_ready(),
            erasures_unfinished: app.erasure.unfinished_erasures().unwrap_or_default(),
            restore_unconfirmed: app.is_restore_unconfirmed(),
            clock_skewed: app.clock_state().is_skewed(),
            clock_skew_ms: app.clock_state().skew_ms(),
        };
        (name.clone(), standing)
    };
    let now: Vec<(String, LogStatus)> = logs.iter().map(now).collect();
    let now = now.iter().map(|(name, standing)| (name.as_str(), *standing));
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (kind, text) = if accepted.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics().text(now))
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", metrics().prometheus_text(now))
    };
    let kind = [(header::CONTENT_TYPE, kind)];
    text.map_or_else(
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        |text| (kind, text).into_response(),
    )
}
