//! Secrets in files, 32 bytes that nobody else may read; and no trace of secrets on stacks.

use crate::clock::Clock;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Mode bits that let the group or others do anything.
const OTHERS_MAY_ANYTHING: u32 = 0o077;
/// Mode bits that let the group or others write.
const OTHERS_MAY_WRITE: u32 = 0o022;
/// The user who may read everything anyway.
const ROOT: u32 = 0;

/// Checks that a secret's file, or a folder of secrets, is closed to other users.
///
/// # Errors
/// Its mode lets the group or others do anything with it, or it belongs neither to the user of this process nor to root.
pub fn check_private(metadata: &Metadata) -> Result<(), Error> {
    check_owner(metadata)?;
    if metadata.mode() & OTHERS_MAY_ANYTHING == 0 {
        return Ok(());
    }
    let wanted = "others may enter or read it; set its mode to 0700 (a folder) or 0600 (a file)";
    Err(Error::new(ErrorKind::PermissionDenied, wanted))
}

/// Checks that a file or folder that the daemon relies on can be changed by no other user.
///
/// # Errors
/// Its mode lets the group or others write to it, or it belongs neither to the user of this process nor to root.
pub fn check_unchanged_by_others(metadata: &Metadata) -> Result<(), Error> {
    check_owner(metadata)?;
    if metadata.mode() & OTHERS_MAY_WRITE == 0 {
        return Ok(());
    }
    let wanted = "others may write to it; set its mode to 0700 (a folder) or 0600 (a file)";
    Err(Error::new(ErrorKind::PermissionDenied, wanted))
}

/// The owner of a file can widen its mode and replace its content, whatever its mode is now.
fn check_owner(metadata: &Metadata) -> Result<(), Error> {
    let own = rustix::process::geteuid().as_raw();
    if is_trusted(metadata.uid(), own) {
        return Ok(());
    }
    let message = format!(
        "it belongs to user {}; give it to the user who runs this (user {own}) or to root",
        metadata.uid()
    );
    Err(Error::new(ErrorKind::PermissionDenied, message))
}

fn is_trusted(owner: u32, own: u32) -> bool {
    owner == own || owner == ROOT
}

/// Reads a secret; where there is none, makes one with mode 0600 and has it durable.
///
/// # Errors
/// The file can't be read or made, is not 32 bytes long, others may read it, or it belongs to another user.
pub fn read_or_make(path: &Path, clock: &dyn Clock) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut secret = Zeroizing::new([0; 32]);
    match File::open(path) {
        Ok(mut file) => {
            let metadata = file.metadata()?;
            check_private(&metadata)?;
            if metadata.len() != 32 {
                return Err(Error::new(ErrorKind::InvalidData, "it must have 32 bytes"));
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

/// Bytes of a word of [`clear_stack`]: a word is overwritten at once, which is what makes it cheap enough for every event.
pub const STACK_WORD_BYTES: usize = size_of::<u128>();

/// Overwrites what calls that have returned left on this thread's stack, so many words deep. Moving a value leaves its old
/// bytes behind, and nothing clears a stack when a function returns; so whoever handled keys calls this afterwards.
/// The heap needs no such care: the daemon's allocator overwrites whatever is freed.
#[inline(never)]
pub fn clear_stack<const WORDS: usize>() {
    let mut below = [0_u128; WORDS];
    below.as_mut_slice().zeroize();
    std::hint::black_box(&below);
}

/// Whole under its name or not there at all, whenever a crash comes.
fn make(path: &Path, secret: &[u8; 32]) -> Result<(), Error> {
    let unfinished = path.with_extension("unfinished");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(secret)?;
    file.sync_all()?;
    // Not renamed: a secret that somebody else made meanwhile must not be overwritten.
    std::fs::hard_link(&unfinished, path)?;
    std::fs::remove_file(&unfinished)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_is_trusted_only_where_that_is_root() {
        assert!(is_trusted(1_000, 1_000) && is_trusted(ROOT, 1_000) && is_trusted(ROOT, ROOT));
        assert!(!is_trusted(1_001, 1_000));
        assert!(!is_trusted(1_000, ROOT), "root reads it, and user 1000 may change it");
    }
}
