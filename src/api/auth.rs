//! At the door of every call: who is it, and may this role call this method.

use super::credential::{CredentialError, Issuer};
use super::{roles, status};
use crate::app::Caller;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{BoxFuture, Service};
use tonic::server::NamedService;

/// A service behind the door.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    issuer: Arc<Issuer>,
}

impl<S> Guarded<S> {
    /// Puts a service behind the door.
    pub fn new(inner: S, issuer: Arc<Issuer>) -> Self {
        Self { inner, issuer }
    }

    fn admit(&self, request: &Request<Body>) -> Result<Caller, tonic::Status> {
        let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or(CredentialError::Missing);
        let caller = token.and_then(|token| self.issuer.authenticate(token.trim()));
        let caller = caller.map_err(|error| status::of_credential(&error))?;
        if roles::may(caller.role, request.uri().path()) { Ok(caller) } else { Err(status::forbidden()) }
    }
}

impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Response<Body>, std::convert::Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.admit(&request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Box::pin(self.inner.call(request))
            }
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}

/// The caller that the door let in.
///
/// # Errors
/// The service does not stand behind the door.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, tonic::Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(status::forbidden)
}
