//! Secrets in files: 32 bytes that nobody else may read.

use crate::clock::Clock;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

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
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(secret.as_ref())?;
            file.sync_all()?;
            path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())?;
        }
        Err(error) => return Err(error),
    }
    Ok(secret)
}
