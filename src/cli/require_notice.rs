//! The command `sayso notice require`.

use super::connect::{Connection, Link};
use super::define::sign;
use super::error::CliError;
use super::output::{self, Out, count};
use super::preview::preview;
use super::times::{self, WrittenTime};
use crate::domain::event::{Event, NoticeRequired};
use crate::proto;
use crate::proto::bounds_service_client::BoundsServiceClient;
use clap::Args;
use std::path::PathBuf;

/// A version of a notice from which on consents count.
#[derive(Args)]
pub(super) struct RequireNotice {
    /// ID of the notice.
    id: String,
    /// First version that counts. It must be published.
    #[arg(long)]
    version: String,
    /// Time from which earlier versions no longer count. Default: at once.
    #[arg(long, value_name = "TIME", value_parser = times::beginning)]
    from: Option<WrittenTime>,
    /// Private key of the provider. Default: the one that a `--dev` daemon left in --data, if there is one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Show what this would change for the people in the ledger. Nothing is published.
    #[arg(long)]
    preview: bool,
}

impl RequireNotice {
    /// Publishes or previews the requirement.
    pub async fn run(
        self,
        client: &mut BoundsServiceClient<Link>,
        at: &Connection,
        out: Out,
    ) -> Result<(), CliError> {
        let effective_from_ms = self.from.as_ref().map_or(0, WrittenTime::millis);
        let notice = NoticeRequired { id: self.id, version: self.version, effective_from_ms };
        if self.preview {
            let required_notices = vec![notice.into()];
            let request = proto::PreviewBoundsRequest { required_notices, ..Default::default() };
            preview(client, request, out).await?;
        } else {
            let signature = sign(self.key.as_deref(), at, &Event::NoticeRequired(notice.clone()))?;
            let notice = Some(notice.into());
            let request = proto::RequireNoticeRequest { notice, options: None, signature };
            let answer = client.require_notice(request).await?.into_inner();
            out.print("RequireNoticeResponse", &answer, |answer| {
                let receipt = output::receipt(answer.receipt.as_ref());
                format!("{receipt}; {} revoked", count(answer.grants_revoked, "grant"))
            })?;
        }
        out.note_dates(&[("--from", self.from.as_ref())])
    }
}
