//! The commands `sayso backup`, `sayso restore` and `sayso confirm-restore`.

use super::atomic_file::{AtomicFile, Existing};
use super::connect::Connection;
use super::connect::{Link, client};
use super::error::CliError;
use super::output::{Out, count, int64};
use super::progress;
use crate::app::{self, Restored};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::daemon::DaemonError;
use crate::daemon::app_settings::{custody, ledger_clock, open_app};
use crate::daemon::data_dir::Layout;
use crate::daemon::harden::restrict_new_files;
use crate::ledger::{Ledger, LogKeys, write_timestamp};
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

/// Largest number of key pages (parts of the key tree in a backup) that are written at once.
const PAGES_MAX: usize = 128;

/// Back up the log and the sealed keys of people's data while the daemon runs.
///
/// The sealed keys are called the key tree. The root key, which opens the key tree, is never in the
/// backup.
///
/// Example: `sayso backup -o sayso.backup`
#[derive(Args)]
pub(super) struct Backup {
    /// The backup to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace FILE if it exists.
    #[arg(long)]
    force: bool,
}

impl Backup {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        let mut written = AtomicFile::begin(&self.output, Existing::from_force(self.force))?;
        let link: Link = at.link("operator").await?;
        let mut client = OperatorServiceClient::new(link);
        let mut pieces = client.backup(proto::BackupRequest {}).await?.into_inner();
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
        let value = serde_json::json!({ "backup": path, "entries": int64(entries), "bytes": int64(bytes) });
        out.print_value(&value, &format!("{path}: {}, {}", count(entries, "entry"), count(bytes, "byte")))
    }
}

/// Restore a lost log from a backup. The daemon must not run.
///
/// The data folder (--data) must contain the folder `secrets`, which a backup does not have. An existing
/// key tree (the sealed keys of people's data) in the folder `keys` is kept. So people who were erased
/// since the backup stay erased. A missing or empty key tree is restored from the backup. But the current
/// root key opens a restored key tree only if nothing was erased since the backup. Move an existing log
/// away first.
///
/// Everything that was recorded after the backup is lost. No use of people's data is allowed until you run
/// `sayso confirm-restore`.
///
/// Example: `sayso restore sayso.backup --data sayso-data`
#[derive(Args)]
pub(super) struct Restore {
    /// The backup to read.
    file: PathBuf,
    /// Configuration file of the daemon (TOML). Give the daemon's complete file: a restore checks all of
    /// it, and opens the log with its settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the controller whose log is restored, if the configuration has several. Default: the
    /// first.
    #[arg(long, value_name = "NAME", requires = "config")]
    controller: Option<String>,
}

impl Restore {
    pub async fn run(self, at: &Connection, out: Out) -> Result<(), CliError> {
        restrict_new_files();
        let config = at.config(self.config.as_deref())?;
        config.check().map_err(CliError::usage)?;
        let config = config.of(self.controller.as_deref()).map_err(CliError::usage)?;
        let (file, settings) = (self.file, config.clone());
        let restored = tokio::task::spawn_blocking(move || restore(&file, &settings)).await;
        let restored = restored.map_err(CliError::failed)??;
        // Opening the application records the restore in the log. If opening fails, the next start of the
        // daemon records it.
        let clock = ledger_clock(&config, &(Arc::new(SystemClock) as _)).map_err(CliError::failed)?;
        let opened = open_app(&config, clock).await.map_err(CliError::failed)?;
        let entries = opened.ledger().checkpoint().size;
        opened.shutdown().await;
        let erased_again: u64 = restored
            .erased_again
            .iter()
            .map(|(first, last)| last.saturating_sub(*first).saturating_add(1))
            .sum();
        let value = serde_json::json!({ "entries": int64(entries), "erasedAgain": int64(erased_again) });
        out.print_value(
            &value,
            &format!(
                "restored {}; {} of people who were erased since the backup stay erased\nno use is allowed before \
                 `sayso confirm-restore`: first record again what people decided since the backup, withdrawals first",
                count(entries, "entry"),
                count(erased_again, "entry")
            ),
        )
    }
}

/// Allow use of people's data again after a restore.
///
/// Confirm that you have recorded again what people decided after the backup, which the restore
/// lost. Until you confirm this, no grant is valid and a new grant allows nothing.
///
/// First find the withdrawals, objections and restrictions since the backup, and record them. Ask
/// those who run the model services, and the applications through which people speak, what people
/// decided since the backup. Look through mailboxes as well. An event records the confirmation.
///
/// Example: `sayso confirm-restore`
#[derive(Args)]
pub(super) struct ConfirmRestore {
    /// Idempotency key: a repeated request with the same key has no further effect.
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
            format!("restore confirmed at position {}; use is allowed again", at.join(", "))
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
    // A restore needs the log's key and, without PKCS#11, the file of root keys. Opening a missing file
    // of root keys would create an empty one, so this first checks that the files exist.
    let needed = ["log.key", "root.key"];
    for needed in needed.iter().take(if config.pkcs11.is_some() { 1 } else { 2 }) {
        if !secrets.join(needed).exists() {
            return Err(CliError::failed(format!(
                "{}: a restore needs this file",
                secrets.join(needed).display()
            )));
        }
    }
    // An empty folder may be the mount point of a disk that was lost.
    if layout.has_log() {
        return Err(CliError::failed(format!(
            "{}: a log exists; move it away first",
            layout.log().display()
        )));
    }
    let open = || File::open(file).map(BufReader::new).map_err(failed(file));
    let clock: SharedClock = Arc::new(SystemClock);
    let staged = stage_keys(&layout, BackupReader::begin(open()?).map_err(failed(file))?);
    let staged = staged.map_err(CliError::failed)?;
    let open_vault = |folder: &Path| -> Result<Vault, CliError> {
        let keys = EmbeddedKeys::open(folder).map_err(CliError::failed)?;
        let custody = custody(config).map_err(CliError::failed)?;
        Vault::open(Arc::new(keys), custody, Arc::clone(&clock)).map_err(CliError::failed)
    };
    if let Some(staged) = staged {
        // Keys of the backup that the root key does not open must not take the place of the lost ones.
        let opened = open_vault(&staged).map(drop);
        opened.or_else(|error| remove(&staged).and(Err(error)))?;
        take_staged_keys(&layout, &staged)?;
    }
    let vault = open_vault(&layout.keys())?;
    // Erasures that were pending in the lost log count as complete, because the entries that they had to
    // discard no longer have keys.
    let runtime = tokio::runtime::Handle::current();
    for (request, _) in vault.pending_erasures().map_err(CliError::failed)? {
        runtime.block_on(vault.erasure_done(request)).map_err(CliError::failed)?;
    }
    let unfinished = config.data.join("log.restoring");
    remove(&unfinished)?;
    let log = EmbeddedLog::open(&unfinished, Options::default()).map_err(CliError::failed)?;
    let origin = config.origin();
    let new_timestamps = layout.timestamps().with_extension("restoring");
    remove(&new_timestamps)?;
    let keep_timestamp = &mut |size, token: &[u8]| write_timestamp(&new_timestamps, size, token);
    let (mut restored, keys) =
        app::restore_log(open()?, &log, &vault, &origin, clock.as_ref(), keep_timestamp)
            .map_err(CliError::failed)?;
    // Without the newest log key, the log could not be continued.
    let log_key = LogKeys::Folder(secrets).find(Some(&keys.newest().key), true, clock.as_ref());
    log_key.map_err(CliError::failed)?;
    drop(log);
    // The next start rebuilds the index from the log's segment files, and from the entries that it can open.
    remove(&unfinished.join("index"))?;
    let kept = Ledger::kept_checkpoint(&layout.checkpoint()).map_err(CliError::failed)?;
    restored.last_checkpoint = kept.unwrap_or_default();
    layout.keep_restored(&restored).map_err(CliError::failed)?;
    take_timestamps(&layout, &new_timestamps).map_err(failed(&new_timestamps))?;
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

/// If the key store (the folder `keys`) is lost, writes the backup's key pages into a new folder
/// beside it and returns the new folder. Returns `None` if the key store is not lost. Reads the
/// backup to its end even if the key store is not lost, so that a damaged backup is refused before
/// the log is written.
fn stage_keys<R: std::io::Read>(
    layout: &Layout,
    mut backup: BackupReader<R>,
) -> Result<Option<PathBuf>, Box<dyn std::error::Error>> {
    let unfinished = layout.keys().with_extension("restoring");
    // A key store without pages opens nothing. An earlier version made such a store if it was started after
    // the keys were lost.
    let staged = if layout.has_key_pages() {
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
    let Some(store) = staged else { return Ok(None) };
    store.write_pages(&pages)?;
    Ok(Some(unfinished))
}

/// Moves the new folder of [`stage_keys`], which has the key pages of the backup, to the place of the lost
/// key store.
fn take_staged_keys(layout: &Layout, staged: &Path) -> Result<(), CliError> {
    remove(&layout.keys())?;
    std::fs::rename(staged, layout.keys()).map_err(failed(staged))
}

/// Moves the timestamps of the backup to the folder of the log's timestamps. Timestamps that are
/// already in this folder stay: some are for states of the log that are lost, and prove that these
/// states existed.
fn take_timestamps(layout: &Layout, restored: &Path) -> std::io::Result<()> {
    let files = match std::fs::read_dir(restored) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        files => files?,
    };
    let folder = layout.timestamps();
    std::fs::create_dir_all(&folder)?;
    for file in files {
        let file = file?;
        let place = folder.join(file.file_name());
        if !place.exists() {
            std::fs::rename(file.path(), place)?;
        }
    }
    File::open(&folder)?.sync_all()?;
    std::fs::remove_dir_all(restored)
}
