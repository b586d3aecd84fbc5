//! `sayso grant | check | used | why | evaluate | watch | acknowledge`

use super::Connection;
use super::connect::{Link, client, parse_span, parse_time};
use super::error::CliError;
use super::output::{self, Out, table};
use super::profile::as_of;
use crate::domain::wording;
use crate::proto;
use crate::proto::grant_service_client::GrantServiceClient;
use clap::Args;
use prost_types::Timestamp;
use std::time::Duration;

async fn client(at: &Connection, role: &str) -> Result<GrantServiceClient<Link>, CliError> {
    Ok(client!(GrantServiceClient, at.link(role).await?))
}

/// Ask for a grant: what may be used now, for a purpose, by the caller.
///
/// What may not be used is withheld, with the reason and who decided; that is an answer, and the exit status is 0.
///
/// Example: `sayso grant ada --purpose tone-adaptation`
#[derive(Args)]
pub(super) struct Grant {
    /// The controller's id of the person.
    subject: String,
    /// `sayso purpose list` shows them.
    #[arg(long)]
    purpose: String,
    /// Only this category and what is below it; may be repeated.
    #[arg(long)]
    category: Vec<String>,
    /// Only this key; may be repeated.
    #[arg(long)]
    key: Vec<String>,
    /// How long, at most.
    #[arg(long, default_value = "10m", value_parser = parse_span)]
    ttl: Duration,
    /// The caller's own name for the conversation or reply.
    #[arg(long, default_value = "")]
    interaction: String,
}

impl Grant {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::RequestGrantRequest {
            subject: self.subject,
            purpose: self.purpose,
            categories: self.category,
            keys: self.key,
            ttl: prost_types::Duration::try_from(self.ttl).ok(),
            interaction: self.interaction,
            options: None,
        };
        let answer = client(at, "service").await?.request_grant(request).await?.into_inner();
        out.print("RequestGrantResponse", &answer, |answer| {
            if answer.grant_id.is_empty() {
                return format!("no grant: {NOTHING_HELD}");
            }
            let until = output::time(answer.expires_at.as_ref());
            let body = decided(&answer.allowed, &answer.withheld);
            format!("grant {} until {until}\n{body}", answer.grant_id)
        })
    }
}

const NOTHING_HELD: &str = "nothing is held about this person";

fn decided(allowed: &[proto::AllowedAttribute], withheld: &[proto::Withheld]) -> String {
    let row = |allowed: &proto::AllowedAttribute| {
        vec!["  ".to_owned() + &allowed.key, allowed.category.clone(), allowed.value_json.clone()]
    };
    let rows: Vec<Vec<String>> = allowed.iter().map(row).collect();
    let mut text = format!("allowed: {}", allowed.len());
    if !rows.is_empty() {
        text.push_str(&format!("\n{}", table(&rows)));
    }
    let count: u32 = withheld.iter().map(|class| class.count).sum();
    text.push_str(&format!("\nwithheld: {count}"));
    withheld.iter().for_each(|class| text.push_str(&format!("\n  {}", class.explanation)));
    text
}

/// Ask whether a grant still stands.
///
/// Example: `sayso check g42-ba2ab4254049149d`
#[derive(Args)]
pub(super) struct Check {
    /// Id of the grant.
    grant: String,
}

impl Check {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::CheckGrantRequest { grant_id: self.grant };
        let answer = client(at, "service").await?.check_grant(request).await?.into_inner();
        out.print("CheckGrantResponse", &answer, |answer| {
            if answer.stands {
                format!("stands until {}", output::time(answer.expires_at.as_ref()))
            } else {
                format!("does not stand: {}", wording::reason(answer.reason()))
            }
        })
    }
}

/// Report that a grant was used for a reply.
///
/// Example: `sayso used g42-ba2ab4254049149d --reply reply-77 --shaped-by tone --ai-disclosure-shown`
#[derive(Args)]
pub(super) struct Used {
    /// Id of the grant.
    grant: String,
    /// The caller's own name for the reply.
    #[arg(long)]
    reply: String,
    /// Key of a granted attribute that shaped it; may be repeated.
    #[arg(long, value_name = "KEY")]
    shaped_by: Vec<String>,
    /// How many times it was used for it.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// The person was told that they talk to a machine.
    #[arg(long)]
    ai_disclosure_shown: bool,
}

impl Used {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::ReportUseRequest {
            grant_id: self.grant,
            reply: self.reply,
            shaped_by: self.shaped_by,
            count: self.count,
            ai_disclosure_shown: self.ai_disclosure_shown,
            options: None,
        };
        let answer = client(at, "service").await?.report_use(request).await?.into_inner();
        out.print("ReportUseResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
    }
}

/// Tell the lineage of one personalised reply, in plain words: on whose say-so was it made?
///
/// Example: `sayso why g42-ba2ab4254049149d`
#[derive(Args)]
pub(super) struct Why {
    /// Id of the grant, as the reply cites it.
    grant: String,
}

impl Why {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::ExplainGrantRequest { grant_id: self.grant };
        let answer = client(at, "steward").await?.explain_grant(request).await?.into_inner();
        out.print("ExplainGrantResponse", &answer, |answer| answer.text.clone())
    }
}

/// Ask what would be allowed, decided by what, now or at any past moment; issues nothing.
///
/// Example: `sayso evaluate ada --purpose tone-adaptation --recipient tutor --as-of 2026-01-31T12:00:00Z`
#[derive(Args)]
pub(super) struct Evaluate {
    /// The controller's id of the person.
    subject: String,
    /// `sayso purpose list` shows them.
    #[arg(long, default_value = "", required_unless_present = "as_of_grant")]
    purpose: String,
    /// The service that would use it, by its credential's name.
    #[arg(long, default_value = "", required_unless_present = "as_of_grant")]
    recipient: String,
    /// Only this category and what is below it; may be repeated.
    #[arg(long)]
    category: Vec<String>,
    /// Only this key; may be repeated.
    #[arg(long)]
    key: Vec<String>,
    /// In this conversation, where a pause may stand alone.
    #[arg(long, default_value = "")]
    interaction: String,
    /// As of then: with the profile, consents and rules of that moment.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    as_of: Option<Timestamp>,
    /// Under the bounds of then: `--bounds-as-of` of now asks what today's bounds would have said.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    bounds_as_of: Option<Timestamp>,
    /// Decide this grant again, as of its own moment and for what it names.
    #[arg(long, value_name = "GRANT", default_value = "", conflicts_with_all = ["as_of", "purpose", "recipient"])]
    as_of_grant: String,
}

impl Evaluate {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::EvaluateUseRequest {
            subject: self.subject,
            purpose: self.purpose,
            recipient: self.recipient,
            categories: self.category,
            keys: self.key,
            interaction: self.interaction,
            as_of: as_of(self.as_of),
            bounds_as_of: self.bounds_as_of,
            as_of_grant: self.as_of_grant,
        };
        let answer = client(at, "steward").await?.evaluate_use(request).await?.into_inner();
        let unknown = answer.gaps().any(|gap| gap == proto::Gap::UnknownSubject);
        out.print("EvaluateUseResponse", &answer, |answer| {
            if unknown { NOTHING_HELD.to_owned() } else { decided(&answer.allowed, &answer.withheld) }
        })
    }
}

/// Show what falls of the caller's grants, as it happens, until interrupted.
///
/// Each has a cursor: go on after the last one that was handled, and nothing is missed.
///
/// Example: `sayso watch --after 1284`
#[derive(Args)]
pub(super) struct Watch {
    /// Begin after this cursor; 0: from the start.
    #[arg(long)]
    after: Option<u64>,
}

impl Watch {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::WatchRevocationsRequest { after_cursor: self.after };
        let mut fallen = client(at, "service").await?.watch_revocations(request).await?.into_inner();
        let mut stands = false;
        while let Some(fell) = fallen.message().await? {
            let is_first = !std::mem::replace(&mut stands, true);
            out.print("WatchRevocationsResponse", &fell, |fell| {
                let (cursor, why) = (fell.cursor, wording::reason(fell.reason()));
                match fell.reason() {
                    proto::Reason::Unspecified if is_first => format!("watching from cursor {cursor}"),
                    _ if is_first => format!("watching from cursor {cursor}; nothing may be used: {why}"),
                    _ => {
                        let at = output::time(fell.recorded_at.as_ref());
                        let what = [fell.grant_ids.as_slice(), &fell.artifact_ids].concat().join(", ");
                        format!("{at}  cursor {cursor}  {what}: {why}")
                    }
                }
            })?;
        }
        Ok(())
    }
}

/// Say that what fell at a cursor was carried out.
///
/// Example: `sayso acknowledge 1285`
#[derive(Args)]
pub(super) struct Acknowledge {
    /// As `sayso watch` shows it.
    cursor: u64,
}

impl Acknowledge {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::AcknowledgeRequest { cursor: self.cursor, options: None };
        let answer = client(at, "service").await?.acknowledge(request).await?.into_inner();
        out.print("AcknowledgeResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
    }
}
