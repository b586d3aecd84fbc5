//! `sayso demo`: a guided tour of a daemon with sample people. Every answer that it shows is a real one.

use super::audit::Audit;
use super::connect::Connection;
use super::consent::Consent;
use super::erase::Erase;
use super::error::CliError;
use super::grant::{Check, Used, Why};
use super::import::Import;
use super::interrupt::interrupted;
use super::output::Out;
use super::profile::Profile;
use super::serve::write_dev_files;
use super::verify::Verify;
use super::vocabulary::Notice;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::daemon::data_dir::Layout;
use crate::domain::wording;
use crate::proto;
use crate::proto::grant_service_client::GrantServiceClient;
use crate::telemetry;
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::Path;
use tonic::Streaming;

/// Take a tour of a daemon with sample people.
///
/// The daemon runs in a temporary folder. The tour shows how to record, consent, use, explain, withdraw,
/// erase, export and verify.
///
/// The daemon keeps running after the tour until it is interrupted, so that you can try further commands.
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

impl Demo {
    pub async fn run(self) -> Result<(), CliError> {
        telemetry::start(false, None);
        let folder = tempfile::tempdir().map_err(CliError::failed)?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let data = folder.path().join("data");
        let config = Config { data: data.clone(), listen: loopback, http: loopback, ..Config::default() };
        let daemon = Daemon::start(&config).await.map_err(CliError::failed)?;
        write_dev_files(&daemon).map_err(CliError::failed)?;
        let tour = Tour { addr: format!("http://{}", daemon.grpc), data: &data, folder: folder.path() };
        tour.run().await?;
        if !self.exit {
            println!(
                "\nThe daemon keeps running at {} (gRPC) and http://{}/checkpoint until you interrupt it.",
                tour.addr, daemon.http
            );
            println!("Try it: sayso --addr {} --data {} profile ben", tour.addr, data.display());
            interrupted().await.map_err(CliError::failed)?;
        }
        daemon.stop().await.map_err(CliError::failed)
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
    Used(Used),
    Why(Why),
    Check(Check),
    Erase(Erase),
    Profile(Profile),
    #[command(subcommand)]
    Audit(Audit),
    Verify(Verify),
}

struct Tour<'a> {
    addr: String,
    data: &'a Path,
    folder: &'a Path,
}

impl Tour<'_> {
    fn connection(&self) -> Connection {
        Connection {
            addr: self.addr.clone(),
            ca: None,
            cert: None,
            tls_key: None,
            token_file: None,
            data: self.data.to_owned(),
            is_data_given: false,
            insecure: false,
            role: None,
        }
    }

    /// Announces a command, shows it, and runs it as a user would.
    async fn step(&self, announcement: &str, command: &str) -> Result<(), CliError> {
        println!("\n# {announcement}\n$ sayso {command}");
        let arguments = shell_words(command).into_iter().map(|word| self.resolve(&word));
        let step = Step::try_parse_from(std::iter::once("sayso".to_owned()).chain(arguments));
        let step = step.map_err(CliError::usage)?;
        let (at, out) = (&self.connection(), Out { json: false });
        match step.command {
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
    }

    /// The path of a file of the tour. Any other word stays as it is.
    fn resolve(&self, word: &str) -> String {
        match word {
            "people.jsonl" | "log.tar.zst" => self.folder.join(word).display().to_string(),
            "log.vkey" => Layout::new(self.data).dev().join(word).display().to_string(),
            _ => word.to_owned(),
        }
    }

    async fn run(&self) -> Result<(), CliError> {
        std::fs::write(self.folder.join("people.jsonl"), PEOPLE).map_err(CliError::failed)?;
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
        println!("\n# Nobody has consented yet, and silence means no. The service asks anyway.");
        self.grant("ada").await?;
        self.step(
            "Ada saw the notice and consents to an adapted tone.",
            "consent give ada --purpose tone-adaptation --notice welcome --channel web",
        )
        .await?;
        println!(
            "\n# Now her ordinary attributes may be used. Health needs explicit consent that names the category."
        );
        let first = self.grant("ada").await?;
        self.step("She gives that, too.", "consent give ada --purpose tone-adaptation --category health --explicit --notice welcome --channel web").await?;
        let second = self.grant("ada").await?;
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
        self.grant("ben").await?;
        println!("\n# The service watches for revocations.");
        let mut revocations = self.watch().await?;
        self.step("Ada withdraws her consent.", "consent withdraw ada --purpose tone-adaptation").await?;
        self.wait_for_revocation(&mut revocations, &second).await?;
        let checked = self.step("Her first grant was revoked as well.", &format!("check {first}")).await;
        checked.or_else(|error| if error.is_grant_invalid() { Ok(()) } else { Err(error) })?;
        self.step("On whose say-so did the model know and use this?", &format!("why {second}")).await?;
        self.step("Ada asks for erasure.", "erase ada --scope all").await?;
        self.step("Ben's profile is unchanged.", "profile ben").await?;
        self.step("An auditor exports the log ...", "audit export -o log.tar.zst").await?;
        self.step("... and verifies it without the daemon.", "verify log.tar.zst --key log.vkey").await?;
        self.tamper().await
    }

    /// Asks for a grant, shows the answer and returns the grant's ID.
    async fn grant(&self, subject: &str) -> Result<String, CliError> {
        let mut client = GrantServiceClient::new(self.connection().link("service").await?);
        let request = proto::RequestGrantRequest {
            subject: subject.into(),
            purpose: "tone-adaptation".into(),
            ..Default::default()
        };
        let answer = client.request_grant(request).await?.into_inner();
        println!("$ sayso grant {subject} --purpose tone-adaptation");
        println!("grant {}", answer.grant_id);
        answer
            .allowed
            .iter()
            .for_each(|allowed| println!("  allowed: {} = {}", allowed.key, allowed.value_json));
        answer.withheld.iter().for_each(|class| println!("  {}", class.explanation));
        Ok(answer.grant_id)
    }

    async fn watch(&self) -> Result<Streaming<proto::WatchRevocationsResponse>, CliError> {
        println!("$ sayso watch");
        let mut client = GrantServiceClient::new(self.connection().link("service").await?);
        let request = proto::WatchRevocationsRequest { after_cursor: None };
        let mut revocations = client.watch_revocations(request).await?.into_inner();
        let opened = revocations.message().await?.ok_or_else(|| CliError::failed("the watch ended"))?;
        println!("watching from cursor {}", opened.cursor);
        Ok(revocations)
    }

    async fn wait_for_revocation(
        &self,
        revocations: &mut Streaming<proto::WatchRevocationsResponse>,
        grant: &str,
    ) -> Result<(), CliError> {
        println!("\n# The watch reports at once:");
        while let Some(revoked) = revocations.message().await? {
            println!("{}: {}", revoked.grant_ids.join(", "), wording::reason(revoked.reason().into()));
            if revoked.grant_ids.iter().any(|id| id == grant) {
                return Ok(());
            }
        }
        Err(CliError::failed("the watch ended"))
    }

    /// Changes one byte of the bundle and shows that it no longer verifies.
    async fn tamper(&self) -> Result<(), CliError> {
        let path = self.folder.join("log.tar.zst");
        let mut bytes = std::fs::read(&path).map_err(CliError::failed)?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        std::fs::write(&path, bytes).map_err(CliError::failed)?;
        let changed = "One byte of the bundle is changed, and it no longer verifies.";
        match self.step(changed, "verify log.tar.zst --key log.vkey").await {
            Err(error) => println!("{error}"),
            Ok(()) => return Err(CliError::failed("a changed bundle verified")),
        }
        Ok(())
    }
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
