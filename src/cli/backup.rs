//! `sayso backup | restore | confirm-restore`

use super::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::Out;
use super::partial::Partial;
use super::progress;
use crate::app::{self, Restored};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::daemon::DaemonError;
use crate::daemon::app_settings::{custody, open_app};
use crate::daemon::data_dir::Layout;
use crate::daemon::harden::restrict_new_files;
use crate::ledger::{Ledger, LogKeys};
use crate::proto;
use crate::proto::operator_service_client::OperatorServiceClient;
use crate::store::backup::{BackupReader, Piece};
use crate::store::embedded::{EmbeddedKeys, EmbeddedLog, Options};
use crate::store::{KeyStore, Page};
use crate::vault::Vault;
use clap::Args;
use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Key pages staged at once.
const PAGES_MAX: usize = 128;

/// Write the log and the sealed key tree into one file, while the daemon goes on; never the root key.
///
/// Example: `sayso backup -o sayso.backup`
#[derive(Args)]
pub(super) struct Backup {
    /// The file to write.
    #[arg(short, long)]
    output: PathBuf,
}

impl Backup {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let link: Link = at.link("operator").await?;
        let mut client = OperatorServiceClient::new(link);
        let mut pieces = client.backup(proto::BackupRequest {}).await?.into_inner();
        let mut written = Partial::begin(&self.output)?;
        let bar = progress::entries(0, "backing up");
        let mut entries = 0;
        while let Some(piece) = pieces.message().await? {
            written.write(&piece.chunk)?;
            entries = piece.entries_total;
            bar.set_length(entries);
            bar.set_position(piece.entries_done);
        }
        bar.finish_and_clear();
        let bytes = written.finish()?;
        let path = self.output.display().to_string();
        let value = serde_json::json!({ "backup": path, "entries": entries, "bytes": bytes });
        out.print_value(&value, &format!("{path}: {entries} entries, {bytes} bytes"))
    }
}

/// Bring a lost log back from a backup, under the keys of now: everybody but the erased. The daemon must not run.
///
/// The folder (--data) needs its `secrets`; the key tree in `keys` is used as it is, and only where there is none the
/// backup's is taken, which opens if nobody was erased since. A log that is there already has to be moved away first.
/// What people said since the backup is lost: until `sayso confirm-restore` nothing is allowed.
/// Example: `sayso restore sayso.backup --data sayso-data`
#[derive(Args)]
pub(super) struct Restore {
    /// The backup.
    file: PathBuf,
    /// Configuration file (TOML); only `data`, `ledger`, `controller` and `pkcs11` matter here.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Which of the configuration's controllers. Default: the first.
    #[arg(long, requires = "config")]
    controller: Option<String>,
}

impl Restore {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        restrict_new_files();
        let config = at.settings(self.config.as_deref())?;
        config.check().map_err(CliError::usage)?;
        let config = config.of(self.controller.as_deref()).map_err(CliError::usage)?;
        let (file, settings) = (self.file, config.clone());
        let restored = tokio::task::spawn_blocking(move || restore(&file, &settings)).await;
        let restored = restored.map_err(CliError::failed)??;
        // The log says it at once; where this fails, the daemon's next start does.
        let clock = crate::daemon::app_settings::ledger_clock(&config, &(Arc::new(SystemClock) as _))
            .map_err(CliError::failed)?;
        let opened = open_app(&config, clock).await.map_err(CliError::failed)?;
        let entries = opened.ledger().checkpoint().size;
        opened.shutdown().await;
        let again: u64 = restored
            .erased_again
            .iter()
            .map(|(first, last)| last.saturating_sub(*first).saturating_add(1))
            .sum();
        let value = serde_json::json!({ "entries": entries, "erased_again": again });
        out.print_value(
            &value,
            &format!(
                "restored: {entries} entries; {again} of people erased since stay erased\nnothing is allowed before \
                 `sayso confirm-restore`: record again what people said since the backup, withdrawals first"
            ),
        )
    }
}

/// After a restore: say in the log that what people said since the backup is recorded again, as far as it can be found. Use
/// goes on; until then no grant allows anything, and none stands.
///
/// Ask recipients, channels and mailboxes for withdrawals, objections and restrictions since the backup, and record them, first.
/// Example: `sayso confirm-restore`
#[derive(Args)]
pub(super) struct ConfirmRestore {
    /// Does the same only once, however often it is sent.
    #[arg(long, default_value = "")]
    idempotency_key: String,
}

impl ConfirmRestore {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut client: OperatorServiceClient<Link> =
            client!(OperatorServiceClient, at.link("operator").await?);
        let options =
            proto::WriteOptions { idempotency_key: self.idempotency_key, ..proto::WriteOptions::default() };
        let request = proto::ConfirmRestoreRequest { options: Some(options) };
        let answer = client.confirm_restore(request).await?.into_inner();
        out.print("ConfirmRestoreResponse", &answer, |answer| {
            let events = answer.receipt.iter().flat_map(|receipt| &receipt.events);
            let at: Vec<String> = events.map(|event| event.position.to_string()).collect();
            format!("confirmed at position {}; use goes on", at.join(", "))
        })
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.to_owned();
    move |error| CliError::failed(DaemonError::File(path, error))
}

fn restore(file: &Path, config: &Config) -> Result<Restored, CliError> {
    let layout = Layout::new(&config.data);
    let secrets = layout.secrets();
    // A file of root keys that is not there would be made, empty.
    let needed = ["log.key", "root.key"];
    for needed in needed.iter().take(if config.pkcs11.is_some() { 1 } else { 2 }) {
        if !secrets.join(needed).exists() {
            return Err(CliError::failed(format!("{}: it is needed", secrets.join(needed).display())));
        }
    }
    if layout.log().exists() {
        return Err(CliError::failed(format!("{}: move it away first", layout.log().display())));
    }
    let open = || File::open(file).map(BufReader::new).map_err(failed(file));
    let clock: SharedClock = Arc::new(SystemClock);
    let keys =
        open_keys(&layout, BackupReader::begin(open()?).map_err(failed(file))?).map_err(CliError::failed)?;
    let custody = custody(config).map_err(CliError::failed)?;
    let vault = Vault::open(keys, custody, Arc::clone(&clock)).map_err(CliError::failed)?;
    // What was begun in the log that is lost ends with it: all it would discard has no key any more.
    let runtime = tokio::runtime::Handle::current();
    for (request, _) in vault.pending_erasures().map_err(CliError::failed)? {
        runtime.block_on(vault.erasure_done(request)).map_err(CliError::failed)?;
    }
    let unfinished = config.data.join("log.restoring");
    remove(&unfinished)?;
    let log = EmbeddedLog::open(&unfinished, Options::default()).map_err(CliError::failed)?;
    let origin = config.origin();
    let (mut restored, keys) =
        app::restore_log(open()?, &log, &vault, &origin, clock.as_ref()).map_err(CliError::failed)?;
    // Only whoever holds the key can go on with a log.
    let held = LogKeys::Folder(secrets).find(Some(&keys.newest().key), true, clock.as_ref());
    held.map_err(CliError::failed)?;
    drop(log);
    // Rebuilt from the segments at the next start, further records by whoever can open entries.
    remove(&unfinished.join("index"))?;
    let kept = Ledger::kept_checkpoint(&layout.checkpoint()).map_err(CliError::failed)?;
    restored.last_checkpoint = kept.unwrap_or_default();
    layout.keep_restored(&restored).map_err(CliError::failed)?;
    std::fs::rename(&unfinished, layout.log()).map_err(failed(&unfinished))?;
    let synced = File::open(&config.data).and_then(|dir| dir.sync_all());
    synced.map_err(failed(&config.data))?;
    Ok(restored)
}

fn remove(dir: &Path) -> Result<(), CliError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(dir)(error)),
        _ => Ok(()),
    }
}

/// The key store that is there; else one from the backup's pages. Either way the backup is read to its end, so that a
/// damaged one is refused before anything is written.
fn open_keys<R: std::io::Read>(
    layout: &Layout,
    mut backup: BackupReader<R>,
) -> Result<Arc<dyn KeyStore>, Box<dyn std::error::Error>> {
    let unfinished = layout.keys().with_extension("restoring");
    let staged = if layout.keys().exists() {
        None
    } else {
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished)?;
        }
        Some(EmbeddedKeys::open(&unfinished)?)
    };
    let mut pages: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    while let Some(piece) = backup.next_piece()? {
        if let (Some(store), Piece::KeyPage(page)) = (&staged, piece) {
            let (name, content): Page = page;
            pages.push((name, Some(content)));
            if pages.len() >= PAGES_MAX {
                store.stage_pages(&std::mem::take(&mut pages))?;
            }
        }
    }
    if let Some(store) = staged {
        store.write_pages(&pages)?;
        drop(store);
        std::fs::rename(&unfinished, layout.keys())?;
    }
    Ok(Arc::new(EmbeddedKeys::open(&layout.keys())?))
}
