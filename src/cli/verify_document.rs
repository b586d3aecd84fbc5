//! The part of `sayso verify` that verifies documents: proofs, erasure certificates, consent receipts,
//! subject proofs and packages.

use super::error::CliError;
use super::output::{Out, count, int64, proto_style};
use super::times;
use super::verify_context::{self, Hint};
use crate::domain::wording;
use crate::package::{self, Completeness, VerifiedPackage, VerifiedReceipt};
use sayso_proof::bundle::{MAP_AGE_MS_MAX, Options};
use sayso_proof::certificate::{self, Copies, Statement};
use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::context::{self, Consistency, ContextError, ContextFindings};
use sayso_proof::json::to_json;
use sayso_proof::keys::KeyChain;
use sayso_proof::proof::TlogProof;
use sayso_proof::subject_map::{CheckedStream, SubjectProof, VerifiedSubject, is_subject_proof};
use sayso_proof::unseen::GivenContext;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest size of a proof, a certificate, a receipt or a checkpoint, in bytes.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;

/// A document that can be verified by itself.
pub(super) enum Document {
    Proof(String),
    Certificate(String),
    Receipt(String),
    Subject(String),
    /// A package is read from its file, because it may be large.
    Package(PathBuf),
}

impl Document {
    /// Reads a proof, a certificate, a consent receipt, a subject proof or a package. `None` if the file is
    /// none of these.
    pub fn read(path: &Path) -> Option<Self> {
        // Only regular files are read: reading from a pipe would take bytes that a bundle needs.
        let is_file = std::fs::metadata(path).is_ok_and(|data| data.is_file());
        if !is_file {
            return None;
        }
        let is_package = std::fs::File::open(path).and_then(|mut file| package::is_zip(&mut file));
        match is_package {
            Ok(true) => Some(Self::Package(path.to_owned())),
            _ => read_text(path).ok().and_then(Self::of),
        }
    }

    fn of(text: String) -> Option<Self> {
        match text {
            _ if text.starts_with("c2sp.org/tlog-proof@") => Some(Self::Proof(text)),
            _ if certificate::is_certificate(&text) => Some(Self::Certificate(text)),
            _ if is_subject_proof(&text) => Some(Self::Subject(text)),
            _ if package::is_receipt(&text) => Some(Self::Receipt(text)),
            _ => None,
        }
    }

    /// The checkpoint in a file, as a signed note. The file is that note, or a document with a checkpoint.
    /// Nothing is verified.
    ///
    /// # Errors
    /// The file can't be read, or a document in it has no checkpoint.
    pub fn checkpoint_in(path: &Path) -> Result<String, CliError> {
        let wrong = |error: String| CliError::usage(format!("--since: {}: {error}", path.display()));
        let text = read_text(path).map_err(|error| wrong(error.to_string()))?;
        let none = || wrong("the document has no checkpoint".to_owned());
        match Self::of(text.clone()) {
            None => Ok(text),
            Some(Self::Proof(text)) => text
                .parse()
                .map(|proof: TlogProof| proof.checkpoint)
                .map_err(|error| wrong(error.to_string())),
            Some(Self::Certificate(text)) => {
                certificate::checkpoint_note(&text).map_err(|error| wrong(error.to_string()))
            }
            Some(Self::Receipt(text)) => package::receipt_checkpoint(&text).ok_or_else(none),
            Some(Self::Subject(text)) => SubjectProof::parse(&text)
                .and_then(|proof| proof.checkpoint_note())
                .map_err(|error| wrong(error.to_string())),
            Some(Self::Package(_)) => Err(none()),
        }
    }

    /// Verifies the document. Prints the verdict, what it does not cover, and what only the operator states.
    pub fn verify(&self, keys: &KeyChain, options: &Options, out: Out) -> Result<(), CliError> {
        match self {
            Self::Proof(text) => verify_proof(text, keys, options, out),
            Self::Certificate(text) => verify_certificate(text, keys, options, out),
            Self::Receipt(text) => verify_receipt(text, keys, options, out),
            Self::Subject(text) => verify_subject(text, keys, options, out),
            Self::Package(path) => verify_package(path, keys, options, out),
        }
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(DOCUMENT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// A verdict, and the limits of what it shows.
#[derive(Default)]
struct Verdict {
    /// Fields that only the operator states: the log's key signed them, but the proven entry does not have
    /// them.
    stated_only: Vec<String>,
    /// Parts of the file that no check covered.
    not_checked: Vec<String>,
    /// What the verdict does not show.
    not_shown: Vec<String>,
    shown: ContextFindings,
    given: GivenContext,
}

impl Verdict {
    /// Checks the document's checkpoint against what the user knows of the log.
    fn of(
        checkpoint: &Checkpoint,
        note: &str,
        consistency: Option<&Consistency>,
        keys: &KeyChain,
        options: &Options,
    ) -> Result<Self, CliError> {
        let shown =
            context::check(note, checkpoint, consistency, keys, options).map_err(|error| match error {
                ContextError::NoConsistency(_) => CliError::unverified(error)
                    .next("`sayso certificate --since FILE` adds a consistency proof to a certificate"),
                error => CliError::unverified(error),
            })?;
        let given = GivenContext::new(options, &shown);
        let not_shown = verify_context::not_shown(&given, None, Hint::Document);
        let mut verdict = Self { shown, given, not_shown, ..Self::default() };
        let signatures = note.lines().filter(|line| line.starts_with('\u{2014}')).count();
        match signatures.saturating_sub(verdict.shown.witnesses.len()).saturating_sub(1) {
            0 => {}
            others => {
                let others = count(others as u64, "signature");
                verdict.not_checked.push(format!("{others} of other signers on the checkpoint"));
            }
        }
        if let (Some(proof), None) = (consistency, verdict.shown.continues) {
            let from = count(proof.from_size, "entry");
            verdict.not_checked.push(format!("the consistency proof from {from}, which needs --since"));
        }
        Ok(verdict)
    }

    fn print(self, mut value: Value, text: &str, out: Out) -> Result<(), CliError> {
        let mut lines = vec![text.to_owned()];
        if let Some(size) = self.shown.continues {
            lines.push(format!("continues the earlier checkpoint of {}", count(size, "entry")));
        }
        let witnesses: Vec<&str> = self.shown.witnesses.iter().map(|one| one.witness.as_str()).collect();
        if !witnesses.is_empty() {
            lines.push(format!("cosigned by {}", verify_context::cosigners(&self.shown.witnesses)));
        }
        let lists = [
            ("stated by the operator, and not compared with the log", &self.stated_only),
            ("not checked", &self.not_checked),
        ];
        for (what, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            lines.push(format!("{what}: {}", list.join(", ")));
        }
        lines.push(verify_context::given_text(&self.given));
        lines.extend(self.not_shown.iter().map(|what| format!("not shown: {what}")));
        verify_context::add_to(&mut value, &self.given);
        if let Some(members) = value.as_object_mut() {
            members.insert("statedOnly".to_owned(), json!(self.stated_only));
            members.insert("notChecked".to_owned(), json!(self.not_checked));
            members.insert("notShown".to_owned(), json!(self.not_shown));
            members.insert("witnesses".to_owned(), json!(witnesses));
            members.insert("continues".to_owned(), self.shown.continues.map_or(Value::Null, int64));
        }
        out.print_value(&value, &lines.join("\n"))
    }
}

fn verify_proof(text: &str, keys: &KeyChain, options: &Options, out: Out) -> Result<(), CliError> {
    let proof: TlogProof = text.parse().map_err(CliError::unverified)?;
    let verified = proof.verify(keys).map_err(CliError::document)?;
    let mut verdict = Verdict::of(&verified.checkpoint, &proof.checkpoint, None, keys, options)?;
    let body = verified.entry.plain_body().map_err(CliError::document)?;
    let body = body.map(|body| to_json(&body)).transpose().map_err(CliError::failed)?;
    if body.is_none() {
        verdict.not_checked.push("the body of the entry, which is sealed".to_owned());
    }
    let (position, size) = (verified.position, verified.checkpoint.size);
    let value = json!({
        "origin": verified.entry.origin,
        "position": int64(position),
        "treeSize": int64(size),
        "body": body,
    });
    let shown = body.map_or_else(|| "the body of the entry is sealed".to_owned(), |body| body.to_string());
    let origin = &verified.entry.origin;
    verdict.print(value, &format!("verified: position {position} of {size} in {origin}\n{shown}"), out)
}

fn verify_certificate(text: &str, keys: &KeyChain, options: &Options, out: Out) -> Result<(), CliError> {
    let verified = certificate::verify(text, keys).map_err(CliError::document)?;
    let consistency = verified.consistency.as_ref();
    let mut verdict =
        Verdict::of(&verified.checkpoint, &verified.checkpoint_note, consistency, keys, options)?;
    let statement = &verified.statement;
    verdict.stated_only = verified.stated_only.iter().map(|field| (*field).to_owned()).collect();
    verdict.not_shown.extend(not_shown_of_erasure(statement));
    let value = serde_json::to_value(statement).map_err(CliError::failed)?;
    let shown = serde_json::to_string_pretty(statement).map_err(CliError::failed)?;
    let (position, origin) = (statement.position, &statement.origin);
    let erased = count(statement.entries_erased, "entry");
    let text = format!("verified: {erased} erased, recorded at position {position} in {origin}\n{shown}");
    verdict.print(proto_style(value), &text, out)
}

/// What no certificate shows.
fn not_shown_of_erasure(statement: &Statement) -> Vec<String> {
    let mut not_shown = vec!["that nobody kept a copy of the erased data, or of its keys".to_owned()];
    if !statement.recipients.is_empty() {
        let acknowledged = "that recipients deleted what they received; they only acknowledge it".to_owned();
        not_shown.push(acknowledged);
    }
    not_shown.extend(statement.copies.as_ref().map(|copies| {
        let why = match copies {
            Copies { kept, .. } if *kept > 0 => {
                let kept = count(u64::from(*kept), "copy");
                format!(": {kept} found and not erased")
            }
            Copies { unfinished: true, .. } => ": the search for copies did not read everything".to_owned(),
            _ => " in other words".to_owned(),
        };
        format!("that nothing else in the person's record says the same{why}")
    }));
    not_shown
}

fn verify_receipt(text: &str, keys: &KeyChain, options: &Options, out: Out) -> Result<(), CliError> {
    let verified = package::verify_receipt(text, keys).map_err(CliError::document)?;
    let mut verdict = Verdict::of(&verified.checkpoint, &verified.checkpoint_note, None, keys, options)?;
    let VerifiedReceipt {
        origin, position, decision, purposes, at, is_signed, not_compared, checkpoint, ..
    } = verified;
    match is_signed {
        true => verdict.stated_only = not_compared,
        false => verdict.not_checked.extend(not_compared),
    }
    let size = checkpoint.size;
    let value = json!({
        "origin": origin, "position": int64(position), "treeSize": int64(size),
        "decision": decision, "purposes": purposes, "at": at, "signed": is_signed,
    });
    let signed = match is_signed {
        true => "the log's key signed the whole receipt",
        false => "the receipt is not signed as a whole: only the decision itself was checked",
    };
    let decision = decision.trim_start_matches("dpv:");
    let purposes = if purposes.is_empty() { "every purpose".to_owned() } else { purposes.join(", ") };
    let checked = if is_signed { "verified" } else { "not verified as a whole" };
    let text = format!(
        "{checked}: position {position} of {size} in {origin}\n{decision} for {purposes} on {at}; the receipt agrees with \
         the log\n{signed}"
    );
    verdict.print(value, &text, out)?;
    require_signed(is_signed, "receipt")
}

fn verify_package(path: &Path, keys: &KeyChain, options: &Options, out: Out) -> Result<(), CliError> {
    let cant_open = |error| CliError::failed(format!("{}: {error}", path.display()));
    let mut file = std::fs::File::open(path).map_err(cant_open)?;
    let verified = package::verify_package(&mut file, keys).map_err(CliError::document)?;
    let VerifiedPackage {
        origin,
        is_signed,
        files,
        receipts,
        not_compared,
        checkpoint,
        other_checkpoints,
        completeness,
        is_portability,
        made_at,
    } = verified;
    let mut verdict = verdict_of_package(checkpoint.as_ref(), keys, options)?;
    verdict.not_checked.push("times and comments of the ZIP file".to_owned());
    verdict.not_shown.extend(not_shown_of_checkpoints(other_checkpoints));
    let complete = match &completeness {
        Some(Completeness { subject, entries }) => {
            verdict.not_shown.extend(not_shown_of_subject(subject));
            complete_text(subject, entries)
        }
        None => {
            let everything = "that the package contains everything that the log has about the person";
            verdict.not_shown.push(everything.to_owned());
            String::new()
        }
    };
    match is_signed {
        true => verdict.stated_only = not_compared,
        false => verdict.not_checked.extend(not_compared),
    }
    let as_of = checkpoint.as_ref().map(|(checkpoint, _)| checkpoint.size);
    let value = json!({
        "origin": origin, "files": int64(files), "receipts": int64(receipts), "signed": is_signed,
        "asOfEntries": as_of.map_or(Value::Null, int64),
        "complete": completeness.as_ref().map(|found| json!({
            "subject": found.subject.subject, "position": int64(found.subject.position),
            "events": int64(found.entries.events), "erased": int64(found.entries.erased),
            "withheld": int64(found.entries.withheld),
        })),
    });
    let signed = match as_of {
        Some(size) => format!(
            "the log's key signed the whole package, as of the checkpoint of {}",
            count(size, "entry")
        ),
        None => "the package is not signed as a whole: only its receipts were checked".to_owned(),
    };
    let (files, receipts) = (count(files, "file"), count(receipts, "receipt"));
    let checked = if is_signed { "verified" } else { "not verified as a whole" };
    verdict.print(
        value,
        &format!("{checked}: {files} and {receipts} of {origin}\n{signed}{complete}"),
        out,
    )?;
    require_signed(is_signed, "package")?;
    require_complete(completeness.as_ref(), is_portability, made_at.as_deref())
}

/// Returns an error unless the package shows that it contains everything that the log had about the person
/// when it was made.
fn require_complete(
    completeness: Option<&Completeness>,
    is_portability: bool,
    made_at: Option<&str>,
) -> Result<(), CliError> {
    match completeness {
        // The operator states the kind, and could call any package one for portability.
        None if is_portability => {
            Err(incomplete("the package says that it has only what the person provided"))
        }
        None => Err(incomplete(
            "the package does not show that it contains everything that the log has about the person",
        )),
        Some(Completeness { subject, .. }) if is_old(subject, made_at) => {
            let at = wording::time(subject.committed_at_ms);
            Err(incomplete(&format!("the package shows only what the log had about the person at {at}")))
        }
        Some(_) => Ok(()),
    }
}

/// Whether a package was made long after the commitment that shows what is in it. A daemon makes a new
/// commitment to the subject map for each access package.
fn is_old(subject: &VerifiedSubject, made_at: Option<&str>) -> bool {
    let made_at = made_at.and_then(|text| times::exact(text).ok());
    let made_s = made_at.and_then(|made_at| u64::try_from(made_at.seconds).ok());
    let is_old =
        |made_s: u64| made_s.saturating_mul(1000).saturating_sub(subject.committed_at_ms) > MAP_AGE_MS_MAX;
    made_s.is_none_or(is_old)
}

/// Checks the checkpoint of a package against what the user knows of the log.
fn verdict_of_package(
    checkpoint: Option<&(Checkpoint, String)>,
    keys: &KeyChain,
    options: &Options,
) -> Result<Verdict, CliError> {
    match checkpoint {
        Some((checkpoint, note)) => Verdict::of(checkpoint, note, None, keys, options),
        None if options.since.is_some() || !options.witnesses.is_empty() => Err(CliError::usage(
            "--since and --witness can't be used with a package that is not signed; verify the receipts in it one by \
             one",
        )),
        None => Ok(Verdict {
            not_shown: verify_context::not_shown(&GivenContext::default(), None, Hint::Package),
            ..Verdict::default()
        }),
    }
}

/// The error for a package that does not show that it contains everything.
fn incomplete(error: &str) -> CliError {
    CliError::unchecked(error.to_owned()).next(
        "ask the controller for a new access package, which shows everything, and compare it with this one; or verify \
         an export of the log",
    )
}

/// What a package does not show if its proofs have other checkpoints than the package itself.
fn not_shown_of_checkpoints(others: u64) -> Option<String> {
    let text = || {
        let others = count(others, "other checkpoint");
        format!(
            "that the trees of {others} in the proofs of the package are states of the same log; verify receipts one by \
             one with --since or --witness"
        )
    };
    (others > 0).then(text)
}

/// The error for a document that the log's key did not sign as a whole. In such a document, only what the
/// log's entries contain is protected against changes.
fn require_signed(is_signed: bool, what: &str) -> Result<(), CliError> {
    let error =
        || CliError::unchecked(format!("the {what} is not signed as a whole, so not all of it was checked"));
    if is_signed { Ok(()) } else { Err(error().next("ask the controller for a new one, which is signed")) }
}

fn complete_text(subject: &VerifiedSubject, entries: &CheckedStream) -> String {
    let (id, position) = (&subject.subject, subject.position);
    let erased = match entries.erased {
        0 => String::new(),
        1 => "; 1 earlier event was erased".to_owned(),
        erased => format!("; {erased} earlier events were erased"),
    };
    let withheld = match entries.withheld {
        0 => String::new(),
        1 => "; the content of 1 event is withheld".to_owned(),
        withheld => format!("; the content of {withheld} events is withheld"),
    };
    let events = count(entries.events, "event");
    format!(
        "\ncomplete: {events}, which is all that the log had under the id `{id}` when it committed to them at position \
         {position}{erased}{withheld}"
    )
}

/// What no proof about one id shows.
fn not_shown_of_subject(subject: &VerifiedSubject) -> Vec<String> {
    let first = count(subject.committed.tree_size, "entry");
    let later = format!("what was recorded under the id after the first {first}");
    let mut not_shown = vec!["that the person has no other id".to_owned(), later];
    match subject.committed.unlinked {
        0 => {}
        unlinked => not_shown.push(format!(
            "which of {}, begun before the log had a map, belong to this id",
            count(unlinked, "other stream")
        )),
    }
    not_shown
}

fn verify_subject(text: &str, keys: &KeyChain, options: &Options, out: Out) -> Result<(), CliError> {
    let verified = SubjectProof::parse(text).and_then(|proof| proof.verify(keys));
    let verified = verified.map_err(CliError::document)?;
    let mut verdict = Verdict::of(&verified.checkpoint, &verified.checkpoint_note, None, keys, options)?;
    verdict.not_shown.extend(not_shown_of_subject(&verified));
    let VerifiedSubject { subject, stream, committed, position, checkpoint, .. } = verified;
    let value = json!({
        "origin": checkpoint.origin, "subject": subject, "recorded": stream.is_some(),
        "events": int64(stream.map_or(0, |stream| stream.present)),
        "handle": stream.map(|stream| stream.handle.to_string()),
        "position": int64(position), "treeSize": int64(checkpoint.size),
        "asOfEntries": int64(committed.tree_size), "subjects": int64(committed.subjects),
        "unlinked": int64(committed.unlinked),
    });
    let has = match stream {
        Some(stream) => format!("{} under the handle {}", count(stream.present, "event"), stream.handle),
        None => "nothing".to_owned(),
    };
    let (origin, size) = (&checkpoint.origin, committed.tree_size);
    let text = format!(
        "verified: position {position} of {} in {origin}\nthe first {} have {has} under the id `{subject}`",
        checkpoint.size,
        count(size, "entry")
    );
    verdict.print(value, &text, out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_a_proof_is_read_as_a_proof() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "c2sp.org/tlog-proof@v1\nindex 0\n").unwrap();
        assert!(Document::read(&path).is_some());
        std::fs::write(&path, [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
        assert!(Document::read(&path).is_none() && Document::read(folder.path()).is_none());
    }
}
