//! Accesses files that are written in place: reserves space in advance, reads and writes at positions, and
//! checks that syncs succeed.

use crate::store::StoreError;
use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};
use rustix::io::{Errno, retry_on_intr};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of zeros in one write.
const ZEROS_BYTES: usize = 1 << 20;

/// Returns a function that converts an I/O error. `doing` says what was attempted.
pub fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Io { doing, source },
    }
}

/// Makes the system read a file into its cache, if memory allows. This takes about as long as reading the
/// file.
pub fn read_ahead(file: &File) {
    // Without the cache, reads are slower and still correct.
    let _best_effort = fadvise(file, 0, None, Advice::WillNeed);
}

/// Opens a file for reading and writing. A missing file is created with mode 0600, and its name is made
/// durable.
pub fn open(path: &Path) -> Result<File, StoreError> {
    let missing = !path.exists();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path).map_err(io("opening a file of the store"))?;
    if missing {
        path.parent().map_or(Ok(()), sync_dir)?;
    }
    Ok(file)
}

/// Creates a folder and its missing parents with mode 0700, each durable in its parent.
pub fn make_dir(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    if path.is_dir() {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    if !parent.as_os_str().is_empty() {
        make_dir(parent)?;
    }
    std::fs::DirBuilder::new().mode(0o700).create(path).map_err(io("creating a folder"))?;
    sync_dir(parent)
}

/// Makes the names in a folder durable.
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io("syncing a folder"))
}

/// Makes a file's content durable (fdatasync). Calls the C library, where tests inject failures.
pub fn sync(file: &File) -> Result<(), StoreError> {
    file.sync_data().map_err(io("syncing a file"))
}

/// A file's length, bytes.
pub fn length(file: &File) -> Result<u64, StoreError> {
    Ok(file.metadata().map_err(io("reading the length of a file of the store"))?.len())
}

/// Extends a file of `from` bytes to at least `to` bytes, in steps of `step`. Writes in this range can't run
/// out of space. Returns the new length.
pub fn reserve(file: &File, from: u64, to: u64, step: u64) -> Result<u64, StoreError> {
    if to <= from {
        return Ok(from);
    }
    let target = to.next_multiple_of(step.max(1));
    let length = target.saturating_sub(from);
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), from, length)) {
        Err(Errno::OPNOTSUPP) => write_zeros(file, from, length)?,
        other => other.map_err(|error| io("reserving space")(error.into()))?,
    }
    Ok(target)
}

/// Reserves space after the end of a file without changing its length, for writes by a library.
///
/// Does nothing if the file system does not support it.
pub fn reserve_past_end(file: &File, from: u64, length: u64) -> Result<(), StoreError> {
    match retry_on_intr(|| fallocate(file, FallocateFlags::KEEP_SIZE, from, length)) {
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(io("reserving space")(error.into())),
    }
}

/// Overwrites a range with zeros.
pub fn write_zeros(file: &File, from: u64, length: u64) -> Result<(), StoreError> {
    let end = from.saturating_add(length);
    let zeros = vec![0; ZEROS_BYTES.min(usize::try_from(length).unwrap_or(ZEROS_BYTES))];
    let mut at = from;
    while at < end {
        let count = zeros.len().min(usize::try_from(end.saturating_sub(at)).unwrap_or(ZEROS_BYTES));
        write(file, at, zeros.split_at(count).0)?;
        at = at.saturating_add(count as u64);
    }
    Ok(())
}

/// Returns whole blocks in a zeroed range to the file system. Failure does not matter, since the range is
/// zero already.
pub fn punch(file: &File, from: u64, length: u64) {
    const BLOCK: u64 = 4096;
    let start = from.next_multiple_of(BLOCK);
    let end = from.saturating_add(length) / BLOCK * BLOCK;
    if end > start {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _best_effort = fallocate(file, flags, start, end.saturating_sub(start));
    }
}

/// Reads `length` bytes at offset `at`, fewer at the end of the file.
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

/// Writes all of `bytes` at offset `at`.
pub fn write(file: &File, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
    file.write_all_at(bytes, at).map_err(io("writing a file of the store"))
}
