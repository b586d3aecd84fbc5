//! `sayso fsck`

use super::error::CliError;
use super::output::Out;
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

/// Examine a data folder at rest: recompute everything from the entries, name what is damaged and what is intact.
///
/// Checksums, leaf hashes, the tree against the last checkpoint that was given out, signatures, the chain of each person,
/// the indexes, both copies of the key pages, and whether each person's key opens what is held. Changes nothing; the daemon
/// must not run. Room for a copy of the index is needed in the system's folder for temporary files; the copy has no name there,
/// and goes with the command, also where it is killed. Exit status 4: something is damaged.
///
/// Example: `sayso fsck sayso-data`
#[derive(Args)]
pub(super) struct Fsck {
    /// The data folder.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Configuration file (TOML); only `pkcs11` matters here.
    #[arg(long)]
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
            return Err(CliError::usage(format!("{}: no such folder", config.data.display())));
        }
        let bar = progress::entries(0, "examining");
        let examined = examine_folder(&config, &mut |done| bar.set_position(done));
        bar.finish_and_clear();
        let examined = examined.map_err(CliError::failed)?;
        let value = serde_json::to_value(&examined).map_err(CliError::failed)?;
        out.print_value(&value, &text_of(&examined))?;
        if examined.is_whole() {
            return Ok(());
        }
        let count = examined.damaged_count;
        let error = CliError::unverified(format!("{count} faults; nothing was changed"));
        Err(error.next("keep this folder as it is; `sayso restore` brings a backup back beside it"))
    }
}

/// Examines a data folder at rest, as `sayso fsck` does. `progress` is told how many entries were looked at.
///
/// # Errors
/// A daemon has the folder open, or something can't be read at all. Damage is no error: it is found.
pub fn examine_folder(config: &Config, progress: &mut dyn FnMut(u64)) -> Result<Examined, DaemonError> {
    let layout = Layout::new(&config.data);
    let copies = Scratch::new().map_err(|error| DaemonError::File(std::env::temp_dir(), error))?;
    let mut beside = Examined::default();
    let kept = kept_checkpoint(&layout, &mut beside)?;
    let keys = open_keys(config, &layout, &mut beside);
    let held = held_keys(config, &layout, &mut beside);
    let of = Examination {
        log: &layout.log(),
        copies: copies.path(),
        log_keys: held,
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

/// The log's key, and one that a rotation was about to bring in: the next start puts that right.
fn held_keys(config: &Config, layout: &Layout, beside: &mut Examined) -> Vec<VerifierKey> {
    let look = |name: &str| LogKey::inspect(&layout.secrets().join(name));
    let mut held = Vec::new();
    match look("log.key") {
        Ok(key) => held.push(key),
        Err(error) => beside.fault(None, format!("secrets/log.key: {error}")),
    }
    held.extend(look("log.key.next").ok());
    held.iter().map(|key| VerifierKey { name: config.origin(), key: key.verifying() }).collect()
}

fn kept_checkpoint(layout: &Layout, beside: &mut Examined) -> Result<Option<String>, DaemonError> {
    let KeptCheckpoint { note, broken_slots } = Ledger::inspect_kept_checkpoint(&layout.checkpoint())?;
    if broken_slots > 0 {
        let what = format!("checkpoint: {broken_slots} of its 2 slots; the next commits write them anew");
        if note.is_some() {
            beside.rebuildable.push(what);
        } else {
            beside.fault(None, what);
        }
    }
    if note.is_none() {
        beside.notes.push("no checkpoint is kept, so the end of the log can't be compared with it".into());
    }
    if layout.is_being_restored() {
        beside.notes.push("a restore is to be declared at the next start".into());
        return Ok(None);
    }
    Ok(note)
}

/// The key tree, where it opens; what is wrong with it otherwise.
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
            "keys/pages-{copy}: {bytes} bytes from {at} on; the next start mends them from the other copy"
        )
    });
    beside.rebuildable.extend(mended);
    if let Some(copy) = found.missing {
        let what = format!("keys/pages-{copy}: lost; the next start makes it again from the other copy");
        beside.rebuildable.push(what);
    }
    if found.torn {
        let note = "keys: a torn write; the next start cuts it off, nothing of it was acknowledged";
        beside.notes.push(note.into());
    }
    let custody = match inspect_custody(config) {
        Ok((custody, damage)) => {
            let places = damage.into_iter().map(|at| {
                format!("secrets/root.key: the key at offset {at}; the next start mends it or clears it away")
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
        "{entries} entries, {discarded} of them destroyed on purpose; {opened} opened with their keys"
    )];
    let runs: Vec<String> = examined.intact.iter().map(|(first, last)| format!("{first}..{last}")).collect();
    lines.push(format!("intact: {}", if runs.is_empty() { "nothing".into() } else { runs.join(", ") }));
    lines.push(format!("the kept checkpoint proves the first {proven_to}"));
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
