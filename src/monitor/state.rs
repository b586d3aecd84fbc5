//! The state of a monitor, in one small file. It has the newest checkpoint that the monitor has seen, the
//! keys of the log, and the newest signed counts of rules and erasures. It also has the kinds of alerts
//! that the webhook last received.
//!
//! The file is replaced atomically. A monitor that lost it would accept a rebuilt log, so a damaged file is
//! refused.

use super::alert::AlertKind;
use crate::witness::write_durably;
use sayso_proof::checkpoint::{Checkpoint, NoteError};
use sayso_proof::counts::Counts;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Error, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Largest state file, in bytes.
const BYTES_MAX: u64 = 16 << 20;
/// The largest number of evidence files. More would prove nothing new.
const EVIDENCE_MAX: usize = 16;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("`{0}`: {1}")]
    File(PathBuf, Error),
    /// Another monitor uses the file.
    #[error("`{0}` is in use by another monitor; stop it, or name another state file")]
    InUse(PathBuf),
    /// The file is not a state, or of another log.
    #[error("`{0}` is not the state of a monitor of this log: {1}; restore the file, or name another one")]
    Damaged(PathBuf, String),
}

/// What a monitor keeps between two checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The newest checkpoint, as a note.
    pub checkpoint: String,
    /// The log's keys then, as `keys.jsonl`; empty if the log serves no list.
    pub keys: String,
    /// When this monitor first saw a tree of this size, in milliseconds since the Unix epoch.
    pub first_seen_ms: u64,
    /// When a trusted witness last cosigned a checkpoint of this size, in seconds since the Unix epoch.
    pub cosigned_at_s: Option<u64>,
    /// The newest counts of rules and erasures, as a note; none if the log served none.
    #[serde(default)]
    pub counts: Option<String>,
    /// Kinds of the alerts that the webhook last received.
    #[serde(default)]
    pub notified: Vec<AlertKind>,
}

impl Kept {
    /// The checkpoint of the kept note. It was verified before it was kept.
    ///
    /// # Errors
    /// The note is damaged.
    pub fn checkpoint(&self) -> Result<Checkpoint, NoteError> {
        let (text, _) = self.checkpoint.split_once("\n\n").ok_or(NoteError::Form("no signatures"))?;
        Checkpoint::parse(&format!("{text}\n"))
    }

    /// The counts of the kept note, if there is one. They were verified before they were kept.
    ///
    /// # Errors
    /// The note is damaged.
    pub fn counts(&self) -> Result<Option<Counts>, NoteError> {
        let Some(note) = &self.counts else { return Ok(None) };
        let (text, _) = note.split_once("\n\n").ok_or(NoteError::Form("no signatures"))?;
        Counts::parse(&format!("{text}\n")).map(Some)
    }
}

/// The file with a monitor's state. Only one process at a time may use it.
pub struct StateFile {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl StateFile {
    /// Opens the state, and reads what was kept for the log with this origin; none if there is no file.
    ///
    /// # Errors
    /// The file cannot be read, is damaged or of another log, or another monitor uses it.
    pub fn open(path: &Path, origin: &str) -> Result<(Self, Option<Kept>), StateError> {
        let failed = |error| StateError::File(path.to_owned(), error);
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        // A file of this name that is something else stays as it is.
        let lock =
            File::options().write(true).create(true).truncate(false).open(lock_path).map_err(failed)?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(StateError::InUse(path.to_owned()));
        }
        let file = Self { path: path.to_owned(), _lock: lock };
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((file, None)),
            Err(error) => return Err(failed(error)),
        }
        let damaged = |reason: String| StateError::Damaged(path.to_owned(), reason);
        let kept: Kept = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let checkpoint = kept.checkpoint().map_err(|error| damaged(error.to_string()))?;
        kept.counts().map_err(|error| damaged(error.to_string()))?;
        if checkpoint.origin != origin {
            return Err(damaged(format!("it is of {}", checkpoint.origin)));
        }
        Ok((file, Some(kept)))
    }

    /// Replaces the state durably.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, kept: &Kept) -> Result<(), StateError> {
        let text = serde_json::to_string_pretty(kept).map_err(Error::other);
        let written = text.and_then(|text| write_durably(&self.path, &(text + "\n")));
        written.map_err(|error| StateError::File(self.path.clone(), error))
    }

    /// Keeps two signed checkpoints that contradict each other, beside the state. Returns the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_evidence(&self, kept: &str, shown: &str) -> Result<PathBuf, StateError> {
        let text = format!("{kept}\n{shown}");
        let digest = hex::encode(Sha256::digest(&text));
        let name = format!("{}.evidence-", self.path.file_name().unwrap_or_default().to_string_lossy());
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let path = folder.join(format!("{name}{}", digest.get(..16).unwrap_or_default()));
        let is_evidence = |file: &std::fs::DirEntry| file.file_name().to_string_lossy().starts_with(&name);
        let count = std::fs::read_dir(folder).map_or(0, |files| files.flatten().filter(is_evidence).count());
        if !path.exists() && count < EVIDENCE_MAX {
            write_durably(&path, &text).map_err(|error| StateError::File(path.clone(), error))?;
        }
        Ok(path)
    }
}
