//! The HTTP pages for readiness (`/readyz`) and metrics (`/metrics`).

use super::logs::Logs;
use crate::app::App;
use crate::telemetry::{LogStatus, metrics};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// Answers with an error while a log accepts no writes, or while use is denied because the machine's clock is
/// not trusted.
pub(super) async fn ready(State(logs): State<Logs>) -> (StatusCode, String) {
    if logs.iter().all(|(_, app)| app.is_ready()) {
        return (StatusCode::OK, "ready\n".into());
    }
    let skewed = logs.iter().map(|(_, app)| app.clock_state()).find(|state| state.is_skewed());
    let reason = skewed.map_or_else(String::new, |state| format!(": {state}"));
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready{reason}\n"))
}

/// Metrics for Prometheus: OpenMetrics if the scraper asks for it, otherwise the older text format.
pub(super) async fn metrics_text(State(logs): State<Logs>, headers: HeaderMap) -> Response {
    let status_of = |(name, app): &(String, Arc<App>)| {
        let (erasures_outstanding, erasures_overdue) = app.erasure.outstanding_counts();
        let status = LogStatus {
            entries: app.ledger().checkpoint().size,
            entry_bytes: app.ledger().store().entry_bytes(),
            subjects: app.reports.subject_count().unwrap_or_default(),
            ready: app.is_ready(),
            erasures_unfinished: app.erasure.unfinished_erasures().unwrap_or_default(),
            erasures_outstanding,
            erasures_overdue,
            restore_unconfirmed: app.is_restore_unconfirmed(),
            clock_skewed: app.clock_state().is_skewed(),
            clock_skew_ms: app.clock_state().skew_ms(),
        };
        (name.clone(), status)
    };
    let statuses: Vec<(String, LogStatus)> = logs.iter().map(status_of).collect();
    let statuses = statuses.iter().map(|(name, status)| (name.as_str(), *status));
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (content_type, text) = if accepted.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics().text(statuses))
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", metrics().prometheus_text(statuses))
    };
    let content_type = [(header::CONTENT_TYPE, content_type)];
    text.map_or_else(
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        |text| (content_type, text).into_response(),
    )
}
