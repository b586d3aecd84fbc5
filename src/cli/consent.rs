//! The commands `sayso consent` and `sayso consents`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out};
use super::profile::as_of;
use super::times::{self, WrittenTime};
use crate::proto::consent_service_client::ConsentServiceClient;
use crate::proto::{self, ConsentDecision};
use clap::{Args, Subcommand};

async fn client(at: &Connection) -> Result<ConsentServiceClient<Link>, CliError> {
    Ok(client!(ConsentServiceClient, at.link("steward").await?))
}

/// Record decisions about consent, get receipts, or list people to ask again.
#[derive(Subcommand)]
pub(super) enum Consent {
    /// Record that the person consented.
    ///
    /// Example: `sayso consent give ada --purpose tone-adaptation --notice welcome`
    Give(Terms),
    /// Record that the person refused. Grants that contradict the refusal are revoked immediately.
    ///
    /// Example: `sayso consent refuse ada --purpose recommendation`
    Refuse(Terms),
    /// Record that the person renewed a consent before it ended.
    ///
    /// Example: `sayso consent renew ada --purpose memory --notice welcome --until 2027-01-01`
    Renew(Terms),
    /// Record that the person withdrew a consent. Grants that rely on it are revoked immediately.
    ///
    /// Example: `sayso consent withdraw ada --purpose tone-adaptation`
    Withdraw(Terms),
    Receipt(super::receipt::Receipt),
    Ask(super::ask_again::AskAgain),
}

/// What the decision is about.
#[derive(Args)]
pub(super) struct Terms {
    /// The controller's ID for the person.
    subject: String,
    /// ID of a purpose, as in `sayso purpose list`; may be repeated.
    #[arg(long, required = true)]
    purpose: Vec<String>,
    /// ID of a category; may be repeated. Default: all categories. But a consent covers a special
    /// category only if it is explicit, and names that category or a special category above it.
    #[arg(long)]
    category: Vec<String>,
    /// Name of a recipient; may be repeated. Default: all recipients.
    #[arg(long)]
    recipient: Vec<String>,
    /// Record that the consent is explicit. Special categories need explicit consent (GDPR Art.
    /// 9(2)(a)).
    #[arg(long)]
    explicit: bool,
    /// ID of the notice that the person saw. A decision to give or renew a consent needs a notice.
    #[arg(long, default_value = "")]
    notice: String,
    /// Version of the notice. Default: the newest.
    #[arg(long, default_value = "")]
    notice_version: String,
    /// How the person expressed the decision: web, voice, chat, ...
    #[arg(long, default_value = "")]
    channel: String,
    /// Name of a conversation, as the service names it when it requests grants; may be repeated.
    /// The decision is limited to the named conversations.
    #[arg(long)]
    interaction: Vec<String>,
    /// Time at which the consent ends; a date means the end of that day. Ignored for a
    /// refusal or withdrawal, which never ends.
    #[arg(long, value_name = "TIME", value_parser = times::end)]
    until: Option<WrittenTime>,
    /// Record that the holder of parental responsibility decided for the person (GDPR Art. 8(1)).
    #[arg(long)]
    guardian: bool,
    /// Add inclusion proofs to the answer, which show that the log has the recorded events. Only --json
    /// shows the proofs.
    #[arg(long)]
    proofs: bool,
}

impl Consent {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let (decision, terms) = match self {
            Self::Give(terms) => (ConsentDecision::Given, terms),
            Self::Refuse(terms) => (ConsentDecision::Refused, terms),
            Self::Renew(terms) => (ConsentDecision::Renewed, terms),
            Self::Withdraw(terms) => (ConsentDecision::Withdrawn, terms),
            Self::Receipt(receipt) => return receipt.run(at, out).await,
            Self::Ask(ask) => return ask.run(&mut client(at).await?, out).await,
        };
        let choice = proto::ConsentChoice {
            decision: decision.into(),
            purposes: terms.purpose,
            categories: terms.category,
            recipients: terms.recipient,
            explicit: terms.explicit,
            expires_at: terms.until.as_ref().map(|time| time.moment),
            interactions: terms.interaction,
        };
        let notice =
            proto::NoticeServed { id: terms.notice, version: terms.notice_version, ..Default::default() };
        let request = proto::RecordConsentRequest {
            subject: terms.subject,
            choices: vec![choice],
            notice: Some(notice),
            channel: terms.channel,
            guardian: terms.guardian,
            options: Some(proto::WriteOptions { proofs: terms.proofs, ..Default::default() }),
        };
        let answer = client(at).await?.record_consent(request).await?.into_inner();
        out.print("RecordConsentResponse", &answer, |answer| {
            let (receipt, revoked) = (answer.receipt.as_ref(), &answer.revoked_grants);
            let changed = output::changed_or_unmatched(receipt, revoked, &answer.unmatched);
            changed + &output::remaining_uses(&answer.remaining_uses)
        })?;
        out.note_dates(&[("--until", terms.until.as_ref())])
    }
}

/// List a person's decisions, oldest first, and show which are in force.
///
/// With --json, the list is one object.
///
/// Example: `sayso consents ada --as-of 2026-01-31`
#[derive(Args)]
pub(super) struct Consents {
    /// The controller's ID for the person.
    subject: String,
    /// Show the decisions as they were at this time.
    #[arg(long, value_name = "TIME", value_parser = times::last)]
    as_of: Option<WrittenTime>,
}

impl Consents {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut request = proto::ListConsentsRequest {
            subject: self.subject,
            as_of: as_of(self.as_of.as_ref()),
            page_size: 0,
            page_token: String::new(),
        };
        let mut client = client(at).await?;
        let mut answer = client.list_consents(request.clone()).await?.into_inner();
        while !answer.next_page_token.is_empty() {
            request.page_token = std::mem::take(&mut answer.next_page_token);
            let page = client.list_consents(request.clone()).await?.into_inner();
            answer.consents.extend(page.consents);
            answer.next_page_token = page.next_page_token;
        }
        out.print_whole("ListConsentsResponse", &answer, &[], |answer| {
            let all = |names: &[String]| if names.is_empty() { "*".to_owned() } else { names.join(",") };
            let row = |record: &proto::ConsentRecord| {
                let decision = output::plain_name(record.decision().as_str_name(), "CONSENT_DECISION_");
                vec![
                    output::time(record.recorded_at.as_ref()),
                    decision,
                    all(&record.purposes),
                    all(&record.categories),
                    all(&record.recipients),
                    if record.explicit { "explicit" } else { "" }.to_owned(),
                    record.notice.as_ref().map(|notice| notice.id.clone()).unwrap_or_default(),
                    standing(record),
                ]
            };
            output::list(&answer.consents.iter().map(row).collect::<Vec<_>>(), "no decisions")
        })?;
        out.note_dates(&[("--as-of", self.as_of.as_ref())])
    }
}

/// Says whether a decision is in force, and for which of its purposes a signal stops use.
fn standing(record: &proto::ConsentRecord) -> String {
    match record.stopped_purposes.as_slice() {
        _ if !record.in_force => String::new(),
        [] => "in force".to_owned(),
        stopped => format!("in force, but stopped by a signal for {}", stopped.join(",")),
    }
}
