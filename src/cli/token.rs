//! The command `sayso token`.

use super::connect::Connection;
use super::error::CliError;
use super::output::Out;
use super::times::parse_duration;
use crate::api::role_from_name;
use crate::clock::SystemClock;
use crate::daemon;
use crate::domain::event::Role;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Mint a token with the built-in issuer of a data folder.
///
/// A caller authenticates with the token to the daemon that uses this data folder.
///
/// Example: `sayso token --role subject --subject ada > ada.token`
#[derive(Args)]
pub(super) struct Token {
    /// Role: service (records what it observes and infers, and requests grants), channel (records what
    /// people say), service-channel (both), subject (one person), steward (the controller's staff),
    /// authority (publishes public bounds), auditor or operator.
    #[arg(long)]
    role: String,
    /// Name of the caller. For a service, this is also the recipient that its grants name.
    #[arg(long, required_unless_present = "subject", conflicts_with = "subject")]
    name: Option<String>,
    /// With the role subject: the controller's ID for the person.
    #[arg(long)]
    subject: Option<String>,
    /// Lifetime of the token.
    #[arg(long, default_value = "12h", value_parser = parse_duration)]
    ttl: Duration,
    /// Configuration file (TOML) of the daemon.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of one of the configuration's controllers. Default: the first.
    #[arg(long, value_name = "NAME", requires = "config")]
    controller: Option<String>,
}

impl Token {
    pub fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let config = at.config(self.config.as_deref())?;
        let config = config.of(self.controller.as_deref()).map_err(CliError::usage)?;
        let claim = role_from_name(&self.role).ok_or_else(|| {
            CliError::usage(format!(
                "--role: there is no role `{}`; `sayso token --help` lists them",
                self.role
            ))
        })?;
        if (claim.role == Role::Subject) != self.subject.is_some() {
            return Err(CliError::usage("--role subject needs --subject, and the other roles need --name"));
        }
        let name = self.subject.or(self.name).unwrap_or_default();
        let issuer = daemon::issuer(&config, Arc::new(SystemClock)).map_err(CliError::failed)?;
        let token = issuer.mint(claim, &name, self.ttl.as_secs()).map_err(CliError::failed)?;
        out.print_value(&serde_json::json!({ "token": token }), &token)
    }
}
