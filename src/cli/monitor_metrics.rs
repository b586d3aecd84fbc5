//! Serves the metrics of `sayso monitor` over HTTP.

use super::error::CliError;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Content type of the metrics: the Prometheus text format. The encoder writes OpenMetrics, but all metrics
/// are gauges, which both formats write in the same way.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of the newest check, as text. `None` until the first check is done.
type Newest = Arc<RwLock<Option<String>>>;

/// A page with the metrics of the newest check. It is served until this value is dropped.
pub(super) struct MetricsPage {
    newest: Newest,
    server: JoinHandle<()>,
}

impl MetricsPage {
    /// Serves `/metrics` at an address.
    ///
    /// # Errors
    /// The address can't be used.
    pub async fn serve(address: SocketAddr) -> Result<Self, CliError> {
        let failed = |error| CliError::failed(format!("--metrics-addr: {address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let newest = Newest::default();
        let shown = Arc::clone(&newest);
        let show = move || std::future::ready(page(&shown));
        let router = Router::new().route("/metrics", get(show));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the metrics are no longer served");
            }
        });
        tracing::info!(%address, "serving metrics at /metrics");
        Ok(Self { newest, server })
    }

    /// Replaces the metrics.
    pub fn set(&self, text: String) {
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

impl Drop for MetricsPage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn page(newest: &Newest) -> Response {
    let text = newest.read().unwrap_or_else(PoisonError::into_inner).clone();
    match text {
        Some(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the first look has not ended\n").into_response(),
    }
}
