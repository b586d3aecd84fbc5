//! The commands: a file each. The composition root: the only room that may import every other.

mod accept_clock;
mod artifact;
mod audit;
mod backup;
mod bench;
mod bounds;
mod bounds_test;
mod connect;
mod consent;
mod demo;
mod describe;
mod error;
mod export_subject;
pub mod fsck;
mod given;
mod grant;
mod hold;
mod import;
mod keys;
mod output;
mod partial;
mod profile;
mod progress;
mod publish_bounds;
mod receipt;
mod report;
mod request;
mod retention;
mod rights;
mod scratch;
mod serve;
mod signal;
mod token;
mod uses;
mod verify;
mod witness;

use clap::{Parser, Subcommand};
use connect::Connection;
use error::CliError;
use output::Out;
use std::process::ExitCode;

/// The consent and profile ledger for personalised language models.
///
/// Start a daemon with `sayso serve --dev`, or have the whole story told with `sayso demo`. Commands talk to the daemon
/// at --addr with the token in --token-file; beside a `--dev` daemon they find both by themselves.
///
/// Exit status: 0 done, 1 failed, 2 usage, 3 denied, 4 verification failed.
#[derive(Parser)]
#[command(name = "sayso", version, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    connection: Connection,
    /// Print JSON for machines.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    // Help texts stand on the commands' own types: one here would hide theirs, with its example.
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
    Watch(grant::Watch),
    Acknowledge(grant::Acknowledge),
    Erase(rights::Erase),
    Certificate(rights::Certificate),
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
    Purpose(bounds::Purpose),
    #[command(subcommand)]
    Category(bounds::Category),
    #[command(subcommand)]
    Notice(bounds::Notice),
    #[command(subcommand)]
    Bounds(publish_bounds::Bounds),
    #[command(subcommand)]
    Audit(audit::Audit),
    Report(report::Report),
    RecordOfProcessing(report::RecordOfProcessing),
    Checkpoint(audit::Checkpoint),
    Proof(audit::Proof),
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
    Bench(bench::Bench),
}

/// Reads one line of `sayso import`, for the fuzzers.
#[doc(hidden)]
pub fn decode_import_line(line: &[u8]) {
    import::decode_line(line);
}

/// How long work on other threads may go on once the command is done.
const LEFT_OVER_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// Reads the command line and runs it to its exit status.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse_given(std::env::args_os()) {
        Ok(cli) => run(cli),
        Err(error) => misused(&error),
    }
}

/// Help and versions are answers; anything else was a wrong call, told to machines as every other error.
fn misused(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    if json && error.use_stderr() {
        let text = error.to_string();
        let what: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        return CliError::usage(what.join(" ").trim_start_matches("error: ")).report(Out { json });
    }
    // Where it can't be printed, the exit status still says it.
    let _nobody_reads = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Runs a command to its exit status.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let out = Out { json: cli.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::failed(error).report(out),
    };
    let ended = runtime.block_on(dispatch(cli, out));
    // Threads that wait for somebody who does not read must not keep the process.
    runtime.shutdown_timeout(LEFT_OVER_MAX);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(out),
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
        Command::Watch(command) => command.run(at, out).await,
        Command::Acknowledge(command) => command.run(at, out).await,
        Command::Erase(command) => command.run(at, out).await,
        Command::Certificate(command) => command.run(at, out).await,
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
        Command::Stats(command) => command.run(at, out).await,
        Command::Keys(command) => command.run(at, out).await,
        Command::Backup(command) => command.run(at, out).await,
        Command::Restore(command) => command.run(at, out).await,
        Command::ConfirmRestore(command) => command.run(at, out).await,
        Command::AcceptClock(command) => command.run(at, out).await,
        Command::Verify(command) => command.run(out),
        Command::Fsck(command) => command.run(out),
        Command::Witness(command) => command.run(out).await,
        Command::Bench(command) => command.run(at, out).await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }

    /// Every command at the end of a path, with its path.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        let mut inner = command.get_subcommands().filter(|inner| inner.get_name() != "help").peekable();
        if inner.peek().is_none() {
            found.push((path.to_owned(), command.clone()));
        }
        inner.for_each(|inner| leaves(inner, &format!("{path} {}", inner.get_name()), found));
    }

    #[test]
    fn every_help_teaches_with_an_example_that_parses() {
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
        assert_eq!(lacking, ["sayso demo"], "have no example");
    }

    #[test]
    fn every_argument_says_what_it_is() {
        let (mut found, mut lacking) = (Vec::new(), Vec::new());
        leaves(&Cli::command(), "sayso", &mut found);
        for (path, command) in found {
            let arguments = command.get_arguments().filter(|argument| argument.get_id() != "help");
            let bare = arguments.filter(|argument| argument.get_help().is_none());
            lacking.extend(bare.map(|argument| format!("{path}: {}", argument.get_id())));
        }
        assert!(lacking.is_empty(), "{lacking:?}");
    }

    fn refused(line: &str) -> Option<ErrorKind> {
        Cli::try_parse_from(line.split_whitespace()).err().map(|error| error.kind())
    }

    #[test]
    fn the_syntax_is_the_one_that_is_written_down() {
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
            "sayso bench append --connections 2 --concurrency 8 --duration 1s --rate 100",
        ] {
            assert_eq!(refused(line), None, "{line}");
        }
        assert_eq!(refused("sayso remove ada"), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(refused("sayso consent give ada"), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(refused("sayso erase ada"), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(refused("sayso signal grumble ada"), Some(ErrorKind::InvalidSubcommand));
        assert_eq!(refused("sayso --as ../../other stats"), Some(ErrorKind::InvalidValue));
        assert_eq!(refused("sayso profile ada --as-of yesterday"), Some(ErrorKind::ValueValidation));
    }
}
