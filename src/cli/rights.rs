//! `sayso erase | certificate`

use super::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out};
use crate::proto;
use crate::proto::rights_service_client::RightsServiceClient;
use clap::{Args, ValueEnum};

async fn client(at: &Connection) -> Result<RightsServiceClient<Link>, CliError> {
    Ok(client!(RightsServiceClient, at.link("steward").await?))
}

/// What is erased.
#[derive(Clone, Copy, ValueEnum)]
enum Scope {
    /// Everything about the person.
    All,
}

/// Erase a person: their keys, their entries, their place in the id map. Answers once all of it is true.
///
/// Example: `sayso erase ada --scope all`
#[derive(Args)]
pub(super) struct Erase {
    /// The controller's id of the person.
    subject: String,
    /// How much of it; it can't be undone, so it is always named.
    #[arg(long, value_enum)]
    scope: Scope,
}

impl Erase {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let Scope::All = self.scope;
        let request = proto::SubmitRequestRequest {
            subject: self.subject,
            kind: proto::RequestKind::Erasure.into(),
            scope: proto::ErasureScope::All.into(),
            options: None,
        };
        let answer = client(at).await?.submit_request(request).await?.into_inner();
        out.print("SubmitRequestResponse", &answer, |answer| text_of(answer.certificate.as_ref()))
    }
}

/// Show the certificate of an erasure.
///
/// Example: `sayso certificate 01a208e3-3e5e-7e4d-accf-9b22e9f7d006 --proof erasure.proof`
#[derive(Args)]
pub(super) struct Certificate {
    /// Id of the request.
    request: String,
    /// Write the proof, which verifies alone with `sayso verify`.
    #[arg(long, value_name = "FILE")]
    proof: Option<std::path::PathBuf>,
}

impl Certificate {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::GetErasureCertificateRequest { request_id: self.request };
        let answer = client(at).await?.get_erasure_certificate(request).await?.into_inner();
        if let (Some(path), Some(certificate)) = (&self.proof, &answer.certificate) {
            let written = std::fs::write(path, &certificate.proof);
            written.map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
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
    for recipient in &certificate.recipients {
        let done = if recipient.acknowledged { "has confirmed" } else { "was told, has not confirmed yet" };
        text.push_str(&format!("\nrecipient `{}` with {} grants {done}", recipient.name, recipient.grants));
    }
    text
}
