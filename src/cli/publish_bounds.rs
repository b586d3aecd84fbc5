//! `sayso bounds publish | preview | personal | keygen | show`

use super::Connection;
use super::bounds::client;
use super::connect::parse_time;
use super::error::CliError;
use super::output::{self, Out, table};
use crate::bounds::schema_digest;
use crate::clock::SystemClock;
use crate::daemon::data_dir::Layout;
use crate::proto::{self, BoundsPublished, NeverUse, PersonalBoundsSet, Role, Tier};
use crate::secret;
use clap::{Args, Subcommand, ValueEnum};
use ed25519_dalek::SigningKey;
use indicatif::ProgressBar;
use prost_types::Timestamp;
use sayso_proof::event::event_body::Event;
use sayso_proof::writer;
use std::path::{Path, PathBuf};

/// The rules: who decides, and can say so.
#[derive(Subcommand)]
pub(super) enum Bounds {
    Show(Show),
    Publish(Publish),
    /// Run the test tables of packs, without a daemon.
    ///
    /// Example: `sayso bounds test`, `sayso bounds test gdpr`, or of a pack of your own `sayso bounds test ./my-pack`
    Test(super::bounds_test::Test),
    Preview(Preview),
    Personal(Personal),
    /// Make a key that bounds of a tier are signed with, and print what the daemon is configured with.
    ///
    /// Example: `sayso bounds keygen steward.key`
    Keygen {
        /// Where it is kept; an existing one is found again.
        file: PathBuf,
    },
}

impl Bounds {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        match self {
            Self::Show(command) => command.run(at, out).await,
            Self::Publish(command) => command.run(at, out).await,
            Self::Test(command) => command.run(out),
            Self::Preview(command) => command.run(at, out).await,
            Self::Personal(command) => command.run(at, out).await,
            Self::Keygen { file } => {
                let seed = secret::read_or_make(&file, &SystemClock).map_err(CliError::failed)?;
                let public = hex::encode(SigningKey::from_bytes(&seed).verifying_key().as_bytes());
                let text = format!("public key {public}\nfor `bounds.authority_key` or `bounds.steward_key`");
                out.print_value(&serde_json::json!({ "public_key": public }), &text)
            }
        }
    }
}

/// A tier that packs are published in.
#[derive(Clone, Copy, ValueEnum)]
enum TierName {
    Public,
    Provider,
}

impl TierName {
    fn of(self) -> (Tier, &'static str) {
        match self {
            Self::Public => (Tier::Public, "authority"),
            Self::Provider => (Tier::Provider, "steward"),
        }
    }
}

/// Which version of which pack.
#[derive(Args)]
struct Named {
    /// The pack: a folder with `policies.cedar`, or a file.
    path: PathBuf,
    /// public or provider.
    #[arg(long)]
    tier: TierName,
    /// Name of the pack. Default: the folder's, or the file's without its ending.
    #[arg(long)]
    pack: Option<String>,
    /// In force from then on. Default: from when it is recorded.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Timestamp>,
}

impl Named {
    fn bounds(&self, version: &str, retire: bool) -> Result<BoundsPublished, CliError> {
        let file = if self.path.is_dir() { self.path.join("policies.cedar") } else { self.path.clone() };
        let policies = match retire {
            true => String::new(),
            false => std::fs::read_to_string(&file)
                .map_err(|error| CliError::usage(format!("{}: {error}", file.display())))?,
        };
        let stem = || self.path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let pack = self.pack.clone().or_else(stem).unwrap_or_default();
        let from = self.from.as_ref().map(|from| {
            let seconds = u64::try_from(from.seconds).unwrap_or_default();
            seconds
                .saturating_mul(1000)
                .saturating_add(u64::try_from(from.nanos).unwrap_or_default() / 1_000_000)
        });
        Ok(BoundsPublished {
            tier: self.tier.of().0.into(),
            pack,
            version: version.to_owned(),
            policies,
            schema_digest: schema_digest().to_vec(),
            effective_from_ms: from.unwrap_or_default(),
        })
    }
}

/// Publish a version of a pack, signed by its tier's key; grants that it contradicts fall.
///
/// Example: `sayso bounds publish bounds/provider/tutoring --tier provider --version 2 --key steward.key`
#[derive(Args)]
pub(super) struct Publish {
    #[command(flatten)]
    named: Named,
    /// Its version; each is published once.
    #[arg(long)]
    version: String,
    /// The tier's key. Default: the one of a `--dev` daemon in --data.
    #[arg(long)]
    key: Option<PathBuf>,
    /// Retire the pack: from then on it says nothing.
    #[arg(long)]
    retire: bool,
}

impl Publish {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let role = self.named.tier.of().1;
        let dev = || Layout::new(&at.data).dev().join(format!("{role}.key"));
        let key = signing_key(&self.key.clone().unwrap_or_else(dev))?;
        let bounds = self.named.bounds(&self.version, self.retire)?;
        let signature = Some(writer::sign(&Event::BoundsPublished(bounds.clone()), &key));
        let request = proto::PublishBoundsRequest { bounds: Some(bounds), signature, options: None };
        let answer = client(at, role).await?.publish_bounds(request).await?.into_inner();
        out.print("PublishBoundsResponse", &answer, |answer| {
            let receipt = output::receipt(answer.receipt.as_ref());
            format!("{receipt}; grants that fell: {}", answer.grants_revoked)
        })
    }
}

fn signing_key(path: &Path) -> Result<SigningKey, CliError> {
    let wrong = |error: std::io::Error| CliError::usage(format!("key {}: {error}", path.display()));
    if !path.exists() {
        return Err(wrong(std::io::ErrorKind::NotFound.into()));
    }
    let seed = secret::read_or_make(path, &SystemClock).map_err(wrong)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// Show what a version would change for the people held. Publishes nothing.
///
/// Example: `sayso bounds preview bounds/provider/tutoring --tier provider`
#[derive(Args)]
pub(super) struct Preview {
    #[command(flatten)]
    named: Named,
    /// As if the pack were retired.
    #[arg(long)]
    retire: bool,
    /// Decide for this recipient, too; may be repeated.
    #[arg(long)]
    recipient: Vec<String>,
    /// Decide for this purpose, too; may be repeated.
    #[arg(long)]
    purpose: Vec<String>,
}

impl Preview {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::PreviewBoundsRequest {
            bounds: vec![self.named.bounds("preview", self.retire)?],
            recipients: self.recipient,
            purposes: self.purpose,
        };
        let mut client = client(at, self.named.tier.of().1).await?;
        let mut steps = client.preview_bounds(request).await?.into_inner();
        let mut bar: Option<ProgressBar> = None;
        while let Some(step) = steps.message().await? {
            let bar =
                bar.get_or_insert_with(|| super::progress::entries(step.people_total, "looking at people"));
            bar.set_position(step.people_done);
            if step.result.is_some() {
                bar.finish_and_clear();
                return out.print("PreviewBoundsResponse", &step, preview);
            }
        }
        Err(CliError::failed("the preview ended early"))
    }
}

fn preview(step: &proto::PreviewBoundsResponse) -> String {
    let found = step.result.clone().unwrap_or_default();
    let mut text = format!(
        "{} people looked at; {} would be decided for otherwise\n{} of {} open grants would fall, of {} people{}",
        step.people_done,
        found.people_changed,
        found.grants_falling,
        found.grants_open,
        found.people_falling,
        examples(&found.examples),
    );
    if found.lines.is_empty() {
        return text + "\nno use would be decided otherwise";
    }
    let headings = ["PURPOSE", "RECIPIENT", "CATEGORY", "REFUSED", "ALLOWED", "POLICY", "FOR EXAMPLE"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    let facts = |people: u64, facts: u64| match facts {
        0 => "-".to_owned(),
        _ => format!("{facts} of {people} people"),
    };
    rows.extend(found.lines.iter().map(|line| {
        let recipient = if line.recipient.is_empty() { "anybody" } else { &line.recipient };
        vec![
            line.purpose.clone(),
            recipient.to_owned(),
            line.category.clone(),
            facts(line.people_refused, line.facts_refused),
            facts(line.people_allowed, line.facts_allowed),
            line.policy.clone(),
            line.examples.first().map(|handle| handle.chars().take(8).collect()).unwrap_or_default(),
        ]
    }));
    text.push_str(&format!("\n\nFacts that would newly be refused or allowed:\n{}", table(&rows)));
    if found.left_out > 0 {
        text.push_str(&format!("\n{} more are left out", found.left_out));
    }
    text
}

fn examples(handles: &[String]) -> String {
    if handles.is_empty() { String::new() } else { format!(" (handles {})", handles.join(", ")) }
}

/// Show every pack in force, or a person's own bounds.
///
/// Example: `sayso bounds show --subject ada`
#[derive(Args)]
pub(super) struct Show {
    /// The person's own bounds, as they chose them and as policies.
    #[arg(long)]
    subject: Option<String>,
    /// As of then.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "subject")]
    as_of: Option<Timestamp>,
    /// Also versions that are not in force any more, or not yet; without their text.
    #[arg(long, conflicts_with = "subject")]
    history: bool,
}

impl Show {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client(at, "steward").await?;
        if let Some(subject) = self.subject {
            let request = proto::GetPersonalBoundsRequest { subject };
            let answer = client.get_personal_bounds(request).await?.into_inner();
            return out.print("GetPersonalBoundsResponse", &answer, personal);
        }
        let request = proto::GetBoundsRequest { as_of: self.as_of, history: self.history };
        let answer = client.get_bounds(request).await?.into_inner();
        let history = self.history;
        out.print("GetBoundsResponse", &answer, |answer| match history {
            true => versions(answer),
            false => packs(answer),
        })
    }
}

fn tier(tier: Tier) -> String {
    tier.as_str_name().trim_start_matches("TIER_").to_lowercase()
}

fn packs(answer: &proto::GetBoundsResponse) -> String {
    let pack = |pack: &proto::BoundsVersion| {
        format!(
            "// {} bounds, pack {} version {}, position {}\n{}",
            tier(pack.tier()),
            pack.pack,
            pack.version,
            pack.position,
            pack.policies
        )
    };
    answer.bounds.iter().map(pack).collect::<Vec<_>>().join("\n")
}

fn versions(answer: &proto::GetBoundsResponse) -> String {
    let headings = ["POSITION", "TIER", "PACK", "VERSION", "IN FORCE FROM", "NOW", "PUBLISHED BY"];
    let mut rows = vec![headings.map(str::to_owned).to_vec()];
    rows.extend(answer.bounds.iter().map(|pack| {
        let by = pack.published_by.as_ref();
        let role = by.map(|by| by.role().as_str_name().trim_start_matches("ROLE_").to_lowercase());
        let name = by.map(|by| by.name.clone()).unwrap_or_default();
        vec![
            pack.position.to_string(),
            tier(pack.tier()),
            pack.pack.clone(),
            pack.version.clone() + if pack.policies.is_empty() { " (retired)" } else { "" },
            output::time(pack.effective_from.as_ref()),
            if pack.in_force { "yes" } else { "" }.to_owned(),
            format!("{} {name}", role.unwrap_or_default()).trim_end().to_owned(),
        ]
    }));
    table(&rows)
}

fn personal(answer: &proto::GetPersonalBoundsResponse) -> String {
    if answer.policies.is_empty() {
        return "no bounds of the person's own".to_owned();
    }
    let by = match answer.set_by.as_ref().map(proto::Actor::role) {
        Some(Role::Subject) | None => "the person".to_owned(),
        Some(_) => "the controller's staff, on the person's behalf".to_owned(),
    };
    format!("// set by {by} on {}\n{}", output::time(answer.recorded_at.as_ref()), answer.policies)
}

/// Set a person's own bounds: what is named is added to what they chose before.
///
/// Example: `sayso bounds personal ada --never family --never health:advertising --forget-inferences 90d`
#[derive(Args)]
pub(super) struct Personal {
    /// The controller's id of the person.
    subject: String,
    /// Begin with nothing: what is not named does not hold any more.
    #[arg(long)]
    clear: bool,
    /// Never use this category, with everything below it; `CATEGORY:PURPOSE`: not for this purpose; `:PURPOSE`: nothing
    /// for this purpose. May be repeated.
    #[arg(long, value_name = "CATEGORY[:PURPOSE]")]
    never: Vec<String>,
    /// Only this recipient may use anything; may be repeated.
    #[arg(long, value_name = "RECIPIENT")]
    only_recipient: Vec<String>,
    /// Only what the person said themself.
    #[arg(long)]
    declared_only: bool,
    /// Conclusions are not used any more after so many days: `90d`.
    #[arg(long, value_name = "DAYS", value_parser = parse_days)]
    forget_inferences: Option<u32>,
    /// A use needs a consent that names its conversation.
    #[arg(long)]
    ask_each_time: bool,
    /// Nothing is used; with a name, in this conversation.
    #[arg(long, value_name = "INTERACTION", num_args = 0..=1, default_missing_value = "")]
    pause: Option<String>,
    /// Take a pause back; with a name, of this conversation.
    #[arg(long, value_name = "INTERACTION", num_args = 0..=1, default_missing_value = "", conflicts_with = "pause")]
    resume: Option<String>,
}

fn parse_days(text: &str) -> Result<u32, String> {
    let days = text.strip_suffix('d').unwrap_or(text).parse().ok().filter(|days| *days > 0);
    days.ok_or_else(|| "must be a number of days like 90d".to_owned())
}

impl Personal {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client(at, "steward").await?;
        let asked = proto::GetPersonalBoundsRequest { subject: self.subject.clone() };
        let before = match client.get_personal_bounds(asked).await {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) if status.code() == tonic::Code::NotFound => None,
            Err(status) => return Err(status.into()),
        };
        // Between looking and setting nothing else may have been chosen.
        let expected_version = before.as_ref().map(|before| before.version);
        let chosen = before.and_then(|before| before.bounds).filter(|_| !self.clear).unwrap_or_default();
        let request = proto::SetPersonalBoundsRequest {
            subject: self.subject.clone(),
            bounds: Some(self.on(chosen)),
            options: Some(proto::WriteOptions { expected_version, ..Default::default() }),
        };
        let answer = client.set_personal_bounds(request).await?.into_inner();
        out.print("SetPersonalBoundsResponse", &answer, |answer| {
            let fallen = match answer.revoked_grants.as_slice() {
                [] => "no open grant fell".to_owned(),
                fallen => format!("grants that fell: {}", fallen.join(", ")),
            };
            format!("{}; {fallen}\n{}", output::receipt(answer.receipt.as_ref()), answer.policies)
        })
    }

    /// What was named, on top of what was chosen.
    fn on(self, mut chosen: PersonalBoundsSet) -> PersonalBoundsSet {
        for never in self.never {
            let (category, purpose) = never.split_once(':').unwrap_or((&never, ""));
            let purposes = if purpose.is_empty() { Vec::new() } else { vec![purpose.to_owned()] };
            let never = NeverUse { category: category.to_owned(), purposes };
            if !chosen.never.contains(&never) {
                chosen.never.push(never);
            }
        }
        for recipient in self.only_recipient {
            if !chosen.only_recipients.contains(&recipient) {
                chosen.only_recipients.push(recipient);
            }
        }
        chosen.declared_only |= self.declared_only;
        chosen.ask_each_time |= self.ask_each_time;
        chosen.forget_inferences_days = self.forget_inferences.unwrap_or(chosen.forget_inferences_days);
        match self.pause {
            Some(everywhere) if everywhere.is_empty() => chosen.paused = true,
            Some(here) if !chosen.paused_interactions.contains(&here) => {
                chosen.paused_interactions.push(here)
            }
            _ => {}
        }
        match self.resume {
            Some(everywhere) if everywhere.is_empty() => chosen.paused = false,
            Some(here) => chosen.paused_interactions.retain(|paused| *paused != here),
            None => {}
        }
        chosen
    }
}
