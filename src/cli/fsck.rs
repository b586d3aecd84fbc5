//! The command `sayso fsck`.

use super::error::CliError;
use super::output::{Out, count, proto_style};
use super::progress;
use super::scratch::Scratch;
use crate::app::examine;
use crate::app::{Examination, Examined};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::daemon::DaemonError;
use crate::daemon::app_settings::inspect_custody;
use crate::daemon::data_dir::Layout;
use crate::ledger::{KeptCheckpoint, Ledger, LogKey};
use crate::store::embedded::EmbeddedKeys;
use crate::vault::KeyCheck;
use clap::Args;
use sayso_proof::checkpoint::VerifierKey;
use std::path::PathBuf;
use std::sync::Arc;

/// Check the data folder of a stopped daemon for damage.
///
/// Everything is recomputed from the log's entries. The output names what is damaged and what is
/// intact. In the log, the command checks checksums, leaf hashes, signatures, indexes, the chain of
/// each person's entries, and whether the tree of hashes fits the last published checkpoint. In the
/// key store, it checks both copies of each page, and whether each person's key opens their entries.
///
/// The data folder is not changed. No daemon may run on it. The command copies the log's index into the
/// system's folder for temporary files. This folder needs room for the copy. If /proc is mounted, the
/// copied files have no names, and disappear when the command ends, even if it is killed. The exit status
/// is 4 if anything is damaged.
///
/// Example: `sayso fsck sayso-data`
#[derive(Args)]
pub(super) struct Fsck {
    /// The data folder to check.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Configuration file (TOML). Only `pkcs11` is used, if the root key is in a hardware token.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Fsck {
    pub fn run(self, out: Out) -> Result<(), CliError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path).map_err(CliError::usage)?,
            None => Config::default(),
        };
        config.data = self.dir;
        if !config.data.is_dir() {
            return Err(CliError::usage(format!("{}: not a folder", config.data.display())));
        }
        let bar = progress::entries(0, "checking");
        let examined = examine_folder(&config, &mut |done| bar.set_position(done));
        bar.finish_and_clear();
        let examined = examined.map_err(CliError::failed)?;
        let value = serde_json::to_value(&examined).map_err(CliError::failed)?;
        out.print_value(&proto_style(value), &text_of(&examined))?;
        if examined.is_whole() {
            return Ok(());
        }
        let faults = count(examined.damaged_count, "fault");
        let error = CliError::unverified(format!("{faults} found; nothing was changed"));
        Err(error
            .next("keep this folder as it is, and restore a backup into another one with `sayso restore`"))
    }
}

/// Checks the data folder of a stopped daemon for `sayso fsck`. `progress` gets the number of entries checked
/// so far.
///
/// # Errors
/// A daemon has the folder open, or a file can't be read at all. Damage is not an error: the result names it.
pub fn examine_folder(config: &Config, progress: &mut dyn FnMut(u64)) -> Result<Examined, DaemonError> {
    let layout = Layout::new(&config.data);
    let copies = Scratch::new().map_err(|error| DaemonError::File(std::env::temp_dir(), error))?;
    // What is found in the files beside the log.
    let mut beside = Examined::default();
    let kept = kept_checkpoint(&layout, &mut beside)?;
    let keys = open_keys(config, &layout, &mut beside);
    let log_keys = log_keys(config, &layout, &mut beside);
    let of = Examination {
        log: &layout.log(),
        copies: copies.path(),
        log_keys,
        kept_checkpoint: kept.as_deref(),
        keys: keys.as_ref(),
    };
    let mut examined = examine(&of, progress)?;
    examined.damaged_count = examined.damaged_count.saturating_add(beside.damaged_count);
    examined.damaged.extend(beside.damaged);
    examined.rebuildable.extend(beside.rebuildable);
    examined.notes.extend(beside.notes);
    Ok(examined)
}

/// The verifier key of the current log key and, if a key rotation was interrupted, that of the next log
/// key. The next start of the daemon completes such a rotation.
fn log_keys(config: &Config, layout: &Layout, beside: &mut Examined) -> Vec<VerifierKey> {
    let look = |name: &str| LogKey::inspect(&layout.secrets().join(name));
    let mut keys = Vec::new();
    match look("log.key") {
        Ok(key) => keys.push(key),
        Err(error) => beside.fault(None, format!("secrets/log.key: {error}")),
    }
    keys.extend(look("log.key.next").ok());
    keys.iter().map(|key| VerifierKey { name: config.origin(), key: key.verifying() }).collect()
}

fn kept_checkpoint(layout: &Layout, beside: &mut Examined) -> Result<Option<String>, DaemonError> {
    let KeptCheckpoint { note, broken_slots } = Ledger::inspect_kept_checkpoint(&layout.checkpoint())?;
    if broken_slots > 0 {
        let what = format!("checkpoint: {broken_slots} of its 2 slots; the next commits rewrite them");
        if note.is_some() {
            beside.rebuildable.push(what);
        } else {
            beside.fault(None, what);
        }
    }
    if note.is_none() {
        beside.notes.push("no checkpoint is kept, so the end of the log can't be checked against it".into());
    }
    if layout.is_being_restored() {
        beside.notes.push("a restore is pending; the next start records it".into());
        return Ok(None);
    }
    Ok(note)
}

/// Opens the tree of people's keys. If it does not open, records what is wrong.
fn open_keys(config: &Config, layout: &Layout, beside: &mut Examined) -> Option<KeyCheck> {
    let store = match EmbeddedKeys::inspect(&layout.keys()) {
        Ok(store) => store,
        Err(error) => {
            beside.fault(None, format!("keys: {error}"));
            return None;
        }
    };
    let found = store.found();
    let mended = found.mended.iter().map(|(copy, at, bytes)| {
        format!(
            "keys/pages-{copy}: {bytes} bytes at offset {at}; the next start repairs them from the other copy"
        )
    });
    beside.rebuildable.extend(mended);
    if let Some(copy) = found.missing {
        let what = format!("keys/pages-{copy}: missing; the next start rebuilds it from the other copy");
        beside.rebuildable.push(what);
    }
    if found.torn {
        let note = "keys: a torn write, nothing of which was acknowledged; the next start truncates it";
        beside.notes.push(note.into());
    }
    let custody = match inspect_custody(config) {
        Ok((custody, damage)) => {
            let places = damage.into_iter().map(|at| {
                format!("secrets/root.key: the key at offset {at}; the next start repairs or removes it")
            });
            beside.rebuildable.extend(places);
            custody
        }
        Err(error) => {
            beside.fault(None, format!("root key: {error}"));
            return None;
        }
    };
    let clock: SharedClock = Arc::new(SystemClock);
    match KeyCheck::open(Arc::new(store), custody, clock) {
        Ok(keys) => {
            if let Err(error) = keys.open_all() {
                beside.fault(None, format!("key tree: {error}"));
            }
            Some(keys)
        }
        Err(error) => {
            beside.fault(None, format!("key tree: {error}"));
            None
        }
    }
}

fn text_of(examined: &Examined) -> String {
    let Examined { entries, discarded, opened, proven_to, .. } = examined;
    let mut lines = vec![format!(
        "{}, {discarded} of them discarded by erasures; {opened} opened with their keys",
        count(*entries, "entry")
    )];
    let runs: Vec<String> =
        examined.intact.iter().map(|run| format!("{}..{}", run.first, run.last)).collect();
    lines.push(format!("intact: {}", if runs.is_empty() { "nothing".into() } else { runs.join(", ") }));
    lines.push(format!("the kept checkpoint proves the first {}", count(*proven_to, "entry")));
    lines.extend(examined.damaged.iter().map(|fault| match fault.position {
        Some(position) => format!("DAMAGED position {position}: {}", fault.what),
        None => format!("DAMAGED {}", fault.what),
    }));
    lines.extend(examined.rebuildable.iter().map(|what| format!("rebuildable: {what}")));
    lines.extend(examined.notes.iter().map(|what| format!("note: {what}")));
    if examined.is_whole() {
        lines.push("nothing is damaged".into());
    }
    lines.join("\n")
}
