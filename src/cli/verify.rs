//! The command `sayso verify`.

use super::error::CliError;
use super::output::{Out, count, proto_style};
use super::progress;
use super::verify_completeness;
use super::verify_context::{self, Hint};
use super::verify_document::Document;
use super::verify_earlier;
use super::verify_report::{Checked, Content, Outcome, PendingReport, ReportFlags};
use super::verify_rules;
use super::verify_text::text_of;
use super::verify_verdict::{headline, verdict_of};
use crate::clock::{Clock, SystemClock};
use clap::Args;
use sayso_proof::bundle::usage::Usage;
use sayso_proof::bundle::{Options, Report, Source, verify, verify_and_record};
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::context::ContextFindings;
use sayso_proof::keys::KeyChain;
use sayso_proof::rule::TierKey;
use sayso_proof::timestamp::Authorities;
use sayso_proof::unseen::GivenContext;
use sayso_proof::witness::WitnessKey;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest size of a file of signed counts, in bytes. No valid file is larger.
const COUNTS_BYTES_MAX: u64 = 16 << 10;

/// Verify a bundle, proof, certificate, receipt or package offline.
///
/// A bundle is a `.tar.zst` or an unpacked folder; a proof is a C2SP tlog-proof. Verification needs no
/// daemon, no network and no token. It needs only the log's verifier key, from a source that you trust.
/// The first failure is reported with its position and reason, and the exit status is 4. The status is
/// also 4 if there is a finding, such as a grant that should not have been issued. If the log or document
/// was made by a newer version of sayso, the exit status is 7.
///
/// Whether a grant was allowed depends on earlier events of the person. If some of them are erased
/// or withheld, it may be impossible to check the grant in full. Such grants are counted and
/// listed, and the exit status is 6. The status is also 6 if the bundle leaves entries of people sealed,
/// and in the other cases that docs/format.md lists under "Exit status".
///
/// The answer also says what was not checked, what only the operator states, and what the verdict
/// does not show. For example, a document alone does not show that its log is the one that others
/// see. A witness, an older checkpoint or an export of the log shows that.
///
/// A large bundle needs about 380 bytes an entry in temporary files (in TMPDIR). These files contain no
/// values of attributes, but they show which person has attributes of which category. They have no file
/// names, and disappear when the command ends, even if it is killed.
///
/// With --report, the verifier writes what it found and how data was used, as a page for people, JSON or CSV.
///
/// Example: `sayso verify log.tar.zst --key sayso-data/dev/log.vkey --report audit.html`
#[derive(Args)]
pub(super) struct Verify {
    /// The bundle, proof, certificate, receipt or package.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The log's verifier key in C2SP form, or a file with it.
    #[arg(long, value_name = "VKEY")]
    key: String,
    /// File with all keys that the log has had (`sayso keys show`). --key must be one of them. If
    /// the log has changed its key, verifying anything but a bundle may need this file; a bundle
    /// contains the keys.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Verifier key of a trusted witness in C2SP form, or a file with it; may be repeated. The key may be
    /// for Ed25519 or for ML-DSA-44. Each such key must have cosigned the checkpoint in the file, unless
    /// --witnesses-min requires fewer.
    #[arg(long = "witness", value_name = "VKEY")]
    witnesses: Vec<String>,
    /// Number of the witnesses named by --witness that must have cosigned the checkpoint. A witness with
    /// several keys counts once, and one of its keys is enough. Default: every named key must have cosigned.
    #[arg(long, value_name = "NUMBER", requires = "witnesses")]
    witnesses_min: Option<usize>,
    /// Public key that you trust to sign the rules of a tier, or a file with it; may be repeated,
    /// such as for a key that was replaced. The rules of a tier are its bounds and, for `provider`,
    /// also definitions of purposes and categories, and required notices. If another key signed a
    /// rule of the tier in a bundle, this is a finding.
    #[arg(long = "tier-key", value_name = "TIER=KEY")]
    tier_keys: Vec<String>,
    /// Subject proof of a person whose ID you know (`sayso prove-subject`), or a folder of such
    /// proofs; may be repeated. The command then counts the streams in a bundle that belong to none
    /// of these people, and lists up to 100 of them. If you give a proof for each ID that you know,
    /// the counted streams include any that the operator keeps under an ID unknown to you.
    #[arg(long = "subject-proof", value_name = "PATH")]
    subject_proofs: Vec<PathBuf>,
    /// A checkpoint seen earlier, or an earlier proof, certificate or receipt that has one. The log
    /// of the file that is verified must continue that checkpoint. A bundle shows this by itself.
    /// A certificate shows it with the proof that `sayso certificate --since` adds. Any other file
    /// can show it only if its checkpoint has as many entries as the one given here.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// An earlier bundle of the same log that you kept; may be repeated. The log must still have every
    /// entry of the earlier bundle, unchanged, except those that were erased since. If an erasure's
    /// statement about an erased entry contradicts the earlier bundle, this is a finding. Such a statement
    /// may hide a withdrawal.
    #[arg(long, value_name = "BUNDLE")]
    earlier: Vec<PathBuf>,
    /// File with certificates (PEM) that you trust for timestamps. Each is the certificate of a timestamp
    /// authority, or of a CA that issued such a certificate. At least one timestamp in the bundle must be
    /// by such an authority. Only a bundle has timestamps.
    #[arg(long, value_name = "FILE")]
    tsa_cert: Option<PathBuf>,
    /// File with the log's counts of rules and erasures, signed by its key (from the path /counts
    /// of the log's public pages). The counts are for the first entries of the log, up to a number
    /// that the file states. The bundle must have as many rules and as many erasures in these
    /// entries. A monitor keeps the newest counts in its state file.
    #[arg(long, value_name = "FILE")]
    counts: Option<PathBuf>,
    #[command(flatten)]
    report: ReportFlags,
}

impl Verify {
    pub fn run(self, out: Out) -> Result<(), CliError> {
        let key = read_key(&self.key)?;
        let mut options = self.options()?;
        let Some(document) = Document::read(&self.path) else {
            options.earlier = verify_earlier::read(&self.earlier, &key)?;
            return self.verify_bundle(&key, &options, out);
        };
        if !self.earlier.is_empty() {
            return Err(CliError::usage("--earlier can be used only with a bundle, which has all entries"));
        }
        if self.report.is_requested() {
            return Err(CliError::usage("--report can be used only with a bundle"));
        }
        if options.authorities.is_some() {
            return Err(CliError::usage("--tsa-cert can be used only with a bundle, which has timestamps"));
        }
        if !options.subject_proofs.is_empty() {
            return Err(CliError::usage(
                "--subject-proof can be used only with a bundle, which has all streams",
            ));
        }
        if options.counts.is_some() {
            return Err(CliError::usage("--counts can be used only with a bundle, which has all events"));
        }
        let keys = self.key_chain(&key)?;
        document.verify(&keys, &options, out).map_err(|error| match &self.keys {
            None => error.or_next("if the log has changed its key, give all of its keys with `--keys FILE`"),
            Some(_) => error,
        })
    }

    fn options(&self) -> Result<Options, CliError> {
        let since = self.since.as_deref().map(Document::checkpoint_in).transpose()?;
        let witnesses = read_witnesses(&self.witnesses)?;
        let authorities = self.tsa_cert.as_deref().map(read_authorities).transpose()?;
        let tier_keys = self.tier_keys.iter().map(|text| read_tier_key(text)).collect::<Result<_, _>>()?;
        let subject_proofs = verify_completeness::read_subject_proofs(&self.subject_proofs)?;
        let witnesses_min = self.witnesses_min;
        let counts = self.counts.as_deref().map(read_counts).transpose()?;
        let known_bounds = verify_rules::shipped_bounds();
        let known_definitions = verify_rules::shipped_definitions();
        Ok(Options {
            since,
            earlier: Vec::new(),
            counts,
            witnesses,
            witnesses_min,
            authorities,
            tier_keys,
            known_bounds,
            known_definitions,
            subject_proofs,
        })
    }

    fn key_chain(&self, key: &VerifierKey) -> Result<KeyChain, CliError> {
        let Some(path) = &self.keys else { return Ok(KeyChain::from(key)) };
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| CliError::usage(format!("--keys: {}: {error}", path.display())))?;
        KeyChain::parse(&text, key).map_err(CliError::unverified)
    }

    fn verify_bundle(&self, key: &VerifierKey, options: &Options, out: Out) -> Result<(), CliError> {
        let pending = self.report.begin()?;
        let cant_open = |error| CliError::failed(format!("{}: {error}", self.path.display()));
        let source = Source::open(&self.path).map_err(cant_open)?;
        let bar = progress::entries(0, "verifying");
        let progress = &mut |done| progress::verification(&bar, done);
        let verified = match &pending {
            None => verify(source, key, options, progress).map(|report| (report, None)),
            Some(pending) => verify_and_record(source, key, options, &pending.query, progress)
                .map(|(report, usage)| (report, Some(usage))),
        };
        bar.finish_and_clear();
        match verified {
            Ok((report, usage)) => {
                let context = in_context(&report, options)?;
                self.conclude(key, &report, context, pending.zip(usage), out)
            }
            Err(failure) => {
                let given =
                    verify_context::given_text(&GivenContext::new(options, &ContextFindings::default()));
                let error = CliError::bundle(failure.clone());
                let content = self.content(key, Err(&error), given, Outcome::Failed(&failure));
                let written = pending.map(|pending| pending.write(&content));
                Err(after(written, error, out))
            }
        }
    }

    /// Prints the result for a bundle whose checks passed, and writes the report on it.
    fn conclude(
        &self,
        key: &VerifierKey,
        report: &Report,
        context: Context,
        pending: Option<(PendingReport, Usage)>,
        out: Out,
    ) -> Result<(), CliError> {
        let Context { mut value, given, not_shown } = context;
        let lines = not_shown.iter().map(|what| format!("\nnot shown: {what}"));
        let mut text = format!("{}\n{given}{}", text_of(report), lines.collect::<String>());
        let verdict = verdict_of(report);
        let written = pending.map(|(pending, usage)| {
            let checked = Checked { report, usage: &usage, not_shown: &not_shown, json: &value };
            let content =
                self.content(key, verdict.as_ref().map(|()| report), given, Outcome::Checked(checked));
            let file = pending.write(&content)?;
            let grants = usage.count();
            text.push_str(&format!("\nreport: {file} ({} listed)", count(grants, "grant")));
            Ok(json!({ "file": file, "grants": grants.to_string() }))
        });
        if let (Some(members), Some(Ok(written))) = (value.as_object_mut(), &written) {
            members.insert("report".to_owned(), written.clone());
        }
        let printed = out.print_value(&value, &text).and_then(|()| self.report.note_dates(out));
        match verdict {
            Ok(()) => written.transpose().and(printed),
            Err(verdict) => Err(after(written, verdict, out)),
        }
    }

    /// Collects what a report on this verification shows.
    fn content<'a>(
        &self,
        key: &VerifierKey,
        verdict: Result<&Report, &CliError>,
        given: String,
        outcome: Outcome<'a>,
    ) -> Content<'a> {
        Content {
            file: self.path.display().to_string(),
            key: key.to_string(),
            made_ms: SystemClock.now_ms(),
            status: verdict.err().map_or(0, CliError::status),
            verdict: headline(&outcome, verdict.err()),
            given,
            outcome,
        }
    }
}

/// Returns `verdict`, the error with which the command ends. If the report could not be written, prints
/// the error about the report first.
fn after<T>(written: Option<Result<T, CliError>>, verdict: CliError, out: Out) -> CliError {
    if let Some(Err(error)) = written {
        out.report(&error);
    }
    verdict
}

fn read_counts(path: &Path) -> Result<String, CliError> {
    let wrong = |error| CliError::usage(format!("--counts: {}: {error}", path.display()));
    let (mut text, file) = (String::new(), std::fs::File::open(path).map_err(wrong)?);
    file.take(COUNTS_BYTES_MAX).read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}

fn read_authorities(path: &Path) -> Result<Authorities, CliError> {
    let wrong = |error: String| CliError::usage(format!("--tsa-cert: {}: {error}", path.display()));
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    Authorities::from_pem(&pem).map_err(|error| wrong(error.to_string()))
}

/// Reads the keys of `--witness`, each in C2SP form or in a file.
pub(super) fn read_witnesses(given: &[String]) -> Result<Vec<WitnessKey>, CliError> {
    let read = |text: &String| {
        let found = text.trim().parse::<WitnessKey>().or_else(|error| {
            let file = std::fs::read_to_string(text).map_err(|_| error)?;
            file.trim().parse::<WitnessKey>()
        });
        found.map_err(|error| CliError::usage(format!("--witness: {error}")))
    };
    given.iter().map(read).collect()
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

/// A verdict, the evidence that was given, and what the verdict does not show.
struct Context {
    /// The JSON of the verdict.
    value: Value,
    /// The evidence that was given, in a sentence.
    given: String,
    /// What the verdict does not show, in sentences.
    not_shown: Vec<String>,
}

fn in_context(report: &Report, options: &Options) -> Result<Context, CliError> {
    let shown = ContextFindings { witnesses: report.witnesses.clone(), continues: report.continues };
    let signed: u64 = report.rules.signers.iter().map(|signer| signer.bounds).sum();
    let bounds = signed.saturating_add(report.rules.bounds_unsigned);
    let given = GivenContext::new(options, &shown).with_timestamps(&report.timestamps).with_bounds(bounds);
    let given = given.with_earlier(&report.earlier, report.erased).with_left_out(&report.left_out);
    let mut not_shown = verify_context::not_shown(&given, Some(report.recorded_to_ms), Hint::Bundle);
    not_shown.extend(verify_completeness::not_shown(report));
    let mut value = proto_style(serde_json::to_value(report).map_err(CliError::failed)?);
    verify_context::add_to(&mut value, &given);
    if let Some(members) = value.as_object_mut() {
        members.insert("notShown".to_owned(), json!(not_shown));
    }
    Ok(Context { value, given: verify_context::given_text(&given), not_shown })
}

/// Reads the key of a tier, given directly or in a file.
fn read_tier_key(text: &str) -> Result<TierKey, CliError> {
    let parsed = text.parse::<TierKey>().or_else(|error| {
        let (tier, path) = text.split_once('=').ok_or(error)?;
        let file = std::fs::read_to_string(path).map_err(|_| error)?;
        format!("{tier}={}", file.trim()).parse()
    });
    parsed.map_err(|error| CliError::usage(format!("--tier-key: `{text}`: {error}, or be a file with one")))
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
}
