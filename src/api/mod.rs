//! The gRPC API: one file for each service. A handler converts the request, calls a use case, and converts
//! its result. No other room (top-level module) implements these services.

mod access;
mod audit;
mod bounds;
mod connections;
mod consent;
mod convert;
mod grant;
mod operator;
mod paging;
mod profile;
mod report;
mod rights;
mod status;

pub use access::credential::{Credentials, Issuer, Trusted};
pub use access::error::CredentialError;
pub use access::issuer::{TokenRules, Tokens};
pub use access::jwks::JWKS_BYTES_MAX;
pub use access::layer::REQUEST_ID;
pub use access::method_names::methods;
pub use access::options::{Access, ApiOptions};
pub use access::quota::{QuotaLimits, QuotaOptions};
pub use access::role_names::{Claim, ROLES, role_from_name, role_name};

use crate::app::App;
use crate::proto;
use crate::tls::Incoming;
use access::layer::AccessLayer;
use connections::serve_connections;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Layer;

/// How often the health service checks the store.
const HEALTH_INTERVAL: Duration = Duration::from_millis(250);
/// The name under which `grpc.health.v1` reports the witnesses. The health service does not know the name if
/// no witness is configured.
const WITNESSES: &str = "sayso.witnesses";

/// Decodes a request's attributes and drops the result. For fuzzers.
#[doc(hidden)]
pub fn decode_attributes(request: proto::RecordAttributesRequest) {
    let subject = crate::domain::ids::SubjectId::new(&request.subject);
    let options = convert::writes::options(request.options.as_ref(), &request);
    if let (Ok(subject), Ok(_)) = (subject, options) {
        let _read = convert::profile::new_attributes(subject, request.attributes, 0);
    }
}

/// The services of one controller.
#[derive(Clone)]
struct Api {
    app: Arc<App>,
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Reflection could not be set up.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves gRPC on `incoming` until `shutdown`, then completes the calls in progress. `apps` are in the order
/// of their controllers' numbers in `access`.
///
/// # Errors
/// Reflection cannot be set up.
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
    // Each controller has its own services, so a caller cannot reach the application of another controller.
    let behind = apps.into_iter().map(|app| services(Api { app }, options)).collect();
    let routes = Routes::new(health_service).add_service(reflection);
    let service = AccessLayer::new(access, behind, options).layer(routes);
    let service = tonic_web::GrpcWebLayer::new().layer(service);
    serve_connections(incoming, shutdown, service, options.streams_max).await;
    watching.abort();
    Ok(())
}

/// The services of one controller, with a limit for messages and with compression for clients that ask for
/// it.
fn services(api: Api, options: ApiOptions) -> Routes {
    macro_rules! limited {
        ($server:path) => {
            <$server>::new(api.clone())
                .max_decoding_message_size(options.message_bytes_max)
                .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
                .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
                .send_compressed(tonic::codec::CompressionEncoding::Gzip)
                .send_compressed(tonic::codec::CompressionEncoding::Zstd)
        };
    }
    Routes::new(limited!(proto::profile_service_server::ProfileServiceServer<Api>))
        .add_service(limited!(proto::consent_service_server::ConsentServiceServer<Api>))
        .add_service(limited!(proto::grant_service_server::GrantServiceServer<Api>))
        .add_service(limited!(proto::rights_service_server::RightsServiceServer<Api>))
        .add_service(limited!(proto::bounds_service_server::BoundsServiceServer<Api>))
        .add_service(limited!(proto::audit_service_server::AuditServiceServer<Api>))
        .add_service(limited!(proto::operator_service_server::OperatorServiceServer<Api>))
        .prepare()
}

/// Updates `grpc.health.v1`. The daemon is reported as serving while every controller accepts writes. Under a
/// separate name it reports whether enough witnesses cosign every log in time.
async fn watch_health(health: HealthReporter, apps: Vec<Arc<App>>) {
    let (mut shown, mut witnessed) = (None, None);
    loop {
        let ready = apps.iter().all(|app| app.is_ready());
        if shown != Some(ready) {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            health.set_service_status("", status).await;
            shown = Some(ready);
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

/// The names that metrics use for kinds of events, by field number in `EventBody.event`.
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
