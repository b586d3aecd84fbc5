//! The command `sayso verify`.

use super::error::CliError;
use super::output::{Out, count, int64, people, proto_style};
use super::progress;
use super::receipt;
use clap::Args;
use sayso_proof::bundle::{Options, Report, Source, verify};
use sayso_proof::certificate;
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::json::to_json;
use sayso_proof::keys::KeyChain;
use sayso_proof::proof::TlogProof;
use sayso_proof::witness::WitnessKey;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest size of a proof, a certificate or a receipt, in bytes.
const PROOF_BYTES_MAX: u64 = 1 << 20;

/// Verify a bundle, proof, erasure certificate or consent receipt offline.
///
/// A bundle is a `.tar.zst` or an unpacked folder; a proof is a C2SP tlog-proof. Verification needs no
/// daemon, no network and no token. It needs only the log's verifier key, from a source that you trust. The
/// first failure is reported with its position and reason, and the exit status is 4.
///
/// A large bundle needs about 250 bytes an entry in temporary files (in TMPDIR). These files contain no
/// values of attributes, but they show which person has attributes of which category. They have no file
/// names, and disappear when the command ends, even if it is killed.
///
/// Example: `sayso verify log.tar.zst --key sayso-data/dev/log.vkey`
#[derive(Args)]
pub(super) struct Verify {
    /// The bundle, proof, certificate or receipt.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The log's verifier key in C2SP form, or a file with it.
    #[arg(long, value_name = "VKEY")]
    key: String,
    /// File with all keys that the log has had (`sayso keys show`). --key must be one of them. If the log has
    /// changed its key, a proof, certificate or receipt may need this file; a bundle contains the keys.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Verifier key of a trusted witness in C2SP form, or a file with it; may be repeated. Each such witness
    /// must have cosigned the bundle's checkpoint, unless --witnesses-min requires fewer.
    #[arg(long = "witness", value_name = "VKEY")]
    witnesses: Vec<String>,
    /// Number of the witnesses named by --witness that must have cosigned the checkpoint. Default: all.
    #[arg(long, value_name = "NUMBER", requires = "witnesses")]
    witnesses_min: Option<usize>,
    /// A checkpoint seen earlier. The log must be a continuation of it.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
}

impl Verify {
    pub fn run(self, out: Out) -> Result<(), CliError> {
        let key = read_key(&self.key)?;
        let Some(document) = read_document(&self.path) else { return self.verify_bundle(&key, out) };
        if !self.witnesses.is_empty() {
            return Err(CliError::usage("--witness can be used only with a bundle"));
        }
        let keys = self.key_chain(&key)?;
        let verified = match document {
            Document::Proof(text) => verify_proof(&text, &keys, out),
            Document::Certificate(text) => verify_certificate(&text, &keys, out),
            Document::Receipt(receipt) => receipt::verify(&receipt, &keys, out),
        };
        verified.map_err(|error| match &self.keys {
            None => error.next("if the log has changed its key, give all of its keys with `--keys FILE`"),
            Some(_) => error,
        })
    }

    fn key_chain(&self, key: &VerifierKey) -> Result<KeyChain, CliError> {
        let Some(path) = &self.keys else { return Ok(KeyChain::from(key)) };
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| CliError::usage(format!("--keys: {}: {error}", path.display())))?;
        KeyChain::parse(&text, key).map_err(CliError::unverified)
    }

    fn read_witnesses(&self) -> Result<Vec<WitnessKey>, CliError> {
        let read = |text: &String| {
            let found = text.trim().parse::<WitnessKey>().or_else(|error| {
                let file = std::fs::read_to_string(text).map_err(|_| error)?;
                file.trim().parse::<WitnessKey>()
            });
            found.map_err(|error| CliError::usage(format!("--witness: {error}")))
        };
        self.witnesses.iter().map(read).collect()
    }

    fn verify_bundle(&self, key: &VerifierKey, out: Out) -> Result<(), CliError> {
        let cant_open = |error| CliError::failed(format!("{}: {error}", self.path.display()));
        let source = Source::open(&self.path).map_err(cant_open)?;
        let since = self.since.as_ref().map(|path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| CliError::usage(format!("--since: {}: {error}", path.display())))
        });
        let since = since.transpose()?;
        let bar = progress::entries(0, "verifying");
        let witnesses = self.read_witnesses()?;
        let witnesses_min = self.witnesses_min.unwrap_or(witnesses.len());
        let options = Options { since, witnesses, witnesses_min };
        let verified = verify(source, key, &options, &mut |done| progress::verification(&bar, done));
        bar.finish_and_clear();
        let report = verified.map_err(CliError::bundle)?;
        let value = serde_json::to_value(&report).map_err(CliError::failed)?;
        let printed = out.print_value(&proto_style(value), &text_of(&report));
        if report.grants_hold() {
            return printed;
        }
        let grants = count(report.grants.unjustified, "grant");
        let bounds = match report.grants.bounds_unsigned {
            0 => String::new(),
            number => format!("; {} of bounds without a valid signature", count(number, "version")),
        };
        Err(CliError::unverified(format!("{grants} that should not have been issued{bounds}")))
    }
}

pub(super) fn read_key(key: &str) -> Result<VerifierKey, CliError> {
    if let Ok(key) = key.trim().parse() {
        return Ok(key);
    }
    let text = std::fs::read_to_string(key).map_err(|error| {
        CliError::usage(format!("--key: neither a verifier key nor a readable file with one: {error}"))
            .next("`sayso serve --dev` writes the key to DATA/dev/log.vkey")
    })?;
    text.trim().parse().map_err(|error| CliError::usage(format!("--key: {error}")))
}

/// A document that is small enough to be read into memory as a whole.
enum Document {
    Proof(String),
    Certificate(String),
    Receipt(serde_json::Value),
}

/// Reads a proof, a certificate or a consent receipt, if the file is one.
fn read_document(path: &Path) -> Option<Document> {
    let file =
        std::fs::File::open(path).ok().filter(|file| file.metadata().is_ok_and(|data| data.is_file()))?;
    let mut text = String::new();
    file.take(PROOF_BYTES_MAX).read_to_string(&mut text).ok()?;
    if text.starts_with("c2sp.org/tlog-proof@") {
        return Some(Document::Proof(text));
    }
    if certificate::is_certificate(&text) {
        return Some(Document::Certificate(text));
    }
    receipt::parse(&text).map(Document::Receipt)
}

fn verify_certificate(text: &str, keys: &KeyChain, out: Out) -> Result<(), CliError> {
    let statement = certificate::verify(text, keys).map_err(CliError::unverified)?;
    let value = serde_json::to_value(&statement).map_err(CliError::failed)?;
    let shown = serde_json::to_string_pretty(&statement).map_err(CliError::failed)?;
    let (position, origin) = (statement.position, &statement.origin);
    let erased = count(statement.entries_erased, "entry");
    out.print_value(
        &proto_style(value),
        &format!("verified: {erased} erased, recorded at position {position} in {origin}\n{shown}"),
    )
}

fn verify_proof(text: &str, keys: &KeyChain, out: Out) -> Result<(), CliError> {
    let proof: TlogProof = text.parse().map_err(CliError::unverified)?;
    let verified = proof.verify(keys).map_err(CliError::unverified)?;
    let body = verified.entry.plain_body().map_err(CliError::unverified)?;
    let body = body.map(|body| to_json(&body)).transpose().map_err(CliError::failed)?;
    let (position, size) = (verified.position, verified.checkpoint.size);
    let value = serde_json::json!({
        "origin": verified.entry.origin,
        "position": int64(position),
        "treeSize": int64(size),
        "body": body,
    });
    let shown = body.map_or_else(|| "the body of the entry is sealed".to_owned(), |body| body.to_string());
    let origin = &verified.entry.origin;
    out.print_value(&value, &format!("verified: position {position} of {size} in {origin}\n{shown}"))
}

fn text_of(report: &Report) -> String {
    let verdict = if report.grants_hold() {
        "verified"
    } else {
        "the log is complete, but not all of its grants are justified"
    };
    let mut text = format!(
        "{verdict}: {} of {} ({} opened, {} without a subject, {} sealed, {} erased), {}\n\
         {} verified, root {}\n{} replayed",
        count(report.tree_size, "entry"),
        report.origin,
        report.opened,
        report.plain,
        report.withheld,
        report.erased,
        people(report.subjects),
        count(report.signatures, "signature"),
        report.root,
        count(report.grants.replayed, "grant"),
    );
    if let Some(size) = report.continues {
        text.push_str(&format!("\ncontinues the earlier checkpoint of {}", count(size, "entry")));
    }
    if report.key_rotations > 0 {
        text.push_str(&format!(
            "\nthe log changed its key {}, signed by both keys each time",
            count(report.key_rotations, "time")
        ));
    }
    if !report.witnesses.is_empty() {
        let names: Vec<&str> = report.witnesses.iter().map(|one| one.witness.as_str()).collect();
        text.push_str(&format!("\ncosigned by {}", names.join(", ")));
    }
    for finding in &report.grants.findings {
        text.push_str(&format!("\n{finding}"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const KEY: &str = "sayso.localhost/dev+0821ff8b+AallHMH0g90gHqgIbiNWkLZsuEN1nZfX+pz3gKLNqy3z";

    #[test]
    fn a_key_is_given_on_the_command_line_or_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.vkey");
        std::fs::write(&path, format!("{KEY}\n")).unwrap();
        assert_eq!(read_key(KEY).unwrap().to_string(), KEY);
        assert_eq!(read_key(path.to_str().unwrap()).unwrap().to_string(), KEY);
        assert!(read_key("no/such/file").unwrap_err().to_string().contains("neither"));
        std::fs::write(&path, "not a key").unwrap();
        assert!(read_key(path.to_str().unwrap()).is_err());
    }

    #[test]
    fn only_a_proof_is_read_as_a_proof() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "c2sp.org/tlog-proof@v1\nindex 0\n").unwrap();
        assert!(read_document(&path).is_some());
        std::fs::write(&path, [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
        assert!(read_document(&path).is_none() && read_document(folder.path()).is_none());
    }
}
