//! gRPC: the only room that knows tonic's services. A file a service; handlers convert, call the use case,
//! convert back.

mod access;
mod audit;
mod bounds;
mod consent;
mod convert;
mod grant;
mod operator;
mod profile;
mod report;
mod rights;
mod status;

pub use access::credential::{
    Claim, CredentialError, Credentials, Issuer, ROLES, Trusted, role_from_name, role_name,
};
pub use access::issuer::{TokenRules, Tokens};
pub use access::jwks::JWKS_BYTES_MAX;
pub use access::layer::REQUEST_ID;
pub use access::method_names::methods;
pub use access::quota::{QuotaLimits, QuotaOptions};

use crate::app::App;
use crate::proto;
use crate::roles::RoleTable;
use crate::tls::Incoming;
use access::layer::AccessLayer;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// How often health looks at the store.
const HEALTH_INTERVAL: Duration = Duration::from_millis(250);
/// What witnesses are called in `grpc.health.v1`; not known there where none are asked.
const WITNESSES: &str = "sayso.witnesses";
/// Streams that a peer may open and reset before it is cut off (CVE-2023-44487).
const RESETS_MAX: usize = 64;
/// Bytes of one call's headers.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// How often a quiet connection is asked whether it still stands, and how long it may take to say so.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// A request's attributes to the domain's, for the fuzzers; what comes of it is nobody's.
#[doc(hidden)]
pub fn decode_attributes(request: proto::RecordAttributesRequest) {
    let subject = crate::domain::ids::SubjectId::new(&request.subject);
    let options = convert::options(request.options.as_ref(), &request);
    if let (Ok(subject), Ok(_)) = (subject, options) {
        let _read = convert::new_attributes(subject, request.attributes, 0);
    }
}

/// Settings of the gRPC side.
#[derive(Clone, Copy, Debug)]
pub struct ApiOptions {
    /// Largest message taken, bytes.
    pub message_bytes_max: usize,
    /// Calls of one connection at once.
    pub streams_max: u32,
    /// How long a call may take until its answer begins.
    pub answer_max: Duration,
    /// Bounds on the calls of one credential.
    pub calls: QuotaOptions,
}

/// Every service over one [`App`].
#[derive(Clone)]
struct Api {
    app: Arc<App>,
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport.
    #[error("grpc: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// Reflection can't be set up.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// What stands at the door.
pub struct Access {
    /// Who may come in.
    pub credentials: Arc<Credentials>,
    /// Who may call what.
    pub table: Arc<RoleTable>,
}

/// Serves gRPC on `incoming` until `shutdown`; requests under way are finished. The controllers' applications
/// are in the order of their numbers in `access`.
///
/// # Errors
/// The transport fails.
pub async fn serve(
    incoming: Incoming,
    shutdown: impl Future<Output = ()> + Send,
    apps: Vec<Arc<App>>,
    access: Access,
    options: ApiOptions,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let watching = tokio::spawn(watch_health(health, apps.clone())).abort_handle();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    // A controller's services know its application and no other: whom the door sends there can't get anywhere
    // else.
    let behind = apps.into_iter().map(|app| services(Api { app }, options)).collect();
    let served = Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(Some(options.streams_max))
        .http2_max_pending_accept_reset_streams(Some(RESETS_MAX))
        .http2_max_header_list_size(Some(HEADERS_BYTES_MAX))
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .layer(tonic_web::GrpcWebLayer::new())
        .layer(AccessLayer::new(access, behind, options))
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await;
    watching.abort();
    Ok(served?)
}

/// Every service of one controller, each with message bounds, and compression for those that ask for it.
fn services(api: Api, options: ApiOptions) -> Routes {
    macro_rules! bounded {
        ($server:path) => {
            <$server>::new(api.clone())
                .max_decoding_message_size(options.message_bytes_max)
                .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
                .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
                .send_compressed(tonic::codec::CompressionEncoding::Gzip)
                .send_compressed(tonic::codec::CompressionEncoding::Zstd)
        };
    }
    Routes::new(bounded!(proto::profile_service_server::ProfileServiceServer<Api>))
        .add_service(bounded!(proto::consent_service_server::ConsentServiceServer<Api>))
        .add_service(bounded!(proto::grant_service_server::GrantServiceServer<Api>))
        .add_service(bounded!(proto::rights_service_server::RightsServiceServer<Api>))
        .add_service(bounded!(proto::bounds_service_server::BoundsServiceServer<Api>))
        .add_service(bounded!(proto::audit_service_server::AuditServiceServer<Api>))
        .add_service(bounded!(proto::operator_service_server::OperatorServiceServer<Api>))
        .prepare()
}

/// Tells `grpc.health.v1` what is true: serving while every controller's writes are taken; and, as a service
/// of its own, whether enough witnesses cosign every log in time.
async fn watch_health(health: HealthReporter, apps: Vec<Arc<App>>) {
    let (mut told, mut witnessed) = (None, None);
    loop {
        let ready = apps.iter().all(|app| app.is_ready());
        if told != Some(ready) {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            health.set_service_status("", status).await;
            told = Some(ready);
        }
        let asked = apps.iter().filter_map(|app| app.is_witnessed());
        let now = asked.reduce(|all, each| all && each);
        if let Some(enough) = now.filter(|_| now != witnessed) {
            let status = if enough { ServingStatus::Serving } else { ServingStatus::NotServing };
            health.set_service_status(WITNESSES, status).await;
            witnessed = now;
        }
        tokio::time::sleep(HEALTH_INTERVAL).await;
    }
}

/// Kinds of events as metrics call them, by their number.
#[must_use]
pub fn event_names() -> HashMap<u32, String> {
    let pool = prost_reflect::DescriptorPool::decode(proto::DESCRIPTORS).unwrap_or_default();
    let body = pool.get_message_by_name("sayso.v1.EventBody");
    let event = body.and_then(|body| body.oneofs().find(|oneof| oneof.name() == "event"));
    let fields = event.iter().flat_map(|event| {
        event.fields().map(|field| (field.number(), field.name().to_owned())).collect::<Vec<_>>()
    });
    fields.collect()
}
