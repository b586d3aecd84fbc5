//! `sayso audit | checkpoint | proof | stats`

use super::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out};
use super::partial::Partial;
use super::progress;
use super::serve::interrupted;
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use crate::proto::operator_service_client::OperatorServiceClient;
use clap::{Args, Subcommand};
use std::path::PathBuf;

async fn client(at: &Connection) -> Result<AuditServiceClient<Link>, CliError> {
    Ok(client!(AuditServiceClient, at.link("auditor").await?))
}

/// Exports for auditors.
#[derive(Subcommand)]
pub(super) enum Audit {
    Export(Export),
}

/// Write the whole log as one bundle that verifies offline.
///
/// It is written as FILE.partial, for its owner only, and gets its name once it is whole and durable; an interrupted
/// export leaves nothing. The export is itself an event of the log.
///
/// Example: `sayso audit export -o log.tar.zst`, then `sayso verify log.tar.zst --key sayso-data/dev/log.vkey`
#[derive(Args)]
pub(super) struct Export {
    /// The bundle: a `.tar.zst`.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Leave bodies sealed: structure verifies, contents stay unread.
    #[arg(long)]
    sealed: bool,
}

impl Audit {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let Self::Export(export) = self;
        let (bytes, total) = tokio::select! {
            written = export.write(at) => written?,
            // Dropping the export removes what it had written.
            _ = interrupted() => return Err(CliError::failed("interrupted; no bundle was left")),
        };
        let path = export.output.display().to_string();
        let value = serde_json::json!({ "bundle": path, "entries": total, "bytes": bytes });
        out.print_value(&value, &format!("{path}: {total} entries, {bytes} bytes"))
    }
}

impl Export {
    /// Bytes and entries written.
    async fn write(&self, at: &Connection) -> Result<(u64, u64), CliError> {
        let request = proto::ExportAuditRequest { sealed: self.sealed };
        let mut chunks = client(at).await?.export_audit(request).await?.into_inner();
        let mut partial = Partial::begin(&self.output)?;
        let bar = progress::entries(0, "exporting");
        let mut total = 0;
        while let Some(chunk) = chunks.message().await? {
            partial.write(&chunk.chunk)?;
            total = chunk.entries_total;
            bar.set_length(total);
            bar.set_position(chunk.entries_done);
        }
        bar.finish_and_clear();
        Ok((partial.finish()?, total))
    }
}

/// Show the newest checkpoint: the signed size and root of the log.
///
/// Example: `sayso checkpoint > seen`, and later `sayso verify log.tar.zst --key log.vkey --since seen`
#[derive(Args)]
pub(super) struct Checkpoint {
    /// The newest that enough witnesses cosigned, with their signatures.
    #[arg(long)]
    cosigned: bool,
}

impl Checkpoint {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let answer = client(at).await?.get_checkpoint(proto::GetCheckpointRequest {}).await?.into_inner();
        if self.cosigned && answer.cosigned.is_empty() {
            return Err(CliError::failed("no checkpoint was cosigned by enough witnesses yet"));
        }
        out.print("GetCheckpointResponse", &answer, |answer| {
            if self.cosigned { answer.cosigned.clone() } else { answer.checkpoint.clone() }
        })
    }
}

/// Prove that an entry is in the log; what is printed verifies alone with `sayso verify`.
///
/// Example: `sayso proof 41 > entry.proof`, then `sayso verify entry.proof --key sayso-data/dev/log.vkey`
#[derive(Args)]
pub(super) struct Proof {
    /// Position of the entry, as receipts name it.
    position: u64,
}

impl Proof {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::GetInclusionProofRequest { position: self.position, tree_size: 0 };
        let answer = client(at).await?.get_inclusion_proof(request).await?.into_inner();
        out.print("GetInclusionProofResponse", &answer, |answer| answer.proof.clone())
    }
}

/// Show sizes and counts of the log; nothing personal.
///
/// Example: `sayso stats --json`
#[derive(Args)]
pub(super) struct Stats {}

impl Stats {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client!(OperatorServiceClient, at.link("operator").await?);
        let answer = client.get_stats(proto::GetStatsRequest {}).await?.into_inner();
        out.print("GetStatsResponse", &answer, |answer| {
            let waits = if answer.restore_unconfirmed {
                "\nrestored: nothing is allowed before `sayso confirm-restore`"
            } else {
                ""
            };
            let skew = match answer.clock_skew.as_str() {
                "" => String::new(),
                skew => format!(
                    "\nuse is denied: {skew}\nclock {}\nledger time {}",
                    output::time(answer.clock.as_ref()),
                    output::time(answer.ledger_time.as_ref())
                ),
            };
            format!(
                "log {}\nentries {}\npeople {}\nbytes of entries {}\nversion {}{waits}{skew}",
                answer.origin, answer.tree_size, answer.subjects, answer.entry_bytes, answer.version
            )
        })
    }
}
