//! The command `sayso notice require`.

use super::connect::Connection;
use super::error::CliError;
use super::output::Out;
use super::preview::preview;
use super::rules_client::client;
use super::sign_rule::{Signature, Signing};
use super::times::{self, WrittenTime};
use crate::domain::event::{Event, NoticeRequired};
use crate::proto;
use clap::Args;

/// A notice, and the oldest of its versions that still suffices for consents.
#[derive(Args)]
pub(super) struct RequireNotice {
    /// ID of the notice that consents need.
    id: String,
    /// Oldest version of the notice that still suffices: consents to earlier versions allow
    /// nothing. The version must be published already.
    #[arg(long)]
    version: String,
    /// Time from which consents to earlier versions allow nothing. Default: immediately.
    #[arg(long, value_name = "TIME", value_parser = times::beginning)]
    from: Option<WrittenTime>,
    /// Show what the requirement would change for the people in the ledger. Nothing is published.
    #[arg(long)]
    preview: bool,
    #[command(flatten)]
    signing: Signing,
}

impl RequireNotice {
    /// Publishes or previews the requirement.
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let effective_from_ms = self.from.as_ref().map_or(0, WrittenTime::millis);
        let notice = NoticeRequired { id: self.id, version: self.version, effective_from_ms };
        if self.preview {
            let required_notices = vec![notice.into()];
            let request = proto::PreviewBoundsRequest { required_notices, ..Default::default() };
            preview(&mut client(at, "steward").await?, request, out).await?;
        } else {
            self.signing.publish(Event::NoticeRequired(notice), Signature::Required, at, out).await?;
        }
        out.note_dates(&[("--from", self.from.as_ref())])
    }
}
