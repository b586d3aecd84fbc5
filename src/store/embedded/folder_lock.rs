//! The lock of a store's folder, which only one process can have at a time.

use super::disk::io;
use crate::store::StoreError;
use std::fs::{File, TryLockError};

/// The lock of a folder. Dropping this value releases the lock.
///
/// The lock belongs to the open file, which a child process inherits for the moment between `fork` and
/// `exec`. If the parent only closed the file, the folder would stay locked until the child calls `exec`. So
/// dropping this value unlocks the file explicitly.
#[derive(Debug)]
pub struct FolderLock(File);

impl FolderLock {
    /// Locks a folder. `file` is the lock file of the folder.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process has locked it.
    pub fn acquire(file: File) -> Result<Self, StoreError> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Busy),
            Err(TryLockError::Error(source)) => Err(io("locking the folder")(source)),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // If this fails, closing the file releases the lock.
        drop(self.0.unlock());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_dropped_lock_is_free_although_a_copy_of_its_file_is_still_open() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::create(dir.path().join("lock")).unwrap();
        let file = open();
        // This clone stands for the file that a child process has between `fork` and `exec`.
        let inherited = file.try_clone().unwrap();
        let lock = FolderLock::acquire(file).unwrap();
        assert!(matches!(FolderLock::acquire(open()), Err(StoreError::Busy)));
        drop(lock);
        drop(FolderLock::acquire(open()).unwrap());
        drop(inherited);
    }
}
