//! Serves `sayso witness` over HTTP, as C2SP tlog-witness says. Also serves the checkpoint that the witness
//! cosigned last for each log, so that anyone can see why the witness refuses another one.

use crate::tls::Incoming;
use crate::witness::{Refusal, Witness};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use sayso_proof::witness::REQUEST_BYTES_MAX;
use std::sync::Arc;

/// Serves a witness on `incoming` until `shutdown`.
///
/// # Errors
/// The listener fails.
pub async fn serve_witness(
    incoming: Incoming,
    shutdown: impl Future<Output = ()> + Send + 'static,
    witness: Arc<Witness>,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/checkpoint/{log}", get(last_checkpoint))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(witness);
    axum::serve(incoming, router).with_graceful_shutdown(shutdown).await
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Bytes) -> Response {
    // This runs on a blocking thread, because it waits for the disk.
    let outcome = tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await;
    match outcome {
        Ok(Ok(lines)) => lines.into_response(),
        Ok(Err(refusal)) => response_to(&refusal),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn last_checkpoint(State(witness): State<Arc<Witness>>, Path(log): Path<String>) -> Response {
    let note = tokio::task::spawn_blocking(move || witness.last_note(&log)).await;
    match note {
        Ok(Some(note)) => note.into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn response_to(refusal: &Refusal) -> Response {
    let text = format!("{refusal}\n");
    match refusal {
        Refusal::Malformed(_) => (StatusCode::BAD_REQUEST, text).into_response(),
        Refusal::UnknownLog => (StatusCode::NOT_FOUND, text).into_response(),
        Refusal::Unsigned => (StatusCode::FORBIDDEN, text).into_response(),
        Refusal::Conflict { cosigned } => {
            let size = [(header::CONTENT_TYPE, "text/x.tlog.size")];
            (StatusCode::CONFLICT, size, format!("{cosigned}\n")).into_response()
        }
        Refusal::Inconsistent => (StatusCode::UNPROCESSABLE_ENTITY, text).into_response(),
        Refusal::Storage(error) => {
            tracing::error!(%error, "a checkpoint could not be saved, and so was not cosigned");
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}
