//! HTTP: the public log in the C2SP tlog-tiles layout, health, metrics. The only room that knows axum.

mod log;

use crate::app::{App, RoleTable};
use crate::telemetry::{Standing, metrics};
use crate::tls::{Connection, Incoming};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use sayso_proof::event::Role;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

/// Every route, by its name in the role table.
pub const ROUTES: [&str; 5] =
    ["GET /healthz", "GET /readyz", "GET /metrics", "GET /checkpoint", "GET /tile/{*path}"];

/// Reads a tile's path, for the fuzzers.
#[doc(hidden)]
pub fn decode_tile_path(path: &str) {
    let _read = log::parse(path);
}

impl axum::serve::Listener for Incoming {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.next().await {
            // Who is at the other end is nobody's business here: nothing is asked of them, nothing is kept.
            Some(connection) => (connection, self.address()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address())
    }
}

/// Serves HTTP on `incoming` until `shutdown`.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    incoming: Incoming,
    shutdown: impl Future<Output = ()> + Send + 'static,
    app: Arc<App>,
    table: &RoleTable,
) -> std::io::Result<()> {
    axum::serve(incoming, router(app, table)).with_graceful_shutdown(shutdown).await
}

/// A route that the table does not open to anyone is not there at all: HTTP takes no credentials.
fn router(app: Arc<App>, table: &RoleTable) -> Router {
    let handler = |route: &str| -> Option<MethodRouter<Arc<App>>> {
        Some(match route {
            "GET /healthz" => get(|| async { "ok\n" }),
            "GET /readyz" => get(ready),
            "GET /metrics" => get(numbers),
            "GET /checkpoint" => get(log::checkpoint),
            "GET /tile/{*path}" => get(log::tile),
            _ => return None,
        })
    };
    let open = ROUTES.iter().filter(|route| table.may(Role::Unspecified, route));
    let open = open.filter_map(|route| Some((route.strip_prefix("GET ")?, handler(route)?)));
    open.fold(Router::new(), |router, (path, handler)| router.route(path, handler)).with_state(app)
}

/// Falls while the log takes no writes.
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    if app.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

/// For Prometheus: OpenMetrics for those that ask for it, else the older text format.
async fn numbers(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let now = Standing {
        entries: app.ledger().checkpoint().size,
        entry_bytes: app.ledger().store().entry_bytes(),
        subjects: app.subject_count().unwrap_or_default(),
        ready: app.is_ready(),
        erasures_unfinished: app.unfinished_erasures().unwrap_or_default(),
    };
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (kind, text) = if accepted.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics().text(now))
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", metrics().classic_text(now))
    };
    let kind = [(header::CONTENT_TYPE, kind)];
    text.map_or_else(
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        |text| (kind, text).into_response(),
    )
}
