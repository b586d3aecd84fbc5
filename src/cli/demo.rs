//! `sayso demo`: a daemon with sample people, and the whole story told with what it really answers.

use super::Connection;
use super::audit::Audit;
use super::error::CliError;
use super::output::Out;
use super::serve::{interrupted, leave_dev_files};
use super::{Cli, Command};
use crate::config::Config;
use crate::daemon::Daemon;
use crate::daemon::data_dir::Layout;
use crate::proto;
use crate::proto::grant_service_client::GrantServiceClient;
use crate::telemetry;
use clap::{Args, Parser};
use std::net::SocketAddr;
use std::path::Path;
use tonic::Streaming;

/// A daemon in a temporary folder with sample people, and the whole story told: record, consent, use, explain,
/// withdraw, erase, export, verify. Then it serves until interrupted.
#[derive(Args)]
pub(super) struct Demo {
    /// End after the story.
    #[arg(long)]
    exit: bool,
}

/// Sample people, made for this.
const PEOPLE: &str = r#"{"subject":"ada","key":"tone","value":"brief and dry","category":"communication-style","provenance":"declared","observed_at":"2026-01-05T09:00:00Z"}
{"subject":"ada","key":"hobby","value":"restores old clocks","category":"activity","provenance":"inferred","evidence":["chat-3/turn-14"],"observed_at":"2026-01-07T18:30:00Z"}
{"subject":"ada","key":"sleep","value":"has trouble sleeping since March","category":"health","provenance":"declared","evidence":["chat-4/turn-2"],"observed_at":"2026-01-09T23:10:00Z"}
{"subject":"ada","key":"mood","value":"seems depressed","category":"mental-health","provenance":"inferred","evidence":["chat-4/turn-2"],"observed_at":"2026-01-09T23:11:00Z"}
{"subject":"ben","key":"work","value":"night shifts at the harbour","category":"work","provenance":"declared","observed_at":"2026-01-06T07:15:00Z"}
{"subject":"ben","key":"language","value":"prefers Portuguese","category":"language","provenance":"observed","observed_at":"2026-01-06T07:20:00Z"}
"#;

const NOTICE: &str = "We would like to remember facts about you to adapt how our assistant speaks to you. You can say no, and take a yes back at any time.";

impl Demo {
    pub async fn run(self) -> Result<(), CliError> {
        telemetry::start(false, None);
        let folder = tempfile::tempdir().map_err(CliError::failed)?;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let data = folder.path().join("data");
        let config = Config { data: data.clone(), listen: loopback, http: loopback, ..Config::default() };
        let daemon = Daemon::start(&config).await.map_err(CliError::failed)?;
        leave_dev_files(&daemon).map_err(CliError::failed)?;
        let story = Story { addr: format!("http://{}", daemon.grpc), data: &data, folder: folder.path() };
        story.tell().await?;
        if !self.exit {
            println!(
                "\nThe daemon goes on at {} (gRPC) and http://{}/checkpoint until you interrupt it.",
                story.addr, daemon.http
            );
            println!("Try it: sayso --addr {} --data {} profile ben", story.addr, data.display());
            interrupted().await.map_err(CliError::failed)?;
        }
        daemon.stop().await.map_err(CliError::failed)
    }
}

struct Story<'a> {
    addr: String,
    data: &'a Path,
    folder: &'a Path,
}

impl Story<'_> {
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

    /// Says what comes, shows the command, runs it as a user would.
    async fn step(&self, words: &str, command: &str) -> Result<(), CliError> {
        println!("\n# {words}\n$ sayso {command}");
        let arguments = shell_words(command).into_iter().map(|word| self.resolve(&word));
        let cli = Cli::try_parse_from(std::iter::once("sayso".to_owned()).chain(arguments));
        let cli = cli.map_err(CliError::usage)?;
        let (at, out) = (&self.connection(), Out { json: false });
        match cli.command {
            Command::Import(command) => command.run(at, out).await,
            Command::Notice(command) => command.run(at, out).await,
            Command::Consent(command) => command.run(at, out).await,
            Command::Used(command) => command.run(at, out).await,
            Command::Why(command) => command.run(at, out).await,
            Command::Check(command) => command.run(at, out).await,
            Command::Grant(command) => command.run(at, out).await,
            Command::Erase(command) => command.run(at, out).await,
            Command::Profile(command) => command.run(at, out).await,
            Command::Audit(Audit::Export(command)) => Audit::Export(command).run(at, out).await,
            Command::Verify(command) => command.run(out),
            _ => Err(CliError::failed("the story has no such step")),
        }
    }

    /// Files of the story lie in its folder.
    fn resolve(&self, word: &str) -> String {
        let known = ["people.jsonl", "log.tar.zst"];
        if known.contains(&word) {
            return self.folder.join(word).display().to_string();
        }
        match word {
            "log.vkey" => Layout::new(self.data).dev().join(word).display().to_string(),
            _ => word.to_owned(),
        }
    }

    async fn tell(&self) -> Result<(), CliError> {
        std::fs::write(self.folder.join("people.jsonl"), PEOPLE).map_err(CliError::failed)?;
        self.step(
            "A model service remembers facts about two people. What it concluded about health is refused at the door.",
            "import people.jsonl",
        )
        .await?;
        self.step(
            "The controller publishes what people are told.",
            &format!("notice publish welcome --text '{NOTICE}'"),
        )
        .await?;
        println!("\n# Nobody consented yet: silence is no. The service asks all the same.");
        self.grant("ada").await?;
        self.step(
            "Ada says yes to an adapted tone, having seen that notice.",
            "consent give ada --purpose tone-adaptation --notice welcome --channel web",
        )
        .await?;
        println!(
            "\n# Now the plain facts may be used. Health may not: it takes an explicit yes that names it."
        );
        let first = self.grant("ada").await?;
        self.step("She gives that, too.", "consent give ada --purpose tone-adaptation --category health --explicit --notice welcome --channel web").await?;
        let second = self.grant("ada").await?;
        self.step(
            "A reply was written with it, and the service says which facts shaped it.",
            &format!("used {second} --reply reply-77 --shaped-by tone --shaped-by sleep"),
        )
        .await?;
        self.step(
            "Ben says yes, too.",
            "consent give ben --purpose tone-adaptation --notice welcome --channel web",
        )
        .await?;
        self.grant("ben").await?;
        println!("\n# The service watches for what falls. Ada takes her yes back.");
        let mut fallen = self.watch().await?;
        self.step("Ada withdraws.", "consent withdraw ada --purpose tone-adaptation").await?;
        self.told(&mut fallen, &second).await?;
        self.step("The first grant fell as well.", &format!("check {first}")).await?;
        self.step("On whose say-so did the model know this, and use it?", &format!("why {second}")).await?;
        self.step("Ada asks to be forgotten.", "erase ada --scope all").await?;
        self.step("Ben is untouched.", "profile ben").await?;
        self.step("An auditor takes the log away ...", "audit export -o log.tar.zst").await?;
        self.step("... and verifies it without us.", "verify log.tar.zst --key log.vkey").await?;
        self.tamper()
    }

    /// Asks for a grant and shows the answer; gives its id.
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
        let mut fallen = client.watch_revocations(request).await?.into_inner();
        let standing = fallen.message().await?.ok_or_else(|| CliError::failed("the watch ended"))?;
        println!("watching from cursor {}", standing.cursor);
        Ok(fallen)
    }

    async fn told(
        &self,
        fallen: &mut Streaming<proto::WatchRevocationsResponse>,
        grant: &str,
    ) -> Result<(), CliError> {
        println!("\n# The watch says at once:");
        while let Some(fell) = fallen.message().await? {
            println!("{}: {}", fell.grant_ids.join(", "), crate::domain::wording::reason(fell.reason()));
            if fell.grant_ids.iter().any(|id| id == grant) {
                return Ok(());
            }
        }
        Err(CliError::failed("the watch ended"))
    }

    /// One changed byte, and the bundle does not verify.
    fn tamper(&self) -> Result<(), CliError> {
        let path = self.folder.join("log.tar.zst");
        let mut bytes = std::fs::read(&path).map_err(CliError::failed)?;
        let middle = bytes.len() / 2;
        if let Some(byte) = bytes.get_mut(middle) {
            *byte ^= 1;
        }
        std::fs::write(&path, bytes).map_err(CliError::failed)?;
        println!(
            "\n# One byte of it is changed, and it does not verify.\n$ sayso verify log.tar.zst --key log.vkey"
        );
        let key = self.resolve("log.vkey");
        let path = path.display().to_string();
        let cli = Cli::try_parse_from(["sayso", "verify", &path, "--key", &key]).map_err(CliError::usage)?;
        let Command::Verify(command) = cli.command else { return Err(CliError::failed("no such step")) };
        match command.run(Out { json: false }) {
            Err(error) => println!("{error}"),
            Ok(()) => return Err(CliError::failed("a changed bundle verified")),
        }
        Ok(())
    }
}

/// Words of a command line; single quotes keep words together.
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
