//! The command `sayso request`.

use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::hold::Ground;
use super::output::{self, Out, plain_name, remaining_uses, unmatched_lines};
use super::times::{self, WrittenTime};
use crate::proto;
use crate::proto::decide_request_request::{Accept, Complete, Decision, Extend, Refuse};
use crate::proto::rights_service_client::RightsServiceClient;
use clap::{Args, Subcommand, ValueEnum};

async fn client(at: &Connection) -> Result<RightsServiceClient<Link>, CliError> {
    Ok(client!(RightsServiceClient, at.link("steward").await?))
}

/// Kinds of data subject requests. Erasure has a separate command: `sayso erase`.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Access (GDPR Art. 15).
    Access,
    /// Portability (GDPR Art. 20).
    Portability,
    /// Rectification (GDPR Art. 16).
    Rectification,
    /// Restriction (GDPR Art. 18). Takes effect immediately.
    Restriction,
    /// Objection (GDPR Art. 21). Takes effect immediately.
    Objection,
    /// Complaint about how personal data is handled. Say what it is about with --details.
    Complaint,
    /// Access to an automated decision: its purpose, logic and outcome (CCPA regulations, s. 7222; GDPR Art.
    /// 15(1)(h)). Name the decision with --purpose.
    DecisionAccess,
    /// Appeal of an automated decision to a human reviewer (CCPA regulations, s. 7221(b)(1); GDPR Art.
    /// 22(3)). Name the decision with --purpose.
    DecisionAppeal,
}

/// Submit, list and decide data subject requests.
#[derive(Subcommand)]
pub(super) enum Request {
    /// Submit a request on a person's behalf.
    ///
    /// Example: `sayso request submit access ada`
    Submit(Submit),
    /// Show a request.
    ///
    /// Example: `sayso request show 01a208e3-3e5e-7e4d-accf-9b22e9f7d006`
    Show(Show),
    /// List requests, the earliest deadline first. The list has the open requests of all people, or all
    /// requests of one person.
    ///
    /// With --json, there is one object on each line.
    ///
    /// Example: `sayso request list`
    List(List),
    /// Accept a request. If it is a request for erasure, the erasure is carried out.
    ///
    /// Example: `sayso request accept 01a208e3-3e5e-7e4d-accf-9b22e9f7d006`
    Accept(Decide),
    /// Complete a request that was carried out.
    ///
    /// A rectification can be completed only after an attribute was changed. Completing it records
    /// which changes were made since the request was submitted. To complete a complaint, or a
    /// request about an automated decision, state its outcome with --reason.
    ///
    /// Example: `sayso request complete 01a208e3-3e5e-7e4d-accf-9b22e9f7d006`
    Complete(CompleteRequest),
    /// Refuse a request.
    ///
    /// Example: `sayso request refuse 01a208e3-3e5e-7e4d-accf-9b22e9f7d006 --ground excessive --reason 'the
    /// tenth this week'`
    Refuse(RefuseRequest),
    /// Extend the deadline of a request, once. The extension is two months (GDPR) or 45 days (California).
    ///
    /// Example: `sayso request extend 01a208e3-3e5e-7e4d-accf-9b22e9f7d006 --reason 'many requests'`
    Extend(ExtendRequest),
    /// Withdraw a request for erasure on a person's behalf. The request can be open, or can have been
    /// refused. If uses of the data stopped because the request was refused, they are allowed again.
    ///
    /// Example: `sayso request withdraw 01a208e3-3e5e-7e4d-accf-9b22e9f7d006`
    Withdraw(Show),
}

#[derive(Args)]
pub(super) struct Submit {
    /// Kind of request.
    #[arg(value_enum)]
    kind: Kind,
    /// The controller's ID for the person.
    subject: String,
    /// Key of an attribute to rectify; may be repeated.
    #[arg(long)]
    key: Vec<String>,
    /// Purpose that the restriction or objection covers, or that the automated decision served; may be
    /// repeated. Default: all.
    #[arg(long)]
    purpose: Vec<String>,
    /// The person's own words.
    #[arg(long, default_value = "")]
    details: String,
}

#[derive(Args)]
pub(super) struct Show {
    /// ID of the request to show.
    request: String,
}

#[derive(Args)]
pub(super) struct List {
    /// The controller's ID for the person whose requests are listed. Default: all people, but only
    /// their open requests.
    subject: Option<String>,
    /// List only requests that are due by this time.
    #[arg(long, value_name = "TIME", value_parser = times::last)]
    due_by: Option<WrittenTime>,
}

#[derive(Args)]
pub(super) struct Decide {
    /// ID of the request to accept.
    request: String,
    /// Reason of the decision, without personal data.
    #[arg(long, default_value = "")]
    reason: String,
}

#[derive(Args)]
pub(super) struct CompleteRequest {
    /// ID of the request to complete.
    request: String,
    /// Reason of the decision, without personal data. For a complaint or an automated decision: the
    /// outcome, which the person will read.
    #[arg(long, default_value = "")]
    reason: String,
    /// For a rectification: key of an attribute that was changed; may be repeated. Default: the
    /// keys that the request names.
    #[arg(long)]
    key: Vec<String>,
}

#[derive(Args)]
pub(super) struct RefuseRequest {
    /// ID of the request to refuse.
    request: String,
    /// Legal ground of the refusal.
    #[arg(long, value_enum)]
    ground: Ground,
    /// Reason of the refusal. The person will read it. Must not contain personal data.
    #[arg(long)]
    reason: String,
    /// For an erasure refused on a ground of GDPR Art. 17(3): purpose, such as legal-claims, that the
    /// ground requires. The kept data may be used only for this purpose. Default: for no purpose.
    #[arg(long)]
    purpose: Option<String>,
}

#[derive(Args)]
pub(super) struct ExtendRequest {
    /// ID of the request whose due date is moved.
    request: String,
    /// Reason of the extension. The person will read it. Must not contain personal data.
    #[arg(long)]
    reason: String,
}

impl Request {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        match self {
            Self::Submit(submit) => submit.run(at, out).await,
            Self::Show(show) => {
                let request = proto::GetRequestRequest { request_id: show.request };
                let answer = client(at).await?.get_request(request).await?.into_inner();
                out.print("GetRequestResponse", &answer, |answer| {
                    answer.request.as_ref().map(whole_text_of).unwrap_or_default()
                })
            }
            Self::List(list) => list.run(at, out).await,
            Self::Accept(Decide { request, reason }) => {
                decide(at, out, request, Decision::Accept(Accept { reason })).await
            }
            Self::Complete(CompleteRequest { request, reason, key }) => {
                decide(at, out, request, Decision::Complete(Complete { reason, keys: key })).await
            }
            Self::Refuse(RefuseRequest { request, ground, reason, purpose }) => {
                let purposes = purpose.into_iter().collect();
                let refuse = Refuse { ground: ground.wire().into(), reason, purposes };
                decide(at, out, request, Decision::Refuse(refuse)).await
            }
            Self::Withdraw(Show { request: request_id }) => {
                let request = proto::WithdrawRequestRequest { request_id, options: None };
                let answer = client(at).await?.withdraw_request(request).await?.into_inner();
                out.print("WithdrawRequestResponse", &answer, |answer| {
                    answer.request.as_ref().map(text_of).unwrap_or_default()
                })
            }
            Self::Extend(ExtendRequest { request, reason }) => {
                decide(at, out, request, Decision::Extend(Extend { reason })).await
            }
        }
    }
}

async fn decide(at: &Connection, out: Out, request_id: String, decision: Decision) -> Result<(), CliError> {
    let request = proto::DecideRequestRequest { request_id, options: None, decision: Some(decision) };
    let answer = client(at).await?.decide_request(request).await?.into_inner();
    out.print("DecideRequestResponse", &answer, |answer| {
        answer.request.as_ref().map(text_of).unwrap_or_default()
    })
}

impl Submit {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let kind = match self.kind {
            Kind::Access => proto::RequestKind::Access,
            Kind::Portability => proto::RequestKind::Portability,
            Kind::Rectification => proto::RequestKind::Rectification,
            Kind::Restriction => proto::RequestKind::Restriction,
            Kind::Objection => proto::RequestKind::Objection,
            Kind::Complaint => proto::RequestKind::Complaint,
            Kind::DecisionAccess => proto::RequestKind::DecisionAccess,
            Kind::DecisionAppeal => proto::RequestKind::DecisionAppeal,
        };
        let request = proto::SubmitRequestRequest {
            subject: self.subject,
            kind: kind.into(),
            keys: self.key,
            purposes: self.purpose,
            details: self.details,
            ..proto::SubmitRequestRequest::default()
        };
        let answer = client(at).await?.submit_request(request).await?.into_inner();
        out.print("SubmitRequestResponse", &answer, |answer| {
            let mut text = answer.request.as_ref().map(text_of).unwrap_or_default();
            if !answer.revoked_grants.is_empty() {
                text.push_str(&format!("\nrevoked {}", answer.revoked_grants.join(", ")));
            }
            text + &remaining_uses(&answer.remaining_uses) + &unmatched_lines(&answer.unmatched)
        })
    }
}

impl List {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client(at).await?;
        let mut all = proto::ListRequestsResponse::default();
        let mut request = proto::ListRequestsRequest {
            subject: self.subject.unwrap_or_default(),
            due_by: self.due_by.as_ref().map(|time| time.moment),
            page_size: 1_000,
            page_token: String::new(),
        };
        loop {
            let page = client.list_requests(request.clone()).await?.into_inner();
            out.print_items("ListRequestsResponse", &page, "requests")?;
            all.requests.extend(page.requests);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
        }
        let row = |request: &proto::SubjectRequest| {
            vec![
                output::time(request.due_at.as_ref()),
                plain_name(request.kind().as_str_name(), "REQUEST_KIND_"),
                plain_name(request.state().as_str_name(), "REQUEST_STATE_"),
                request.request_id.clone(),
                request.subject.clone(),
            ]
        };
        out.print_note(&output::list(&all.requests.iter().map(row).collect::<Vec<_>>(), "no requests"))?;
        out.note_dates(&[("--due-by", self.due_by.as_ref())])
    }
}

/// Describes a request with all its fields.
fn whole_text_of(request: &proto::SubjectRequest) -> String {
    let mut text = text_of(request);
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("\n{name}: {value}"));
        }
    };
    let set = |name: &str, prefix: &str| match plain_name(name, prefix).as_str() {
        "unspecified" => String::new(),
        name => name.to_owned(),
    };
    add("person", request.subject.clone());
    add("scope", set(request.scope().as_str_name(), "ERASURE_SCOPE_"));
    add("category", request.category.clone());
    add("keys", request.keys.join(", "));
    let has_purposes =
        [proto::RequestKind::Restriction, proto::RequestKind::Objection].contains(&request.kind());
    let purposes = match request.purposes.as_slice() {
        [] if has_purposes => "all".to_owned(),
        purposes => purposes.join(", "),
    };
    add("purposes", purposes);
    add("jurisdiction", set(request.jurisdiction().as_str_name(), "JURISDICTION_"));
    add("in the person's own words", request.details.clone());
    text
}

/// Describes a request and its state in a few lines.
pub(super) fn text_of(request: &proto::SubjectRequest) -> String {
    let mut text = format!(
        "request {}: {}, {}, submitted {}",
        request.request_id,
        plain_name(request.kind().as_str_name(), "REQUEST_KIND_"),
        plain_name(request.state().as_str_name(), "REQUEST_STATE_"),
        output::time(request.submitted_at.as_ref()),
    );
    if request.due_at.is_some() {
        text.push_str(&format!(", due {}", output::time(request.due_at.as_ref())));
    }
    if !request.follows_request_id.is_empty() {
        let earlier = &request.follows_request_id;
        text.push_str(&format!("\nfollows: {earlier}; the hold that kept a part of it was lifted"));
    }
    if !request.extended_because.is_empty() {
        text.push_str(&format!("\nextended: {}", request.extended_because));
    }
    if let Some(by) = &request.decided_by {
        let role = plain_name(by.role().as_str_name(), "ROLE_");
        let at = output::time(request.decided_at.as_ref());
        text.push_str(format!("\ndecided {at} by {role} {}", by.name).trim_end());
    }
    if request.ground() != proto::Ground::Unspecified {
        let article = crate::domain::request::article(request.ground());
        let ground = plain_name(request.ground().as_str_name(), "GROUND_");
        text.push_str(format!("\nground: {ground} {article}").trim_end());
    }
    if !request.reason.is_empty() {
        text.push_str(&format!("\nreason: {}", request.reason));
    }
    for change in &request.changes {
        let done = match change.kind() {
            proto::ChangeKind::Corrected => "corrected",
            proto::ChangeKind::Removed => "removed",
            proto::ChangeKind::Recorded | proto::ChangeKind::Unspecified => "recorded anew",
        };
        let at = output::time(change.recorded_at.as_ref());
        text.push_str(&format!("\nchanged: `{}` was {done} {at}", change.key));
    }
    text
}
