//! `sayso erase | certificate`

use super::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out};
use crate::proto;
use crate::proto::rights_service_client::RightsServiceClient;
use clap::Args;

async fn client(at: &Connection) -> Result<RightsServiceClient<Link>, CliError> {
    Ok(client!(RightsServiceClient, at.link("steward").await?))
}

/// What is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scope {
    kind: proto::ErasureScope,
    name: String,
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    let of = |kind, name: &str| Ok(Scope { kind, name: name.to_owned() });
    match text.split_once('=') {
        None if text == "all" => of(proto::ErasureScope::All, ""),
        None if text == "profile" => of(proto::ErasureScope::Profile, ""),
        Some(("key", key)) if !key.is_empty() => of(proto::ErasureScope::Key, key),
        Some(("category", category)) if !category.is_empty() => of(proto::ErasureScope::Category, category),
        _ => Err("must be all, profile, key=KEY or category=CATEGORY".to_owned()),
    }
}

/// Erase a person, or a part of what is held about them. Answers once all of it is true.
///
/// `all`: everything, their keys and their place in the id map too. `profile`: everything but the evidence of consents,
/// signals, requests and holds. `key=KEY`, `category=CATEGORY`: that, with whatever names it or was derived from it.
/// A hold is shown with its ground; the exit status is 3 then.
///
/// Example: `sayso erase ada --scope all`
#[derive(Args)]
pub(super) struct Erase {
    /// The controller's id of the person.
    subject: String,
    /// How much of it; it can't be undone, so it is always named.
    #[arg(long, value_parser = parse_scope, value_name = "all|profile|key=KEY|category=CATEGORY")]
    scope: Scope,
    /// So that a retry gives the same answer.
    #[arg(long, default_value = "")]
    idempotency_key: String,
}

impl Erase {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let Scope { kind, name } = self.scope;
        let is = |of: proto::ErasureScope| kind == of;
        let request = proto::SubmitRequestRequest {
            subject: self.subject,
            kind: proto::RequestKind::Erasure.into(),
            scope: kind.into(),
            keys: if is(proto::ErasureScope::Key) { vec![name.clone()] } else { Vec::new() },
            category: if is(proto::ErasureScope::Category) { name } else { String::new() },
            options: Some(proto::WriteOptions {
                idempotency_key: self.idempotency_key,
                ..proto::WriteOptions::default()
            }),
            ..proto::SubmitRequestRequest::default()
        };
        let answer = client(at).await?.submit_request(request).await?.into_inner();
        out.print("SubmitRequestResponse", &answer, erased)?;
        match answer.request.as_ref().map(proto::RightsRequest::state) {
            Some(proto::RequestState::Refused) => {
                Err(CliError::denied("nothing was erased: a hold stands")
                    .next("see `sayso hold list SUBJECT`"))
            }
            _ => Ok(()),
        }
    }
}

fn erased(answer: &proto::SubmitRequestResponse) -> String {
    match (&answer.certificate, &answer.request) {
        (Some(certificate), _) => text_of(Some(certificate)),
        (None, Some(request)) => super::request::text_of(request),
        (None, None) => String::new(),
    }
}

/// Show the certificate of an erasure: what went, what is kept and why, who had it and who has confirmed.
///
/// Example: `sayso certificate 01a208e3-3e5e-7e4d-accf-9b22e9f7d006 -o erasure.txt`
#[derive(Args)]
pub(super) struct Certificate {
    /// Id of the request.
    request: String,
    /// Write the signed certificate, which verifies alone with `sayso verify`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    /// Write only the log's proof of the erasure, which verifies likewise.
    #[arg(long, value_name = "FILE")]
    proof: Option<std::path::PathBuf>,
}

impl Certificate {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::GetErasureCertificateRequest { request_id: self.request };
        let answer = client(at).await?.get_erasure_certificate(request).await?.into_inner();
        let write = |path: Option<&std::path::PathBuf>, text: &str| {
            let Some(path) = path else { return Ok(()) };
            let written = std::fs::write(path, text);
            written.map_err(|error| CliError::failed(format!("{}: {error}", path.display())))
        };
        if let Some(certificate) = &answer.certificate {
            write(self.output.as_ref(), &certificate.document)?;
            write(self.proof.as_ref(), &certificate.proof)?;
        }
        out.print("GetErasureCertificateResponse", &answer, |answer| text_of(answer.certificate.as_ref()))
    }
}

fn text_of(certificate: Option<&proto::ErasureCertificate>) -> String {
    let Some(certificate) = certificate else { return String::new() };
    let mut text = format!(
        "erased: request {}, asked {}, completed {} at position {}\n{} entries destroyed",
        certificate.request_id,
        output::time(certificate.requested_at.as_ref()),
        output::time(certificate.completed_at.as_ref()),
        certificate.position,
        certificate.entries_discarded,
    );
    let mut categories: Vec<_> = certificate.erased_by_category.iter().collect();
    categories.sort();
    let categories: Vec<String> =
        categories.iter().map(|(category, count)| format!("{count} {category}")).collect();
    if !categories.is_empty() {
        text.push_str(&format!("; attributes: {}", categories.join(", ")));
    }
    for kept in &certificate.kept {
        let ground = output::plain_name(kept.ground().as_str_name(), "GROUND_");
        text.push_str(&format!(
            "\n{} entries kept on the ground of {ground} ({})",
            kept.entries,
            crate::domain::request::article(kept.ground())
        ));
    }
    for recipient in &certificate.recipients {
        let done = if recipient.acknowledged { "has confirmed" } else { "was told, has not confirmed yet" };
        let built = match recipient.artifacts {
            0 => String::new(),
            count => format!(" and {count} artefacts"),
        };
        let (name, grants) = (&recipient.name, recipient.grants);
        text.push_str(&format!("\nrecipient `{name}` with {grants} grants{built} {done}"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_scope_names_all_it_needs_and_no_more() {
        assert_eq!(parse_scope("all").unwrap().kind, proto::ErasureScope::All);
        assert_eq!(parse_scope("key=a=b").unwrap().name, "a=b");
        assert_eq!(parse_scope("category=health").unwrap().kind, proto::ErasureScope::Category);
        for bad in ["", "everything", "key", "key=", "category=", "profile=x", "all="] {
            assert!(parse_scope(bad).is_err(), "{bad}");
        }
    }
}
