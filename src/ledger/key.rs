//! The log key, which signs entries and checkpoints. This module also keeps the key files, in normal
//! operation and during a rotation of the key.
//!
//! `log.key` is the key in force. `log.key.next` is a key that a rotation is about to bring into force.
//! `log.key.previous` is the previous key, kept while checkpoints also carry its signature. Only the log
//! decides which key is in force: after a crash, the files are brought in line with the log.

use super::error::LedgerError;
use crate::clock::Clock;
use crate::secret;
use aws_lc_rs::signature::Ed25519KeyPair;
use ed25519_dalek::ed25519::signature::{self, Keypair};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sayso_proof::checkpoint::VerifierKey;
use sayso_proof::entry::key_id;
use sayso_proof::keys::KeyChain;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// An Ed25519 key pair; zeroized when dropped.
pub struct LogKey {
    key: SigningKey,
    /// The same key in another implementation, which makes the same signatures in less than half the time.
    /// `None` if it computes another public key.
    fast_key: Option<Ed25519KeyPair>,
    /// Key id in entries.
    id: [u8; 8],
}

impl LogKey {
    /// Reads the key from a file of 32 bytes with mode 0600, or makes one durably.
    ///
    /// # Errors
    /// The file can't be read or made, is not 32 bytes long, or is readable by others.
    pub fn load_or_create(path: &Path, clock: &dyn Clock) -> Result<Self, LedgerError> {
        let seed = secret::read_or_make(path, clock).map_err(LedgerError::Key)?;
        Ok(Self::from_seed(&seed))
    }

    /// Reads the key from a file; never makes one.
    ///
    /// # Errors
    /// The file can't be read, or is not 32 bytes long.
    pub fn inspect(path: &Path) -> Result<Self, LedgerError> {
        let bytes = Zeroizing::new(fs::read(path).map_err(LedgerError::Key)?);
        let wrong_length = || Error::new(ErrorKind::InvalidData, "the file must have 32 bytes");
        let seed: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| LedgerError::Key(wrong_length()))?;
        Ok(Self::from_seed(seed))
    }

    /// Derives the key from a seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let public = key.verifying_key();
        let fast_key = Ed25519KeyPair::from_seed_and_public_key(seed, public.as_bytes()).ok();
        Self { key, fast_key, id: key_id(&public) }
    }

    /// The id by which entries name the key.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The public key.
    #[must_use]
    pub fn verifying(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    /// The private key, for signatures that are rare.
    #[must_use]
    pub fn signing(&self) -> &SigningKey {
        &self.key
    }
}

impl Signer<Signature> for LogKey {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        let fast = self.fast_key.as_ref().and_then(|key| key.try_sign(message).ok());
        fast.map_or_else(|| self.key.try_sign(message), |made| Signature::from_slice(made.as_ref()))
    }
}

impl Keypair for LogKey {
    type VerifyingKey = VerifyingKey;

    fn verifying_key(&self) -> VerifyingKey {
        self.verifying()
    }
}

/// The keys that sign a log from some position on.
pub struct Signing {
    /// Every key that the log had; the newest is `key`.
    pub chain: KeyChain,
    /// Signs entries and checkpoints.
    pub key: Arc<LogKey>,
    /// The previous key, and the time until which checkpoints also have its signature, in milliseconds since
    /// the Unix epoch.
    pub also: Option<(Arc<LogKey>, u64)>,
}

impl Signing {
    /// The keys of a log whose key was never changed.
    #[must_use]
    pub fn with(origin: &str, key: LogKey) -> Self {
        let verifier = VerifierKey { name: origin.to_owned(), key: key.verifying() };
        Self { chain: KeyChain::from(&verifier), key: Arc::new(key), also: None }
    }

    /// The previous key if checkpoints carry its signature at this time.
    pub(super) fn also_at(&self, now_ms: u64) -> Option<&LogKey> {
        self.also.as_ref().filter(|(_, until_ms)| now_ms < *until_ms).map(|(key, _)| key.as_ref())
    }
}

/// The key files of a log.
pub struct FoundKeys {
    /// The key in force.
    pub key: LogKey,
    /// The previous key, if its file still exists.
    pub previous: Option<LogKey>,
}

/// Where the keys of a log are stored.
#[derive(Clone, Debug)]
pub enum LogKeys {
    /// Files in a folder that only the daemon's user may enter.
    Folder(PathBuf),
    /// One key without a file, which can't be changed: for tests.
    Seed([u8; 32]),
}

impl LogKeys {
    /// Finds the key that the log names as the one in force. For an empty log, reads `log.key` or makes it.
    ///
    /// Completes or undoes a rotation that a crash interrupted. If the log names the next key, that key comes
    /// into force; otherwise it is removed. If the log was restored from a backup made before a rotation, the
    /// previous key comes into force again.
    ///
    /// # Errors
    /// No file has the key that the log names, or files can't be read or changed.
    pub fn find(
        &self,
        in_force: Option<&VerifyingKey>,
        is_restored: bool,
        clock: &dyn Clock,
    ) -> Result<FoundKeys, LedgerError> {
        let folder = match self {
            Self::Folder(folder) => folder,
            Self::Seed(seed) => return Ok(FoundKeys { key: LogKey::from_seed(seed), previous: None }),
        };
        let Some(in_force) = in_force else {
            remove(&next(folder)).map_err(LedgerError::Key)?;
            return Ok(FoundKeys { key: LogKey::load_or_create(&current(folder), clock)?, previous: None });
        };
        let read = |path: PathBuf| -> Result<Option<LogKey>, LedgerError> {
            if path.exists() { LogKey::load_or_create(&path, clock).map(Some) } else { Ok(None) }
        };
        let is = |key: &Option<LogKey>| key.as_ref().is_some_and(|key| key.verifying() == *in_force);
        if is(&read(current(folder))?) {
            // The log does not have the rotation.
            remove(&next(folder)).map_err(LedgerError::Key)?;
        } else if is(&read(next(folder))?) {
            self.promote().map_err(LedgerError::Key)?;
        } else if is_restored && is(&read(previous(folder))?) {
            rename(folder, &previous(folder), &current(folder)).map_err(LedgerError::Key)?;
        } else {
            return Err(LedgerError::KeyMissing(hex::encode(in_force.as_bytes())));
        }
        let key = LogKey::load_or_create(&current(folder), clock)?;
        Ok(FoundKeys { key, previous: read(previous(folder))? })
    }

    /// Makes the next key; it is durable before the log names it.
    ///
    /// # Errors
    /// The file can't be made, or the key is a seed, which can't be changed.
    pub fn stage(&self, clock: &dyn Clock) -> Result<LogKey, LedgerError> {
        match self {
            Self::Folder(folder) => LogKey::load_or_create(&next(folder), clock),
            Self::Seed(_) => Err(LedgerError::Key(Error::from(ErrorKind::Unsupported))),
        }
    }

    /// Brings the next key into force after the log has named it. The key that was in force becomes the
    /// previous key, and the earlier previous key is destroyed. If the daemon ends in between, both the
    /// next key and the one that was in force are still in files.
    ///
    /// # Errors
    /// Files can't be changed; the next start tries again.
    pub fn promote(&self) -> Result<(), Error> {
        let Self::Folder(folder) = self else { return Ok(()) };
        if current(folder).exists() {
            destroy(&previous(folder))?;
            rename(folder, &current(folder), &previous(folder))?;
        }
        rename(folder, &next(folder), &current(folder))
    }

    /// Destroys the previous key.
    ///
    /// # Errors
    /// Its file can't be overwritten or removed.
    pub fn retire(&self) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => destroy(&previous(folder)),
            Self::Seed(_) => Ok(()),
        }
    }
}

fn current(folder: &Path) -> PathBuf {
    folder.join("log.key")
}

fn next(folder: &Path) -> PathBuf {
    folder.join("log.key.next")
}

fn previous(folder: &Path) -> PathBuf {
    folder.join("log.key.previous")
}

fn rename(folder: &Path, from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to)?;
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Overwrites a key file in place and syncs it, then removes it.
fn destroy(path: &Path) -> Result<(), Error> {
    match OpenOptions::new().write(true).open(path) {
        Ok(mut file) => {
            file.write_all(&[0; 32])?;
            file.sync_all()?;
            remove(path)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::clock::SystemClock;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_implementations_make_the_same_signature(seed: [u8; 32], message in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let key = LogKey::from_seed(&seed);
            let made = key.fast_key.as_ref().unwrap().sign(&message);
            prop_assert_eq!(made.as_ref(), key.key.sign(&message).to_bytes());
            prop_assert_eq!(key.sign(&message).to_bytes(), key.key.sign(&message).to_bytes());
            prop_assert!(key.verifying().verify_strict(&message, &key.sign(&message)).is_ok());
        }
    }

    fn found(
        keys: &LogKeys,
        in_force: &VerifyingKey,
    ) -> Result<(VerifyingKey, Option<VerifyingKey>), LedgerError> {
        let found = keys.find(Some(in_force), false, &SystemClock)?;
        Ok((found.key.verifying(), found.previous.map(|key| key.verifying())))
    }

    /// Tries the files as a crash leaves them after each step of a rotation.
    #[test]
    fn an_interrupted_rotation_ends_as_the_log_says() {
        for step in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let keys = LogKeys::Folder(folder.path().to_owned());
            let old = keys.find(None, false, &SystemClock).unwrap().key.verifying();
            let (mut in_force, mut staged) = (old, None);
            if step >= 1 {
                staged = Some(keys.stage(&SystemClock).unwrap().verifying());
            }
            if step >= 2 {
                // The event of the rotation is durable.
                in_force = staged.unwrap();
            }
            if step == 3 {
                fs::rename(current(folder.path()), previous(folder.path())).unwrap();
            }
            if step == 4 {
                keys.promote().unwrap();
            }
            for _again in 0..2 {
                let (key, before) = found(&keys, &in_force).unwrap();
                assert_eq!(key, in_force, "step {step}");
                assert_eq!(before, (step >= 2).then_some(old), "step {step}");
                assert!(!next(folder.path()).exists());
            }
        }
    }

    #[test]
    fn a_missing_key_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let keys = LogKeys::Folder(folder.path().to_owned());
        let old = keys.find(None, false, &SystemClock).unwrap().key.verifying();
        let stranger = LogKey::from_seed(&[3; 32]).verifying();
        assert!(matches!(found(&keys, &stranger), Err(LedgerError::KeyMissing(_))));
        keys.stage(&SystemClock).unwrap();
        keys.promote().unwrap();
        // This log is from before the rotation. It is accepted only after a restore.
        assert!(found(&keys, &old).is_err());
        let restored = keys.find(Some(&old), true, &SystemClock).unwrap();
        assert_eq!(restored.key.verifying(), old);
        assert!(!previous(folder.path()).exists());
    }

    #[test]
    fn a_retired_key_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = LogKeys::Folder(folder.path().to_owned());
        keys.find(None, false, &SystemClock).unwrap();
        let new = keys.stage(&SystemClock).unwrap().verifying();
        keys.promote().unwrap();
        keys.retire().unwrap();
        keys.retire().unwrap();
        assert_eq!(found(&keys, &new).unwrap(), (new, None));
    }
}
