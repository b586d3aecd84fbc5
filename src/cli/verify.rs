//! `sayso verify`

use super::error::CliError;
use super::output::Out;
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

/// Larger texts are no proofs.
const PROOF_BYTES_MAX: u64 = 1 << 20;

/// Verify a bundle (`.tar.zst` or an unpacked folder), a tlog-proof, the certificate of an erasure or a consent receipt,
/// offline.
///
/// Needs no daemon, no network and no token: only the log's verifier key, from whomever you trust to know it. The first
/// thing that does not hold is named with its position and reason; the exit status is 4 then.
///
/// Of a large bundle some 250 bytes an entry are put aside in temporary files (where TMPDIR says): no values of facts, but
/// whose fact is of which category. They have no names, and are gone when the command ends, however it ends.
///
/// Example: `sayso verify log.tar.zst --key sayso-data/dev/log.vkey`
#[derive(Args)]
pub(super) struct Verify {
    /// The bundle, the proof, the certificate or the receipt.
    what: PathBuf,
    /// The log's verifier key in C2SP form, or a file with it.
    #[arg(long)]
    key: String,
    /// All keys of a log that changed its key (`sayso keys show`), of which --key is one. A bundle has them in it; a proof, a
    /// certificate or a receipt may need them.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// A witness that you trust (C2SP verifier key, or a file with it), whose cosignature of a bundle's checkpoint is checked;
    /// as often as there are witnesses.
    #[arg(long = "witness", value_name = "VKEY")]
    witnesses: Vec<String>,
    /// How many of these witnesses must have cosigned. Default: all.
    #[arg(long, requires = "witnesses")]
    witnesses_min: Option<usize>,
    /// A checkpoint seen earlier: the log must continue it.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
}

impl Verify {
    pub fn run(self, out: Out) -> Result<(), CliError> {
        let key = read_key(&self.key)?;
        let Some(small) = read_small(&self.what) else { return self.verify_bundle(&key, out) };
        if !self.witnesses.is_empty() {
            return Err(CliError::usage("--witness goes with a bundle"));
        }
        let keys = self.key_chain(&key)?;
        let verified = match small {
            Small::Proof(text) => verify_proof(&text, &keys, out),
            Small::Certificate(text) => verify_certificate(&text, &keys, out),
            Small::Receipt(receipt) => receipt::verify(&receipt, &keys, out),
        };
        verified.map_err(|error| match &self.keys {
            None => error.next("where the log has changed its key, give all of them: `--keys FILE`"),
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
        let cant_read = |error| CliError::failed(format!("{}: {error}", self.what.display()));
        let source = Source::open(&self.what).map_err(cant_read)?;
        let since = self.since.as_ref().map(|path| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| CliError::usage(format!("--since: {}: {error}", path.display())))
        });
        let since = since.transpose()?;
        let bar = progress::entries(0, "verifying");
        let witnesses = self.read_witnesses()?;
        let witnesses_min = self.witnesses_min.unwrap_or(witnesses.len());
        let options = Options { since, witnesses, witnesses_min };
        let verified = verify(source, key, &options, &mut |told| progress::verification(&bar, told));
        bar.finish_and_clear();
        let report = verified.map_err(CliError::bundle)?;
        let value = serde_json::to_value(&report).map_err(CliError::failed)?;
        let printed = out.print_value(&value, &text_of(&report));
        if report.grants_hold() {
            return printed;
        }
        let (grants, bounds) = (report.grants.unjustified, report.grants.bounds_unsigned);
        let bounds =
            if bounds == 0 { String::new() } else { format!(", {bounds} versions of bounds are not signed") };
        Err(CliError::unverified(format!("{grants} grants should not have been issued{bounds}")))
    }
}

pub(super) fn read_key(key: &str) -> Result<VerifierKey, CliError> {
    if let Ok(key) = key.trim().parse() {
        return Ok(key);
    }
    let text = std::fs::read_to_string(key).map_err(|error| {
        CliError::usage(format!("--key: neither a verifier key nor a file with one: {error}"))
            .next("a `sayso serve --dev` leaves it in DATA/dev/log.vkey")
    })?;
    text.trim().parse().map_err(|error| CliError::usage(format!("--key: {error}")))
}

/// What is read whole.
enum Small {
    Proof(String),
    Certificate(String),
    Receipt(serde_json::Value),
}

/// A proof, a certificate or a consent receipt, if it is one.
fn read_small(path: &Path) -> Option<Small> {
    let file =
        std::fs::File::open(path).ok().filter(|file| file.metadata().is_ok_and(|data| data.is_file()))?;
    let mut text = String::new();
    file.take(PROOF_BYTES_MAX).read_to_string(&mut text).ok()?;
    if text.starts_with("c2sp.org/tlog-proof@") {
        return Some(Small::Proof(text));
    }
    if certificate::is_certificate(&text) {
        return Some(Small::Certificate(text));
    }
    receipt::parse(&text).map(Small::Receipt)
}

fn verify_certificate(text: &str, keys: &KeyChain, out: Out) -> Result<(), CliError> {
    let said = certificate::verify(text, keys).map_err(CliError::unverified)?;
    let value = serde_json::to_value(&said).map_err(CliError::failed)?;
    let shown = serde_json::to_string_pretty(&said).map_err(CliError::failed)?;
    let (entries, position, origin) = (said.entries_erased, said.position, &said.origin);
    out.print_value(
        &value,
        &format!("verified: {entries} entries erased, recorded at position {position} in {origin}\n{shown}"),
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
        "position": position,
        "tree_size": size,
        "body": body,
    });
    let shown = body.map_or_else(|| "its body is sealed".to_owned(), |body| body.to_string());
    let origin = &verified.entry.origin;
    out.print_value(&value, &format!("verified: position {position} of {size} in {origin}\n{shown}"))
}

fn text_of(report: &Report) -> String {
    let verdict = if report.grants_hold() { "verified" } else { "whole, but not rightly used" };
    let mut text = format!(
        "{verdict}: {} entries of {} ({} opened, {} about nobody, {} closed, {} erased), {} people\n\
         {} signatures hold, root {}\n{} grants replayed",
        report.tree_size,
        report.origin,
        report.opened,
        report.plain,
        report.withheld,
        report.erased,
        report.subjects,
        report.signatures,
        report.root,
        report.grants.replayed,
    );
    if let Some(size) = report.continues {
        text.push_str(&format!("\ncontinues the checkpoint of {size} entries"));
    }
    if report.key_rotations > 0 {
        text.push_str(&format!(
            "\nthe log changed its key {} times, each time signed by both keys",
            report.key_rotations
        ));
    }
    if !report.witnesses.is_empty() {
        let names: Vec<&str> = report.witnesses.iter().map(|one| one.witness.as_str()).collect();
        text.push_str(&format!("\ncosigned by {}", names.join(", ")));
    }
    for finding in &report.grants.findings {
        text.push_str(&format!("\n{}", serde_json::to_string(finding).unwrap_or_default()));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const KEY: &str = "sayso.localhost/dev+0821ff8b+AallHMH0g90gHqgIbiNWkLZsuEN1nZfX+pz3gKLNqy3z";

    #[test]
    fn a_key_is_given_or_lies_in_a_file() {
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
    fn only_a_proof_is_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("what");
        std::fs::write(&path, "c2sp.org/tlog-proof@v1\nindex 0\n").unwrap();
        assert!(read_small(&path).is_some());
        std::fs::write(&path, [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
        assert!(read_small(&path).is_none() && read_small(folder.path()).is_none());
    }
}
