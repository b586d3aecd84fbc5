//! Signs a version of a rule (bounds, a definition or a required notice), and publishes the version or writes
//! it to a file. The file can be published later, even from another machine.

use super::atomic_file::{AtomicFile, Existing};
use super::connect::Connection;
use super::error::CliError;
use super::output::{self, Out, count, print_error_line};
use super::rules_client::client;
use super::signing_key::signing_key;
use super::times;
use crate::clock::{Clock, SystemClock};
use crate::daemon::data_dir::Layout;
use crate::domain::event::{Event, codec};
use crate::domain::wording;
use crate::proto;
use crate::proto::get_next_version_request::Rule as NamedRule;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use prost::Message;
use prost_types::Timestamp;
use sayso_proof::event::{Actor, EventBody, Tier, WriterSignature, event_body};
use sayso_proof::rule::{Rule, RuleKind, RuleTier};
use sayso_proof::writer::{self, Binding, SIGNATURE_AGE_MS_MAX};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const FORMAT: &str = "sayso signed rule v1";
/// Largest size of a file with a signed rule, in bytes. The file contains the rule's policies, at most 256
/// KiB, twice: as JSON and in base64.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How to sign a version of a rule.
#[derive(Args, Default)]
pub(super) struct Signing {
    /// File with the private key of the tier that publishes the rule. Default: the key that a
    /// `--dev` daemon wrote to the data folder, if there is one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Origin of the log that you sign for, which is the log's name in its checkpoints. Nothing is
    /// signed if the daemon's log has another origin.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Number of this version among the versions of its pack, purpose, category or notice, counted
    /// from 1. Nothing is signed if the daemon expects another number.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    sequence: Option<u64>,
    /// Time to state in the signature, which expires 30 days later by the ledger's clock. Default:
    /// now. Set the time only if the ledger's clock is more than 30 days ahead of this machine's.
    #[arg(long, value_name = "TIME", value_parser = times::exact)]
    signed_at: Option<Timestamp>,
    /// Write the signed version to this file instead of publishing it. `sayso bounds publish-signed`
    /// publishes it within 30 days. With --origin and --sequence, no daemon is needed.
    #[arg(long, value_name = "FILE")]
    sign_only: Option<PathBuf>,
    /// Replace the file of --sign-only if it exists.
    #[arg(long, requires = "sign_only")]
    force: bool,
}

/// Whether an event has to be signed. The definition of a new purpose or category may be unsigned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    Required,
    Optional,
}

impl Signing {
    /// Signs an event and publishes it, or writes it to a file.
    pub async fn publish(
        &self,
        event: Event,
        signature: Signature,
        at: &Connection,
        out: Out,
    ) -> Result<(), CliError> {
        let existing = Existing::from_force(self.force);
        self.sign_only.as_ref().map_or(Ok(()), |path| existing.check(path))?;
        let signed = self.sign(&event, signature, at).await?;
        match &self.sign_only {
            None => publish(event, signed.map(|(_, signature)| signature), at, out).await,
            Some(path) => {
                let (origin, signature) =
                    signed.ok_or_else(|| CliError::usage("--sign-only needs --key FILE"))?;
                write(path, existing, &origin, &event, signature)?;
                out.print_note(&format!("wrote {}", path.display()))
            }
        }
    }

    /// The signature over an event, and the origin of the log that it is valid for. `None` if there is no key
    /// and the event needs no signature.
    async fn sign(
        &self,
        event: &Event,
        signature: Signature,
        at: &Connection,
    ) -> Result<Option<(String, WriterSignature)>, CliError> {
        let event = codec::encode_event(event);
        let rule = Rule::of(&event).ok_or_else(|| CliError::failed("no tier signs this event"))?;
        let dev = Layout::new(&at.data).dev().join(format!("{}.key", role(rule.tier)));
        let path = match &self.key {
            Some(path) => path,
            None if signature == Signature::Required || dev.exists() => &dev,
            None => return Ok(None),
        };
        let key = signing_key(path)?;
        let (origin, sequence, signed_at_ms) = self.binding(&rule, at).await?;
        print_error_line(&format!(
            "signing version {sequence} of {rule} for the log {origin}, at {}",
            wording::time(signed_at_ms)
        ));
        let binding = Binding { origin: &origin, sequence, signed_at_ms };
        let signature = writer::sign(&event, binding, &key).map_err(CliError::failed)?;
        Ok(Some((origin, signature)))
    }

    /// What the signature covers besides the event: the log's origin, the number of the version, and the
    /// time.
    async fn binding(&self, rule: &Rule, at: &Connection) -> Result<(String, u64, u64), CliError> {
        let stated_ms = self.signed_at.as_ref().map(millis);
        let now_ms = SystemClock.now_ms();
        if let (Some(origin), Some(sequence), Some(_)) = (&self.origin, self.sequence, &self.sign_only) {
            return Ok((origin.clone(), sequence, stated_ms.unwrap_or(now_ms)));
        }
        let request = proto::GetNextVersionRequest { rule: Some(named(rule)) };
        let mut client = client(at, role(rule.tier)).await?;
        let next = client.get_next_version(request).await?.into_inner();
        if let Some(origin) = self.origin.as_ref().filter(|origin| **origin != next.origin) {
            let problem = format!("--origin is `{origin}`, but the daemon's log is `{}`", next.origin);
            return Err(CliError::usage(problem).next("nothing was signed; name the daemon of your log"));
        }
        if let Some(sequence) = self.sequence.filter(|sequence| *sequence != next.sequence) {
            let problem =
                format!("--sequence is {sequence}, but the daemon says that {} is next", next.sequence);
            return Err(CliError::usage(problem).next(
                "nothing was signed; `sayso bounds show --history` and `sayso purpose list` show more",
            ));
        }
        let ledger_ms = next.now.as_ref().map_or(0, millis);
        // A time before the ledger's is always accepted, so a clock that is a little ahead does no harm.
        let signed_at_ms = stated_ms.unwrap_or(now_ms.min(ledger_ms));
        if stated_ms.is_none() && ledger_ms > signed_at_ms.saturating_add(SIGNATURE_AGE_MS_MAX) {
            let (ours, theirs) = (wording::time(now_ms), wording::time(ledger_ms));
            let problem = format!("the clock of this machine says {ours}, but the ledger's says {theirs}");
            return Err(CliError::failed(problem).next(format!(
                "set the clock that is wrong, or sign for the ledger's time with `--signed-at {theirs}`"
            )));
        }
        Ok((next.origin, next.sequence, signed_at_ms))
    }
}

fn millis(time: &Timestamp) -> u64 {
    let seconds = u64::try_from(time.seconds).unwrap_or_default();
    seconds.saturating_mul(1000).saturating_add(u64::try_from(time.nanos).unwrap_or_default() / 1_000_000)
}

/// The role that publishes rules of a tier.
pub(super) fn role(tier: RuleTier) -> &'static str {
    match tier {
        RuleTier::Public => "authority",
        RuleTier::Provider => "steward",
    }
}

fn named(rule: &Rule) -> NamedRule {
    let name = rule.name.clone();
    match rule.kind {
        RuleKind::Bounds => {
            let tier = match rule.tier {
                RuleTier::Public => Tier::Public,
                RuleTier::Provider => Tier::Provider,
            };
            NamedRule::Pack(proto::PackName { tier: tier.into(), pack: name })
        }
        RuleKind::Purpose => NamedRule::Purpose(name),
        RuleKind::Category => NamedRule::Category(name),
        RuleKind::Notice => NamedRule::Notice(name),
    }
}

/// Publishes a version of a rule, and prints the answer.
async fn publish(
    event: Event,
    signature: Option<WriterSignature>,
    at: &Connection,
    out: Out,
) -> Result<(), CliError> {
    let rule = Rule::of(&codec::encode_event(&event));
    let mut client = client(at, rule.map_or("steward", |rule| role(rule.tier))).await?;
    let (signature, options) = (signature.map(Into::into), None);
    let with_revoked = |receipt: Option<&proto::Receipt>, revoked| {
        format!("{}; {} revoked", output::receipt(receipt), count(revoked, "grant"))
    };
    match event {
        Event::BoundsPublished(bounds) => {
            let request = proto::PublishBoundsRequest { bounds: Some(bounds.into()), signature, options };
            let answer = client.publish_bounds(request).await?.into_inner();
            out.print("PublishBoundsResponse", &answer, |answer| {
                with_revoked(answer.receipt.as_ref(), answer.grants_revoked)
            })
        }
        Event::NoticeRequired(notice) => {
            let request = proto::RequireNoticeRequest { notice: Some(notice.into()), signature, options };
            let answer = client.require_notice(request).await?.into_inner();
            out.print("RequireNoticeResponse", &answer, |answer| {
                with_revoked(answer.receipt.as_ref(), answer.grants_revoked)
            })
        }
        Event::PurposeDefined(purpose) => {
            let request = proto::DefinePurposeRequest { purpose: Some(purpose.into()), signature, options };
            let answer = client.define_purpose(request).await?.into_inner();
            out.print("DefinePurposeResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
        }
        Event::CategoryDefined(category) => {
            let request =
                proto::DefineCategoryRequest { category: Some(category.into()), signature, options };
            let answer = client.define_category(request).await?.into_inner();
            out.print("DefineCategoryResponse", &answer, |answer| output::receipt(answer.receipt.as_ref()))
        }
        _ => Err(CliError::failed("no tier publishes this event")),
    }
}

/// A signed version of a rule, in a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedRule {
    format: String,
    /// Origin of the log that the version is signed for.
    origin: String,
    /// The event and its signature, for people.
    body: serde_json::Value,
    /// The event and its signature, encoded, in base64.
    encoded: String,
}

fn write(
    path: &Path,
    existing: Existing,
    origin: &str,
    event: &Event,
    signature: WriterSignature,
) -> Result<(), CliError> {
    let event = Some(codec::encode_event(event));
    let body = EventBody { writer_signature: Some(signature), event, ..EventBody::default() };
    let file = SignedRule {
        format: FORMAT.to_owned(),
        origin: origin.to_owned(),
        body: sayso_proof::json::to_json(&body).map_err(CliError::failed)?,
        encoded: STANDARD.encode(body.encode_to_vec()),
    };
    let mut text = serde_json::to_string_pretty(&file).map_err(CliError::failed)?;
    text.push('\n');
    AtomicFile::write_whole(path, existing, text.as_bytes()).map(|_| ())
}

/// Publish a signed version of a rule from the file that `--sign-only` wrote. The rule is a pack of
/// bounds, a definition or a required notice.
///
/// Example: `sayso bounds publish-signed tutoring-2.json`
#[derive(Args)]
pub(super) struct PublishSigned {
    /// The file that `--sign-only` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl PublishSigned {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let wrong = |problem: &str| CliError::usage(format!("{}: {problem}", self.file.display()));
        let mut text = String::new();
        let opened = File::open(&self.file).map(|file| file.take(FILE_BYTES_MAX));
        opened
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(|error| wrong(&error.to_string()))?;
        let file: SignedRule = serde_json::from_str(&text)
            .map_err(|_| wrong("not a signed version; `--sign-only FILE` writes one"))?;
        if file.format != FORMAT {
            return Err(wrong(&format!("`format` must be `{FORMAT}`")));
        }
        let bytes = STANDARD.decode(&file.encoded).map_err(|_| wrong("`encoded` is not base64"))?;
        let body = EventBody::decode(bytes.as_slice()).map_err(|_| wrong("`encoded` is not an event"))?;
        if sayso_proof::json::to_json(&body).map_err(CliError::failed)? != file.body {
            return Err(wrong("`body` and `encoded` differ; sign the version again"));
        }
        let (signature, event) = (body.writer_signature.clone(), body.event.clone());
        let verified = event.as_ref().map(|event| writer::verify(event, &file.origin, signature.as_ref()));
        if verified.is_none_or(|verified| verified.is_err()) {
            return Err(wrong("the signature is not valid for `origin`; sign the version again"));
        }
        publish(rule_event(body).ok_or_else(|| wrong("no tier publishes this event"))?, signature, at, out)
            .await
    }
}

/// The event of a signed version.
fn rule_event(body: EventBody) -> Option<Event> {
    let is_rule = matches!(
        body.event,
        Some(
            event_body::Event::BoundsPublished(_)
                | event_body::Event::PurposeDefined(_)
                | event_body::Event::CategoryDefined(_)
                | event_body::Event::NoticeRequired(_)
        )
    );
    let body = EventBody { actor: Some(Actor::default()), ..body };
    is_rule.then(|| codec::decode(codec::Place::default(), body).ok()).flatten().map(|event| event.event)
}
