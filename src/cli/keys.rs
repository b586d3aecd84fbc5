//! `sayso keys`

use super::Connection;
use super::connect::{Link, client, parse_span};
use super::error::CliError;
use super::output::Out;
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use crate::proto::operator_service_client::OperatorServiceClient;
use clap::{Args, Subcommand};
use std::time::Duration;

/// The log's keys.
#[derive(Subcommand)]
pub(super) enum Keys {
    Rotate(Rotate),
    Show(Show),
}

/// Give the log another key: an event that both keys sign. What was made before still verifies, and `sayso verify --key`
/// with an old key follows.
///
/// For the time of --transition checkpoints carry the old key's signature as well; tell the new key to whoever verifies, and
/// to witnesses, in that time. Then the old key is destroyed.
/// Example: `sayso keys rotate --transition 7d`
#[derive(Args)]
pub(super) struct Rotate {
    /// How long checkpoints carry both keys' signatures; `0s` where the old key is in wrong hands.
    #[arg(long, default_value = "7d", value_parser = parse_span)]
    transition: Duration,
    /// Does the same only once, however often it is sent.
    #[arg(long, default_value = "")]
    idempotency_key: String,
}

/// Show every key that the log had, one a line, each with the event that brought it: what `sayso verify --keys` takes.
///
/// Example: `sayso keys show > keys.jsonl`
#[derive(Args)]
pub(super) struct Show {}

impl Keys {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        match self {
            Self::Rotate(rotate) => rotate.run(at, out).await,
            Self::Show(_) => {
                let mut client: AuditServiceClient<Link> =
                    client!(AuditServiceClient, at.link("auditor").await?);
                let answer = client.get_log_keys(proto::GetLogKeysRequest {}).await?.into_inner();
                out.print("GetLogKeysResponse", &answer, |answer| answer.keys.trim_end().to_owned())
            }
        }
    }
}

impl Rotate {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client: OperatorServiceClient<Link> =
            client!(OperatorServiceClient, at.link("operator").await?);
        let seconds = i64::try_from(self.transition.as_secs()).map_err(CliError::usage)?;
        let request = proto::RotateLogKeyRequest {
            transition: Some(prost_types::Duration { seconds, nanos: 0 }),
            options: Some(proto::WriteOptions {
                idempotency_key: self.idempotency_key,
                ..proto::WriteOptions::default()
            }),
        };
        let answer = client.rotate_log_key(request).await?.into_inner();
        out.print("RotateLogKeyResponse", &answer, |answer| {
            format!("from position {} on the log's key is\n{}", answer.from_position, answer.vkey)
        })
    }
}
