//! A folder for the temporary files of one `sayso fsck`. If the command is killed, its folder stays, and
//! the next `sayso fsck` removes it. The files in the folder are copies of the log's index. Where `/proc`
//! exists, the copies have no names, and the folder has only links to them. So their data is gone when the
//! command ends, even if it is killed.

use crate::secret;
use std::fs::{File, Permissions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use tempfile::TempDir;

/// Prefix of the names of these folders.
const PREFIX: &str = "sayso-fsck-";
/// Number of attempts to make a folder. An attempt fails if another command removes the new folder before
/// this command has locked it.
const TRIES_MAX: usize = 16;

/// A folder in the system's folder for temporary files, with access for its owner only. It is removed on
/// drop.
pub(super) struct Scratch {
    dir: TempDir,
    /// The lock on the folder while this command runs. A folder that is not locked is abandoned.
    _lock: File,
}

impl Scratch {
    /// Makes a new folder, after removing abandoned folders of other commands.
    ///
    /// # Errors
    /// The folder can't be made or locked.
    pub fn new() -> Result<Self, Error> {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(within: &Path) -> Result<Self, Error> {
        remove_abandoned(within);
        for _ in 0..TRIES_MAX {
            let mut builder = tempfile::Builder::new();
            let dir = builder.prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(within)?;
            // Before the folder is locked, another command may remove it as abandoned.
            match File::open(dir.path()) {
                Ok(lock) if lock.try_lock().is_ok() && is_same(&lock, dir.path()) => {
                    return Ok(Self { dir, _lock: lock });
                }
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Err(Error::other("other processes keep removing the folder for temporary files"))
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn is_same(opened: &File, path: &Path) -> bool {
    let number = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let now = std::fs::symlink_metadata(path).map(number);
    matches!((opened.metadata().map(number), now), (Ok(opened), Ok(now)) if opened == now)
}

/// Removes abandoned folders. If that fails, the next command tries again. A folder that another command has
/// made but not locked yet looks abandoned, too. While a folder is removed, it is locked, so that the other
/// command can't begin to use it.
fn remove_abandoned(within: &Path) {
    let Ok(items) = std::fs::read_dir(within) else { return };
    for item in items.flatten().filter(|item| item.file_name().to_string_lossy().starts_with(PREFIX)) {
        let path = item.path();
        let is_own = std::fs::symlink_metadata(&path)
            .is_ok_and(|metadata| metadata.is_dir() && secret::check_private(&metadata).is_ok());
        let Some(lock) = File::open(&path).ok().filter(|_| is_own) else { continue };
        if lock.try_lock().is_ok() {
            let _ignored = std::fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_abandoned_folders_are_removed() {
        let within = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let path = within.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("copy"), "x").unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        };
        let (abandoned, used) = (make("sayso-fsck-a", 0o700), make("sayso-fsck-b", 0o700));
        let (wide, other) = (make("sayso-fsck-c", 0o755), make("other", 0o700));
        let link = within.path().join("sayso-fsck-d");
        std::os::unix::fs::symlink(&other, &link).unwrap();
        let lock = File::open(&used).unwrap();
        lock.try_lock().unwrap();
        remove_abandoned(within.path());
        assert!(!abandoned.exists());
        assert!([&used, &wide, &other, &link].iter().all(|path| path.exists()));
        drop(lock);
        remove_abandoned(within.path());
        assert!(!used.exists());
    }

    #[test]
    fn commands_that_start_together_keep_their_folders() {
        let within = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let scratch = Scratch::new_in(within.path()).unwrap();
                        std::thread::yield_now();
                        assert!(scratch.path().exists());
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(within.path()).unwrap().count(), 0);
    }
}
