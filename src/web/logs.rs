//! The controllers whose logs are served, and which of them a path names.

use crate::app::App;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::collections::HashMap;
use std::sync::Arc;

/// The applications of the controllers, each with the controller's name, in the order of the configuration.
pub type Logs = Arc<[(String, Arc<App>)]>;

/// The application of the controller that a path names, or of the first controller if the path names none.
pub(super) struct NamedApp(pub(super) Arc<App>);

impl FromRequestParts<Logs> for NamedApp {
    type Rejection = StatusCode;
    async fn from_request_parts(parts: &mut Parts, logs: &Logs) -> Result<Self, StatusCode> {
        let params = Path::<HashMap<String, String>>::from_request_parts(parts, logs).await;
        let params = params.map_err(|_| StatusCode::NOT_FOUND)?;
        let controller = params.get("controller");
        let app = logs.iter().find(|(name, _)| controller.is_none_or(|controller| controller == name));
        app.map(|(_, app)| Self(Arc::clone(app))).ok_or(StatusCode::NOT_FOUND)
    }
}
