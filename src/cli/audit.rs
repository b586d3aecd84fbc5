//! The commands `sayso audit`, `sayso checkpoint`, `sayso proof`, `sayso prove-subject` and `sayso stats`.

use super::atomic_file::{AtomicFile, Existing};
use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::interrupt::interrupted;
use super::output::{self, Out, count, int64, print_line};
use super::progress;
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use crate::proto::operator_service_client::OperatorServiceClient;
use clap::{Args, Subcommand};
use std::path::PathBuf;

async fn client(at: &Connection) -> Result<AuditServiceClient<Link>, CliError> {
    Ok(client!(AuditServiceClient, at.link("auditor").await?))
}

/// Export the log for auditors.
#[derive(Subcommand)]
pub(super) enum Audit {
    Export(Export),
}

/// Write the whole log into one file, which is called a bundle. An auditor can verify the bundle offline.
///
/// The bundle contains the events of all people in readable form, except with --sealed. It is
/// written to FILE.partial, with access for its owner only, and renamed once it is complete and
/// durable. An interrupted export leaves no file. An event in the log records the export.
///
/// Example: `sayso audit export -o log.tar.zst`, then `sayso verify log.tar.zst --key
/// sayso-data/dev/log.vkey`
#[derive(Args)]
pub(super) struct Export {
    /// The bundle to write, a `.tar.zst`.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace FILE if it exists.
    #[arg(long)]
    force: bool,
    /// Leave the contents of people's events sealed (encrypted). Signatures and hashes can still be
    /// verified, but not what these events say, such as whether a grant followed the rules.
    #[arg(long)]
    sealed: bool,
}

impl Audit {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let Self::Export(export) = self;
        let (bytes, total) = tokio::select! {
            written = export.write(at) => written?,
            // Dropping the export removes the partial file.
            _ = interrupted() => return Err(CliError::failed("interrupted; no bundle was written")),
        };
        let path = export.output.display().to_string();
        let value = serde_json::json!({ "bundle": path, "entries": int64(total), "bytes": int64(bytes) });
        out.print_value(&value, &format!("{path}: {}, {}", count(total, "entry"), count(bytes, "byte")))
    }
}

impl Export {
    /// Writes the bundle. Returns the number of its bytes and of its entries.
    async fn write(&self, at: &Connection) -> Result<(u64, u64), CliError> {
        // The file comes first, because an export that can't be written must not be recorded.
        let mut file = AtomicFile::begin(&self.output, Existing::from_force(self.force))?;
        let request = proto::ExportAuditRequest { sealed: self.sealed };
        let mut chunks = client(at).await?.export_audit(request).await?.into_inner();
        let bar = progress::entries(0, "exporting");
        let mut total = 0;
        while let Some(chunk) = chunks.message().await? {
            file.write(&chunk.chunk)?;
            total = chunk.entries_total;
            bar.set_length(total);
            bar.set_position(chunk.entries_done);
        }
        bar.finish_and_clear();
        Ok((file.finish()?, total))
    }
}

/// Show the newest checkpoint: the log's size and root hash, signed.
///
/// Example: `sayso checkpoint > seen`, and later `sayso verify log.tar.zst --key log.vkey --since seen`
#[derive(Args)]
pub(super) struct Checkpoint {
    /// Show instead the newest checkpoint that enough witnesses (as configured) cosigned, with
    /// their cosignatures.
    #[arg(long)]
    cosigned: bool,
}

impl Checkpoint {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let answer = client(at).await?.get_checkpoint(proto::GetCheckpointRequest {}).await?.into_inner();
        if self.cosigned && answer.cosigned.is_empty() {
            return Err(CliError::failed("no checkpoint has been cosigned by enough witnesses yet"));
        }
        out.print("GetCheckpointResponse", &answer, |answer| {
            if self.cosigned { answer.cosigned.clone() } else { answer.checkpoint.clone() }
        })
    }
}

/// Prove that an entry is in the log. `sayso verify` verifies the printed proof without the daemon.
///
/// Example: `sayso proof 41 > entry.proof`, then `sayso verify entry.proof --key sayso-data/dev/log.vkey`
#[derive(Args)]
pub(super) struct Proof {
    /// Position (number) of the entry in the log. The command that recorded the entry printed its
    /// position.
    position: u64,
}

impl Proof {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::GetInclusionProofRequest { position: self.position, tree_size: 0 };
        let answer = client(at).await?.get_inclusion_proof(request).await?.into_inner();
        out.print("GetInclusionProofResponse", &answer, |answer| answer.proof.clone())
    }
}

/// Prove how many events the log has about a person, or that it has none. `sayso verify` verifies
/// the printed proof without the daemon.
///
/// The proof shows the number of the person's events and the hash of the newest one, but no content
/// of an event. If the person has events, a further event records that this proof was requested. The
/// proof is a JSON document, also without --json.
///
/// Example: `sayso prove-subject ada > ada.proof`, then `sayso verify ada.proof --key
/// sayso-data/dev/log.vkey`
#[derive(Args)]
pub(super) struct ProveSubject {
    /// The controller's ID for the person.
    subject: String,
}

impl ProveSubject {
    pub async fn run(self, at: &Connection) -> Result<(), CliError> {
        let mut client = client!(AuditServiceClient, at.link("steward").await?);
        let request = proto::ProveSubjectRequest { subject: self.subject };
        let answer = client.prove_subject(request).await?.into_inner();
        // The proof is a JSON document: it is the same with and without --json.
        print_line(answer.proof.trim_end())
    }
}

/// Show the numbers of entries, people and bytes, and whether use is denied.
///
/// If all use is denied, because of a restore or the clock, the command says why. It also shows the log's
/// name and the daemon's version. Personal data is not shown.
///
/// Example: `sayso stats --json`
#[derive(Args)]
pub(super) struct Stats {}

impl Stats {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client!(OperatorServiceClient, at.link("operator").await?);
        let answer = client.get_stats(proto::GetStatsRequest {}).await?.into_inner();
        out.print("GetStatsResponse", &answer, |answer| {
            let unconfirmed = if answer.restore_unconfirmed {
                "\nrestored from a backup: no use is allowed before `sayso confirm-restore`"
            } else {
                ""
            };
            let skew = match answer.clock_skew.as_str() {
                "" => String::new(),
                skew => format!(
                    "\nno use is allowed: {skew}\nclock {}\nledger time {}",
                    output::time(answer.clock.as_ref()),
                    output::time(answer.ledger_time.as_ref())
                ),
            };
            format!(
                "log {}\nentries {}\npeople {}\nentry bytes {}\nversion {}{unconfirmed}{skew}",
                answer.origin, answer.tree_size, answer.subjects, answer.entry_bytes, answer.version
            )
        })
    }
}
