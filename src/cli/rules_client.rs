//! Connects to the daemon's gRPC service for rules (`BoundsService`): bounds, definitions of purposes and
//! categories, and notices.

use super::connect::{Connection, Link, client};
use super::error::CliError;
use crate::proto::bounds_service_client::BoundsServiceClient;

/// Makes a client of the service for rules. The call's credential is the one that the flags name,
/// or the token of `role` in the data folder.
pub(super) async fn client(at: &Connection, role: &str) -> Result<BoundsServiceClient<Link>, CliError> {
    Ok(client!(BoundsServiceClient, at.link(role).await?))
}
