//! The commands: a file each. The composition root: the only room that may import every other.

mod audit;
mod bench;
mod bounds;
mod connect;
mod consent;
pub mod daemon;
mod demo;
mod describe;
mod error;
mod grant;
mod import;
mod output;
mod profile;
mod publish_bounds;
mod report;
mod rights;
mod serve;
mod token;
mod verify;

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
    /// Run the daemon.
    Serve(serve::Serve),
    /// Mint a token of the built-in issuer.
    Token(token::Token),
    /// A daemon with sample people in a temporary folder, and the whole story told.
    Demo(demo::Demo),
    /// Record attributes in bulk from a JSONL file.
    Import(import::Import),
    /// Record one attribute.
    Record(profile::Record),
    /// Stop holding attributes.
    Remove(profile::Remove),
    /// Say that a fact is wrong; it is not used any more.
    Contest(profile::Contest),
    /// Say that a fact is right.
    Confirm(profile::Confirm),
    /// Show what is held about a person.
    Profile(profile::Profile),
    /// Show everything that was recorded about a person.
    History(profile::History),
    /// Record what a person decided.
    #[command(subcommand)]
    Consent(consent::Consent),
    /// Show what a person decided.
    Consents(consent::Consents),
    /// Record an objection, restriction, opt-out or pause, or lift it.
    Signal(consent::Signal),
    /// Say how old a person is, coarsely, and where: some rules depend on it.
    Describe(describe::Describe),
    /// Ask for a grant: what may be used now, for a purpose.
    Grant(grant::Grant),
    /// Ask whether a grant still stands.
    Check(grant::Check),
    /// Report that a grant was used for a reply.
    Used(grant::Used),
    /// Tell the lineage of one personalised reply, in plain words.
    Why(grant::Why),
    /// Ask what would be allowed; issues nothing.
    Evaluate(grant::Evaluate),
    /// Show revocations as they happen.
    Watch(grant::Watch),
    /// Say that what fell at a cursor was carried out.
    Acknowledge(grant::Acknowledge),
    /// Erase a person.
    Erase(rights::Erase),
    /// Show the certificate of an erasure.
    Certificate(rights::Certificate),
    /// Purposes and categories.
    #[command(subcommand)]
    Purpose(bounds::Purpose),
    /// Categories of personal data.
    #[command(subcommand)]
    Category(bounds::Category),
    /// Notices: what people are told.
    #[command(subcommand)]
    Notice(bounds::Notice),
    /// The rules in force.
    #[command(subcommand)]
    Bounds(publish_bounds::Bounds),
    /// Exports for auditors.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// What can be measured of personalisation's benefits and risks, over people.
    Report(report::Report),
    /// The record of processing activities (GDPR Art. 30).
    RecordOfProcessing(report::RecordOfProcessing),
    /// Show the newest checkpoint.
    Checkpoint(audit::Checkpoint),
    /// Prove that an entry is in the log.
    Proof(audit::Proof),
    /// Sizes and counts.
    Stats(audit::Stats),
    /// Verify a bundle or a proof, offline.
    Verify(verify::Verify),
    /// Measure a running daemon.
    Bench(bench::Bench),
}

/// Runs a command to its exit status.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let out = Out { json: cli.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::failed(error).report(out),
    };
    match runtime.block_on(dispatch(cli, out)) {
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
        Command::Verify(command) => command.run(out),
        Command::Bench(command) => command.run(at, out).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_fit_together() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
