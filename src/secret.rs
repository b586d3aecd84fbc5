//! Reads and makes secrets: files of 32 bytes that only their owner may read. Also checks who may access a
//! file, and clears what a computation left on the stack.

use crate::clock::Clock;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Mode bits that give the group or others any permission.
const ANY_BY_OTHERS: u32 = 0o077;
/// Mode bits that let the group or others write.
const WRITE_BY_OTHERS: u32 = 0o022;
/// The user who can read every file anyway.
const ROOT: u32 = 0;

/// Checks that a secret file, or a folder of secrets, is closed to other users.
///
/// # Errors
/// Its mode gives the group or others a permission, or its owner is neither the user of this process nor
/// root.
pub fn check_private(metadata: &Metadata) -> Result<(), Error> {
    check_owner(metadata)?;
    if metadata.mode() & ANY_BY_OTHERS == 0 {
        return Ok(());
    }
    let problem = "other users have access to it; set its mode to 0700 (a folder) or 0600 (a file)";
    Err(Error::new(ErrorKind::PermissionDenied, problem))
}

/// Checks that no other user can change a file or folder that the daemon relies on.
///
/// # Errors
/// Its mode lets the group or others write to it, or its owner is neither the user of this process nor root.
pub fn check_unchanged_by_others(metadata: &Metadata) -> Result<(), Error> {
    check_owner(metadata)?;
    if metadata.mode() & WRITE_BY_OTHERS == 0 {
        return Ok(());
    }
    let problem = "other users may write to it; set its mode to 0700 (a folder) or 0600 (a file)";
    Err(Error::new(ErrorKind::PermissionDenied, problem))
}

/// Checks the owner, who can change the mode and the content of a file regardless of its current mode.
fn check_owner(metadata: &Metadata) -> Result<(), Error> {
    let own = rustix::process::geteuid().as_raw();
    if is_trusted(metadata.uid(), own) {
        return Ok(());
    }
    let message = format!(
        "its owner is user {}; change the owner to the user who runs this command (user {own}) or to root",
        metadata.uid()
    );
    Err(Error::new(ErrorKind::PermissionDenied, message))
}

fn is_trusted(owner: u32, own: u32) -> bool {
    owner == own || owner == ROOT
}

/// Reads a secret. If there is no such file, makes a secret and writes it durably with mode 0600.
///
/// # Errors
/// The file cannot be read or created, is not 32 bytes long, gives other users a permission, or belongs to
/// neither the user of this process nor root.
pub fn read_or_make(path: &Path, clock: &dyn Clock) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut secret = Zeroizing::new([0; 32]);
    match File::open(path) {
        Ok(mut file) => {
            let metadata = file.metadata()?;
            check_private(&metadata)?;
            if metadata.len() != 32 {
                return Err(Error::new(ErrorKind::InvalidData, "the file must be 32 bytes long"));
            }
            file.read_exact(secret.as_mut())?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            clock.fill(secret.as_mut());
            make(path, &secret)?;
        }
        Err(error) => return Err(error),
    }
    Ok(secret)
}

/// Bytes of a word of [`clear_stack`]. Clearing whole words makes it cheap enough to do at every event.
pub const STACK_WORD_BYTES: usize = size_of::<u128>();

/// Overwrites the next `WORDS` words of this thread's stack. Functions that have returned by now may have
/// left secrets there.
///
/// A move leaves the old bytes of a value behind, and nothing clears the stack when a function returns. So
/// code that has handled keys calls this function afterwards. The heap needs no such call, because the
/// daemon's allocator overwrites freed memory.
#[inline(never)]
pub fn clear_stack<const WORDS: usize>() {
    let mut below = [0_u128; WORDS];
    below.as_mut_slice().zeroize();
    std::hint::black_box(&below);
}

/// Does work with secrets, and then overwrites the `WORDS` words of this thread's stack where the work ran.
/// Nothing of it is left there but its result. A secret in the result must be on the heap: moving it to the
/// caller would copy it.
pub fn with_cleared_stack<const WORDS: usize, T>(work: impl FnOnce() -> T) -> T {
    let result = in_own_frame(work);
    clear_stack::<WORDS>();
    result
}

/// Keeps the variables of the work out of the caller's frame, which is not cleared.
#[inline(never)]
fn in_own_frame<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// 32 secret bytes on the heap. Moving them copies no byte of the secret, so no copy stays on a stack, or in
/// the old buffer of a vector that grew. They are overwritten when they are dropped.
#[derive(PartialEq, Eq)]
pub struct SecretBytes(Box<[u8; 32]>);

impl SecretBytes {
    /// Copies bytes.
    #[must_use]
    pub fn copy_of(bytes: &[u8; 32]) -> Self {
        let mut copy = Self(Box::new([0; 32]));
        copy.0.copy_from_slice(bytes);
        copy
    }

    /// Draws random bytes.
    pub fn random(clock: &dyn Clock) -> Self {
        let mut drawn = Self(Box::new([0; 32]));
        clock.fill(drawn.0.as_mut_slice());
        drawn
    }
}

impl Clone for SecretBytes {
    fn clone(&self) -> Self {
        Self::copy_of(&self.0)
    }
}

impl std::ops::Deref for SecretBytes {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Writes a new secret file. After a crash at any moment, the file is either complete or not there.
fn make(path: &Path, secret: &[u8; 32]) -> Result<(), Error> {
    let unfinished = path.with_extension("unfinished");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(secret)?;
    file.sync_all()?;
    // A rename would overwrite a secret that another process has made meanwhile. A link fails instead.
    std::fs::hard_link(&unfinished, path)?;
    std::fs::remove_file(&unfinished)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_secret_bytes_leaves_them_at_their_place() {
        let secret = SecretBytes::copy_of(&[7; 32]);
        let place = secret.as_ptr();
        let moved = [Some(secret)].into_iter().flatten().collect::<Vec<_>>();
        assert!(moved.iter().all(|moved| moved.as_ptr() == place && **moved == [7; 32]));
        assert!(moved.first().is_some_and(|moved| moved.clone() == *moved));
    }

    #[test]
    fn a_file_of_another_user_is_trusted_only_if_that_user_is_root() {
        assert!(is_trusted(1_000, 1_000) && is_trusted(ROOT, 1_000) && is_trusted(ROOT, ROOT));
        assert!(!is_trusted(1_001, 1_000));
        assert!(!is_trusted(1_000, ROOT), "root reads the file, and user 1000 can change it");
    }
}
