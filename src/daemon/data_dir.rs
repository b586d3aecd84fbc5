//! The paths in a data folder, and checks of who may read and change them.

use crate::app::Restored;
use crate::daemon::error::DaemonError;
use crate::secret;
use crate::store::embedded::EmbeddedKeys;
use std::path::{Path, PathBuf};

/// The paths in a data folder.
pub struct Layout(PathBuf);

impl Layout {
    /// The paths in this data folder.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self(data.to_owned())
    }

    /// The folder of the daemon's own keys: log, root, issuer.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }

    /// The file that describes a restore until the next start records the restore in the log.
    fn restored(&self) -> PathBuf {
        self.0.join("restored.json")
    }

    /// Whether a restore is not recorded in the log yet.
    pub(crate) fn is_being_restored(&self) -> bool {
        self.restored().exists()
    }

    pub(crate) fn read_restored(&self) -> Result<Option<Restored>, DaemonError> {
        let path = self.restored();
        match std::fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|error| DaemonError::File(path, error.into()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DaemonError::File(path, error)),
        }
    }

    pub(crate) fn forget_restored(&self) -> Result<(), DaemonError> {
        match std::fs::remove_file(self.restored()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DaemonError::File(self.restored(), error))
            }
            _ => Ok(()),
        }
    }

    /// Writes the description of a restore durably. Call this before the restored log is renamed to its
    /// place.
    pub(crate) fn keep_restored(&self, restored: &Restored) -> Result<(), DaemonError> {
        let path = self.restored();
        let failed = |error| DaemonError::File(path.clone(), error);
        let text = serde_json::to_vec_pretty(restored).map_err(|error| failed(error.into()))?;
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, text).map_err(failed)?;
        std::fs::File::open(&unfinished).and_then(|file| file.sync_all()).map_err(failed)?;
        std::fs::rename(&unfinished, &path).map_err(failed)?;
        std::fs::File::open(&self.0).and_then(|dir| dir.sync_all()).map_err(failed)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Whether the folder of the log has anything in it. A mount point without its disk is empty.
    pub(crate) fn has_log(&self) -> bool {
        has_files(&self.log())
    }

    /// Whether the log has segments. It gets its first segment with its first entries.
    pub(crate) fn has_segments(&self) -> bool {
        has_files(&self.log().join("segments"))
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Whether the key store has pages. Without pages it opens nothing.
    pub(crate) fn has_key_pages(&self) -> bool {
        EmbeddedKeys::has_pages(&self.keys())
    }

    /// The file of the root key, unless the root key is in a PKCS#11 token.
    pub(crate) fn root_key(&self) -> PathBuf {
        self.secrets().join("root.key")
    }

    /// The file that keeps the ledger's time for the next start.
    pub(crate) fn clock(&self) -> PathBuf {
        self.0.join("clock")
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint")
    }

    /// The folder of timestamps of checkpoints.
    pub(crate) fn timestamps(&self) -> PathBuf {
        self.0.join("timestamps")
    }

    /// The last keys that the token issuer published.
    pub(crate) fn issuer_keys(&self) -> PathBuf {
        self.0.join("issuer-keys.json")
    }

    /// The folder in which `--dev` writes tokens, the verifier key, the keys of the tiers of bounds and the
    /// daemon's address.
    #[must_use]
    pub fn dev(&self) -> PathBuf {
        self.0.join("dev")
    }

    /// The file in which a `--dev` daemon writes the URL of its gRPC address. It exists while the daemon
    /// runs.
    #[must_use]
    pub fn dev_address(&self) -> PathBuf {
        self.dev().join("address")
    }
}

/// Whether a folder exists and has anything in it.
fn has_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}

/// Makes a folder that only its owner may enter. A folder that exists stays as it is.
///
/// # Errors
/// The folder can't be made.
pub fn make_private_dir(path: &Path) -> Result<(), DaemonError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| DaemonError::File(path.to_owned(), error))
}

/// Checks that other users can't access the folder of secrets or any file in it, including files that are not
/// read now.
pub(crate) fn check_secrets(secrets: &Path) -> Result<(), DaemonError> {
    let failed = |path: &Path, error| DaemonError::File(path.to_owned(), error);
    let mut paths = vec![secrets.to_owned()];
    for file in std::fs::read_dir(secrets).map_err(|error| failed(secrets, error))? {
        paths.push(file.map_err(|error| failed(secrets, error))?.path());
    }
    for path in paths {
        let metadata = std::fs::metadata(&path).map_err(|error| failed(&path, error))?;
        secret::check_private(&metadata).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Checks that other users can't change the data folder or the store's folders in it.
pub(crate) fn check_folders(data: &Path) -> Result<(), DaemonError> {
    let layout = Layout::new(data);
    for path in [data.to_owned(), layout.log(), layout.keys()] {
        let checked = match std::fs::metadata(&path) {
            Ok(metadata) => secret::check_unchanged_by_others(&metadata),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        checked.map_err(|error| DaemonError::File(path, error))?;
    }
    Ok(())
}
