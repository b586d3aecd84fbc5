//! A file that gets its name only once it is whole and durable.

use super::error::CliError;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Written beside its destination as `<name>.partial`, for its owner only; removed unless it is finished.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    destination: PathBuf,
    file: Option<File>,
    bytes: u64,
}

fn failed(path: &Path) -> impl Fn(Error) -> CliError + '_ {
    move |error| CliError::failed(format!("{}: {error}", path.display()))
}

impl Partial {
    /// Begins a file that will lie at `destination`.
    pub fn begin(destination: &Path) -> Result<Self, CliError> {
        let Some(name) = destination.file_name() else {
            return Err(CliError::usage(format!("{}: names no file", destination.display())));
        };
        let mut partial = name.to_owned();
        partial.push(".partial");
        let path = destination.with_file_name(partial);
        // What an earlier, killed run left must not lend its permissions, nor a link its target.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path)(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = Some(file.map_err(failed(&path))?);
        Ok(Self { path, destination: destination.to_owned(), file, bytes: 0 })
    }

    /// Adds bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let written = self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes));
        written.map_err(failed(&self.path))
    }

    /// Makes it durable and gives it its name. Returns its length in bytes.
    pub fn finish(mut self) -> Result<u64, CliError> {
        if let Some(file) = &self.file {
            file.sync_all().map_err(failed(&self.path))?;
            std::fs::rename(&self.path, &self.destination).map_err(failed(&self.destination))?;
        }
        self.file = None;
        let folder = self.destination.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
        Ok(self.bytes)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.file.is_some() {
            // An interrupted export leaves nothing behind.
            let _best_effort = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_appears_whole_and_private_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (path, partial) = (folder.path().join("log.tar.zst"), folder.path().join("log.tar.zst.partial"));
        std::fs::write(&partial, "left by another").unwrap();
        std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o666)).unwrap();

        let mut dropped = Partial::begin(&path).unwrap();
        dropped.write(b"half").unwrap();
        assert!(partial.exists() && !path.exists());
        drop(dropped);
        assert!(!partial.exists() && !path.exists());

        let mut whole = Partial::begin(&path).unwrap();
        whole.write(b"whole").unwrap();
        assert_eq!(whole.finish().unwrap(), 5);
        assert!(!partial.exists());
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("out"), folder.path().join("victim"));
        std::fs::write(&victim, "mine").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("out.partial")).unwrap();
        let mut whole = Partial::begin(&path).unwrap();
        whole.write(b"x").unwrap();
        whole.finish().unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"mine");
    }
}
