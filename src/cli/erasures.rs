//! The command `sayso erasures`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out, count, plain_name};
use super::signing_key::signing_key;
use crate::clock::{Clock, SystemClock};
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use crate::proto::grant_service_client::GrantServiceClient;
use crate::proto::rights_service_client::RightsServiceClient;
use clap::{Args, Subcommand, ValueEnum};
use ed25519_dalek::Signer;
use sayso_proof::event::RecipientReported;
use sayso_proof::evidence;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The largest file that is evidence.
const EVIDENCE_BYTES_MAX: u64 = 1 << 30;

/// List recipients that have not reported on an erasure, or record a report.
#[derive(Subcommand)]
pub(super) enum Erasures {
    /// List recipients that have not yet reported what they did about an erasure. They were notified of
    /// the erasure.
    ///
    /// The recipients of the oldest erasure come first. A recipient is overdue if it has not
    /// reported within `rights.recipient_answer_ms` (default: 14 days). With --json, there is one object
    /// on each line.
    ///
    /// Example: `sayso erasures outstanding --overdue`
    Outstanding(Outstanding),
    /// Report what a recipient did about an erasure.
    ///
    /// A recipient reports for itself; a steward names the recipient with --recipient. After a
    /// report with --outcome, `outstanding` no longer lists the recipient.
    ///
    /// The file with the evidence (--evidence) stays with the recipient. The ledger gets only a
    /// commitment to it: a salted digest. The command prints the salt. Keep the salt with the file:
    /// without it, you cannot prove later that this file is the evidence.
    ///
    /// Example: `sayso erasures report 1285 --outcome deleted --evidence protocol.pdf`
    Report(Box<Report>),
}

#[derive(Args)]
pub(super) struct Outstanding {
    /// List only recipients that are overdue.
    #[arg(long)]
    overdue: bool,
}

/// What a recipient did.
#[derive(Clone, Copy, ValueEnum)]
enum Outcome {
    /// The recipient deleted what it had.
    Deleted,
    /// Deletion is impossible (GDPR Art. 19).
    Impossible,
    /// Deletion would involve disproportionate effort (GDPR Art. 19).
    Disproportionate,
}

/// What the evidence is.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// A statement by the recipient of what it did.
    Statement,
    /// A file that is not a statement, such as a record of the deletion.
    File,
}

#[derive(Args)]
pub(super) struct Report {
    /// Cursor of the notification or of a reminder, as in `sayso watch` or `sayso erasures
    /// outstanding`; may be repeated.
    #[arg(required = true)]
    cursor: Vec<u64>,
    /// What the recipient did. Without --outcome, the report only adds evidence or further recipients.
    #[arg(long, value_enum)]
    outcome: Option<Outcome>,
    /// Why deletion is impossible or would involve disproportionate effort. Must not contain personal
    /// data.
    #[arg(long, default_value = "")]
    reason: String,
    /// File that shows what was done. The file stays here; only its salted digest is sent.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// What the evidence is.
    #[arg(long, value_enum, default_value = "file", requires = "evidence")]
    kind: Kind,
    /// Private key of the recipient, to sign the evidence with. Required if the recipient itself
    /// reports and the daemon's configuration has the recipient's public key. With a key, CURSOR must
    /// be that of the first notification, not that of a reminder.
    #[arg(long, value_name = "FILE", requires_all = ["evidence", "name"])]
    key: Option<PathBuf>,
    /// Name of the recipient that signs, which is part of the signed statement.
    #[arg(long, value_name = "NAME", default_value = "")]
    name: String,
    /// Name of a further recipient to whom this recipient passed the data on; may be repeated. The
    /// ledger notifies the further recipient, which then has to report, too.
    #[arg(long, value_name = "NAME")]
    onward: Vec<String>,
    /// Name of the recipient that a steward reports for.
    #[arg(long, value_name = "NAME", default_value = "")]
    recipient: String,
    /// The recipient (--recipient) is an auditor. Without this flag, it is a service.
    #[arg(long, requires = "recipient")]
    auditor: bool,
}

impl Erasures {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        match self {
            Self::Outstanding(list) => list.run(at, out).await,
            Self::Report(report) => report.run(at, out).await,
        }
    }
}

impl Outstanding {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client: RightsServiceClient<Link> = client!(RightsServiceClient, at.link("steward").await?);
        let mut request =
            proto::ListOutstandingErasuresRequest { overdue_only: self.overdue, ..Default::default() };
        let mut is_empty = true;
        loop {
            let page = client.list_outstanding_erasures(request.clone()).await?.into_inner();
            is_empty &= page.outstanding.is_empty();
            page.outstanding.iter().try_for_each(|of| out.print("OutstandingErasure", of, text_of))?;
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                if page.left_out > 0 {
                    out.print_note(&format!("{} not listed", count(page.left_out, "further recipient")))?;
                }
                break;
            }
        }
        if is_empty { out.print_note("no reports are outstanding") } else { Ok(()) }
    }
}

fn text_of(of: &proto::OutstandingErasure) -> String {
    let role = if of.role() == proto::Role::Auditor { "auditor " } else { "" };
    let request = if of.request_id.is_empty() { String::new() } else { format!(" {}", of.request_id) };
    let mut text = format!(
        "{}  cursor {}  {role}`{}`: erasure{request} ({}) of {} and {}",
        output::time(of.completed_at.as_ref()),
        of.cursor,
        of.recipient,
        plain_name(of.scope().as_str_name(), "ERASURE_SCOPE_"),
        count(of.grants.into(), "grant"),
        count(of.artifacts.into(), "artifact"),
    );
    if !of.named_by.is_empty() {
        text.push_str(&format!("\n  named by `{}`", of.named_by));
    }
    let reminded = match of.reminders {
        0 => "not reminded yet".to_owned(),
        number => format!("reminded {}", count(number.into(), "time")),
    };
    match &of.overdue_since {
        Some(since) => text.push_str(&format!("\n  OVERDUE since {}, {reminded}", output::time(Some(since)))),
        None => text.push_str(&format!("\n  due {}, {reminded}", output::time(of.due_at.as_ref()))),
    }
    text
}

impl Report {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let outcome = match self.outcome {
            None => proto::ErasureOutcome::Unspecified,
            Some(Outcome::Deleted) => proto::ErasureOutcome::Deleted,
            Some(Outcome::Impossible) => proto::ErasureOutcome::Impossible,
            Some(Outcome::Disproportionate) => proto::ErasureOutcome::Disproportionate,
        };
        let role = if self.recipient.is_empty() { "service" } else { "steward" };
        let evidence = match &self.evidence {
            Some(path) => Some(self.evidence_of(path, outcome, role, at).await?),
            None => None,
        };
        let salt = evidence.as_ref().map(|of: &proto::ErasureEvidence| hex::encode(&of.salt));
        let recipient_role = if self.auditor { proto::Role::Auditor } else { proto::Role::Unspecified };
        let request = proto::ReportErasureRequest {
            notices: self.cursor.into_iter().map(|cursor| proto::ErasureNotice { cursor }).collect(),
            recipient: self.recipient,
            recipient_role: recipient_role.into(),
            outcome: outcome.into(),
            reason: self.reason,
            evidence,
            onward: self.onward,
            options: None,
        };
        let mut client: GrantServiceClient<Link> = client!(GrantServiceClient, at.link(role).await?);
        let answer = client.report_erasure(request).await?.into_inner();
        out.print("ReportErasureResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))?;
        match salt {
            Some(salt) => {
                output::print_error_line(&format!("keep this salt with the evidence: {salt}"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The evidence for the report: digest and salt of the file and, if there is a key, the recipient's
    /// signature.
    async fn evidence_of(
        &self,
        path: &Path,
        outcome: proto::ErasureOutcome,
        role: &'static str,
        at: &Connection,
    ) -> Result<proto::ErasureEvidence, CliError> {
        let digest = digest_of(path)?;
        let mut salt = [0; 32];
        SystemClock.fill(&mut salt);
        let kind = match self.kind {
            Kind::Statement => proto::EvidenceKind::Statement,
            Kind::File => proto::EvidenceKind::File,
        };
        let mut of = proto::ErasureEvidence {
            kind: kind.into(),
            sha256: digest.to_vec(),
            salt: salt.to_vec(),
            ..Default::default()
        };
        let Some(key) = &self.key else { return Ok(of) };
        let key = signing_key(key)?;
        let mut client: AuditServiceClient<Link> = client!(AuditServiceClient, at.link(role).await?);
        let checkpoint = client.get_checkpoint(proto::GetCheckpointRequest {}).await?.into_inner();
        let origin = checkpoint.checkpoint.lines().next().unwrap_or_default().to_owned();
        let mut positions: Vec<u64> = self.cursor.iter().map(|cursor| cursor.saturating_sub(1)).collect();
        positions.sort_unstable();
        positions.dedup();
        let statement = evidence::statement(
            &origin,
            &RecipientReported {
                positions,
                recipient: self.name.clone(),
                outcome: outcome.into(),
                evidence: evidence::commitment(&salt, &digest).to_vec(),
                ..RecipientReported::default()
            },
        );
        of.public_key = key.verifying_key().to_bytes().to_vec();
        of.signature = key.sign(statement.as_bytes()).to_bytes().to_vec();
        Ok(of)
    }
}

/// SHA-256 of a file.
fn digest_of(path: &Path) -> Result<[u8; 32], CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() > EVIDENCE_BYTES_MAX {
        return Err(CliError::failed("the evidence must have at most 1 GiB"));
    }
    let (mut hasher, mut limited) = (Sha256::new(), std::io::Read::take(file, EVIDENCE_BYTES_MAX));
    let mut buffer = vec![0; 65_536];
    loop {
        match std::io::Read::read(&mut limited, &mut buffer).map_err(failed)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}
