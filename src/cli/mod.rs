//! The command line. Each command, or group of related commands, has its own file. Only this room (a
//! top-level module) may import every other room.

mod accept_clock;
mod artifact;
mod ask_again;
mod atomic_file;
mod audit;
mod backup;
mod bench;
mod bounds;
mod bounds_test;
mod completions;
mod connect;
mod consent;
mod define;
mod demo;
mod describe;
mod erase;
mod erasures;
mod error;
mod export_subject;
mod flags;
pub mod fsck;
mod grant;
mod help;
mod hold;
mod import;
mod interrupt;
mod keys;
mod lost;
mod man;
mod monitor;
mod monitor_metrics;
mod output;
mod preview;
mod profile;
mod progress;
mod receipt;
mod report;
mod request;
mod require_notice;
mod retention;
mod rules_client;
mod scratch;
mod serve;
mod sign_rule;
mod signal;
mod signing_key;
mod times;
mod token;
mod uses;
mod verify;
mod verify_completeness;
mod verify_context;
mod verify_document;
mod verify_earlier;
mod verify_report;
mod verify_rules;
mod verify_text;
mod verify_verdict;
mod vocabulary;
mod witness;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use connect::Connection;
use error::CliError;
use output::Out;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

/// The consent and profile ledger for personalized language models.
///
/// Start a daemon with `sayso serve --dev`, or take a guided tour with `sayso demo`. Commands call
/// the daemon at --addr with the token in --token-file. Without --token-file, a command uses the
/// token that a `--dev` daemon wrote to the data folder (--data).
#[derive(Parser)]
#[command(name = "sayso", version, max_term_width = 100)]
pub struct Cli {
    /// Print results and errors as JSON instead of text, in the style of proto JSON.
    // Each command lists this flag after its own flags.
    #[arg(long, global = true, display_order = 998)]
    json: bool,
    // The connection flags come last. Flags declared after them would also appear under the heading
    // "Connection to the daemon".
    #[command(flatten, next_help_heading = "Connection to the daemon")]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    // The help text of each command is on its type. A doc comment here would hide that text and its examples.
    Serve(serve::Serve),
    Token(token::Token),
    Demo(demo::Demo),
    Import(import::Import),
    Record(profile::Record),
    Remove(profile::Remove),
    Contest(profile::Contest),
    Confirm(profile::Confirm),
    Profile(profile::Profile),
    History(profile::History),
    Uses(uses::Uses),
    #[command(subcommand)]
    Consent(consent::Consent),
    Consents(consent::Consents),
    #[command(subcommand)]
    Signal(signal::Signal),
    Describe(describe::Describe),
    Grant(grant::Grant),
    Check(grant::Check),
    Used(grant::Used),
    Why(grant::Why),
    Evaluate(grant::Evaluate),
    Lost(lost::Lost),
    Watch(grant::Watch),
    Acknowledge(grant::Acknowledge),
    Erase(erase::Erase),
    Certificate(erase::Certificate),
    #[command(subcommand)]
    Erasures(erasures::Erasures),
    ExportSubject(export_subject::ExportSubject),
    #[command(subcommand)]
    Artifact(artifact::Artifact),
    #[command(subcommand)]
    Request(request::Request),
    #[command(subcommand)]
    Hold(hold::Hold),
    #[command(subcommand)]
    Retention(retention::Retention),
    #[command(subcommand)]
    Purpose(vocabulary::Purpose),
    #[command(subcommand)]
    Category(vocabulary::Category),
    #[command(subcommand)]
    Notice(vocabulary::Notice),
    #[command(subcommand)]
    Bounds(bounds::Bounds),
    #[command(subcommand)]
    Audit(audit::Audit),
    Report(report::Report),
    RecordOfProcessing(report::RecordOfProcessing),
    Checkpoint(audit::Checkpoint),
    Proof(audit::Proof),
    ProveSubject(audit::ProveSubject),
    Stats(audit::Stats),
    #[command(subcommand)]
    Keys(keys::Keys),
    Backup(backup::Backup),
    Restore(backup::Restore),
    ConfirmRestore(backup::ConfirmRestore),
    AcceptClock(accept_clock::AcceptClock),
    Verify(verify::Verify),
    Fsck(fsck::Fsck),
    Witness(witness::Witness),
    Monitor(monitor::Monitor),
    Bench(bench::Bench),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Decodes one line of a file for `sayso import`. Fuzz tests call this function.
#[doc(hidden)]
pub fn decode_import_line(line: &[u8]) {
    import::decode_line(line);
}

/// How long the process waits at most, once its command is done, for work that continues on other threads.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

impl Cli {
    /// Parses a command line.
    ///
    /// # Errors
    /// The command line is invalid, asks for help or the version, or has a connection flag that its command
    /// does not use.
    fn parse_line(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut command = help::for_help(Self::command());
        let matches = command.try_get_matches_from_mut(line)?;
        flags::refuse_unused(&mut command, &matches)?;
        let mut cli = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        cli.connection.is_data_given = flags::is_given(&matches, "data");
        Ok(cli)
    }
}

/// Parses the command line of this process, runs the command and returns its exit status.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse_line(std::env::args_os()) {
        Ok(cli) => run(cli),
        Err(error) => report_parsing(&error),
    }
}

/// Prints help or the version with status 0, or reports an invalid command line with status 2. With --json,
/// an invalid command line is reported as JSON, like every other error.
fn report_parsing(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        let text = error.to_string();
        let message: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let message = message.join(" ");
        return Out { json }.report(&CliError::usage(message.trim_start_matches("error: ")));
    }
    if error.use_stderr() {
        // The message repeats arguments, which can come from other people.
        output::print_error_line(error.to_string().trim_end());
        return ExitCode::from(2);
    }
    // If the help can't be printed, there is nothing else to do.
    let _ignored = error.print();
    ExitCode::SUCCESS
}

/// Runs a command and returns its exit status.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let out = Out { json: cli.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return out.report(&CliError::failed(error)),
    };
    let ended = runtime.block_on(dispatch(cli, out));
    // A thread that is blocked on standard input, for example, must not keep the process alive.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out.report(&error),
    }
}

async fn dispatch(cli: Cli, out: Out) -> Result<(), CliError> {
    let at = &cli.connection;
    match cli.command {
        Command::Serve(command) => command.run(at, out).await,
        Command::Token(command) => command.run(at, out),
        Command::Demo(command) => command.run().await,
        Command::Import(command) => command.run(at, out).await,
        Command::Record(command) => command.run(at, out).await,
        Command::Remove(command) => command.run(at, out).await,
        Command::Contest(command) => command.run(at, out).await,
        Command::Confirm(command) => command.run(at, out).await,
        Command::Profile(command) => command.run(at, out).await,
        Command::History(command) => command.run(at, out).await,
        Command::Uses(command) => command.run(at, out).await,
        Command::Consent(command) => command.run(at, out).await,
        Command::Consents(command) => command.run(at, out).await,
        Command::Signal(command) => command.run(at, out).await,
        Command::Describe(command) => command.run(at, out).await,
        Command::Grant(command) => command.run(at, out).await,
        Command::Check(command) => command.run(at, out).await,
        Command::Used(command) => command.run(at, out).await,
        Command::Why(command) => command.run(at, out).await,
        Command::Evaluate(command) => command.run(at, out).await,
        Command::Lost(command) => command.run(at, out).await,
        Command::Watch(command) => command.run(at, out).await,
        Command::Acknowledge(command) => command.run(at, out).await,
        Command::Erase(command) => command.run(at, out).await,
        Command::Certificate(command) => command.run(at, out).await,
        Command::Erasures(command) => command.run(at, out).await,
        Command::ExportSubject(command) => command.run(at, out).await,
        Command::Artifact(command) => command.run(at, out).await,
        Command::Request(command) => command.run(at, out).await,
        Command::Hold(command) => command.run(at, out).await,
        Command::Retention(command) => command.run(at, out).await,
        Command::Purpose(command) => command.run(at, out).await,
        Command::Category(command) => command.run(at, out).await,
        Command::Notice(command) => command.run(at, out).await,
        Command::Bounds(command) => command.run(at, out).await,
        Command::Audit(command) => command.run(at, out).await,
        Command::Report(command) => command.run(at, out).await,
        Command::RecordOfProcessing(command) => command.run(at, out).await,
        Command::Checkpoint(command) => command.run(at, out).await,
        Command::Proof(command) => command.run(at, out).await,
        Command::ProveSubject(command) => command.run(at).await,
        Command::Stats(command) => command.run(at, out).await,
        Command::Keys(command) => command.run(at, out).await,
        Command::Backup(command) => command.run(at, out).await,
        Command::Restore(command) => command.run(at, out).await,
        Command::ConfirmRestore(command) => command.run(at, out).await,
        Command::AcceptClock(command) => command.run(at, out).await,
        Command::Verify(command) => command.run(out),
        Command::Fsck(command) => command.run(out),
        Command::Witness(command) => command.run(out).await,
        Command::Monitor(command) => command.run(at, out).await,
        Command::Bench(command) => command.run(at, out).await,
        Command::Completions(command) => command.run(Cli::command()),
        Command::Man(command) => command.run(Cli::command(), out),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::error::ErrorKind;

    #[test]
    fn the_command_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    /// Every command without subcommands, with its path.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let mut inner = command.get_subcommands().filter(|inner| inner.get_name() != "help").peekable();
        if inner.peek().is_none() {
            found.push((path.to_owned(), command.clone()));
        }
        inner.for_each(|inner| leaves(inner, &format!("{path} {}", inner.get_name()), found));
    }

    #[test]
    fn every_help_has_an_example_that_parses() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "sayso", &mut found);
        assert!(found.len() > 30, "{}", found.len());
        let mut lacking = Vec::new();
        for (path, command) in found {
            let help = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            let Some(example) = help.split('`').find(|part| part.starts_with(&path)) else {
                lacking.push(path);
                continue;
            };
            let words = demo::shell_words(example.split(" > ").next().unwrap());
            let parsed = Cli::try_parse_from(words);
            assert!(parsed.is_ok(), "{example}: {}", parsed.err().unwrap());
        }
        assert!(lacking.is_empty(), "{lacking:?} have no example");
    }

    #[test]
    fn every_argument_has_a_help_text() {
        let (mut found, mut lacking) = (Vec::new(), Vec::new());
        leaves(&Cli::command(), "sayso", &mut found);
        for (path, command) in found {
            let arguments = command.get_arguments().filter(|argument| argument.get_id() != "help");
            let bare = arguments.filter(|argument| argument.get_help().is_none());
            lacking.extend(bare.map(|argument| format!("{path}: {}", argument.get_id())));
        }
        assert!(lacking.is_empty(), "{lacking:?}");
    }

    fn parse_error(line: &str) -> Option<ErrorKind> {
        Cli::try_parse_from(line.split_whitespace()).err().map(|error| error.kind())
    }

    #[test]
    fn the_documented_syntax_parses() {
        for line in [
            "sayso record ada tone brief --category work --provenance inferred --evidence a --evidence b",
            "sayso consent refuse ada --purpose memory --category work --recipient tutor --explicit",
            "sayso signal object ada --purpose memory",
            "sayso signal lift ada --purpose memory",
            "sayso used g1-00 --reply r --shaped-by a --shaped-by b",
            "sayso profile ada --as-of 2026-01-31T12:00:00Z --rebuild --json",
            "sayso --as steward uses ada",
            "sayso audit export -o out --sealed",
            "sayso verify bundle --key k --since checkpoint",
            "sayso watch --after 0",
            "sayso completions bash",
            "sayso backup -o file --force",
            "sayso bench append --connections 2 --concurrency 8 --duration 1s --rate 100",
        ] {
            assert_eq!(parse_error(line), None, "{line}");
        }
        assert_eq!(parse_error("sayso remove ada"), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(parse_error("sayso consent give ada"), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(parse_error("sayso erase ada"), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(parse_error("sayso signal grumble ada"), Some(ErrorKind::InvalidSubcommand));
        assert_eq!(parse_error("sayso --as ../../other stats"), Some(ErrorKind::InvalidValue));
        assert_eq!(parse_error("sayso profile ada --as-of yesterday"), Some(ErrorKind::ValueValidation));
    }
}
