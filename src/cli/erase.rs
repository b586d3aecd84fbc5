//! The commands `sayso erase` and `sayso certificate`.

use super::atomic_file::{AtomicFile, Existing};
use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{self, Out, count};
use super::verify_document::Document;
use crate::proto;
use crate::proto::audit_service_client::AuditServiceClient;
use crate::proto::rights_service_client::RightsServiceClient;
use clap::Args;
use sayso_proof::certificate;
use sayso_proof::context::Consistency;
use std::path::{Path, PathBuf};

async fn client(at: &Connection) -> Result<RightsServiceClient<Link>, CliError> {
    Ok(client!(RightsServiceClient, at.link("steward").await?))
}

/// The part of a person's data to erase.
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

/// Erase a person, or a part of their data. Returns when the erasure is complete.
///
/// Scope `all` erases everything, including the person's keys and the link from their ID to their
/// events. Scope `profile` erases attributes, grants, reports of use, artifacts, and requests that
/// name attribute keys or contain free text. It keeps consents, signals, the person's description,
/// personal bounds, holds and other requests. Scopes `key=KEY` and `category=CATEGORY` erase the
/// matching attributes, everything that names them, and everything derived from them.
///
/// A hold (`sayso hold`) blocks the erasure of the data that it covers. If it covers all data in the scope,
/// nothing is erased, the output shows the hold's ground, and the exit status is 3.
///
/// Example: `sayso erase ada --scope all`
#[derive(Args)]
pub(super) struct Erase {
    /// The controller's ID for the person.
    subject: String,
    /// What to erase. The scope has no default, because an erasure can't be undone.
    #[arg(long, value_parser = parse_scope, value_name = "all|profile|key=KEY|category=CATEGORY")]
    scope: Scope,
    /// Idempotency key: a repeated request with the same key has no further effect.
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
        match answer.request.as_ref().map(proto::SubjectRequest::state) {
            Some(proto::RequestState::Refused) => {
                Err(CliError::denied("nothing was erased: a hold blocks the erasure")
                    .next("`sayso hold list SUBJECT` shows the holds"))
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

/// Show the certificate of an erasure.
///
/// The certificate says what was erased, what is kept and why, and which recipients have acknowledged the
/// erasure.
///
/// Example: `sayso certificate 01a208e3-3e5e-7e4d-accf-9b22e9f7d006 -o erasure.txt`
#[derive(Args)]
pub(super) struct Certificate {
    /// ID of the erasure request, as `sayso erase` prints it.
    request: String,
    /// Write the signed certificate to a file. `sayso verify` verifies it without the daemon.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write to a file only the log's proof that the erasure was completed. The signed certificate
    /// contains the same proof. `sayso verify` verifies the proof without the daemon.
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// File with a checkpoint that you have seen before, or with an earlier proof, certificate or
    /// receipt, each of which contains one. The written certificate (--output) then also proves
    /// that the log continues that checkpoint. `sayso verify --since` checks this.
    #[arg(long, value_name = "FILE", requires = "output")]
    since: Option<PathBuf>,
    /// Replace a FILE that exists.
    #[arg(long)]
    force: bool,
}

impl Certificate {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let existing = Existing::from_force(self.force);
        [&self.output, &self.proof].into_iter().flatten().try_for_each(|path| existing.check(path))?;
        let request = proto::GetErasureCertificateRequest { request_id: self.request };
        let answer = client(at).await?.get_erasure_certificate(request).await?.into_inner();
        if let Some(certificate) = &answer.certificate {
            let document = match &self.since {
                Some(path) => continuing(&certificate.document, path, at).await?,
                None => certificate.document.clone(),
            };
            let texts = [(&self.output, &document), (&self.proof, &certificate.proof)];
            for (path, text) in texts.into_iter().filter_map(|(path, text)| Some((path.as_ref()?, text))) {
                AtomicFile::write_whole(path, existing, text.as_bytes())?;
            }
        }
        out.print("GetErasureCertificateResponse", &answer, |answer| text_of(answer.certificate.as_ref()))
    }
}

/// Adds to a certificate a proof that the certificate's log continues the checkpoint in a file.
async fn continuing(document: &str, since: &Path, at: &Connection) -> Result<String, CliError> {
    let size_of = |note: &str| note.lines().nth(1).and_then(|size| size.parse::<u64>().ok());
    let older = Document::checkpoint_in(since)?;
    let from_size = size_of(&older)
        .ok_or_else(|| CliError::usage(format!("--since: {}: not a checkpoint", since.display())))?;
    let newer = certificate::checkpoint_note(document).map_err(CliError::failed)?;
    let to_size = size_of(&newer).unwrap_or_default();
    if from_size > to_size {
        let sizes =
            format!("the checkpoint of {from_size} entries is newer than the certificate's of {to_size}");
        return Err(CliError::usage(format!("--since: {sizes}")));
    }
    let mut client = client!(AuditServiceClient, at.link("steward").await?);
    let request = proto::GetConsistencyProofRequest { from_size, to_size };
    let answer = client.get_consistency_proof(request).await?.into_inner();
    let hashes = answer.hashes.iter().map(|hash| hash.as_slice().try_into().map_err(CliError::failed));
    let consistency = Consistency { from_size, hashes: hashes.collect::<Result<_, _>>()? };
    Ok(certificate::with_consistency(document, &consistency))
}

fn text_of(certificate: Option<&proto::ErasureCertificate>) -> String {
    let Some(certificate) = certificate else { return String::new() };
    let mut text = format!(
        "erased: request {}, submitted {}, completed {} at position {}\n{} destroyed",
        certificate.request_id,
        output::time(certificate.requested_at.as_ref()),
        output::time(certificate.completed_at.as_ref()),
        certificate.position,
        count(certificate.entries_discarded, "entry"),
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
            "\n{} kept on the ground of {ground} ({})",
            count(kept.entries, "entry"),
            crate::domain::request::article(kept.ground())
        ));
    }
    for recipient in &certificate.recipients {
        let state = if recipient.acknowledged { "acknowledged" } else { "notified, not acknowledged yet" };
        let artifacts = match recipient.artifacts {
            0 => String::new(),
            number => format!(" and {}", count(number.into(), "artifact")),
        };
        let (name, grants) = (&recipient.name, count(recipient.grants.into(), "grant"));
        text.push_str(&format!("\nrecipient `{name}` with {grants}{artifacts}: {state}"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_scope_has_a_name_exactly_where_it_needs_one() {
        assert_eq!(parse_scope("all").unwrap().kind, proto::ErasureScope::All);
        assert_eq!(parse_scope("key=a=b").unwrap().name, "a=b");
        assert_eq!(parse_scope("category=health").unwrap().kind, proto::ErasureScope::Category);
        for bad in ["", "everything", "key", "key=", "category=", "profile=x", "all="] {
            assert!(parse_scope(bad).is_err(), "{bad}");
        }
    }
}
