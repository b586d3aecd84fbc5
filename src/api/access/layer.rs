//! Access control of every call: identifies the caller, and checks that its role may call the method. Every
//! answer has a request id, which is also in the lines that the daemon logs about the call.

use crate::api::access::credential::Credentials;
use crate::api::access::decompress::Encoding;
use crate::api::access::error::CredentialError;
use crate::api::access::lifetime::Watched;
use crate::api::access::methods::{Method, Methods};
use crate::api::access::options::{Access, ApiOptions};
use crate::api::access::quota::{Admission, Quotas};
use crate::api::access::request_body::{Intake, RequestBody, Terms};
use crate::api::access::response_body::ResponseBody;
use crate::api::access::role_names::{Claim, role_name};
use crate::api::status::{self, CallRoles};
use crate::app::Caller;
use crate::clock::Stopwatch;
use crate::domain::event::Role;
use crate::telemetry::{CallName, InCall, end_call, join_trace, metrics};
use crate::tls::Peer;
use std::any::Any;
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

/// How long a stream of requests may continue after its answer has ended.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// The header of an answer that has the request id.
pub const REQUEST_ID: &str = "x-request-id";

/// The layer in front of every service.
#[derive(Clone)]
pub struct AccessLayer {
    credentials: Arc<Credentials>,
    methods: Arc<Methods>,
    ids: Arc<RequestIds>,
    calls: Arc<Quotas>,
    /// The services of each controller, by its number.
    behind: Arc<[Routes]>,
    answer_max: Duration,
    message_bytes_max: usize,
}

/// An admitted call.
struct Admitted {
    admission: Admission,
    /// The bytes of its request that are in memory.
    intake: Arc<Intake>,
    /// `None` if the method needs no credential.
    known: Option<Identified>,
}

/// The caller, and the services of its controller.
struct Identified {
    caller: Arc<Caller>,
    behind: Routes,
    /// Checks during a long call that the credential is still valid.
    watched: Watched,
    /// The roles that a denial names.
    roles: CallRoles,
}

impl Admitted {
    fn new(admission: Admission, known: Option<Identified>) -> Self {
        let intake = Intake::new(admission.counted());
        Self { admission, intake, known }
    }
}

impl AccessLayer {
    /// Admits callers by the role table and their quotas. A caller reaches only the services of their own
    /// controller: `behind` has the services of each controller, by its number.
    pub fn new(access: Access, behind: Arc<[Routes]>, options: ApiOptions) -> Self {
        let Access { credentials, table } = access;
        let (answer_max, message_bytes_max) = (options.answer_max, options.message_bytes_max);
        let (calls, methods) = (Arc::new(Quotas::new(options.calls)), Arc::new(Methods::new(&table)));
        let ids = Arc::default();
        Self { credentials, methods, ids, calls, behind, answer_max, message_bytes_max }
    }

    /// Admits a call: identifies the caller and checks role and quota. Methods that need no credential have
    /// no caller.
    fn admit(&self, request: &Request<Body>, method: &Method) -> Result<Admitted, Status> {
        if method.permitted.to(Role::Unspecified) {
            let from = request.extensions().get::<Peer>().and_then(|peer| peer.address);
            return Ok(Admitted::new(self.calls.enter_open(from)?, None));
        }
        let header = request.headers().get("authorization").map(HeaderValue::to_str);
        let bearer = match header {
            None => None,
            Some(Ok(value)) => {
                Some(value.strip_prefix("Bearer ").ok_or(CredentialError::Missing).map_err(refused)?)
            }
            Some(Err(_)) => return Err(refused(CredentialError::Missing)),
        };
        let activity = request.extensions().get::<Peer>().map(|peer| &peer.activity);
        let found = self.credentials.caller(bearer, request.extensions());
        match (activity, &found) {
            (Some(activity), Ok((_, caller, _))) => {
                activity.authenticated();
                if caller.subject.is_some() {
                    activity.data_subject_authenticated();
                }
            }
            (Some(activity), Err(CredentialError::TooMany(_))) => activity.abandon(),
            _ => {}
        }
        let (number, caller, watched) = found.map_err(refused)?;
        if !method.is_open_in_doubt && watched.is_in_doubt() {
            return Err(refused(CredentialError::InDoubt));
        }
        let permitted =
            method.permitted.to(caller.role) || caller.channel && method.permitted.to(Role::Channel);
        let behind = self.behind.get(number).filter(|_| permitted);
        let denied = || status::role_not_allowed(caller_role(&caller), method.permitted);
        let behind = behind.ok_or_else(denied)?.clone();
        let admission = self.calls.enter(number, &caller, method.purpose)?;
        let roles = CallRoles { caller: caller_role(&caller), permitted: method.permitted };
        Ok(Admitted::new(admission, Some(Identified { caller, behind, watched, roles })))
    }

    /// Turns a request into the one that the services get: its body is counted and checked against the
    /// limits.
    fn guard(
        &self,
        request: Request<Body>,
        method: &Method,
        intake: &Arc<Intake>,
        watched: Option<Watched>,
        ends: Option<Duration>,
    ) -> Request<Body> {
        let terms = Terms {
            shape: method.shape,
            message_bytes_max: self.message_bytes_max,
            encoding: Encoding::of(request.headers()),
            is_stream: method.takes_a_stream,
            whole_within: self.answer_max,
            watched,
            ends: ends.map(|after| Box::pin(tokio::time::sleep(after))),
        };
        let mut request = request.map(|body| Body::new(RequestBody::new(body, Arc::clone(intake), terms)));
        if method.takes_a_stream {
            request.extensions_mut().insert(Arc::clone(intake));
        }
        request
    }
}

/// Makes request ids: 64 bits in hexadecimal that look random. The caller's own ids are not used, because
/// they may contain personal data.
#[derive(Default)]
struct RequestIds {
    /// Turns the count of ids into an id. Its key is random and is drawn once, so that no call has to ask the
    /// system for randomness.
    hasher: RandomState,
    /// The number of ids made so far.
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

/// The caller's role, as written in tokens.
fn caller_role(caller: &Caller) -> &'static str {
    role_name(Claim { role: caller.role, channel: caller.channel }).unwrap_or("unknown")
}

fn refused(error: CredentialError) -> Status {
    status::of_credential(&error)
}

impl<S> Layer<S> for AccessLayer {
    type Service = AccessService<S>;
    fn layer(&self, inner: S) -> AccessService<S> {
        AccessService { inner, access: self.clone() }
    }
}

/// A service behind access control.
#[derive(Clone)]
pub struct AccessService<S> {
    inner: S,
    access: AccessLayer,
}

impl<S> Service<Request<Body>> for AccessService<S>
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
        let method = Arc::clone(self.access.methods.of_path(request.uri().path()));
        let id = self.access.ids.next();
        // The span is only for traces: at this level it is disabled unless traces are collected.
        let span = tracing::trace_span!("call", request = %id, method = %method.name);
        if !span.is_disabled() {
            join_trace(&span, request.headers().get("traceparent").and_then(|parent| parent.to_str().ok()));
        }
        let admitted = self.access.admit(&request, &method);
        // A request's bytes count until all work for it is done. In a stream, each message counts separately.
        let intake = admitted.as_ref().ok().filter(|_| !method.takes_a_stream);
        let intake = intake.map(|admitted| Arc::clone(&admitted.intake));
        let kept = intake.clone().map(|intake| intake as Arc<dyn Any + Send + Sync>);
        let name = CallName { request: Arc::clone(&id), method: Arc::clone(&method.name), kept };
        let access = self.access.clone();
        let roles = admitted.as_ref().ok().and_then(|admitted| Some(admitted.known.as_ref()?.roles));
        // Call the instance that was polled ready.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let answering = async move {
            let call = request.extensions().get::<Peer>().map(|peer| peer.activity.begin_call());
            let asked = deadline_of(request.headers());
            let last = asked.map_or(access.answer_max, |asked| asked.min(access.answer_max));
            // A stream ends at its caller's deadline. A stream without a credential also ends at the daemon's
            // limit.
            let is_open = admitted.as_ref().is_ok_and(|admitted| admitted.known.is_none());
            let until = if is_open && method.takes_a_stream { Some(last) } else { asked };
            // The stream of requests ends a little after the answer, so the answer can report the error.
            let ends = until.filter(|_| method.takes_a_stream).map(|until| until.saturating_add(AFTERWARDS));
            let (answer, admission, watched) = match admitted {
                Err(status) => (Ok(status.into_http()), None, None),
                Ok(Admitted { admission, intake, known: None }) => {
                    let request = access.guard(request, &method, &intake, None, ends);
                    let answer = pin!(within(last, async { inner.call(request).await }));
                    (Caught(answer).await, Some(admission), None)
                }
                Ok(Admitted {
                    admission,
                    intake,
                    known: Some(Identified { caller, mut behind, watched, roles }),
                }) => {
                    // When the credential ends, a stream of requests gets no more messages, but those that
                    // its handler has read are still answered. In other calls, a stream of answers ends.
                    let (asking, answering) =
                        if method.takes_a_stream { (Some(watched), None) } else { (None, Some(watched)) };
                    let mut request = access.guard(request, &method, &intake, asking, ends);
                    request.extensions_mut().insert(caller);
                    request.extensions_mut().insert(roles);
                    let answer = pin!(within(last, async { behind.call(request).await }));
                    (Caught(answer).await, Some(admission), answering)
                }
            };
            let mut answer = answer.unwrap_or_else(|Panicked| {
                metrics().panicked();
                Status::internal("internal error").into_http()
            });
            if let Some(roles) = roles {
                answer = roles.name_in_answer(answer);
            }
            identify(&mut answer, &id);
            let took = watch.elapsed();
            record_answer(&method, code_of(&answer), took);
            // The answer also ends at the deadline, if there is one. The call counts against its caller's
            // quotas until the answer ends.
            let rest = until.map(|until| Box::pin(tokio::time::sleep(until.saturating_sub(took))));
            Ok(answer.map(|body| Body::new(ResponseBody::new(body, admission, intake, watched, call, rest))))
        };
        InCall::new(name, Box::pin(answering.instrument(span)))
    }
}

/// Puts the request id into an answer.
fn identify(answer: &mut Response<Body>, id: &str) {
    if let Ok(mut id) = HeaderValue::from_str(id) {
        // No id is ever sent twice, so ids must not fill the connection's header table (RFC 7541, 7.1.3).
        id.set_sensitive(true);
        answer.headers_mut().insert(REQUEST_ID, id);
    }
}

/// Records in traces, metrics and the log how a call was answered.
fn record_answer(method: &Method, code: Code, took: Duration) {
    let span = Span::current();
    if !span.is_disabled() {
        end_call(&span, code.into(), is_server_error(code));
    }
    let code = name_of(code);
    method.meter.answered(code, took);
    tracing::debug!(code, micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX), "answered");
}

/// Ends a call that has no answer in time. Its writes are not undone.
async fn within<F>(last: Duration, answer: F) -> Result<Response<Body>, Infallible>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let late =
        |_| Ok(Status::deadline_exceeded("deadline exceeded; the operation may still complete").into_http());
    tokio::time::timeout(last, answer).await.unwrap_or_else(late)
}

/// The deadline in `grpc-timeout` (gRPC over HTTP2, Requests): up to eight digits and a unit. `None` if it is
/// absent or malformed.
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

/// A call panicked. The panic hook has logged the location.
struct Panicked;

/// Turns a panic of a call into [`Panicked`], so that the connection and its other calls continue.
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

/// The gRPC code in the headers of an answer. A stream that fails later still has `OK` there.
fn code_of(answer: &Response<Body>) -> Code {
    answer.headers().get("grpc-status").map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}

/// Codes that make a server's span an error (OpenTelemetry semantic conventions for gRPC).
fn is_server_error(code: Code) -> bool {
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

/// The caller of an admitted call.
///
/// # Errors
/// The service was reached without access control.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Arc<Caller>, Status> {
    request.extensions().get::<Arc<Caller>>().cloned().ok_or_else(status::not_allowed)
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
