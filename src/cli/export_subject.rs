//! The command `sayso export-subject`.

use super::atomic_file::{AtomicFile, Existing};
use super::connect::Connection;
use super::connect::client;
use super::error::CliError;
use super::interrupt::interrupted;
use super::output::{Out, count, int64};
use super::progress;
use crate::proto::rights_service_client::RightsServiceClient;
use crate::proto::{ExportSubjectRequest, PackageKind};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What a package contains.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Everything in the ledger about the person, including every use of their data (GDPR Art. 15).
    Access,
    /// What the person provided, for another controller (GDPR Art. 20): declared and observed attributes,
    /// decisions, notices and signals.
    Portability,
}

impl Kind {
    /// The kind in the API.
    fn wire(self) -> PackageKind {
        match self {
            Self::Access => PackageKind::Access,
            Self::Portability => PackageKind::Portability,
        }
    }
}

/// Export a person's data as a package, one ZIP file.
///
/// By default (`--kind access`), the package has everything in the ledger about the person. It
/// contains a page to read, JSON for programs, and consent receipts.
///
/// The package is written to FILE.partial, with access for its owner only. It is renamed to FILE
/// once it is complete and durable. An interrupted export leaves no file. The export is recorded as
/// an event. Another ledger imports the package with `sayso import FILE --package --subject ID`.
///
/// Example: `sayso export-subject ada -o ada.zip`
#[derive(Args)]
pub(super) struct ExportSubject {
    /// The controller's ID for the person.
    subject: String,
    /// The package to write, a `.zip`.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace FILE if it exists.
    #[arg(long)]
    force: bool,
    /// What the package contains.
    #[arg(long, value_enum, default_value = "access")]
    kind: Kind,
    /// ID of the data subject request that the package answers; its kind must be that of --kind.
    /// The request is completed once the daemon has sent the whole package.
    #[arg(long, value_name = "ID", default_value = "")]
    request: String,
}

impl ExportSubject {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let (bytes, events) = tokio::select! {
            written = self.write(at) => written?,
            // Dropping the export removes the partial file.
            _ = interrupted() => return Err(CliError::failed("interrupted; no package was written")),
        };
        let path = self.output.display().to_string();
        let kind = match self.kind {
            Kind::Access => "access",
            Kind::Portability => "portability",
        };
        let value = serde_json::json!({ "package": path, "kind": self.kind.wire().as_str_name(), "bytes": int64(bytes), "eventsRead": int64(events) });
        out.print_value(
            &value,
            &format!("{path}: {kind} package, {}; open its index.html to read it", count(bytes, "byte")),
        )
    }

    /// Returns the number of bytes written, and the number of events read. The daemon reads the person's
    /// events several times; an event counts each time.
    async fn write(&self, at: &Connection) -> Result<(u64, u64), CliError> {
        // The file comes first, because an export that can't be written must not be recorded.
        let mut file = AtomicFile::begin(&self.output, Existing::from_force(self.force))?;
        let request = ExportSubjectRequest {
            subject: self.subject.clone(),
            kind: self.kind.wire().into(),
            request_id: self.request.clone(),
        };
        let mut client = client!(RightsServiceClient, at.link("steward").await?);
        let mut chunks = client.export_subject(request).await?.into_inner();
        let bar = progress::entries(0, "collecting events");
        let mut total = 0;
        while let Some(chunk) = chunks.message().await? {
            file.write(&chunk.chunk)?;
            total = chunk.events_total;
            bar.set_length(total);
            bar.set_position(chunk.events_done);
        }
        bar.finish_and_clear();
        Ok((file.finish()?, total))
    }
}
