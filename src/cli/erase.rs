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
use std::io::Read;
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
        Some(("content", text)) if !text.is_empty() => of(proto::ErasureScope::Content, text),
        _ => Err("must be all, profile, key=KEY, category=CATEGORY or content=TEXT".to_owned()),
    }
}

/// Erase a person, or a part of their data. Returns when the erasure is complete.
///
/// Scope `all` erases everything, including the person's keys and the link from their ID to their events.
/// Scope `profile` erases attributes, grants, reports of use, and artifacts. It also erases the data
/// subject requests (such as those of `sayso request`) that name attribute keys or contain free text. It
/// keeps consents, signals, age and jurisdiction, personal bounds, holds and other requests. Scopes
/// `key=KEY` and `category=CATEGORY` erase the matching attributes, everything that names them, and
/// everything derived from them. Scope `content=TEXT` erases every entry whose value, evidence or other
/// text contains this text, exactly or nearly, and everything derived from it. `content=-` reads the text
/// from the standard input, so that it does not stay in the shell's history.
///
/// With --dry-run, nothing is erased. The output shows what would be erased, and other entries that
/// contain an erased value, exactly or nearly. These other entries would be kept.
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
    #[arg(long, value_parser = parse_scope, value_name = "all|profile|key=KEY|category=CATEGORY|content=TEXT")]
    scope: Scope,
    /// Show what would be erased, and erase nothing.
    #[arg(long)]
    dry_run: bool,
    /// Idempotency key: a repeated request with the same key has no further effect.
    #[arg(long, default_value = "")]
    idempotency_key: String,
}

impl Erase {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let Scope { kind, mut name } = self.scope;
        let is = |of: proto::ErasureScope| kind == of;
        if is(proto::ErasureScope::Content) && name == "-" {
            name = read_text()?;
        }
        if self.dry_run {
            return preview(self.subject, kind, name, at, out).await;
        }
        let request = proto::SubmitRequestRequest {
            subject: self.subject,
            kind: proto::RequestKind::Erasure.into(),
            scope: kind.into(),
            keys: if is(proto::ErasureScope::Key) { vec![name.clone()] } else { Vec::new() },
            category: if is(proto::ErasureScope::Category) { name.clone() } else { String::new() },
            content: if is(proto::ErasureScope::Content) { name } else { String::new() },
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
        (Some(certificate), _) => {
            let text = text_of(Some(certificate));
            format!("{text}{}", list_copies(&answer.copies, certificate.copies.as_ref()))
        }
        (None, Some(request)) => super::request::text_of(request),
        (None, None) => String::new(),
    }
}

/// Largest size of a text whose copies are erased, in bytes.
const CONTENT_BYTES_MAX: u64 = 2_048;

/// Reads from standard input the text whose copies are to be erased (`--scope content=-`).
fn read_text() -> Result<String, CliError> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(CONTENT_BYTES_MAX + 3).read_to_string(&mut text);
    let bytes = read.map_err(|error| CliError::usage(format!("--scope content=-: {error}")))?;
    if bytes as u64 > CONTENT_BYTES_MAX + 2 {
        return Err(CliError::usage("--scope content=-: the text must have at most 2,048 bytes"));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn preview(
    subject: String,
    kind: proto::ErasureScope,
    name: String,
    at: &Connection,
    out: Out,
) -> Result<(), CliError> {
    let name_if = |of: proto::ErasureScope| if kind == of { name.clone() } else { String::new() };
    let mut request = proto::PreviewErasureRequest {
        subject,
        scope: kind.into(),
        key: name_if(proto::ErasureScope::Key),
        category: name_if(proto::ErasureScope::Category),
        content: name_if(proto::ErasureScope::Content),
        ..proto::PreviewErasureRequest::default()
    };
    let mut client = client(at).await?;
    let mut answer = client.preview_erasure(request.clone()).await?.into_inner();
    while !answer.next_page_token.is_empty() {
        request.page_token = std::mem::take(&mut answer.next_page_token);
        let page = client.preview_erasure(request.clone()).await?.into_inner();
        answer.entries.extend(page.entries);
        answer.next_page_token = page.next_page_token;
    }
    out.print_whole("PreviewErasureResponse", &answer, &[], text_of_preview)
}

fn text_of_preview(preview: &proto::PreviewErasureResponse) -> String {
    let mut text = match preview.is_refused {
        true => "would be refused: holds keep everything in the scope".to_owned(),
        false => format!("would erase {}", count(preview.entries_erased, "entry")),
    };
    for entry in &preview.entries {
        let key = if entry.key.is_empty() { String::new() } else { format!(" `{}`", entry.key) };
        let category =
            if entry.category.is_empty() { String::new() } else { format!(" ({})", entry.category) };
        let dependent = if entry.is_dependent { ", depends on what is erased" } else { "" };
        let at = output::time(entry.recorded_at.as_ref());
        text.push_str(&format!("\n  {at} {}{key}{category}{dependent}", entry.kind.replace('_', " ")));
    }
    text.push_str(&list_kept(&preview.kept));
    for recipient in &preview.recipients {
        let grants = count(recipient.grants.into(), "grant");
        text.push_str(&format!("\nrecipient `{}` with {grants}: would be notified", recipient.name));
    }
    text.push_str(&list_copies(&preview.copies, preview.copies_found.as_ref()));
    text
}

/// Lists the entries that contain an erased value but are kept, and says how to erase them.
fn list_copies(copies: &[proto::ErasedCopy], found: Option<&proto::CopiesFound>) -> String {
    let mut text = String::new();
    let kept = found.map_or(0, |found| found.found.saturating_sub(found.erased));
    if kept > 0 && !copies.is_empty() {
        let those = match kept {
            1 => "1 other entry holds".to_owned(),
            _ => format!("{kept} other entries hold"),
        };
        text.push_str(&format!("\n{those} an erased value or nearly so, kept:"));
    }
    for copy in copies {
        let place = output::plain_name(copy.kind().as_str_name(), "COPY_KIND_");
        let name = if copy.name.is_empty() { String::new() } else { format!(" of `{}`", copy.name) };
        let category = if copy.category.is_empty() { String::new() } else { format!(" ({})", copy.category) };
        text.push_str(&format!("\n  {} {place}{name}{category}", output::time(copy.recorded_at.as_ref())));
    }
    if kept > 0 && !copies.is_empty() {
        text.push_str("\nto erase them, use --scope content=TEXT, or --scope key=KEY for each");
    }
    if found.is_some_and(|found| found.unfinished) {
        text.push_str(
            "\nthe search for copies reached its limit, so there may be more; look through the profile",
        );
    }
    text
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
    text.push_str(&list_kept(&certificate.kept));
    if let Some(copies) = certificate.copies.filter(|copies| copies.found > 0 || copies.unfinished) {
        let (found, erased) = (copies.found, copies.erased);
        let unfinished = if copies.unfinished { "; the search did not read everything" } else { "" };
        text.push_str(&format!(
            "\n{found} held an erased text or nearly so: {erased} erased, {} kept{unfinished}",
            found.saturating_sub(erased)
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

fn list_kept(kept: &[proto::KeptOnGround]) -> String {
    let mut text = String::new();
    for kept in kept {
        let ground = output::plain_name(kept.ground().as_str_name(), "GROUND_");
        text.push_str(&format!(
            "\n{} kept on the ground of {ground} ({})",
            count(kept.entries, "entry"),
            crate::domain::request::article(kept.ground())
        ));
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
        assert_eq!(parse_scope("content=a baker=1").unwrap().name, "a baker=1");
        assert_eq!(parse_scope("category=health").unwrap().kind, proto::ErasureScope::Category);
        for bad in ["", "everything", "key", "key=", "category=", "content", "content=", "profile=x", "all="]
        {
            assert!(parse_scope(bad).is_err(), "{bad}");
        }
    }
}
