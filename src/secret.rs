//! Secrets in files, 32 bytes that nobody else may read; and no trace of secrets on stacks.

use crate::clock::Clock;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Reads a secret; where there is none, makes one with mode 0600 and has it durable.
///
/// # Errors
/// The file can't be read or made, is not 32 bytes long, or others may read it.
pub fn read_or_make(path: &Path, clock: &dyn Clock) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut secret = Zeroizing::new([0; 32]);
    match File::open(path) {
        Ok(mut file) => {
            let metadata = file.metadata()?;
            if metadata.permissions().mode() & 0o077 != 0 {
                return Err(Error::new(
                    ErrorKind::PermissionDenied,
                    "others may read it; set its mode to 0600",
                ));
            }
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

/// Overwrites what calls that have returned left on this thread's stack, so many words of 8 bytes deep. Moving a value leaves its old
/// bytes behind, and nothing clears a stack when a function returns; so whoever handled keys calls this afterwards.
/// The heap needs no such care: the daemon's allocator overwrites whatever is freed.
#[inline(never)]
pub fn clear_stack<const WORDS: usize>() {
    // Words, because each is one store that the compiler may neither leave out nor join with the next.
    let mut below = [0_u64; WORDS];
    below.zeroize();
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
