//! At the door of every call: who is it, and may this role call this method. Every answer carries a request id, which
//! joins the log lines of the call.

use super::credential::{CredentialError, Credentials};
use super::roles::action_of;
use super::status;
use crate::app::{Caller, RoleTable};
use crate::clock::{SharedClock, Stopwatch};
use crate::telemetry::{end_call, join_trace, metrics};
use sayso_proof::event::Role;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Layer;
use tracing::{Instrument, Span};

/// The header that brings the request id back.
pub const REQUEST_ID: &str = "x-request-id";
/// Names in logs and metrics what is not in the role table: a path is the caller's own text.
const UNKNOWN: &str = "unknown";

/// Stands in front of every service.
#[derive(Clone)]
pub struct Door {
    credentials: Arc<Credentials>,
    table: Arc<RoleTable>,
    clock: SharedClock,
    /// The services of each controller, by its number.
    behind: Arc<[Routes]>,
}

impl Door {
    /// A door that lets in whom the table says, each to their controller's services.
    pub fn new(
        credentials: Arc<Credentials>,
        table: Arc<RoleTable>,
        clock: SharedClock,
        behind: Arc<[Routes]>,
    ) -> Self {
        Self { credentials, table, clock, behind }
    }

    /// Who calls, and what is behind the door for them; nobody where nobody needs to say.
    fn admit(&self, request: &Request<Body>) -> Result<Option<(Caller, Routes)>, Status> {
        let action = action_of(request.uri().path());
        if self.table.may(Role::Unspecified, action) {
            return Ok(None);
        }
        let header = request.headers().get("authorization").map(HeaderValue::to_str);
        let bearer = match header {
            None => None,
            Some(Ok(value)) => {
                Some(value.strip_prefix("Bearer ").ok_or(CredentialError::Missing).map_err(refused)?)
            }
            Some(Err(_)) => return Err(refused(CredentialError::Missing)),
        };
        let (number, caller) = self.credentials.caller(bearer, request.extensions()).map_err(refused)?;
        let behind = self.behind.get(number).filter(|_| self.table.may(caller.role, action));
        Ok(Some((caller, behind.ok_or_else(status::forbidden)?.clone())))
    }

    /// 64 random bits, in hexadecimal. Never the caller's: what callers send may be about somebody.
    fn request_id(&self) -> String {
        let mut id = [0; 8];
        self.clock.fill(&mut id);
        hex::encode(id)
    }
}

fn refused(error: CredentialError) -> Status {
    status::of_credential(&error)
}

impl<S> Layer<S> for Door {
    type Service = Behind<S>;
    fn layer(&self, inner: S) -> Behind<S> {
        Behind { inner, door: self.clone() }
    }
}

/// What stands behind the door.
#[derive(Clone)]
pub struct Behind<S> {
    inner: S,
    door: Door,
}

impl<S> Service<Request<Body>> for Behind<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let watch = Stopwatch::start();
        let action = action_of(request.uri().path());
        let action = if self.door.table.knows(action) { action.to_owned() } else { UNKNOWN.to_owned() };
        let id = self.door.request_id();
        let span = tracing::info_span!("call", request = %id, method = %action);
        join_trace(&span, request.headers().get("traceparent").and_then(|parent| parent.to_str().ok()));
        let admitted = span.in_scope(|| self.door.admit(&request));
        // The one that said it was ready is the one to be called.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let answering = async move {
            let answer = match admitted {
                Err(status) => Ok(status.into_http()),
                Ok(None) => Caught(Box::pin(async move { inner.call(request).await })).await,
                Ok(Some((caller, mut behind))) => {
                    request.extensions_mut().insert(caller);
                    Caught(Box::pin(async move { behind.call(request).await })).await
                }
            };
            let mut answer = answer.unwrap_or_else(|Panicked| {
                metrics().panicked();
                Status::internal("internal error").into_http()
            });
            if let Ok(id) = HeaderValue::from_str(&id) {
                answer.headers_mut().insert(REQUEST_ID, id);
            }
            let (code, took) = (code_of(&answer), watch.elapsed());
            end_call(&Span::current(), code.into(), is_our_fault(code));
            let code = name_of(code);
            metrics().call(&action, code, took);
            tracing::debug!(code, micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), "answered");
            Ok(answer)
        };
        Box::pin(answering.instrument(span))
    }
}

/// A call panicked; the hook has logged where.
struct Panicked;

/// Ends in [`Panicked`] where what it wraps panics, so that the connection and its other calls live on.
struct Caught<F>(Pin<Box<F>>);

impl<T, F: Future<Output = Result<T, Infallible>>> Future for Caught<F> {
    type Output = Result<T, Panicked>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(answer))) => Poll::Ready(Ok(answer)),
            Ok(Poll::Ready(Err(never))) => match never {},
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    }
}

/// The gRPC code of an answer, as far as its head says. A stream that fails later began with `OK`.
fn code_of(answer: &Response<Body>) -> Code {
    answer.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// Codes that make a server's span an error (OpenTelemetry semantic conventions for gRPC).
fn is_our_fault(code: Code) -> bool {
    use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(code, Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss)
}

fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The caller that the door let in.
///
/// # Errors
/// The service does not stand behind the door.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(status::forbidden)
}
