//! The command `sayso consent receipt`.

use super::atomic_file::{AtomicFile, Existing};
use super::connect::Connection;
use super::connect::client;
use super::error::CliError;
use super::output::{Out, int64};
use crate::proto::GetConsentReceiptRequest;
use crate::proto::consent_service_client::ConsentServiceClient;
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Show the receipt of a consent decision, for the person to keep. The decision is a consent, refusal,
/// renewal or withdrawal. The receipt is JSON-LD (ISO/IEC TS 27560).
///
/// The receipt names the person only by a pseudonym. It contains the proof that the decision is in
/// the log, and the log's key signs the whole receipt. `sayso verify` verifies the receipt offline,
/// without trusting the daemon.
///
/// Example: `sayso consent receipt ada > consent.jsonld`, then `sayso verify consent.jsonld --key log.vkey`
#[derive(Args)]
pub(super) struct Receipt {
    /// The controller's ID for the person.
    subject: String,
    /// Event ID of the decision. Default: the person's newest decision.
    #[arg(long, value_name = "ID", default_value = "")]
    event: String,
    /// Write the receipt to a file, with access for its owner only.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it exists.
    #[arg(long, requires = "output")]
    force: bool,
}

impl Receipt {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = GetConsentReceiptRequest { subject: self.subject, event_id: self.event };
        let mut client = client!(ConsentServiceClient, at.link("steward").await?);
        let answer = client.get_consent_receipt(request).await?.into_inner();
        match &self.output {
            Some(path) => {
                let existing = Existing::from_force(self.force);
                let bytes = AtomicFile::write_whole(path, existing, answer.receipt.as_bytes())?;
                let value =
                    serde_json::json!({ "receipt": path, "eventId": answer.event_id, "bytes": int64(bytes) });
                out.print_value(
                    &value,
                    &format!("{}: receipt of decision {}", path.display(), answer.event_id),
                )
            }
            // JSON-LD is JSON: it is the same with and without --json.
            None => {
                let value: Value = serde_json::from_str(&answer.receipt).map_err(CliError::failed)?;
                out.print_value(&value, &answer.receipt)
            }
        }
    }
}
