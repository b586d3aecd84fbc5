//! Serves the public log, health and metrics over HTTP.

use super::logs::Logs;
use super::public_log;
use super::status;
use crate::roles::RoleTable;
use crate::tls::{Connection, Incoming, Peer};
use axum::Router;
use axum::extract::Request;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use axum::serve::IncomingStream;
use sayso_proof::event::Role;
use std::future::Future;

/// Every route, by its name in the role table.
pub const ROUTES: [&str; 11] = [
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /checkpoint",
    "GET /keys",
    "GET /counts",
    "GET /tile/{*path}",
    "GET /{controller}/checkpoint",
    "GET /{controller}/keys",
    "GET /{controller}/counts",
    "GET /{controller}/tile/{*path}",
];

/// Whether a route begins with this name. If so, no controller may have this name.
#[must_use]
pub fn is_reserved(controller: &str) -> bool {
    ROUTES.iter().any(|route| route.split('/').nth(1) == Some(controller))
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

/// Reports the request to its connection, which would otherwise count as idle. HTTP takes no credentials, so
/// a client certificate is ignored.
async fn report_call(ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
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
    let routes = router(logs, table).layer(middleware::from_fn(report_call));
    let service = routes.into_make_service_with_connect_info::<Peer>();
    axum::serve(incoming, service).with_graceful_shutdown(shutdown).await
}

/// Adds a route only if the role table permits it to everyone, since HTTP takes no credentials.
fn router(logs: Logs, table: &RoleTable) -> Router {
    let handler = |route: &str| -> Option<MethodRouter<Logs>> {
        Some(match route {
            "GET /healthz" => get(|| async { "ok\n" }),
            "GET /readyz" => get(status::ready),
            "GET /metrics" => get(status::metrics_text),
            "GET /checkpoint" | "GET /{controller}/checkpoint" => get(public_log::checkpoint),
            "GET /keys" | "GET /{controller}/keys" => get(public_log::keys),
            "GET /counts" | "GET /{controller}/counts" => get(public_log::counts),
            "GET /tile/{*path}" | "GET /{controller}/tile/{*path}" => get(public_log::tile),
            _ => return None,
        })
    };
    let open = ROUTES.iter().filter(|route| table.may(Role::Unspecified, route));
    let open = open.filter_map(|route| Some((route.strip_prefix("GET ")?, handler(route)?)));
    open.fold(Router::new(), |router, (path, handler)| router.route(path, handler)).with_state(logs)
}
