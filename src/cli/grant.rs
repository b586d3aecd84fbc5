//! The commands `sayso grant`, `sayso check`, `sayso used`, `sayso why`, `sayso evaluate`, `sayso watch` and
//! `sayso acknowledge`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out, table};
use super::profile::as_of;
use super::times::{self, WrittenTime, parse_duration};
use crate::domain::legal_basis::DeclaredBasis;
use crate::domain::wording;
use crate::proto;
use crate::proto::grant_service_client::GrantServiceClient;
use clap::Args;
use std::time::Duration;
use tonic::Streaming;

async fn client(at: &Connection, role: &str) -> Result<GrantServiceClient<Link>, CliError> {
    Ok(client!(GrantServiceClient, at.link(role).await?))
}

/// Request a grant, which says what attributes are allowed for a purpose.
///
/// Attributes that may not be used are withheld, with the reason and the rule that decided. The exit status
/// is 0 even if everything is withheld.
///
/// Example: `sayso grant ada --purpose tone-adaptation`
#[derive(Args)]
pub(super) struct Grant {
    /// The controller's ID for the person.
    subject: String,
    /// ID of the purpose for which data would be used, as in `sayso purpose list`.
    #[arg(long)]
    purpose: String,
    /// Ask only for this category and everything below it; may be repeated.
    #[arg(long)]
    category: Vec<String>,
    /// Ask only for the attribute with this key; may be repeated.
    #[arg(long)]
    key: Vec<String>,
    /// How long the grant is valid: from 1 second to 24 hours. It ends earlier if a consent or an
    /// attribute that it relies on ends earlier.
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    ttl: Duration,
    /// The caller's own name for the conversation. A repeated request in the same conversation can
    /// get the same grant again.
    #[arg(long, default_value = "")]
    interaction: String,
    #[command(flatten)]
    relevance: RelevanceFlags,
}

/// Which of the permitted attributes the grant should have.
#[derive(Args)]
struct RelevanceFlags {
    /// Ask only for the permitted attributes that fit this text best. The text is not recorded.
    #[arg(long, value_name = "TEXT")]
    about: Option<String>,
    /// With --about: largest number of attributes, from 1 to 256.
    #[arg(long, value_name = "COUNT", default_value_t = 8, requires = "about")]
    top_k: u32,
    /// With --about: largest number of bytes of all keys and values together; 0 for no limit.
    #[arg(long, value_name = "BYTES", default_value_t = 0, requires = "about")]
    max_bytes: u32,
    /// With --about: largest number of tokens of all keys and values together, estimated as one token for
    /// every three bytes; 0 for no limit.
    #[arg(long, value_name = "TOKENS", default_value_t = 0, requires = "about")]
    max_tokens: u32,
    /// With --about: only attributes with at least this score. The output shows the scores.
    #[arg(long, value_name = "SCORE", default_value_t = 0.0, requires = "about")]
    min_score: f64,
}

impl RelevanceFlags {
    fn message(self) -> Option<proto::Relevance> {
        let Self { about, top_k, max_bytes, max_tokens, min_score } = self;
        about.map(|text| proto::Relevance { text, top_k, max_bytes, max_tokens, min_score, embedding: None })
    }
}

impl Grant {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        self.issue(at, out).await.map(drop)
    }

    /// Requests the grant, prints the answer and returns the grant's ID.
    pub(super) async fn issue(self, at: &Connection, out: Out) -> Result<String, CliError> {
        let request = proto::RequestGrantRequest {
            subject: self.subject,
            purpose: self.purpose,
            categories: self.category,
            keys: self.key,
            ttl: prost_types::Duration::try_from(self.ttl).ok(),
            interaction: self.interaction,
            options: None,
            relevance: self.relevance.message(),
        };
        let answer = client(at, "service").await?.request_grant(request).await?.into_inner();
        out.print("RequestGrantResponse", &answer, |answer| {
            if answer.grant_id.is_empty() {
                return format!("no grant: {UNKNOWN_SUBJECT}");
            }
            let until = output::time(answer.expires_at.as_ref());
            let body = decision(&answer.allowed, &answer.withheld);
            let chosen = answer.ranking.map(|ranking| {
                format!("\nchosen: {} of {} permitted attributes", ranking.chosen, ranking.permitted)
            });
            format!("grant {} until {until}\n{body}{}", answer.grant_id, chosen.unwrap_or_default())
        })?;
        Ok(answer.grant_id)
    }
}

const UNKNOWN_SUBJECT: &str = "the ledger has nothing about this person";
const EVENTS_GONE: &str = "\nnote: events of that time are gone, through an erasure or at the end of their retention; \
                           the decision of that time may have been another";

fn decision(allowed: &[proto::AllowedAttribute], withheld: &[proto::Withheld]) -> String {
    let row = |allowed: &proto::AllowedAttribute| {
        // Consent is the usual basis, so only another basis is named.
        let basis = DeclaredBasis::of(allowed.legal_basis()).map_or("", DeclaredBasis::title);
        let key = "  ".to_owned() + &allowed.key;
        let score = allowed.score.map(|score| format!("{score:.3}")).unwrap_or_default();
        vec![key, allowed.category.clone(), allowed.value_json.clone(), basis.to_owned(), score]
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

/// Check whether a grant is still valid. The exit status is 5 if it is not.
///
/// After an erasure of a part of the person's data, name the keys of attributes that the grant
/// allowed (--key). The output then says which of these attributes were erased.
///
/// Example: `sayso check g42-ba2ab4254049149d`
#[derive(Args)]
pub(super) struct Check {
    /// ID of the grant to check.
    grant: String,
    /// Key of an attribute that the grant allowed; may be repeated.
    #[arg(long)]
    key: Vec<String>,
}

impl Check {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::CheckGrantRequest { grant_id: self.grant, keys: self.key };
        let answer = client(at, "service").await?.check_grant(request).await?.into_inner();
        out.print("CheckGrantResponse", &answer, |answer| {
            if answer.valid {
                format!("valid until {}", output::time(answer.expires_at.as_ref()))
            } else {
                let mut text = format!("not valid: {}", why_ended(answer.reason(), answer.erased_scope()));
                if !answer.erased_keys.is_empty() {
                    text.push_str(&format!("\nerased: {}", answer.erased_keys.join(", ")));
                }
                text
            }
        })?;
        if answer.valid { Ok(()) } else { Err(CliError::grant_invalid()) }
    }
}

/// Why a grant or an artifact ended, in words. After an erasure, the text says what was erased.
pub(super) fn why_ended(reason: proto::RevocationReason, erased: proto::ErasureScope) -> String {
    let words = wording::reason(reason.into());
    match reason {
        proto::RevocationReason::PartlyErased => format!("{words} ({})", wording::erased(erased, false)),
        _ => words.to_owned(),
    }
}

/// Report that a grant was used for a reply.
///
/// Example: `sayso used g42-ba2ab4254049149d --reply reply-77 --shaped-by tone --ai-disclosure-shown`
#[derive(Args)]
pub(super) struct Used {
    /// ID of the grant that was used.
    grant: String,
    /// The caller's own name for the reply, which `sayso why` shows.
    #[arg(long)]
    reply: String,
    /// Key of a granted attribute that shaped the reply; may be repeated.
    #[arg(long, value_name = "KEY")]
    shaped_by: Vec<String>,
    /// How many times the grant was used for this one reply.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// Report that the person was informed that the reply comes from an AI system.
    #[arg(long)]
    ai_disclosure_shown: bool,
    /// Time at which the grant was used. Default: now. State the time if the grant was valid then,
    /// but has ended since.
    #[arg(long, value_name = "TIME", value_parser = times::exact)]
    used_at: Option<prost_types::Timestamp>,
}

impl Used {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::ReportUseRequest {
            grant_id: self.grant,
            reply: self.reply,
            shaped_by: self.shaped_by,
            count: self.count,
            ai_disclosure_shown: self.ai_disclosure_shown,
            options: self
                .used_at
                .map(|about| proto::WriteOptions { about: Some(about), ..proto::WriteOptions::default() }),
        };
        let answer = client(at, "service").await?.report_use(request).await?.into_inner();
        out.print("ReportUseResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
    }
}

/// Explain a personalized reply in plain words: on whose say-so was it made?
///
/// Example: `sayso why g42-ba2ab4254049149d`
#[derive(Args)]
pub(super) struct Why {
    /// ID of the grant under which the reply was written.
    grant: String,
}

impl Why {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::ExplainGrantRequest { grant_id: self.grant };
        let answer = client(at, "steward").await?.explain_grant(request).await?.into_inner();
        out.print("ExplainGrantResponse", &answer, |answer| answer.text.clone())
    }
}

/// Evaluate which attributes a service could use, now or at a past time. No grant is issued.
///
/// For attributes that would be withheld, the result has the reason and the rule that decides.
///
/// Example: `sayso evaluate ada --purpose tone-adaptation --recipient tutor --as-of 2026-01-31T12:00:00Z`
#[derive(Args)]
pub(super) struct Evaluate {
    /// The controller's ID for the person.
    subject: String,
    /// ID of the purpose for which data would be used, as in `sayso purpose list`.
    #[arg(long, default_value = "", required_unless_present = "as_of_grant")]
    purpose: String,
    /// Name of the service that would use the data, as in its credential.
    #[arg(long, default_value = "", required_unless_present = "as_of_grant")]
    recipient: String,
    /// Evaluate only this category and everything below it; may be repeated.
    #[arg(long)]
    category: Vec<String>,
    /// Evaluate only the attribute with this key; may be repeated.
    #[arg(long)]
    key: Vec<String>,
    /// Evaluate a use in this conversation, as the service names it. A consent or a pause can be
    /// limited to one conversation.
    #[arg(long, default_value = "")]
    interaction: String,
    /// Evaluate with the profile, consents and rules as they were at this time. Default: now.
    #[arg(long, value_name = "TIME", value_parser = times::last)]
    as_of: Option<WrittenTime>,
    /// Evaluate with the bounds and the vocabulary (purposes and categories) as they were at this time,
    /// instead of those at --as-of. For example, try today's bounds on an earlier profile.
    #[arg(long, value_name = "TIME", value_parser = times::last)]
    bounds_as_of: Option<WrittenTime>,
    /// Repeat the decision that led to this grant, with the profile, consents and rules of the time when the
    /// grant was issued.
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
            as_of: as_of(self.as_of.as_ref()),
            bounds_as_of: self.bounds_as_of.as_ref().map(|time| time.moment),
            as_of_grant: self.as_of_grant,
        };
        let answer = client(at, "steward").await?.evaluate_use(request).await?.into_inner();
        let has = |gap: proto::Gap| answer.gaps().any(|found| found == gap);
        let (is_unknown, is_gone) = (has(proto::Gap::UnknownSubject), has(proto::Gap::EventsGone));
        out.print("EvaluateUseResponse", &answer, |answer| {
            if is_unknown {
                return UNKNOWN_SUBJECT.to_owned();
            }
            let mut text = decision(&answer.allowed, &answer.withheld);
            if is_gone {
                text.push_str(EVENTS_GONE);
            }
            if !answer.missing_keys.is_empty() {
                text.push_str(&format!("\nallowed then, and gone since: {}", answer.missing_keys.join(", ")));
            }
            text
        })?;
        out.note_dates(&[("--as-of", self.as_of.as_ref()), ("--bounds-as-of", self.bounds_as_of.as_ref())])
    }
}

/// Show revocations of the caller's grants and artifacts as they happen.
///
/// The command runs until it is interrupted. Each revocation has a cursor. If you start the command
/// again, name the cursor of the last revocation that you handled (--after), so that you miss none.
/// Notifications of erasures, and reminders to report on an erasure, are shown as revocations, too.
///
/// Example: `sayso watch --after 1284`
#[derive(Args)]
pub(super) struct Watch {
    /// Cursor of the last revocation that was handled; 0 shows all revocations from the beginning. Default:
    /// only new revocations.
    #[arg(long)]
    after: Option<u64>,
}

impl Watch {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut watching = self.open(at, out).await?;
        while watching.print_next().await?.is_some() {}
        Ok(())
    }

    /// Opens the watch and prints its first message.
    pub(super) async fn open(self, at: &Connection, out: Out) -> Result<Watching, CliError> {
        let request = proto::WatchRevocationsRequest { after_cursor: self.after };
        let revocations = client(at, "service").await?.watch_revocations(request).await?.into_inner();
        let mut watching = Watching { revocations, out, is_open: false };
        watching.print_next().await?;
        Ok(watching)
    }
}

/// An open watch.
pub(super) struct Watching {
    revocations: Streaming<proto::WatchRevocationsResponse>,
    out: Out,
    /// Whether the first message, which is not a revocation, was printed.
    is_open: bool,
}

impl Watching {
    /// Waits for the next message and prints it. Returns `None` if the watch has ended.
    pub async fn print_next(&mut self) -> Result<Option<proto::WatchRevocationsResponse>, CliError> {
        let Some(revoked) = self.revocations.message().await? else { return Ok(None) };
        let is_first = !std::mem::replace(&mut self.is_open, true);
        self.out.print("WatchRevocationsResponse", &revoked, |revoked| {
            let (cursor, reason) = (revoked.cursor, why_ended(revoked.reason(), revoked.erased_scope()));
            match revoked.reason() {
                proto::RevocationReason::Unspecified if is_first => format!("watching from cursor {cursor}"),
                _ if is_first => format!("watching from cursor {cursor}; no use is allowed: {reason}"),
                _ => {
                    let at = output::time(revoked.recorded_at.as_ref());
                    let ids = [revoked.grant_ids.as_slice(), &revoked.artifact_ids].concat().join(", ");
                    format!("{at}  cursor {cursor}  {ids}: {reason}")
                }
            }
        })?;
        Ok(Some(revoked))
    }
}

/// Acknowledge a revocation after carrying it out.
///
/// If you acknowledge the notification of an erasure, you state that you deleted the data. To state
/// that deletion is impossible or would involve disproportionate effort, use `sayso erasures report`.
///
/// Example: `sayso acknowledge 1285`
#[derive(Args)]
pub(super) struct Acknowledge {
    /// Cursor of the revocation that was carried out, as `sayso watch` shows it.
    cursor: u64,
}

impl Acknowledge {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::AcknowledgeRequest { cursor: self.cursor, options: None };
        let answer = client(at, "service").await?.acknowledge(request).await?.into_inner();
        out.print("AcknowledgeResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
    }
}
