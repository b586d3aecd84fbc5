//! The command `sayso serve`.

use super::connect::{Connection, dev_token};
use super::error::CliError;
use super::interrupt::interrupted;
use super::output::Out;
use crate::api::ROLES;
use crate::config::Config;
use crate::daemon::data_dir::{Layout, make_private_dir};
use crate::daemon::harden::harden;
use crate::daemon::{Daemon, DaemonError, use_dev_tier_keys};
use crate::domain::event::Role;
use crate::telemetry::{self, Export, LogForm, Traces};
use clap::Args;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Lifetime of the tokens that `--dev` writes.
const DEV_TOKEN_SECONDS: u64 = 30 * 86_400;

/// Exit status if a second signal ended the process before the shutdown was complete.
const EXIT_ABORTED: i32 = 1;

/// Run the daemon.
///
/// SIGTERM or SIGINT stops the daemon: requests in progress are answered (within 5 seconds) and everything is
/// flushed. A second signal stops it immediately. Nothing that was acknowledged is lost.
///
/// Example: `sayso serve --dev`, then in another shell `sayso stats`.
#[derive(Args)]
pub(super) struct Serve {
    /// Configuration file (TOML). Flags override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Development mode. Write the log's verifier key, the daemon's address, and a token for each role
    /// except `subject` to DATA/dev, where other commands find them. Also make the keys that sign
    /// bounds there, unless the configuration names such keys. Connections are unencrypted, and are
    /// accepted from this machine only (loopback).
    #[arg(long)]
    dev: bool,
    /// Address for gRPC, which all calls of the API use.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address for HTTP: the public log, health and metrics.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
}

impl Serve {
    /// The configuration in the file of `--config`, or the defaults. Flags on the command line override it.
    pub(super) fn config(&self, at: &Connection) -> Result<Config, CliError> {
        let mut config = at.config(self.config.as_deref())?;
        config.listen = self.listen.unwrap_or(config.listen);
        config.http = self.http.unwrap_or(config.http);
        if self.dev && config.tls.is_some() {
            return Err(CliError::usage(
                "--dev serves unencrypted on loopback: leave out --dev, or `[tls]` in the configuration",
            ));
        }
        Ok(config)
    }

    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut config = self.config(at)?;
        if self.dev {
            use_dev_tier_keys(&mut config).map_err(CliError::failed)?;
        }
        config.check().map_err(CliError::usage)?;
        let traces = traces(&config)?;
        telemetry::start(LogForm::of_output(out.json), traces.as_ref());
        harden(config.lock_memory, self.dev).map_err(CliError::failed)?;
        let daemon = Daemon::start(&config).await.map_err(CliError::failed)?;
        let folders: Vec<PathBuf> = daemon.controllers.iter().map(|served| served.data.clone()).collect();
        // The daemon before this one may have been a `--dev` daemon that was killed.
        forget_dev_address(&folders).map_err(CliError::failed)?;
        if self.dev {
            write_dev_files(&daemon).map_err(CliError::failed)?;
            keep_dev_keys(&daemon);
            tracing::warn!(
                "development mode: tokens are in the data folder, and connections are not encrypted"
            );
        }
        let ready = serde_json::json!({
            "grpc": daemon.grpc.to_string(),
            "http": daemon.http.to_string(),
            "key": daemon.vkey,
            "keys": daemon.controllers.iter().map(|served| served.vkey.as_str()).collect::<Vec<_>>(),
        });
        out.print_value(&ready, &greeting(&daemon, &config.data, self.dev))?;
        // The parent process may wait for this line.
        std::io::stdout().flush().map_err(CliError::failed)?;
        interrupted().await.map_err(CliError::failed)?;
        tracing::info!("stopping; a second signal stops immediately");
        forget_dev_address(&folders).map_err(CliError::failed)?;
        let stopped = tokio::select! {
            stopped = daemon.stop() => stopped.map_err(CliError::failed),
            // Everything that was acknowledged is durable. The next start recovers as after a crash.
            _ = interrupted() => std::process::exit(EXIT_ABORTED),
        };
        if let Some(traces) = traces {
            traces.stop().await;
        }
        stopped
    }
}

/// The export of traces, if the configuration names a collector.
fn traces(config: &Config) -> Result<Option<Traces>, CliError> {
    let telemetry = &config.telemetry;
    let Some(endpoint) = telemetry.traces.clone() else { return Ok(None) };
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| CliError::usage(format!("{}: {error}", path.display())))
    };
    let ca = telemetry.traces_ca.as_ref().map(read).transpose()?;
    let export = Export { endpoint, ca, ratio: telemetry.traces_ratio, instance: config.origin() };
    Traces::open(&export).map(Some).map_err(CliError::usage)
}

fn greeting(daemon: &Daemon, data: &Path, dev: bool) -> String {
    let mut text = format!("sayso serves gRPC on {} and HTTP on {}", daemon.grpc, daemon.http);
    for served in &daemon.controllers {
        text.push_str(&format!("\nlog key {}", served.vkey));
    }
    if dev {
        let tokens = Layout::new(data).dev();
        text.push_str(&format!(
            "\nDEVELOPMENT MODE: tokens are in {}, and connections are not encrypted",
            tokens.display()
        ));
    }
    text
}

/// Writes to the `dev` folder of each controller: a token for each role except `subject`, the log's verifier
/// key, and the URL of the daemon's gRPC address.
pub(super) fn write_dev_files(daemon: &Daemon) -> Result<(), DaemonError> {
    for served in &daemon.controllers {
        let dev = Layout::new(&served.data).dev();
        make_private_dir(&dev)?;
        for (claim, name) in ROLES.iter().filter(|(claim, _)| claim.role != Role::Subject) {
            let token = served.issuer.mint(*claim, &format!("dev-{name}"), DEV_TOKEN_SECONDS)?;
            write_private(&dev_token(&served.data, name), &token)?;
        }
        write_private(&dev.join("log.vkey"), &served.vkey)?;
        write_private(&Layout::new(&served.data).dev_address(), &format!("http://{}", daemon.grpc))?;
    }
    Ok(())
}

/// Removes the files with the daemon's address that [`write_dev_files`] wrote, so that no command looks for a
/// daemon that has stopped.
fn forget_dev_address(folders: &[PathBuf]) -> Result<(), DaemonError> {
    for path in folders.iter().map(|folder| Layout::new(folder).dev_address()) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(DaemonError::File(path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Until the daemon stops, rewrites a controller's file `dev/log.vkey` whenever the controller's log changes
/// its key.
fn keep_dev_keys(daemon: &Daemon) {
    for served in &daemon.controllers {
        let path = Layout::new(&served.data).dev().join("log.vkey");
        let mut keys = served.watch_keys();
        tokio::spawn(async move {
            while keys.changed().await.is_ok() {
                let vkey = keys.borrow_and_update().chain.newest().to_string();
                if let Err(error) = write_private(&path, &vkey) {
                    tracing::error!(%error, "can't write the new verifier key");
                }
            }
        });
    }
}

fn write_private(path: &Path, text: &str) -> Result<(), DaemonError> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| writeln!(file, "{text}"))
        .map_err(|error| DaemonError::File(path.to_owned(), error))
}
