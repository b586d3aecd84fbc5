//! At the door of every call: who is it, and may this role call this method. Every answer carries a request id, which
//! joins the log lines of the call.

use super::calls::{Admission, Calls};
use super::credential::{CredentialError, Credentials};
use super::held::{Counted, Held};
use super::known::{Method, Methods};
use super::roles::takes_a_stream;
use super::validity::Watched;
use super::{Access, ApiOptions, status};
use crate::app::Caller;
use crate::clock::Stopwatch;
use crate::telemetry::{CallName, InCall, end_call, join_trace, metrics};
use crate::tls::Peer;
use sayso_proof::event::Role;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Layer;
use tracing::{Instrument, Span};

/// The header that brings the request id back.
pub const REQUEST_ID: &str = "x-request-id";

/// Stands in front of every service.
#[derive(Clone)]
pub struct Door {
    credentials: Arc<Credentials>,
    methods: Arc<Methods>,
    ids: Arc<RequestIds>,
    calls: Arc<Calls>,
    /// The services of each controller, by its number.
    behind: Arc<[Routes]>,
    answer_max: Duration,
    message_bytes_max: usize,
}

/// Who was let in, to which services.
struct Admitted {
    caller: Arc<Caller>,
    behind: Routes,
    admission: Admission,
    /// Whether the credential still counts, where the call goes on.
    watched: Watched,
}

impl Door {
    /// A door that lets in whom the table says, each to their controller's services, and as often as is allowed.
    pub fn new(access: Access, behind: Arc<[Routes]>, options: ApiOptions) -> Self {
        let Access { credentials, table } = access;
        let (answer_max, message_bytes_max) = (options.answer_max, options.message_bytes_max);
        let (calls, methods) = (Arc::new(Calls::new(options.calls)), Arc::new(Methods::new(&table)));
        let ids = Arc::default();
        Self { credentials, methods, ids, calls, behind, answer_max, message_bytes_max }
    }

    /// Who calls, and what is behind the door for them; nobody where nobody needs to say.
    fn admit(&self, request: &Request<Body>, method: &Method) -> Result<Option<Admitted>, Status> {
        if method.permitted.to(Role::Unspecified) {
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
        let line = request.extensions().get::<Peer>().map(|peer| &peer.line);
        let found = self.credentials.caller(bearer, request.extensions());
        match (line, &found) {
            (Some(line), Ok(_)) => line.let_in(),
            (Some(line), Err(CredentialError::TooMany(_))) => line.give_up(),
            _ => {}
        }
        let (number, caller, watched) = found.map_err(refused)?;
        if !method.is_open_in_doubt && watched.is_in_doubt() {
            return Err(refused(CredentialError::InDoubt));
        }
        let behind = self.behind.get(number).filter(|_| method.permitted.to(caller.role));
        let behind = behind.ok_or_else(status::forbidden)?.clone();
        let admission = self.calls.enter(number, &caller)?;
        Ok(Some(Admitted { caller, behind, admission, watched }))
    }
}

/// Makes request ids: 64 bits in hexadecimal, that nobody can tell from random ones. Never the caller's: what callers send
/// may be about somebody.
#[derive(Default)]
struct RequestIds {
    /// With a key that the process drew at random: no call has to ask the system for randomness.
    hasher: RandomState,
    made: AtomicU64,
}

impl RequestIds {
    fn next(&self) -> Arc<str> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let mut digits = [0; 16];
        let id = self.hasher.hash_one(number).to_be_bytes();
        let _always_fits = hex::encode_to_slice(id, &mut digits);
        str::from_utf8(&digits).unwrap_or_default().into()
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
    type Future = InCall<BoxFuture<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let watch = Stopwatch::start();
        let method = Arc::clone(self.door.methods.of_path(request.uri().path()));
        let id = self.door.ids.next();
        // For traces alone, so below every level that lines are written at: nothing is made where nobody collects them.
        let span = tracing::trace_span!("call", request = %id, method = %method.name);
        if !span.is_disabled() {
            join_trace(&span, request.headers().get("traceparent").and_then(|parent| parent.to_str().ok()));
        }
        let name = CallName { request: Arc::clone(&id), method: Arc::clone(&method.name) };
        let door = self.door.clone();
        // The one that said it was ready is the one to be called.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let answering = async move {
            let admitted = door.admit(&request, &method);
            let call = request.extensions().get::<Peer>().map(|peer| peer.line.begin());
            let asked = deadline_of(request.headers());
            let last = asked.map_or(door.answer_max, |asked| asked.min(door.answer_max));
            let (answer, admission, watched) = match admitted {
                Err(status) => (Ok(status.into_http()), None, None),
                Ok(None) => {
                    (Caught(pin!(within(last, async { inner.call(request).await }))).await, None, None)
                }
                Ok(Some(Admitted { caller, mut behind, admission, watched })) => {
                    let (reading, one_max) = (admission.reading(), door.message_bytes_max);
                    // Whoever reads a stream of requests answers what was taken before it ends.
                    let (asking, answering) = if takes_a_stream(&method.name) {
                        (Some(watched), None)
                    } else {
                        (None, Some(watched))
                    };
                    let mut request =
                        request.map(|body| Body::new(Counted::new(body, reading, one_max, asking)));
                    request.extensions_mut().insert(caller);
                    let answer = pin!(within(last, async { behind.call(request).await }));
                    (Caught(answer).await, Some(admission), answering)
                }
            };
            let mut answer = answer.unwrap_or_else(|Panicked| {
                metrics().panicked();
                Status::internal("internal error").into_http()
            });
            if let Ok(mut id) = HeaderValue::from_str(&id) {
                // Never the same twice: to be kept out of the connection's table of headers (RFC 7541, 7.1.3).
                id.set_sensitive(true);
                answer.headers_mut().insert(REQUEST_ID, id);
            }
            let (code, took) = (code_of(&answer), watch.elapsed());
            let span = Span::current();
            if !span.is_disabled() {
                end_call(&span, code.into(), is_our_fault(code));
            }
            let code = name_of(code);
            method.meter.answered(code, took);
            tracing::debug!(code, micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), "answered");
            // A stream that goes on has until its caller's deadline, if there is one; its call counts until then.
            let rest = asked.map(|asked| Box::pin(tokio::time::sleep(asked.saturating_sub(took))));
            Ok(answer.map(|body| Body::new(Held::new(body, admission, watched, call, rest))))
        };
        InCall::new(name, Box::pin(answering.instrument(span)))
    }
}

/// Ends a call that has no answer in time. What it wrote, or is writing, is not undone.
async fn within<F>(last: Duration, answer: F) -> Result<Response<Body>, Infallible>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let late =
        |_| Ok(Status::deadline_exceeded("no answer in time; what was begun may still be done").into_http());
    tokio::time::timeout(last, answer).await.unwrap_or_else(late)
}

/// What `grpc-timeout` says (gRPC over HTTP2, Requests): up to eight digits and a unit. Nothing where it says nothing that
/// can be understood.
fn deadline_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let fits = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| fits)?;
    Some(match unit {
        "H" => Duration::from_secs(number.saturating_mul(3_600)),
        "M" => Duration::from_secs(number.saturating_mul(60)),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A call panicked; the hook has logged where.
struct Panicked;

/// Ends in [`Panicked`] where what it wraps panics, so that the connection and its other calls live on.
struct Caught<'a, F>(Pin<&'a mut F>);

impl<T, F: Future<Output = Result<T, Infallible>>> Future for Caught<'_, F> {
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
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Arc<Caller>, Status> {
    request.extensions().get::<Arc<Caller>>().cloned().ok_or_else(status::forbidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            deadline_of(&headers)
        };
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!((read("7u"), read("1n")), (Some(Duration::from_micros(7)), Some(Duration::from_nanos(1))));
        for bad in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
