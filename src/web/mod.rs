//! HTTP: the only room that knows axum.
