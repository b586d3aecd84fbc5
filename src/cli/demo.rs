//! `sayso demo`: a guided tour of a daemon with sample people. The tour shows commands, runs them in a
//! temporary folder, and prints their output.

use super::audit::Audit;
use super::connect::Connection;
use super::consent::Consent;
use super::erase::Erase;
use super::error::CliError;
use super::grant::{Check, Grant, Used, Watch, Watching, Why};
use super::import::Import;
use super::interrupt::interrupted;
use super::output::Out;
use super::profile::Profile;
use super::serve::write_dev_files;
use super::verify::Verify;
use super::vocabulary::Notice;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::telemetry::{self, LogForm};
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::Path;

/// Take a tour of a daemon with sample people.
///
/// The daemon runs in a temporary folder. The tour shows how to record, consent, use, explain, withdraw,
/// erase, export and verify.
///
/// Without `--exit`, the daemon keeps running after the tour until it is interrupted. So you can try
/// further commands.
///
/// Example: `sayso demo --exit`
#[derive(Args)]
pub(super) struct Demo {
    /// Exit after the tour.
    #[arg(long)]
    exit: bool,
}

/// Sample people, made up for the tour.
const PEOPLE: &str = r#"{"subject":"ada","key":"tone","value":"brief and dry","category":"communication-style","provenance":"declared","observed_at":"2026-01-05T09:00:00Z"}
{"subject":"ada","key":"hobby","value":"restores old clocks","category":"activity","provenance":"inferred","evidence":["chat-3/turn-14"],"observed_at":"2026-01-07T18:30:00Z"}
{"subject":"ada","key":"sleep","value":"has trouble sleeping since March","category":"health","provenance":"declared","evidence":["chat-4/turn-2"],"observed_at":"2026-01-09T23:10:00Z"}
{"subject":"ada","key":"mood","value":"seems depressed","category":"mental-health","provenance":"inferred","evidence":["chat-4/turn-2"],"observed_at":"2026-01-09T23:11:00Z"}
{"subject":"ben","key":"work","value":"night shifts at the harbor","category":"work","provenance":"declared","observed_at":"2026-01-06T07:15:00Z"}
{"subject":"ben","key":"language","value":"prefers Portuguese","category":"language","provenance":"observed","observed_at":"2026-01-06T07:20:00Z"}
"#;

const NOTICE: &str = "We would like to remember facts about you to adapt how our assistant speaks to you. You can say no, and you can withdraw your consent at any time.";

/// The command that verifies the exported log.
const VERIFY: &str = "verify log.tar.zst --key sayso-data/dev/log.vkey";

impl Demo {
    pub async fn run(self) -> Result<(), CliError> {
        telemetry::start(LogForm::Text, None);
        let folder = tempfile::tempdir().map_err(CliError::failed)?;
        // The commands of the tour name files of this folder, and find the daemon in its data folder.
        std::env::set_current_dir(folder.path()).map_err(CliError::failed)?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config { listen: loopback, http: loopback, ..Config::default() };
        let daemon = Daemon::start(&config).await.map_err(CliError::failed)?;
        write_dev_files(&daemon).map_err(CliError::failed)?;
        let tour = Tour { at: connection(&config.data) };
        tour.run().await?;
        if !self.exit {
            println!(
                "\nThe daemon keeps running at http://{} (gRPC) and http://{}/checkpoint until you interrupt it.",
                daemon.grpc, daemon.http
            );
            let program = std::env::current_exe().map_err(CliError::failed)?;
            println!(
                "Try it in another shell: cd {} && {} profile ben",
                folder.path().display(),
                program.display()
            );
            interrupted().await.map_err(CliError::failed)?;
        }
        daemon.stop().await.map_err(CliError::failed)
    }
}

/// How the commands of the tour reach the daemon: through its data folder, like commands without a
/// connection flag.
fn connection(data: &Path) -> Connection {
    Connection {
        addr: None,
        ca: None,
        cert: None,
        tls_key: None,
        token_file: None,
        data: data.to_owned(),
        is_data_given: false,
        insecure: false,
        role: None,
    }
}

/// A command line of the tour.
#[derive(Parser)]
#[command(name = "sayso")]
struct Step {
    #[command(subcommand)]
    command: StepCommand,
}

/// The commands that the tour runs.
#[derive(Subcommand)]
enum StepCommand {
    Import(Import),
    #[command(subcommand)]
    Notice(Notice),
    #[command(subcommand)]
    Consent(Consent),
    Grant(Grant),
    Watch(Watch),
    Used(Used),
    Why(Why),
    Check(Check),
    Erase(Erase),
    Profile(Profile),
    #[command(subcommand)]
    Audit(Audit),
    Verify(Verify),
}

/// What a command of the tour leaves for later commands: nothing, a grant or an open watch.
enum Done {
    Nothing,
    /// The ID of a grant.
    Granted(String),
    Watching(Box<Watching>),
}

struct Tour {
    at: Connection,
}

impl Tour {
    /// Announces a command in a comment, shows it, and runs it as a user would.
    async fn step(&self, announcement: &str, command: &str) -> Result<Done, CliError> {
        println!("\n# {announcement}");
        self.show(command).await
    }

    /// Shows a command and runs it.
    async fn show(&self, command: &str) -> Result<Done, CliError> {
        println!("$ sayso {command}");
        let step = Step::try_parse_from(std::iter::once("sayso".to_owned()).chain(shell_words(command)));
        let step = step.map_err(CliError::usage)?;
        let (at, out) = (&self.at, Out { json: false });
        match step.command {
            StepCommand::Grant(command) => return command.issue(at, out).await.map(Done::Granted),
            StepCommand::Watch(command) => {
                return command.open(at, out).await.map(|open| Done::Watching(Box::new(open)));
            }
            StepCommand::Import(command) => command.run(at, out).await,
            StepCommand::Notice(command) => command.run(at, out).await,
            StepCommand::Consent(command) => command.run(at, out).await,
            StepCommand::Used(command) => command.run(at, out).await,
            StepCommand::Why(command) => command.run(at, out).await,
            StepCommand::Check(command) => command.run(at, out).await,
            StepCommand::Erase(command) => command.run(at, out).await,
            StepCommand::Profile(command) => command.run(at, out).await,
            StepCommand::Audit(command) => command.run(at, out).await,
            StepCommand::Verify(command) => command.run(out),
        }
        .map(|()| Done::Nothing)
    }

    async fn run(&self) -> Result<(), CliError> {
        std::fs::write("people.jsonl", PEOPLE).map_err(CliError::failed)?;
        self.step(
            "A model service records attributes of two people. Its inference about health is refused.",
            "import people.jsonl",
        )
        .await?;
        self.step(
            "The controller publishes the notice that people will see.",
            &format!("notice publish welcome --text '{NOTICE}'"),
        )
        .await?;
        self.grant("No one has consented yet, and silence means no. The service asks anyway.", "ada").await?;
        self.step(
            "Ada saw the notice and consents to an adapted tone.",
            "consent give ada --purpose tone-adaptation --notice welcome --channel web",
        )
        .await?;
        let ordinary =
            "Now her ordinary attributes may be used. Health needs explicit consent that names the category.";
        let first = self.grant(ordinary, "ada").await?;
        self.step("She gives that, too.", "consent give ada --purpose tone-adaptation --category health --explicit --notice welcome --channel web").await?;
        let second = self.grant("The service asks again.", "ada").await?;
        self.step(
            "The service wrote a reply under this grant, and reports which attributes shaped it.",
            &format!("used {second} --reply reply-77 --shaped-by tone --shaped-by sleep"),
        )
        .await?;
        self.step(
            "Ben consents, too.",
            "consent give ben --purpose tone-adaptation --notice welcome --channel web",
        )
        .await?;
        self.grant("The service asks about him, too.", "ben").await?;
        let watching = self.step("The service watches for revocations.", "watch").await?;
        self.step("Ada withdraws her consent.", "consent withdraw ada --purpose tone-adaptation").await?;
        wait_for_revocation(watching, &second).await?;
        let checked = self.step("Her first grant was revoked as well.", &format!("check {first}")).await;
        checked.or_else(|error| if error.is_grant_invalid() { Ok(Done::Nothing) } else { Err(error) })?;
        self.step("On whose say-so did the model know and use this?", &format!("why {second}")).await?;
        self.step("Ada asks for erasure.", "erase ada --scope all").await?;
        self.step("Ben's profile is unchanged.", "profile ben").await?;
        self.step("An auditor exports the log ...", "audit export -o log.tar.zst").await?;
        self.step("... and verifies it without the daemon.", VERIFY).await?;
        self.tamper().await
    }

    /// Asks for a grant, and returns its ID.
    async fn grant(&self, announcement: &str, subject: &str) -> Result<String, CliError> {
        match self.step(announcement, &format!("grant {subject} --purpose tone-adaptation")).await? {
            Done::Granted(id) => Ok(id),
            _ => Err(CliError::failed("the command issued no grant")),
        }
    }

    /// Changes one byte of the bundle and shows that the bundle no longer verifies.
    async fn tamper(&self) -> Result<(), CliError> {
        let mut bytes = std::fs::read("log.tar.zst").map_err(CliError::failed)?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        std::fs::write("log.tar.zst", bytes).map_err(CliError::failed)?;
        let changed = "One byte of the bundle is changed, and it no longer verifies.";
        match self.step(changed, VERIFY).await {
            Err(error) => println!("{error}"),
            Ok(_) => return Err(CliError::failed("a changed bundle verified")),
        }
        Ok(())
    }
}

/// Prints what a watch reports, up to and including the revocation of a grant.
async fn wait_for_revocation(watching: Done, grant: &str) -> Result<(), CliError> {
    println!("\n# The watch reports at once:");
    let Done::Watching(mut watching) = watching else { return Err(CliError::failed("there is no watch")) };
    while let Some(revoked) = watching.print_next().await? {
        if revoked.grant_ids.iter().any(|id| id == grant) {
            return Ok(());
        }
    }
    Err(CliError::failed("the watch ended"))
}

/// Splits a command line into words. Single quotes keep words together.
pub(super) fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (part, quoted) in line.split('\'').zip([false, true].into_iter().cycle()) {
        if quoted {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
