//! Writes a file that gets its final name only when it is complete and durable, so that an interrupted
//! command never leaves a part of a file under that name.

use super::error::CliError;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Whether a new file may replace an existing one of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// The existing file stays, and writing fails.
    Keep,
    /// The existing file is replaced: `--force`.
    Replace,
}

impl Existing {
    /// Whether to replace, from the flag `--force`.
    pub fn from_force(force: bool) -> Self {
        if force { Self::Replace } else { Self::Keep }
    }

    /// Checks that a file may be written at the destination, so that a command fails before it does
    /// any work.
    ///
    /// # Errors
    /// The destination exists and must not be replaced.
    pub fn check(self, destination: &Path) -> Result<(), CliError> {
        // A dangling link also counts as an existing file.
        if self == Self::Keep && std::fs::symlink_metadata(destination).is_ok() {
            return Err(exists(destination));
        }
        Ok(())
    }
}

fn exists(path: &Path) -> CliError {
    CliError::usage(format!("{}: the file exists", path.display()))
        .next("name another file, or replace this one with --force")
}

/// A file that is written beside its destination as `NAME.partial`, with access for its owner only. It is
/// removed unless [`AtomicFile::finish`] completes it.
#[derive(Debug)]
pub(super) struct AtomicFile {
    path: PathBuf,
    destination: PathBuf,
    existing: Existing,
    file: Option<File>,
    bytes: u64,
}

fn failed(path: &Path) -> impl Fn(Error) -> CliError + '_ {
    move |error| CliError::failed(format!("{}: {error}", path.display()))
}

impl AtomicFile {
    /// Starts a file for `destination`.
    pub fn begin(destination: &Path, existing: Existing) -> Result<Self, CliError> {
        existing.check(destination)?;
        let Some(name) = destination.file_name() else {
            return Err(CliError::usage(format!("{}: not the name of a file", destination.display())));
        };
        let mut partial = name.to_owned();
        partial.push(".partial");
        let path = destination.with_file_name(partial);
        // A file left by a killed run could have other permissions, or be a link to another file.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path)(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = Some(file.map_err(failed(&path))?);
        Ok(Self { path, destination: destination.to_owned(), existing, file, bytes: 0 })
    }

    /// Writes a whole file in one call. Returns its length in bytes.
    pub fn write_whole(destination: &Path, existing: Existing, bytes: &[u8]) -> Result<u64, CliError> {
        let mut file = Self::begin(destination, existing)?;
        file.write(bytes)?;
        file.finish()
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes));
        written.map_err(failed(&self.path))
    }

    /// Makes the file durable and gives it its final name. Returns its length in bytes.
    pub fn finish(mut self) -> Result<u64, CliError> {
        if let Some(file) = &self.file {
            file.sync_all().map_err(failed(&self.path))?;
            self.rename()?;
        }
        self.file = None;
        let folder = self.destination.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
        Ok(self.bytes)
    }

    /// Renames the file to its destination. Fails if a file appeared at the destination after
    /// [`AtomicFile::begin`], unless it may be replaced.
    fn rename(&self) -> Result<(), CliError> {
        if self.existing == Existing::Keep {
            match renameat_with(CWD, &self.path, CWD, &self.destination, RenameFlags::NOREPLACE) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => return Err(exists(&self.destination)),
                // Some file systems can't rename without replacing.
                Err(Errno::INVAL | Errno::NOSYS) => self.existing.check(&self.destination)?,
                Err(error) => return Err(failed(&self.destination)(error.into())),
            }
        }
        std::fs::rename(&self.path, &self.destination).map_err(failed(&self.destination))
    }
}

/// For a buffer around the file.
impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))?;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Best effort: an interrupted export should leave nothing behind.
            let _ignored = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_appears_complete_and_private_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (path, partial) = (folder.path().join("log.tar.zst"), folder.path().join("log.tar.zst.partial"));
        std::fs::write(&partial, "of another run").unwrap();
        std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o666)).unwrap();

        let mut dropped = AtomicFile::begin(&path, Existing::Keep).unwrap();
        dropped.write(b"half").unwrap();
        assert!(partial.exists() && !path.exists());
        drop(dropped);
        assert!(!partial.exists() && !path.exists());

        assert_eq!(AtomicFile::write_whole(&path, Existing::Keep, b"whole").unwrap(), 5);
        assert!(!partial.exists());
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_existing_file_stays_unless_it_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "old").unwrap();
        let refused = AtomicFile::begin(&path, Existing::Keep).unwrap_err();
        assert!(refused.to_string().contains("--force"), "{refused}");
        AtomicFile::write_whole(&path, Existing::Replace, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_file_that_appears_meanwhile_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut file = AtomicFile::begin(&path, Existing::Keep).unwrap();
        file.write(b"new").unwrap();
        std::fs::write(&path, "old").unwrap();
        assert!(file.finish().unwrap_err().to_string().contains("--force"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert!(!folder.path().join("out.partial").exists());
    }

    #[test]
    fn a_link_in_place_of_the_partial_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("out"), folder.path().join("victim"));
        std::fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("out.partial")).unwrap();
        AtomicFile::write_whole(&path, Existing::Keep, b"x").unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    }
}
