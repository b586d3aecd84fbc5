//! The command `sayso keys`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out, proto_style};
use super::times::parse_duration;
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use crate::proto::operator_service_client::OperatorServiceClient;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::time::Duration;

/// Rotate and show the log's keys.
#[derive(Subcommand)]
pub(super) enum Keys {
    Rotate(Rotate),
    Show(Show),
}

/// Give the log a new signing key. Both the old and the new key sign the event that records the
/// rotation.
///
/// Bundles and proofs made before the rotation still verify. `sayso verify --key` accepts an old
/// key and follows the rotations to the newest one. During --transition, the old and the new key
/// sign checkpoints. Give the new key to verifiers and witnesses in that time. When the transition
/// ends, the old key is destroyed.
///
/// A backup from before the rotation can be restored only with the old key. So make a new backup
/// after each rotation. Once the old key is destroyed (immediately, with `--transition 0s`),
/// earlier backups cannot be restored unless you kept a copy of the key.
///
/// Example: `sayso keys rotate --transition 7d`
#[derive(Args)]
pub(super) struct Rotate {
    /// How long the old and the new key sign checkpoints, up to 366 days. Use `0s` if the old key
    /// was stolen.
    #[arg(long, default_value = "7d", value_parser = parse_duration)]
    transition: Duration,
    /// Idempotency key: a repeated request with the same key has no further effect.
    #[arg(long, default_value = "")]
    idempotency_key: String,
}

/// Show every key that the log has had, one on each line. The event that introduced the key is shown with
/// it.
///
/// To verify with all of these keys, save this output to a file, and name the file in `sayso verify
/// --keys FILE`.
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
                let keys = answer.keys.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
                let value = serde_json::json!({ "keys": keys.map_err(CliError::failed)? });
                out.print_value(&proto_style(value), answer.keys.trim_end())
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
            let (from, vkey) = (answer.from_position, &answer.vkey);
            let warning = match &answer.old_key_until {
                Some(until) => format!(
                    "backups from before this rotation can be restored until {}, when the old key is destroyed",
                    output::time(Some(until))
                ),
                None => "backups from before this rotation can no longer be restored, because the old key was \
                         destroyed"
                    .to_owned(),
            };
            format!(
                "from position {from} on, the log's key is\n{vkey}\nwarning: {warning}; make a new one with `sayso \
                 backup`"
            )
        })
    }
}
