//! gRPC: the only room that knows tonic's services. A file a service; handlers convert, call the use case, convert
//! back.

mod audit;
mod auth;
mod bounds;
mod consent;
mod convert;
mod credential;
mod grant;
mod operator;
mod profile;
mod report;
mod rights;
mod roles;
mod status;

pub use credential::{CredentialError, Issuer, ROLES, role_from_name, role_name};

use crate::app::App;
use crate::proto;
use auth::Guarded;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Settings of the gRPC side.
#[derive(Clone, Copy, Debug)]
pub struct ApiOptions {
    /// Largest message taken, bytes.
    pub message_bytes_max: usize,
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

/// Serves gRPC on `listener` until `shutdown`; requests under way are finished.
///
/// # Errors
/// The transport fails.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
    app: Arc<App>,
    issuer: Arc<Issuer>,
    options: ApiOptions,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let api = Api { app };
    // Each service behind the door, with message bounds and compression for those that ask for it.
    macro_rules! guarded {
        ($server:path) => {
            Guarded::new(
                <$server>::new(api.clone())
                    .max_decoding_message_size(options.message_bytes_max)
                    .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
                    .accept_compressed(tonic::codec::CompressionEncoding::Zstd)
                    .send_compressed(tonic::codec::CompressionEncoding::Gzip)
                    .send_compressed(tonic::codec::CompressionEncoding::Zstd),
                Arc::clone(&issuer),
            )
        };
    }
    // Without it small answers wait for the peer's delayed acknowledgement: 40 ms each.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .accept_http1(true)
        .layer(tonic_web::GrpcWebLayer::new())
        .add_service(health_service)
        .add_service(reflection)
        .add_service(guarded!(proto::profile_service_server::ProfileServiceServer<Api>))
        .add_service(guarded!(proto::consent_service_server::ConsentServiceServer<Api>))
        .add_service(guarded!(proto::grant_service_server::GrantServiceServer<Api>))
        .add_service(guarded!(proto::rights_service_server::RightsServiceServer<Api>))
        .add_service(guarded!(proto::bounds_service_server::BoundsServiceServer<Api>))
        .add_service(guarded!(proto::audit_service_server::AuditServiceServer<Api>))
        .add_service(guarded!(proto::operator_service_server::OperatorServiceServer<Api>))
        .serve_with_incoming_shutdown(incoming, shutdown)
        .await?;
    Ok(())
}
