//! The commands `sayso bounds publish`, `sayso bounds preview`, `sayso bounds personal`, `sayso bounds
//! keygen` and `sayso bounds show`.

use super::connect::Connection;
use super::error::CliError;
use super::output::{self, Out, table};
use super::preview::preview;
use super::rules_client::client;
use super::sign_rule::{PublishSigned, Signature, Signing};
use super::times::{self, WrittenTime};
use crate::bounds::schema_digest;
use crate::clock::SystemClock;
use crate::domain::event::{BoundsPublished, Event};
use crate::proto::{self, ForbiddenUse, PersonalBounds, Role, Tier};
use crate::secret;
use clap::{Args, Subcommand, ValueEnum};
use ed25519_dalek::SigningKey;
use std::path::PathBuf;

/// Publish, preview and show bounds: policies that limit recording and use.
#[derive(Subcommand)]
pub(super) enum Bounds {
    Show(Show),
    Publish(Publish),
    PublishSigned(PublishSigned),
    /// Run the test cases of packs of bounds, without a daemon.
    ///
    /// Example: `sayso bounds test`, `sayso bounds test gdpr`, or for your own pack `sayso bounds test
    /// ./my-pack`
    Test(super::bounds_test::Test),
    Preview(Preview),
    Personal(Personal),
    /// Make a key that signs the bounds of a tier. Print its public key, for the daemon's
    /// configuration.
    ///
    /// Example: `sayso bounds keygen steward.key`
    Keygen {
        /// File for the private key. If the file exists, its public key is printed and the file stays as
        /// it is. The public key is printed in hexadecimal, as in the configuration, even with --json.
        file: PathBuf,
    },
}

impl Bounds {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        match self {
            Self::Show(command) => command.run(at, out).await,
            Self::Publish(command) => command.run(at, out).await,
            Self::PublishSigned(command) => command.run(at, out).await,
            Self::Test(command) => command.run(out),
            Self::Preview(command) => command.run(at, out).await,
            Self::Personal(command) => command.run(at, out).await,
            Self::Keygen { file } => {
                let seed = secret::read_or_make(&file, &SystemClock).map_err(CliError::failed)?;
                let public = hex::encode(SigningKey::from_bytes(&seed).verifying_key().as_bytes());
                let text =
                    format!("public key {public}\nset it as `bounds.authority_key` or `bounds.steward_key`");
                out.print_value(&serde_json::json!({ "publicKey": public }), &text)
            }
        }
    }
}

/// A tier of published packs.
#[derive(Clone, Copy, ValueEnum)]
enum TierName {
    Public,
    Provider,
}

impl TierName {
    fn tier(self) -> Tier {
        match self {
            Self::Public => Tier::Public,
            Self::Provider => Tier::Provider,
        }
    }

    /// The role that publishes packs of this tier.
    fn role(self) -> &'static str {
        match self {
            Self::Public => "authority",
            Self::Provider => "steward",
        }
    }
}

/// A version of a pack.
#[derive(Args)]
struct PackVersion {
    /// The pack: a folder with `policies.cedar`, or a Cedar file.
    path: PathBuf,
    /// Tier of the pack: `public` for rules of law, `provider` for rules of the controller.
    #[arg(long)]
    tier: TierName,
    /// Name of the pack. Default: the name of the folder, or of the file without its extension.
    #[arg(long)]
    pack: Option<String>,
    /// Time from which the version is in force. Default: when the version is recorded.
    #[arg(long, value_name = "TIME", value_parser = times::beginning)]
    from: Option<WrittenTime>,
}

impl PackVersion {
    fn bounds(&self, version: &str, retire: bool) -> Result<BoundsPublished, CliError> {
        let file = if self.path.is_dir() { self.path.join("policies.cedar") } else { self.path.clone() };
        let policies = match retire {
            true => String::new(),
            false => std::fs::read_to_string(&file)
                .map_err(|error| CliError::usage(format!("{}: {error}", file.display())))?,
        };
        let stem = || self.path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let pack = self.pack.clone().or_else(stem).unwrap_or_default();
        Ok(BoundsPublished {
            tier: self.tier.tier(),
            pack,
            version: version.to_owned(),
            policies,
            schema_digest: schema_digest().to_vec(),
            effective_from_ms: self.from.as_ref().map(WrittenTime::millis).unwrap_or_default(),
        })
    }
}

/// Publish a version of a pack, signed by its tier's key. Open grants that the version contradicts
/// are revoked.
///
/// Example: `sayso bounds publish bounds/provider/tutoring --tier provider --version 2 --key steward.key`
#[derive(Args)]
pub(super) struct Publish {
    #[command(flatten)]
    pack: PackVersion,
    /// Name of the version. A version can be published only once.
    #[arg(long)]
    version: String,
    /// Retire the pack: once this version is in force, the pack has no policies.
    #[arg(long)]
    retire: bool,
    #[command(flatten)]
    signing: Signing,
}

impl Publish {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let bounds = self.pack.bounds(&self.version, self.retire)?;
        self.signing.publish(Event::BoundsPublished(bounds), Signature::Required, at, out).await?;
        out.note_dates(&[("--from", self.pack.from.as_ref())])
    }
}

/// Show what a version of a pack would change for the people in the ledger. Nothing is published.
///
/// Example: `sayso bounds preview bounds/provider/tutoring --tier provider`
#[derive(Args)]
pub(super) struct Preview {
    #[command(flatten)]
    pack: PackVersion,
    /// Preview the retirement of the pack.
    #[arg(long)]
    retire: bool,
    /// Further recipient to preview uses for; may be repeated. Recipients that grants and consents
    /// name are always previewed.
    #[arg(long)]
    recipient: Vec<String>,
    /// Further purpose to preview uses for; may be repeated. Purposes that grants and consents name
    /// are always previewed.
    #[arg(long)]
    purpose: Vec<String>,
}

impl Preview {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let request = proto::PreviewBoundsRequest {
            bounds: vec![self.pack.bounds("preview", self.retire)?.into()],
            recipients: self.recipient,
            purposes: self.purpose,
            ..Default::default()
        };
        preview(&mut client(at, self.pack.tier.role()).await?, request, out).await?;
        out.note_dates(&[("--from", self.pack.from.as_ref())])
    }
}

/// Show every pack in force, or a person's own bounds.
///
/// With --json, the list is one object.
///
/// Example: `sayso bounds show --subject ada`
#[derive(Args)]
pub(super) struct Show {
    /// Show this person's own bounds instead, as policies. With --json, the person's choices are shown, too.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Show the packs that were in force at this time.
    #[arg(long, value_name = "TIME", value_parser = times::last, conflicts_with = "subject")]
    as_of: Option<WrittenTime>,
    /// List all versions of all packs, including past and future ones, without their text.
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
        let as_of = self.as_of.as_ref().map(|time| time.moment);
        let mut request = proto::ListBoundsRequest { as_of, history: self.history, ..Default::default() };
        let mut answer = client.list_bounds(request.clone()).await?.into_inner();
        while !answer.next_page_token.is_empty() {
            request.page_token = std::mem::take(&mut answer.next_page_token);
            let page = client.list_bounds(request.clone()).await?.into_inner();
            answer.bounds.extend(page.bounds);
            answer.next_page_token = page.next_page_token;
        }
        let history = self.history;
        out.print_whole("ListBoundsResponse", &answer, &[], |answer| match history {
            true => versions(answer),
            false => packs(answer),
        })?;
        out.note_dates(&[("--as-of", self.as_of.as_ref())])
    }
}

fn tier(tier: Tier) -> String {
    tier.as_str_name().trim_start_matches("TIER_").to_lowercase()
}

fn packs(answer: &proto::ListBoundsResponse) -> String {
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
    if answer.bounds.is_empty() {
        return "no packs in force".to_owned();
    }
    answer.bounds.iter().map(pack).collect::<Vec<_>>().join("\n")
}

fn versions(answer: &proto::ListBoundsResponse) -> String {
    if answer.bounds.is_empty() {
        return "no packs".to_owned();
    }
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
        return "the person has set no bounds".to_owned();
    }
    let by = match answer.set_by.as_ref().map(proto::Actor::role) {
        Some(Role::Subject) | None => "the person".to_owned(),
        Some(_) => "the controller's staff, on the person's behalf".to_owned(),
    };
    format!("// set by {by} on {}\n{}", output::time(answer.recorded_at.as_ref()), answer.policies)
}

/// Set a person's own bounds, which can only forbid. The flags add to the person's earlier choices.
///
/// Example: `sayso bounds personal ada --never family --never health:advertising --forget-inferences 90d`
#[derive(Args)]
pub(super) struct Personal {
    /// The controller's ID for the person.
    subject: String,
    /// Drop the person's earlier choices: only the flags of this command count.
    #[arg(long)]
    clear: bool,
    /// Forbid use of this category and everything below it. `CATEGORY:PURPOSE` forbids use of the category
    /// only for the named purpose. `:PURPOSE` forbids all use for the named purpose. May be repeated.
    #[arg(long, value_name = "CATEGORY[:PURPOSE]")]
    never: Vec<String>,
    /// Allow use by this recipient only; may be repeated.
    #[arg(long, value_name = "RECIPIENT")]
    only_recipient: Vec<String>,
    /// Allow use only of what the person declared or confirmed.
    #[arg(long)]
    declared_only: bool,
    /// Allow no use of inferences that are this many days old or older, such as `90d`. The age counts from
    /// the time that `sayso record --observed-at` stated, or else from the recording. The inferences stay
    /// recorded.
    #[arg(long, value_name = "DAYS", value_parser = parse_days)]
    forget_inferences: Option<u32>,
    /// Allow a use only if a consent names the conversation that the use is for.
    #[arg(long)]
    ask_each_time: bool,
    /// Pause all use of the person's data. With the name of a conversation: pause only use in that
    /// conversation.
    #[arg(long, value_name = "INTERACTION", num_args = 0..=1, default_missing_value = "")]
    pause: Option<String>,
    /// End the pause of all use. With the name of a conversation: end only the pause of that
    /// conversation.
    #[arg(long, value_name = "INTERACTION", num_args = 0..=1, default_missing_value = "", conflicts_with = "pause")]
    resume: Option<String>,
}

fn parse_days(text: &str) -> Result<u32, String> {
    let days = text.strip_suffix('d').unwrap_or(text).parse().ok().filter(|days| *days > 0);
    days.ok_or_else(|| "must be a whole number of days above 0, like 90d".to_owned())
}

impl Personal {
    async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client = client(at, "steward").await?;
        let current = proto::GetPersonalBoundsRequest { subject: self.subject.clone() };
        let before = match client.get_personal_bounds(current).await {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) if status.code() == tonic::Code::NotFound => None,
            Err(status) => return Err(status.into()),
        };
        // The write fails if the bounds changed after they were read.
        let expected_version = before.as_ref().map(|before| before.version);
        let chosen = before.and_then(|before| before.bounds).filter(|_| !self.clear).unwrap_or_default();
        let request = proto::SetPersonalBoundsRequest {
            subject: self.subject.clone(),
            bounds: Some(self.added_to(chosen)),
            options: Some(proto::WriteOptions { expected_version, ..Default::default() }),
        };
        let answer = client.set_personal_bounds(request).await?.into_inner();
        out.print("SetPersonalBoundsResponse", &answer, |answer| {
            let changed = output::changed(answer.receipt.as_ref(), &answer.revoked_grants);
            format!("{changed}\n{}", answer.policies)
        })
    }

    /// Adds the flags to what the person chose before, and returns the result.
    fn added_to(self, mut chosen: PersonalBounds) -> PersonalBounds {
        for never in self.never {
            let (category, purpose) = never.split_once(':').unwrap_or((&never, ""));
            let purposes = if purpose.is_empty() { Vec::new() } else { vec![purpose.to_owned()] };
            let never = ForbiddenUse { category: category.to_owned(), purposes };
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
            Some(interaction) if interaction.is_empty() => chosen.paused = true,
            Some(interaction) if !chosen.paused_interactions.contains(&interaction) => {
                chosen.paused_interactions.push(interaction)
            }
            _ => {}
        }
        match self.resume {
            Some(interaction) if interaction.is_empty() => chosen.paused = false,
            Some(interaction) => chosen.paused_interactions.retain(|paused| *paused != interaction),
            None => {}
        }
        chosen
    }
}
