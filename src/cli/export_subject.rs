//! `sayso export-subject`

use super::Connection;
use super::connect::client;
use super::error::CliError;
use super::output::Out;
use super::partial::Partial;
use super::progress;
use super::serve::interrupted;
use crate::proto::rights_service_client::RightsServiceClient;
use crate::proto::{ExportSubjectRequest, PackageKind};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What goes in.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Everything that is held, with every use (GDPR Art. 15).
    Access,
    /// What the person said and what was observed, for another ledger (GDPR Art. 20).
    Portability,
}

/// Write everything that is held about a person into one ZIP file: a page to read, JSON for machines, receipts.
///
/// It is written as FILE.partial, for its owner only, and gets its name once it is whole and durable; an interrupted
/// export leaves nothing. That it was made is recorded. Another ledger takes it with
/// `sayso import FILE --package --subject ID`.
///
/// Example: `sayso export-subject ada -o ada.zip`
#[derive(Args)]
pub(super) struct ExportSubject {
    /// The controller's id of the person.
    subject: String,
    /// The package: a `.zip`.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What goes in.
    #[arg(long, value_enum, default_value = "access")]
    kind: Kind,
    /// The request that it answers, of the same kind; it is completed with the last byte.
    #[arg(long, value_name = "ID", default_value = "")]
    request: String,
}

impl ExportSubject {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let (bytes, events) = tokio::select! {
            written = self.write(at) => written?,
            // Dropping the export removes what it had written.
            _ = interrupted() => return Err(CliError::failed("interrupted; no package was left")),
        };
        let path = self.output.display().to_string();
        let kind = match self.kind {
            Kind::Access => "access",
            Kind::Portability => "portability",
        };
        let value =
            serde_json::json!({ "package": path, "kind": kind, "bytes": bytes, "events_read": events });
        out.print_value(&value, &format!("{path}: {kind} package, {bytes} bytes; open index.html in it"))
    }

    /// Bytes written, and events read in all passes.
    async fn write(&self, at: &Connection) -> Result<(u64, u64), CliError> {
        let kind = match self.kind {
            Kind::Access => PackageKind::Access,
            Kind::Portability => PackageKind::Portability,
        };
        let request = ExportSubjectRequest {
            subject: self.subject.clone(),
            kind: kind.into(),
            request_id: self.request.clone(),
        };
        let mut client = client!(RightsServiceClient, at.link("steward").await?);
        let mut chunks = client.export_subject(request).await?.into_inner();
        let mut partial = Partial::begin(&self.output)?;
        let bar = progress::entries(0, "gathering");
        let mut total = 0;
        while let Some(chunk) = chunks.message().await? {
            partial.write(&chunk.chunk)?;
            total = chunk.events_total;
            bar.set_length(total);
            bar.set_position(chunk.events_done);
        }
        bar.finish_and_clear();
        Ok((partial.finish()?, total))
    }
}
