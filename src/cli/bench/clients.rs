//! The gRPC clients with which a benchmark calls the daemon. They share a connection. They use the tokens
//! that a `--dev` daemon writes to its data folder, or tokens that the benchmark makes with that daemon's
//! key.

use super::options::Bench;
use crate::api::Issuer;
use crate::cli::connect::{Bearer, Connection, Link, client};
use crate::cli::error::CliError;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::daemon;
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::grant_service_client::GrantServiceClient;
use crate::proto::profile_service_client::ProfileServiceClient;
use crate::proto::rights_service_client::RightsServiceClient;
use std::sync::Arc;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// The gRPC clients that share a connection.
#[derive(Clone)]
pub(super) struct Clients {
    pub profile: ProfileServiceClient<Link>,
    /// A client without a credential of its own: each call gets the credential of the data subject
    /// that it is about.
    pub own_profile: ProfileServiceClient<Channel>,
    pub consent: ConsentServiceClient<Link>,
    pub grant: GrantServiceClient<Link>,
    pub rights: RightsServiceClient<Link>,
}

impl Clients {
    pub async fn connect(at: &Connection) -> Result<Self, CliError> {
        let channel = at.channel().await?;
        let link = |bearer: Bearer| InterceptedService::new(Channel::clone(&channel), bearer);
        let (service, steward) = (at.dev_bearer("service")?, at.dev_bearer("steward")?);
        Ok(Self {
            profile: client!(ProfileServiceClient, link(service.clone())),
            own_profile: client!(ProfileServiceClient, Channel::clone(&channel)),
            consent: client!(ConsentServiceClient, link(steward.clone())),
            rights: client!(RightsServiceClient, link(steward)),
            grant: client!(GrantServiceClient, link(service)),
        })
    }

    /// Opens the connections of a run.
    pub async fn connect_all(bench: &Bench, at: &Connection) -> Result<Vec<Self>, CliError> {
        let mut clients = Vec::new();
        for _ in 0..bench.connections {
            clients.push(Self::connect(at).await?);
        }
        Ok(clients)
    }
}

/// The built-in issuer of tokens, with the key of the `--dev` daemon. With it, the benchmark makes
/// a token for each data subject.
pub(super) fn issuer(at: &Connection) -> Result<Issuer, CliError> {
    let config = Config { data: at.data.clone(), ..Config::default() };
    daemon::issuer(&config, Arc::new(SystemClock)).map_err(CliError::failed)
}
