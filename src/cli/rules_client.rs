//! Connects to the service of bounds, vocabulary and notices.

use super::connect::{Connection, Link, client};
use super::error::CliError;
use crate::proto::bounds_service_client::BoundsServiceClient;

/// Connects with the credential that the flags name, or with the token of `role` in the data folder.
pub(super) async fn client(at: &Connection, role: &str) -> Result<BoundsServiceClient<Link>, CliError> {
    Ok(client!(BoundsServiceClient, at.link(role).await?))
}
