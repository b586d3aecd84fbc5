//! Where things lie in a data folder, and who may read them.

use crate::app::Restored;
use crate::daemon::start::DaemonError;
use crate::secret;
use std::path::{Path, PathBuf};

/// Where things lie in the data folder.
pub struct Layout(PathBuf);

impl Layout {
    /// Of a data folder.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self(data.to_owned())
    }

    /// Keys of the daemon itself: log, root, issuer.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.0.join("secrets")
    }

    /// What a restore leaves to be said in the log at the next start.
    fn restored(&self) -> PathBuf {
        self.0.join("restored.json")
    }

    /// Whether a restore is still to be said in the log.
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

    /// Durable before the log that it is about has its name.
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

    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The ledger's time, for the next start.
    pub(crate) fn clock(&self) -> PathBuf {
        self.0.join("clock")
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint")
    }

    /// The last keys that an issuer of tokens published.
    pub(crate) fn issuer_keys(&self) -> PathBuf {
        self.0.join("issuer-keys.json")
    }

    /// What `--dev` leaves for people: tokens and the verifier key.
    #[must_use]
    pub fn dev(&self) -> PathBuf {
        self.0.join("dev")
    }
}

/// Makes a folder that only its owner may enter.
///
/// # Errors
/// The system refuses.
pub fn make_private_dir(path: &Path) -> Result<(), DaemonError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| DaemonError::File(path.to_owned(), error))
}

/// The folder of secrets, and every file in it, also one that is not read today, is closed to other users.
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

/// The data folder and the folders in it that the daemon relies on can be changed by no other user.
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
