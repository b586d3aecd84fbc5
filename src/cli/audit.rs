//! `sayso audit | checkpoint | proof | stats`

use super::Connection;
use super::connect::Link;
use super::error::CliError;
use super::output::Out;
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use crate::proto::operator_service_client::OperatorServiceClient;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

async fn client(at: &Connection) -> Result<AuditServiceClient<Link>, CliError> {
    Ok(AuditServiceClient::new(at.link("auditor").await?))
}

/// A progress bar of entries, where a terminal looks on.
pub(super) fn progress(total: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {per_sec} {eta}");
    let bar = ProgressBar::new(total).with_message(what);
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style.progress_chars("=> ")))
}

/// Exports for auditors.
#[derive(Subcommand)]
pub(super) enum Audit {
    /// Write the whole log as one bundle that verifies offline. Example: `sayso audit export -o log.tar.zst`
    Export(Export),
}

/// Write the whole log as one bundle.
#[derive(Args)]
pub(super) struct Export {
    /// The bundle: a `.tar.zst`.
    #[arg(short, long)]
    output: PathBuf,
    /// Leave bodies sealed: structure verifies, contents stay unread.
    #[arg(long)]
    sealed: bool,
}

impl Audit {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let Self::Export(export) = self;
        let request = proto::ExportAuditRequest { sealed: export.sealed };
        let mut chunks = client(at).await?.export_audit(request).await?.into_inner();
        let partial = export.output.with_extension("partial");
        let mut written = Partial::begin(&partial)?;
        let bar = progress(0, "exporting");
        let mut total = 0;
        while let Some(chunk) = chunks.message().await? {
            written.write(&chunk.chunk)?;
            total = chunk.entries_total;
            bar.set_length(total);
            bar.set_position(chunk.entries_done);
        }
        bar.finish_and_clear();
        let bytes = written.finish(&export.output)?;
        let path = export.output.display().to_string();
        let value = serde_json::json!({ "bundle": path, "entries": total, "bytes": bytes });
        out.print_value(&value, &format!("{path}: {total} entries, {bytes} bytes"));
        Ok(())
    }
}

/// A file that gets its name only once it is whole and durable.
struct Partial {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Partial {
    fn begin(path: &Path) -> Result<Self, CliError> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), file: Some(file), bytes: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes)).map_err(CliError::failed)
    }

    fn finish(mut self, path: &Path) -> Result<u64, CliError> {
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(CliError::failed)?;
            std::fs::rename(&self.path, path).map_err(CliError::failed)?;
        }
        Ok(self.bytes)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.file.is_some() {
            // An interrupted export leaves nothing behind.
            let _best_effort = std::fs::remove_file(&self.path);
        }
    }
}

/// Show the newest checkpoint.
#[derive(Args)]
pub(super) struct Checkpoint {}

impl Checkpoint {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let answer = client(at).await?.get_checkpoint(proto::GetCheckpointRequest {}).await?.into_inner();
        out.print("GetCheckpointResponse", &answer, |answer| answer.checkpoint.clone())
    }
}

/// Prove that an entry is in the log; the output verifies alone with `sayso verify`.
#[derive(Args)]
pub(super) struct Proof {
    position: u64,
}

impl Proof {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::GetInclusionProofRequest { position: self.position, tree_size: 0 };
        let answer = client(at).await?.get_inclusion_proof(request).await?.into_inner();
        out.print("GetInclusionProofResponse", &answer, |answer| answer.proof.clone())
    }
}

/// Sizes and counts.
#[derive(Args)]
pub(super) struct Stats {}

impl Stats {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = OperatorServiceClient::new(at.link("operator").await?);
        let answer = client.get_stats(proto::GetStatsRequest {}).await?.into_inner();
        out.print("GetStatsResponse", &answer, |answer| {
            format!(
                "log {}\nentries {}\npeople {}\nbytes of entries {}\nversion {}",
                answer.origin, answer.tree_size, answer.subjects, answer.entry_bytes, answer.version
            )
        })
    }
}
