//! `sayso token`

use super::Connection;
use super::connect::parse_span;
use super::error::CliError;
use super::output::Out;
use crate::api::role_from_name;
use crate::clock::SystemClock;
use crate::daemon;
use clap::Args;
use sayso_proof::event::Role;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Mint a token of the built-in issuer of a data folder.
///
/// Example: `sayso token --role subject --subject ada > ada.token`
#[derive(Args)]
pub(super) struct Token {
    /// service (records what it observes and infers, asks for use), channel (carries what people say), service-channel (both),
    /// subject, steward, authority, auditor or operator.
    #[arg(long)]
    role: String,
    /// Name of the caller: for a service, the recipient that grants will name.
    #[arg(long, required_unless_present = "subject", conflicts_with = "subject")]
    name: Option<String>,
    /// For the role subject: the controller's id of the person.
    #[arg(long)]
    subject: Option<String>,
    /// How long it is valid.
    #[arg(long, default_value = "12h", value_parser = parse_span)]
    ttl: Duration,
    /// Configuration file (TOML) of the daemon.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Which of the configuration's controllers. Default: the first.
    #[arg(long, requires = "config")]
    controller: Option<String>,
}

impl Token {
    pub fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let config = at.settings(self.config.as_deref())?;
        let config = config.of(self.controller.as_deref()).map_err(CliError::usage)?;
        let claim = role_from_name(&self.role).ok_or_else(|| CliError::usage("no such role"))?;
        if (claim.role == Role::Subject) != self.subject.is_some() {
            return Err(CliError::usage("--subject goes with --role subject, --name with the others"));
        }
        let name = self.subject.or(self.name).unwrap_or_default();
        let issuer = daemon::issuer(&config, Arc::new(SystemClock)).map_err(CliError::failed)?;
        let token = issuer.mint(claim, &name, self.ttl.as_secs()).map_err(CliError::failed)?;
        out.print_value(&serde_json::json!({ "token": token }), &token)
    }
}
