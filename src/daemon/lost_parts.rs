//! Refuses to start the daemon if a part of its data folder is lost, before anything is created in the
//! folder.
//!
//! A new, empty store in the place of a lost one would hide the loss. If the log is lost, the log key would
//! sign a second log, and a restore would refuse to replace that log. If the key tree (the sealed keys of all
//! people) is lost, a restore would take the new, empty key tree for the current one, and data about people
//! could no longer be opened.

use crate::config::Config;
use crate::daemon::data_dir::Layout;
use crate::daemon::error::DaemonError;
use crate::ledger::Ledger;
use std::path::PathBuf;

const NO_LOG: &str = "put the log back, or restore a backup with `sayso restore`; to begin a new log, use another \
                      data folder";
const NO_KEYS: &str = "put `keys` back, or move the log away and restore a backup with `sayso restore`";
const NO_ROOT_KEY: &str = "put the root key back; without it, no data about people can be opened";

/// Checks that no part of a controller's data folder is lost. A part is lost if it is missing or empty while
/// other parts show that it existed. A new data folder, and one whose first start was interrupted, have lost
/// nothing. Creates nothing.
///
/// # Errors
/// [`DaemonError::Lost`] if the log, the keys or the file of the root key is lost. Or the kept checkpoint
/// can't be read.
pub(crate) fn check_parts(config: &Config) -> Result<(), DaemonError> {
    let layout = Layout::new(&config.data);
    let root_key = layout.root_key();
    let lost = |lost: PathBuf, left: PathBuf, next| Err(DaemonError::Lost { lost, left, next });
    if !layout.has_log() {
        return match trace_of_log(&layout)? {
            Some(left) => lost(layout.log(), left, NO_LOG),
            None => Ok(()),
        };
    }
    if !layout.has_key_pages() && layout.has_segments() {
        return lost(layout.keys(), layout.log(), NO_KEYS);
    }
    if layout.has_key_pages() && config.pkcs11.is_none() && !root_key.exists() {
        return lost(root_key, layout.keys(), NO_ROOT_KEY);
    }
    Ok(())
}

/// A part of the folder that shows that there was a log. The log key does not show this, because an operator
/// may put one into a new folder.
fn trace_of_log(layout: &Layout) -> Result<Option<PathBuf>, DaemonError> {
    if Ledger::inspect_kept_checkpoint(&layout.checkpoint())?.note.is_some() {
        return Ok(Some(layout.checkpoint()));
    }
    if layout.has_key_pages() {
        return Ok(Some(layout.keys()));
    }
    Ok(Some(layout.root_key()).filter(|path| path.exists()))
}
