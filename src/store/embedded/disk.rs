//! Files that are written in place: room ahead, positioned reads and writes, syncs that are looked at.

use crate::store::StoreError;
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// An I/O error with what was attempted.
pub fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Io { doing, source },
    }
}

/// Opens a file for reading and writing, made with mode 0600 where it is missing.
pub fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(io("opening a file of the store"))
}

/// Makes a directory with mode 0700, durable in its parent.
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(io("making a directory"))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the names in a directory durable.
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io("syncing a directory"))
}

/// Makes a file's contents durable.
pub fn sync(file: &File) -> Result<(), StoreError> {
    fdatasync(file).map_err(|error| io("syncing a file")(error.into()))
}

/// Makes room for `to` bytes in steps of `step`, where `from` are there.
pub fn reserve(file: &File, from: u64, to: u64, step: u64) -> Result<u64, StoreError> {
    if to <= from {
        return Ok(from);
    }
    let target = to.next_multiple_of(step.max(1));
    fallocate(file, FallocateFlags::empty(), from, target.saturating_sub(from))
        .map_err(|error| io("making room")(error.into()))?;
    Ok(target)
}

/// Gives whole blocks inside a zeroed range back to the file system; best effort, for they are zero already.
pub fn punch(file: &File, from: u64, length: u64) {
    const BLOCK: u64 = 4096;
    let start = from.next_multiple_of(BLOCK);
    let end = from.saturating_add(length) / BLOCK * BLOCK;
    if end > start {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _best_effort = fallocate(file, flags, start, end.saturating_sub(start));
    }
}

/// Reads `length` bytes at `at`, fewer at the end of the file.
pub fn read(file: &File, at: u64, length: usize) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; length];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(count) => done = done.saturating_add(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io("reading a file of the store")(error)),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// Writes all of `bytes` at `at`.
pub fn write(file: &File, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
    file.write_all_at(bytes, at).map_err(io("writing a file of the store"))
}
